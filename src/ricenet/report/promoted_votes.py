"""The promoted models' votes on the test set, as the page tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.metrics import LabelConfusion, confusion_matrix, macro_f1_estimate
from ricenet.inference.test_label_sets import SetsOnTest
from ricenet.inference.test_ledger import UNKNOWN, LedgerRow, identify_test_set
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require


@dataclass(frozen=True)
class PromotedVote:
    """A promoted model's majority vote on the test set.

    macro_f1: with its interval by subject. evaluations: of this test set so far, by any model of the project,
    this one included. gate: how the model came to vote, as in the ledger. label_sets: of its sets of labels;
    None in votes of earlier versions.
    """

    macro_f1: Estimate
    confusion: LabelConfusion
    n: int
    digest: str
    evaluations: int
    gate: str
    label_sets: SetsOnTest | None = None

    @property
    def forced(self) -> bool:
        """The gate refused the model, and it was let through all the same."""
        return self.gate == "forced"

    @property
    def interval_by(self) -> str:
        """How the interval was made, for people."""
        return "exact bound" if self.macro_f1.method == "exact bound" else "bootstrap"


def evaluations_text(evaluations: int) -> str:
    """So many evaluations of a test set.

    >>> evaluations_text(1), evaluations_text(2)
    ('1 evaluation', '2 evaluations')
    """
    return f"{evaluations} evaluation{'' if evaluations == 1 else 's'}"


def name_of_test_set(splits: Splits) -> str:
    """The name by which the ledger knows the test set of these splits."""
    return identify_test_set({subject: splits.labels[subject] for subject in splits.test})


def no_vote_text(voted: bool, splits: Splits, evaluations: int) -> str:
    """What to say of the test set; empty where a model has voted."""
    if voted:
        return ""
    if not splits.test:
        return "No test set was set aside."
    if not evaluations:
        return "No model of this run has voted on the test set; the ledger holds no evaluation of it."
    # one of this run may have, before another was promoted in its place
    return (
        "No promoted model has voted on the test set in this run; the ledger counts "
        f"{evaluations_text(evaluations)} of it."
    )


def evaluated_so_far(ledger: Sequence[LedgerRow], splits: Splits, digest: str) -> tuple[int, str]:
    """How often the test set was evaluated, and by which gate the model with a digest came to vote."""
    of_test_set = [row for row in ledger if row.test_set == name_of_test_set(splits)]
    gates = {row.digest12: row.gate for row in of_test_set}
    # the vote itself is an evaluation, also where its row is kept elsewhere
    return max(len(of_test_set), 1), gates.get(digest[:12], UNKNOWN)


def read_votes(
    folder: Path, splits: Splits, ledger: Sequence[LedgerRow], seed: int, evidence: Evidence
) -> dict[str, PromotedVote]:
    """The votes that a stage `vote` wrote, by modality set.

    Raises ResultError: a file is missing.
    """
    content = read_result(folder / "vote.json", "vote")
    votes = {}
    for name in evidence.volumes.in_order(content):
        digest = content[name]["digest"]
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
        evaluations, gate = evaluated_so_far(ledger, splits, digest)
        votes[name] = PromotedVote(
            macro_f1=macro_f1_estimate(labels, predicted, seed, evidence.resamples),
            confusion=confusion_matrix(labels, predicted),
            n=len(rows),
            digest=digest,
            evaluations=evaluations,
            gate=gate,
            label_sets=SetsOnTest.of_json(content[name].get("label_sets")),
        )
    return votes
