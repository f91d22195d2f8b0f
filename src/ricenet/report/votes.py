"""The test set's votes, each with its interval and the number of looks at that test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.metrics import Confusion, macro_f1_estimate
from ricenet.inference.test_ledger import UNKNOWN, LedgerRow, identify_test_set
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import read_rows, require

_GATE = {"passed": "passed", "forced": "past the gate", UNKNOWN: "not recorded"}


@dataclass(frozen=True)
class PromotedVote:
    """A promoted model's majority vote on the test set; ci_* is the 95 % interval by subject.

    bounded: it is a bound from the exact rates, since no bootstrap can tell. looks: at this test set so far,
    by any model of the project, this one included. gate: how the model came to vote, as in the ledger.
    """

    macro_f1: float
    ci_low: float
    ci_high: float
    bounded: bool
    confusion: Confusion
    n: int
    digest: str
    looks: int
    gate: str

    @property
    def looks_text(self) -> str:
        """How often the test set was looked at, for people."""
        return looks_text(self.looks)

    @property
    def forced(self) -> bool:
        """The gate refused the model, and it was let through all the same."""
        return self.gate == "forced"

    @property
    def gate_text(self) -> str:
        """Whether the model passed the gate, for people."""
        return gate_text(self.gate)

    @property
    def interval_by(self) -> str:
        """How the interval was made, for people."""
        return "exact bound" if self.bounded else "bootstrap"


def looks_text(looks: int) -> str:
    """So many looks.

    >>> looks_text(1), looks_text(2)
    ('1 look', '2 looks')
    """
    return f"{looks} look{'' if looks == 1 else 's'}"


def gate_text(gate: str) -> str:
    """The ledger's column `gate`, for people."""
    return _GATE.get(gate, gate)


def name_of_test_set(splits: Splits) -> str:
    """The name by which the ledger knows the test set of these splits."""
    return identify_test_set({subject: splits.labels[subject] for subject in splits.test})


def no_vote_sentence(subjects: int, looks: int) -> str:
    """What to say of the test set where no champion has voted.

    subjects: in the test set. looks: at it, by the ledger.
    """
    if not subjects:
        return "No test set was set aside."
    if not looks:
        return "No model of this run has voted on the test set; the ledger holds no look at it."
    # one of this run may have, before another was promoted in its place
    return (
        "No promoted model has voted on the test set in this run; "
        f"the ledger counts {looks_text(looks)} at it."
    )


def read_votes(
    folder: Path, splits: Splits, ledger: Sequence[LedgerRow], seed: int, resamples: int
) -> dict[str, PromotedVote]:
    """The votes that a stage `vote` wrote, by modality set.

    Raises ResultError: a file is missing.
    """
    content = read_json(require(folder / "vote.json", "vote"))
    looks = [row for row in ledger if row.test_set == name_of_test_set(splits)]
    gates = {row.digest12: row.gate for row in looks}
    votes = {}
    for name in in_paper_order(content):
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
        found = macro_f1_estimate(labels, predicted, seed, resamples)
        (tn, fp), (fn, tp) = content[name]["confusion"]
        votes[name] = PromotedVote(
            macro_f1=content[name]["macro_f1"],
            ci_low=found.low,
            ci_high=found.high,
            bounded=found.method == "exact bound",
            confusion=((tn, fp), (fn, tp)),
            n=content[name]["n"],
            digest=content[name]["digest"],
            # the vote itself is a look, also where its row is kept elsewhere
            looks=max(len(looks), 1),
            gate=gates.get(content[name]["digest"][:12], UNKNOWN),
        )
    return votes
