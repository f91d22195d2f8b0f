"""Sets of labels on the test set: how many hold the true label, by thresholds that were registered before.

The thresholds come with the version (`ricenet.evaluation.evidence.conformal`): nothing is fitted to the test
set. Source: exact intervals of Clopper and Pearson 1934.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ricenet.evaluation.intervals import proportion
from ricenet.inference.three_way import ThreeWayAnswer
from ricenet.vocabulary import LABELS

EMPTY, SEPARATOR = "none", "+"
"""Of a set without a label, and between the labels of one, in tables."""


@dataclass(frozen=True)
class LabelCoverage:
    """Of n subjects of a label, how many sets hold it; the share with its exact 95 % interval."""

    n: int
    covered: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class SetsOnTest:
    """aimed_at: coverage of each label; None where no set is known. why: what was found of the first case.

    covered: by label, of those that occur. sizes: how many sets hold so many labels, from none to all.
    """

    aimed_at: float | None
    why: str
    covered: dict[str, LabelCoverage] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()

    @classmethod
    def of_json(cls, content: Mapping[str, Any] | None) -> SetsOnTest | None:
        """What `asdict` made of one; None where there is none."""
        if content is None:
            return None
        covered = {label: LabelCoverage(**of) for label, of in content["covered"].items()}
        return cls(content["aimed_at"], content["why"], covered, tuple(content["sizes"]))


def sets_on_test(labels: Sequence[str], answers: Sequence[ThreeWayAnswer]) -> SetsOnTest:
    """The coverage of a version's sets on subjects whose labels (N,) are known; answers (N,) likewise."""
    sets = [answer.labels for answer in answers]
    refused = [answer.labels_why for answer in answers if answer.labels is None]
    if refused or not answers:
        return SetsOnTest(None, next(iter(refused), "nobody is in the test set"))
    counts = Counter(len(held or ()) for held in sets)
    covered = {
        label: [label in (held or ()) for known, held in zip(labels, sets, strict=True) if known == label]
        for label in sorted(set(labels))
    }
    return SetsOnTest(
        aimed_at=answers[0].labels_coverage,
        why="",
        covered={label: _coverage(sum(hits), len(hits)) for label, hits in covered.items()},
        sizes=tuple(counts[size] for size in range(max(*counts, len(LABELS)) + 1)),
    )


def set_text(labels: tuple[str, ...] | None, unknown: str) -> str:
    """A set in a table's cell.

    >>> set_text(("recurrence", "rice"), "n/a"), set_text((), "n/a"), set_text(None, "n/a")
    ('recurrence+rice', 'none', 'n/a')
    """
    if labels is None:
        return unknown
    return SEPARATOR.join(labels) or EMPTY


def coverage_sentences(found: SetsOnTest) -> Iterator[str]:
    """What to log of it."""
    if found.aimed_at is None:
        yield f"no set of labels: {found.why}"
    for label, of in found.covered.items():
        yield (
            f"sets of labels hold {label} in {of.covered} of {of.n} subjects who have it "
            f"({of.share:.2f}, {of.low:.2f} to {of.high:.2f}; aimed at {found.aimed_at})"
        )


def _coverage(covered: int, n: int) -> LabelCoverage:
    share = proportion(covered, n)
    return LabelCoverage(n, covered, share.value, share.low, share.high)
