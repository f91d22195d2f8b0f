"""Which subjects to look at, and their pages: the wrong ones, those without an answer, the excluded ones.

Sure is who has a high calibrated probability of the label that was answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.abstention import answered, confidence
from ricenet.evaluation.evidence.calibration import recalibrated_by_fold
from ricenet.report.results import GALLERY, Results, Scored
from ricenet.training.predictions import THRESHOLD, predicted_label

SUREST = 10
"""Wrong subjects that are shown at once."""

TAIL = 0.1
_PLACED = {
    "lesion_ml": ("lesion", "ml"),
    "lesion_dose_gy": ("dose at the lesion", "Gy"),
    "dose_max_gy": ("largest dose", "Gy"),
}
"""Numbers that stand beside a subject where they are known: title and unit by name."""


@dataclass(frozen=True)
class FollowUp:
    """A subject with its pages, as addresses relative to the report's folder.

    p_rice: out-of-fold, of the best set; p_rice_calibrated: by the recalibration of its fold, None where that
    was not examined. cases: address by title of the modality set, of those that explained the subject.
    quality: its page; None where there is none. marks: what is unusual of the subject, in words.
    """

    subject: str
    label: str
    predicted: str
    p_rice: float
    cases: dict[str, str]
    quality: str | None
    p_rice_calibrated: float | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class FollowUps:
    """wrong: the surest first. unsure: whom the three-way vote gives no answer, the least sure first.

    n: of all that are predicted.
    """

    wrong: tuple[FollowUp, ...]
    unsure: tuple[FollowUp, ...]
    n: int


def follow_ups(results: Results) -> FollowUps:
    """Of the best set's out-of-fold predictions."""
    scored = results.out_of_fold[results.evidence.best_set]
    raw, calibrated = np.array(scored.p_rice), _calibrated(results, scored)
    says_rice = raw >= THRESHOLD
    p_rice = raw if calibrated is None else calibrated
    sure = np.where(says_rice, p_rice, 1 - p_rice)
    # where a recalibration says the same of everyone, the raw probability still orders them
    order = np.lexsort((-confidence(raw), -sure))
    wrong, unanswered = says_rice != np.array(scored.is_rice), ~_answered(results, scored)
    of = [
        _of(results, scored, i, None if calibrated is None else float(calibrated[i])) for i in range(len(raw))
    ]
    return FollowUps(
        wrong=tuple(of[i] for i in order if wrong[i]),
        unsure=tuple(of[i] for i in np.argsort(confidence(raw), kind="stable") if unanswered[i]),
        n=len(raw),
    )


def unusual(results: Results, subject: str) -> tuple[str, ...]:
    """What marks a subject: quality control's marks, and lesion and dose with their place among all."""
    return (*results.marks.get(subject, ()), *_placed(results.scalars, subject))


def _placed(scalars: Mapping[str, Mapping[str, float | None]], subject: str) -> Iterator[str]:
    for name, (title, unit) in _PLACED.items():
        value = scalars.get(subject, {}).get(name)
        if value is None:
            continue
        known = np.array([v for of in scalars.values() if (v := of.get(name)) is not None])
        low, high = (known < value).mean() < TAIL, (known > value).mean() < TAIL
        place = " (among the lowest tenth)" if low and not high else ""
        place = " (among the highest tenth)" if high and not low else place
        yield f"{title} {value:.3g} {unit}{place}"


def _calibrated(results: Results, scored: Scored) -> NDArray[np.float64] | None:
    """p_rice (N,) recalibrated by each subject's fold; None where calibration was not examined."""
    found = results.evidence.calibration.get(results.evidence.best_set)
    if found is None:
        return None
    fold = _folds(results, scored)
    return recalibrated_by_fold(np.array(scored.p_rice), fold, found.by_fold(sorted(set(fold.tolist()))))


def _folds(results: Results, scored: Scored) -> NDArray[np.int64]:
    of_fold = {subject: k for k, fold in enumerate(results.splits.folds) for subject in fold}
    return np.array([of_fold[subject] for subject in scored.subjects])


def case_pages(results: Results, subject: str) -> dict[str, str]:
    """Addresses of a subject's case pages, by title of the modality set."""
    sets = (name for name, subjects in results.case_pages.items() if subject in subjects)
    return {results.volumes.set_title(name): f"../explain/{name}/{subject}/{GALLERY}" for name in sets}


def quality_page(results: Results, subject: str) -> str | None:
    """The address of a subject's quality page."""
    return f"../quality/{subject}.html" if subject in results.quality_pages else None


def _answered(results: Results, scored: Scored) -> np.ndarray:
    """Whom the three-way vote answers (N,), as in the evidence; all where it was not examined."""
    best = results.evidence.best_set
    found, calibrated = results.evidence.abstention.get(best), results.evidence.calibration.get(best)
    if found is None or calibrated is None:
        return np.ones(len(scored.p_rice), dtype=np.bool_)
    p_rice, is_rice = np.array(scored.p_rice), np.array(scored.is_rice)
    fold = _folds(results, scored)
    by_fold = calibrated.by_fold(sorted(set(fold.tolist())))
    return answered(p_rice, is_rice, fold, by_fold, found.target_error)


def _of(results: Results, scored: Scored, index: int, p_rice_calibrated: float | None) -> FollowUp:
    subject, p_rice = scored.subjects[index], scored.p_rice[index]
    return FollowUp(
        subject=subject,
        label=results.splits.labels[subject],
        predicted=predicted_label(p_rice),
        p_rice=p_rice,
        cases=case_pages(results, subject),
        quality=quality_page(results, subject),
        p_rice_calibrated=p_rice_calibrated,
        marks=unusual(results, subject),
    )
