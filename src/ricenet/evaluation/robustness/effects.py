"""From answers to effects: how often they change sides, and by how much, with intervals by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ricenet.evaluation.bootstrap import Resampling, mean_of
from ricenet.evaluation.intervals import Estimate, proportion
from ricenet.runtime.records import Record
from ricenet.runtime.tables import table_text
from ricenet.training.label_predictions import top_labels
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import LABELS, LabelName, LabelNames, Volumes, is_rice_task

if TYPE_CHECKING:
    from ricenet.evaluation.robustness.perturbations import Perturbation
    from ricenet.evaluation.robustness.perturbed_answers import SubjectAnswers

ROBUSTNESS_FILE = Path("work/robustness/robustness.json")

FEW = 3
"""Subjects that flip (or that do not always flip); with fewer, no bootstrap."""

LEAST = 2
"""Subjects, of a label or in all; one alone looks the same however often it is drawn."""

MEASURES = ("flip_rate", "change", "absolute_change")


class Effect(Record):
    """One perturbation at one strength on held-out subjects.

    strength: None, and unit "", of what has no strengths. trials: of a subject.
    flip_rate: share of the answers that change sides of the threshold, averaged over a subject's trials,
    then over subjects; its interval is an exact bound where few subjects flip. change: mean change of p_rice,
    perturbed minus given; absolute_change: of its size. Of other labels than the paper's two a flip is
    another most probable label, and the change that of the probability of the label that is said of the
    input as it is. Intervals by subject, drawn within labels, or all
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

    def full_title(self) -> str:
        """The perturbation with its strength."""
        return self.title if self.strength is None else f"{self.title}, {self.strength:g} {self.unit}"


class Robustness(Record):
    """Effects by modality set, without what changes nothing that a set sees or could be done to nobody."""

    seed: int
    volumes: Volumes
    effects: dict[str, tuple[Effect, ...]]
    label_names: tuple[LabelName, ...] = Field(default=LABELS, exclude_if=is_rice_task)


def read_robustness(path: Path = ROBUSTNESS_FILE) -> Robustness:
    """Read what the stage `robustness` wrote.

    Raises ResultError: missing, or not such a file.
    """
    return Robustness.read(path, "robustness")


def effects(
    answers: Sequence[SubjectAnswers],
    perturbations: Sequence[Perturbation],
    labels: Mapping[str, str],
    seed: int,
    resamples: int,
    label_names: LabelNames = LABELS,
) -> dict[str, tuple[Effect, ...]]:
    """The effect of every perturbation on every modality set that it changes, in the order given.

    Effects on the same subjects are drawn alike, so that they compare. What could be done to one subject
    alone is excluded. labels: by subject; label_names: the classes.
    """
    sets = dict.fromkeys(name for of_subject in answers for name in of_subject.given)
    rows = [
        row
        for name in sets
        for place in range(len(perturbations))
        if len((row := _Row.of(name, place, answers)).subjects) >= LEAST
    ]
    estimates = _estimates(rows, labels, seed, resamples, label_names)
    found: dict[str, list[Effect]] = {name: [] for name in sets}
    for row, of_row in zip(rows, estimates, strict=True):
        found[row.modality_set].append(row.effect(perturbations[row.place], *of_row))
    return {name: tuple(of_set) for name, of_set in found.items()}


@dataclass(frozen=True, eq=False)
class _Row:
    """What one perturbation does to the answers of one modality set: a number a subject, (N,) each."""

    modality_set: str
    place: int
    subjects: tuple[str, ...]
    flips: NDArray[np.float64]
    change: NDArray[np.float64]
    absolute_change: NDArray[np.float64]

    @classmethod
    def of(cls, modality_set: str, place: int, answers: Sequence[SubjectAnswers]) -> Self:
        asked = [a for a in answers if place in a.perturbed.get(modality_set, {})]
        subjects, none = tuple(a.subject for a in asked), np.empty(0)
        if not asked:
            return cls(modality_set, place, subjects, none, none, none)
        given = np.array([[a.given[modality_set]] for a in asked])
        perturbed = np.stack([a.perturbed[modality_set][place] for a in asked])
        if given.ndim > 2:
            return cls(modality_set, place, subjects, *_of_labels(given, perturbed))
        flips = ((perturbed >= THRESHOLD) != (given >= THRESHOLD)).mean(axis=1)
        change, absolute = (perturbed - given).mean(axis=1), np.abs(perturbed - given).mean(axis=1)
        return cls(modality_set, place, subjects, flips, change, absolute)

    @property
    def columns(self) -> tuple[NDArray[np.float64], ...]:
        """In the order of MEASURES."""
        return self.flips, self.change, self.absolute_change

    def effect(
        self, perturbation: Perturbation, flip_rate: Estimate, change: Estimate, absolute_change: Estimate
    ) -> Effect:
        return Effect(
            perturbation=perturbation.name,
            title=perturbation.title,
            strength=perturbation.strength,
            unit=perturbation.unit,
            subjects=len(self.subjects),
            trials=perturbation.trials,
            flip_rate=_exact_where_possible(flip_rate, self.flips, perturbation.trials),
            change=change,
            absolute_change=absolute_change,
        )


def _of_labels(
    given: NDArray[np.float64], perturbed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Flips and changes (N,). given: (N, 1, K); perturbed: (N, trials, K)."""
    n, trials, classes = perturbed.shape
    said = top_labels(given[:, 0])
    flips = (top_labels(perturbed.reshape(-1, classes)).reshape(n, trials) != said[:, np.newaxis]).mean(
        axis=1
    )
    change = np.take_along_axis(perturbed - given, said[:, np.newaxis, np.newaxis], axis=2)[:, :, 0]
    return flips, change.mean(axis=1), np.abs(change).mean(axis=1)


def _estimates(
    rows: Sequence[_Row], labels: Mapping[str, str], seed: int, resamples: int, label_names: LabelNames
) -> list[list[Estimate]]:
    """Of each row's three measures. Rows of the same subjects are drawn together, which is drawn once."""
    found: dict[int, list[Estimate]] = {}
    for subjects in dict.fromkeys(row.subjects for row in rows):
        alike = [i for i, row in enumerate(rows) if row.subjects == subjects]
        is_rice = np.array([labels[subject] == label_names[1] for subject in subjects])
        known = np.array([label_names.index(labels[subject]) for subject in subjects])
        strata = tuple(np.flatnonzero(known == k) for k in range(len(label_names)))
        resampling = Resampling(strata, seed, resamples)
        if min(map(len, resampling.strata)) < LEAST:
            resampling = Resampling((np.arange(len(is_rice)),), seed, resamples)
        columns = [column for i in alike for column in rows[i].columns]
        drawn = iter(resampling.estimates([mean_of(column, is_rice) for column in columns]))
        found |= {i: [next(drawn) for _ in MEASURES] for i in alike}
    return [found[i] for i in range(len(rows))]


def _exact_where_possible(drawn: Estimate, flips: NDArray[np.float64], trials: int) -> Estimate:
    """A flip rate of single trials is a proportion.

    With several trials it lies between the shares of subjects that always and that ever flip. Where few
    subjects flip, resamples hardly differ, and the exact limits of these two shares are taken instead.
    """
    n, ever, always = len(flips), int((flips > 0).sum()), int((flips == 1).sum())
    if trials == 1:
        return proportion(ever, n)
    if ever >= FEW and n - always >= FEW:
        return drawn
    low, high = proportion(always, n).low, proportion(ever, n).high
    return Estimate(value=drawn.value, low=low, high=high, method="exact bound")


def effects_table(robustness: Robustness) -> str:
    """CSV text: a row an effect."""
    columns = [f"{m}{end}" for m in MEASURES for end in ("", "_low", "_high", "_method")]
    header = ["set", "perturbation", "strength", "unit", "subjects", "trials", *columns]
    rows = [
        [name, e.perturbation, "" if e.strength is None else f"{e.strength:g}", e.unit, e.subjects, e.trials]
        + [cell for m in MEASURES for cell in _cells(getattr(e, m))]
        for name, found in robustness.effects.items()
        for e in found
    ]
    return table_text(header, rows, ",")


def _cells(estimate: Estimate) -> list[str]:
    return [f"{v:.4f}" for v in (estimate.value, estimate.low, estimate.high)] + [estimate.method]
