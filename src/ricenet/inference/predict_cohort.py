"""Predictions for a folder of subjects in the raw cohort's layout; labels are not needed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.layout import PARTICIPANTS_TABLE, RawSubject, is_there
from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.cohort.problems import Finding, report_text
from ricenet.cohort.table_variables import INTERVAL
from ricenet.cohort.tsv import read_tsv
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import Visits, read_visits
from ricenet.config.params import ExecutionParams
from ricenet.inference.case import require_usable
from ricenet.inference.label_answers import LabelVote, vote_cells, vote_columns
from ricenet.inference.missing_volumes import volumes_of_case
from ricenet.inference.predict_subject import Prediction, Predictor, parsed_variables
from ricenet.inference.test_label_sets import set_text
from ricenet.inference.training_ranges import TrainingRanges
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.tables import table_text
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import LABELS, LabelNames, is_rice_task

logger = logging.getLogger(__name__)

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
    folder: Path, predictor: Predictor, execution: ExecutionParams
) -> list[Outcome[str, Prediction]]:
    """Predict every subject of a folder; a failing one neither stops the others nor vanishes.

    Where the folder has a participants table, the model's variables are taken from it. Of a subject with a
    table of visits, every visit is predicted (docs/visits.md).
    Returns the outcomes in order of name.
    Raises CohortError: as `subjects_in`, or a table that cannot be read.
    """
    patients = subjects_in(folder)
    visits = read_visits(folder, {}, patients, None)
    if visits.problems:
        raise CohortError(report_text(folder.absolute().name, visits.problems))
    subjects = list(visits.samples(patients))
    variables = _variables(folder, predictor.ensemble.record)
    variables |= _of_visits(variables, visits, predictor.ensemble.record)
    return run_tasks(
        functools.partial(_predict, folder.absolute(), predictor, variables),
        subjects,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "predicting",
        gpus_per_worker=execution.gpus_per_worker,
    )


def prediction_table(
    outcomes: Sequence[Outcome[str, Prediction]],
    folds: int,
    model: str,
    digest: str,
    label_names: LabelNames = LABELS,
) -> str:
    """A row per subject, tab-separated; n/a where nothing is known. model, digest: in every row."""
    if not is_rice_task(label_names):
        columns = [*vote_columns(label_names, folds), "answer_why"]
        rows = [[*_label_row(outcome, len(columns)), model, digest] for outcome in outcomes]
        return table_text(["participant_id", *columns, "warnings", "error", "model", "digest"], rows)
    votes = [
        "label",
        "p_rice",
        "p_rice_calibrated",
        "votes_rice",
        "three_way",
        "three_way_why",
        "label_set",
        *(f"fold_{k}" for k in range(folds)),
    ]
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


def _label_row(outcome: Outcome[str, Prediction], columns: int) -> list[object]:
    prediction = outcome.result
    if prediction is None or not isinstance(prediction.vote, LabelVote):
        error = " ".join((outcome.error or "no result").split())
        return [outcome.task, *[NOTHING] * (columns + 1), error]
    vote, warnings = prediction.vote, "; ".join(prediction.warnings) or NOTHING
    return [outcome.task, *vote_cells(vote), vote.why, warnings, NOTHING]


def _row(outcome: Outcome[str, Prediction], folds: int) -> list[object]:
    prediction = outcome.result
    if prediction is None or isinstance(prediction.vote, LabelVote):
        error = " ".join((outcome.error or "no result").split())
        return [outcome.task, *[NOTHING] * (8 + folds), error]
    vote = prediction.vote
    p_rice_folds = [f"{p:.6f}" for p in vote.p_rice_folds]
    warnings = "; ".join(prediction.warnings) or NOTHING
    return [
        *(outcome.task, vote.predicted, f"{vote.p_rice:.6f}", vote.calibrated_text),
        *(vote.votes_rice, vote.three_way, vote.decision.why, set_text(vote.decision.labels, NOTHING)),
        *(*p_rice_folds, warnings, NOTHING),
    ]


def _variables(folder: Path, record: EnsembleRecord) -> dict[str, dict[str, str]]:
    """By subject: the cells of its row in the participants table that hold variables of the model."""
    table = read_tsv(folder / PARTICIPANTS_TABLE)
    columns = {spec.name: spec.source_column for spec in record.variables if spec.source_column is not None}
    if table is None or not columns:
        return {}
    if isinstance(table, Finding):
        raise CohortError(f"{PARTICIPANTS_TABLE}: {table.found}. {table.remedy}")
    header, *rows = table.cells
    if "participant_id" not in header:
        raise CohortError(f"{PARTICIPANTS_TABLE}: no column participant_id. Add it, or remove the table")
    for column in columns.values():
        if column not in header:
            logger.warning("warning: %s has no column %s: taken as not known", PARTICIPANTS_TABLE, column)
    named = [dict(zip(header, row, strict=False)) for row in rows if any(row)]
    return {
        row["participant_id"]: {name: row[column] for name, column in columns.items() if column in row}
        for row in named
    }


def _of_visits(
    variables: Mapping[str, Mapping[str, str]], visits: Visits, record: EnsembleRecord
) -> dict[str, dict[str, str]]:
    """By sample, of subjects with a table of visits: the patient's variables, with the visit's days."""
    counted = [spec.name for spec in record.variables if spec.source_column == INTERVAL]
    return {
        sample_name(patient, visit.number): {
            **variables.get(patient, {}),
            **dict.fromkeys(counted, NOTHING if visit.days is None else str(visit.days)),
        }
        for patient, of_patient in visits.of_patients.items()
        for visit in of_patient
    }


def _predict(
    cohort: Path, predictor: Predictor, variables: Mapping[str, Mapping[str, str]], subject: str
) -> Prediction:
    record = predictor.ensemble.record
    declared = RawSubject(cohort, subject, record.volumes)
    there = [name for name in record.volumes.names if is_there(declared.scan(name))]
    raw = RawSubject(cohort, subject, volumes_of_case(record, there, subject))
    require_usable(raw)
    return predictor.subject(raw, parsed_variables(variables.get(subject, {}), record, subject))
