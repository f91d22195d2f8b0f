"""The test set's votes, each with its interval and the number of looks at that test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.metrics import Confusion, bootstrap_interval
from ricenet.evaluation.predictions import read_rows, require
from ricenet.files import read_json
from ricenet.splits import Splits
from ricenet.voting import LedgerRow, identify_test_set


@dataclass(frozen=True)
class PromotedVote:
    """A promoted model's majority vote on the test set; ci_* is the 95 % bootstrap interval.

    looks: at this test set so far, by any model of the project, this one included.
    """

    macro_f1: float
    ci_low: float
    ci_high: float
    confusion: Confusion
    n: int
    digest: str
    looks: int

    @property
    def looks_text(self) -> str:
        """How often the test set was looked at, for people."""
        return f"{self.looks} look{'' if self.looks == 1 else 's'}"


def read_votes(
    folder: Path, splits: Splits, ledger: Sequence[LedgerRow], seed: int
) -> dict[str, PromotedVote]:
    """The votes that a stage `vote` wrote, by modality set.

    Raises ResultError: a file is missing.
    """
    content = read_json(require(folder / "vote.json", "vote"))
    test_set = identify_test_set({subject: splits.labels[subject] for subject in splits.test})
    looks = sum(row.test_set == test_set for row in ledger)
    votes = {}
    for name in in_paper_order(content):
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
        low, high = bootstrap_interval(labels, predicted, seed)
        (tn, fp), (fn, tp) = content[name]["confusion"]
        votes[name] = PromotedVote(
            macro_f1=content[name]["macro_f1"],
            ci_low=low,
            ci_high=high,
            confusion=((tn, fp), (fn, tp)),
            n=content[name]["n"],
            digest=content[name]["digest"],
            # the vote itself is a look, also where its row is kept elsewhere
            looks=max(looks, 1),
        )
    return votes
