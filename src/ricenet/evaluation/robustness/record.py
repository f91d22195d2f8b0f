"""What the stage `robustness` found, as it is kept in work/robustness/robustness.json."""

from __future__ import annotations

from pathlib import Path

from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.records import Record

ROBUSTNESS_FILE = Path("work/robustness/robustness.json")


class Effect(Record):
    """One perturbation at one strength on held-out subjects.

    strength: None, and unit "", of what has no strengths. trials: of a subject.
    flip_rate: share of the answers that change sides of the threshold, averaged over a subject's trials,
    then over subjects; its interval is an exact bound where few subjects flip. change: mean change of p_rice,
    perturbed minus given; absolute_change: of its size. Intervals by subject, drawn within labels, or all
    together where a label has fewer than two of them.
    """

    perturbation: str
    title: str
    strength: float | None
    unit: str
    subjects: int
    trials: int
    flip_rate: Estimate
    change: Estimate
    absolute_change: Estimate


class Robustness(Record):
    """Effects by modality set, without what changes nothing that a set sees or could be done to nobody."""

    seed: int
    effects: dict[str, tuple[Effect, ...]]


def read_robustness(path: Path = ROBUSTNESS_FILE) -> Robustness:
    """Read what the stage `robustness` wrote.

    Raises ResultError: missing, or not such a file.
    """
    return Robustness.read(path, "robustness")
