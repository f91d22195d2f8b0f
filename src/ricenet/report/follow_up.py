"""Which subjects to look at, and their pages: the wrong ones, those without an answer, the excluded ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ricenet.evaluation.evidence.abstention import answered, confidence
from ricenet.report.results import GALLERY, Results, Scored
from ricenet.training.predictions import THRESHOLD, predicted_label


@dataclass(frozen=True)
class FollowUp:
    """A subject with its pages, as addresses relative to the report's folder.

    p_rice: out-of-fold, of the best set. cases: address by title of the modality set, of those that explained
    the subject. quality: its page; None where there is none.
    """

    subject: str
    label: str
    predicted: str
    p_rice: float
    cases: dict[str, str]
    quality: str | None


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
    sure = confidence(np.array(scored.p_rice))
    wrong = (np.array(scored.p_rice) >= THRESHOLD) != np.array(scored.is_rice)
    unanswered = ~_answered(results, scored)
    return FollowUps(
        wrong=tuple(_of(results, scored, i) for i in np.argsort(-sure, kind="stable") if wrong[i]),
        unsure=tuple(_of(results, scored, i) for i in np.argsort(sure, kind="stable") if unanswered[i]),
        n=len(sure),
    )


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
    of_fold = {subject: k for k, fold in enumerate(results.splits.folds) for subject in fold}
    p_rice, is_rice = np.array(scored.p_rice), np.array(scored.is_rice)
    fold = np.array([of_fold[subject] for subject in scored.subjects])
    by_fold = calibrated.by_fold(sorted(set(fold.tolist())))
    return answered(p_rice, is_rice, fold, by_fold, found.target_error)


def _of(results: Results, scored: Scored, index: int) -> FollowUp:
    subject, p_rice = scored.subjects[index], scored.p_rice[index]
    return FollowUp(
        subject=subject,
        label=results.splits.labels[subject],
        predicted=predicted_label(p_rice),
        p_rice=p_rice,
        cases=case_pages(results, subject),
        quality=quality_page(results, subject),
    )
