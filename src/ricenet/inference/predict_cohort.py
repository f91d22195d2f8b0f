"""Predictions for a folder of subjects in the raw cohort's layout; labels are not needed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from ricenet.cohort.dose_sidecar import parse_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.config.params import ExecutionParams
from ricenet.inference.case import require_usable
from ricenet.inference.predict_subject import Prediction, predict_subject
from ricenet.inference.test_vote import DecisionThreshold
from ricenet.inference.training_ranges import TrainingRanges
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.tables import table_text
from ricenet.training.ensemble import Ensemble
from ricenet.vocabulary import MODALITIES

NOTHING = "n/a"


def subjects_in(folder: Path) -> list[str]:
    """The subjects that have a folder, in order of name.

    Raises CohortError: no such folder, no subject in it, or one whose name is no pseudonym.
    """
    if not folder.is_dir():
        raise CohortError(f"{folder.absolute().name}: no such folder of subjects")
    names = sorted(path.name for path in folder.glob("sub-*") if path.is_dir())
    # counted and not named: such a name may be a patient's
    if misnamed := sum(not PARTICIPANT_ID.fullmatch(name) for name in names):
        raise CohortError(
            f"{folder.absolute().name}: {misnamed} folder(s) not named sub-<letters and digits>. "
            "Rename to a pseudonym, the same as in the names of the files"
        )
    if not names:
        raise CohortError(
            f"{folder.absolute().name}: no folder sub-* in it; docs/own-cohort.md shows the layout"
        )
    return names


def predict_cohort(
    folder: Path,
    ensemble_files: Path,
    seed: int,
    ranges: TrainingRanges,
    execution: ExecutionParams,
    threshold: DecisionThreshold | None = None,
) -> list[Outcome[str, Prediction]]:
    """Predict every subject of a folder; a failing one neither stops the others nor vanishes.

    ensemble_files: a folder that `Ensemble.load` takes. threshold: of the three-way vote.
    Returns the outcomes in order of name.
    Raises CohortError: as `subjects_in`.
    """
    return run_tasks(
        functools.partial(_predict, folder.absolute(), ensemble_files.absolute(), seed, ranges, threshold),
        subjects_in(folder),
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "predicting",
        gpus_per_worker=execution.gpus_per_worker,
    )


def prediction_table(
    outcomes: Sequence[Outcome[str, Prediction]], folds: int, model: str, digest: str
) -> str:
    """A row a subject, tab-separated; n/a where there is nothing to tell. model, digest: in every row."""
    votes = ["label", "p_rice", "votes_rice", "three_way", *(f"fold_{k}" for k in range(folds))]
    rows = [[*_row(outcome, folds), model, digest] for outcome in outcomes]
    return table_text(["participant_id", *votes, "warnings", "error", "model", "digest"], rows)


def case_warnings(
    outcomes: Sequence[Outcome[str, Prediction]], ranges: TrainingRanges
) -> list[tuple[str, str]]:
    """Subjects with what speaks against each, apart from what holds for all of them."""
    return [
        (outcome.task, warning)
        for outcome in outcomes
        if outcome.result is not None
        for warning in outcome.result.warnings
        if warning not in ranges.not_compared
    ]


def _row(outcome: Outcome[str, Prediction], folds: int) -> list[object]:
    prediction = outcome.result
    if prediction is None:
        error = " ".join((outcome.error or "no result").split())
        return [outcome.task, *[NOTHING] * (5 + folds), error]
    vote = prediction.vote
    p_rice_folds = [f"{p:.6f}" for p in vote.p_rice_folds]
    warnings = "; ".join(prediction.warnings) or NOTHING
    return [
        *(outcome.task, vote.predicted, f"{vote.p_rice:.6f}", vote.votes_rice, vote.three_way),
        *(*p_rice_folds, warnings, NOTHING),
    ]


def _predict(
    cohort: Path,
    ensemble_files: Path,
    seed: int,
    ranges: TrainingRanges,
    threshold: DecisionThreshold | None,
    subject: str,
) -> Prediction:
    raw = RawSubject(cohort, subject)
    scans = {modality: raw.scan(modality) for modality in MODALITIES}
    require_usable(subject, scans, parse_dose_sidecar(raw.dose_sidecar), raw.dose_sidecar.name)
    return predict_subject(raw, _loaded(ensemble_files), seed, ranges, threshold)


@functools.lru_cache(maxsize=1)
def _loaded(ensemble_files: Path) -> Ensemble:
    """The ensemble, read once a process."""
    return Ensemble.load(ensemble_files)
