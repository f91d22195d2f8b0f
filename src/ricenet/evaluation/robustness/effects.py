"""From answers to effects: how often they change sides, and by how much, with intervals by subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Resampling, mean_of
from ricenet.evaluation.intervals import Estimate, proportion
from ricenet.evaluation.robustness.answers import SubjectAnswers
from ricenet.evaluation.robustness.perturbations import Perturbation
from ricenet.evaluation.robustness.record import Effect, Robustness
from ricenet.runtime.tables import table_text
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import Label

FEW = 3
"""Subjects that flip (or that do not always flip); with fewer, no bootstrap."""

LEAST = 2
"""Subjects, of a label or in all; one alone looks the same however often it is drawn."""


@dataclass(frozen=True)
class _Averages:
    """One perturbation of one modality set, averaged over each subject's trials (subjects,)."""

    modality_set: str
    place: int
    subjects: tuple[str, ...]
    trials: int
    flips: NDArray[np.float64]
    change: NDArray[np.float64]
    absolute_change: NDArray[np.float64]


def effects(
    answers: Sequence[SubjectAnswers],
    perturbations: Sequence[Perturbation],
    labels: Mapping[str, Label],
    seed: int,
    resamples: int,
) -> dict[str, tuple[Effect, ...]]:
    """The effect of every perturbation on every modality set that it changes, in the order given.

    All are drawn with the same subjects, so that they compare. What could be done to one subject alone is
    left out.
    """
    averages = list(_averages(answers, perturbations))
    found: dict[str, dict[int, Effect]] = {name: {} for name in answers[0].given}
    for subjects in dict.fromkeys(a.subjects for a in averages):
        group = [a for a in averages if a.subjects == subjects]
        is_rice = np.array([labels[s] == "rice" for s in subjects])
        for average, effect in zip(
            group, _group_effects(group, perturbations, is_rice, seed, resamples), strict=True
        ):
            found[average.modality_set][average.place] = effect
    return {name: tuple(by_place[i] for i in sorted(by_place)) for name, by_place in found.items()}


def _averages(
    answers: Sequence[SubjectAnswers], perturbations: Sequence[Perturbation]
) -> Iterator[_Averages]:
    for name in answers[0].given:
        for place, perturbation in enumerate(perturbations):
            asked = [a for a in answers if place in a.perturbed[name]]
            if len(asked) < LEAST:
                continue
            given = np.array([[a.given[name]] for a in asked])
            perturbed = np.stack([a.perturbed[name][place] for a in asked])
            yield _Averages(
                name,
                place,
                tuple(a.subject for a in asked),
                perturbation.trials,
                ((perturbed >= THRESHOLD) != (given >= THRESHOLD)).mean(axis=1),
                (perturbed - given).mean(axis=1),
                np.abs(perturbed - given).mean(axis=1),
            )


def _group_effects(
    group: Sequence[_Averages],
    perturbations: Sequence[Perturbation],
    is_rice: NDArray[np.bool_],
    seed: int,
    resamples: int,
) -> Iterator[Effect]:
    """Effects on the same subjects, drawn in one go."""
    rows = [row for a in group for row in (a.flips, a.change, a.absolute_change)]
    drawn = _means(rows, is_rice, seed, resamples)
    for number, average in enumerate(group):
        perturbation = perturbations[average.place]
        flips, change, absolute_change = drawn[3 * number : 3 * number + 3]
        yield Effect(
            perturbation=perturbation.name,
            title=perturbation.title,
            strength=perturbation.strength,
            unit=perturbation.unit,
            subjects=len(average.subjects),
            trials=average.trials,
            flip_rate=_exact_where_possible(flips, average),
            change=change,
            absolute_change=absolute_change,
        )


def _means(
    rows: Sequence[NDArray[np.float64]], is_rice: NDArray[np.bool_], seed: int, resamples: int
) -> list[Estimate]:
    """Means over subjects with intervals, drawn within labels; or all together where one has too few."""
    resampling = Resampling.of(is_rice, seed, resamples)
    if min(map(len, resampling.strata)) < LEAST:
        resampling = Resampling((np.arange(len(is_rice)),), seed, resamples)
    return resampling.estimates([mean_of(row, is_rice) for row in rows])


def _exact_where_possible(drawn: Estimate, average: _Averages) -> Estimate:
    """A flip rate of single trials is a proportion.

    With several trials it lies between the shares of subjects that always and that ever flip. Where few
    subjects tell it, resamples hardly differ, and the exact limits of these two shares are taken instead.
    """
    flips, n = average.flips, len(average.flips)
    ever, always = int((flips > 0).sum()), int((flips == 1).sum())
    if average.trials == 1:
        return proportion(ever, n)
    if ever >= FEW and n - always >= FEW:
        return drawn
    low, high = proportion(always, n).low, proportion(ever, n).high
    return Estimate(value=drawn.value, low=low, high=high, method="exact bound")


def effects_table(robustness: Robustness) -> str:
    """CSV text: a row an effect."""
    measures = ("flip_rate", "change", "absolute_change")
    columns = [f"{m}{end}" for m in measures for end in ("", "_low", "_high", "_method")]
    header = ["set", "perturbation", "strength", "unit", "subjects", "trials", *columns]
    rows = [
        [name, e.perturbation, "" if e.strength is None else f"{e.strength:g}", e.unit, e.subjects, e.trials]
        + [cell for m in measures for cell in _cells(getattr(e, m))]
        for name, found in robustness.effects.items()
        for e in found
    ]
    return table_text(header, rows, ",")


def _cells(estimate: Estimate) -> list[str]:
    return [f"{v:.4f}" for v in (estimate.value, estimate.low, estimate.high)] + [estimate.method]
