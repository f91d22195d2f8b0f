"""Stage `evidence`: held-out predictions -> work/evidence: intervals, tests, baselines, calibration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import CheckedCohort, having, read_usable_cohort
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.params import Params, read_params
from ricenet.evaluation.evidence.baselines import Scalars
from ricenet.evaluation.evidence.build import CrossValidation, EvidenceSettings, build_evidence
from ricenet.evaluation.evidence.curve_points import read_curve_answers
from ricenet.evaluation.evidence.gate import gate_record
from ricenet.evaluation.evidence.group_baselines import FILTERS, cohort_convolutions
from ricenet.evaluation.evidence.record import read_repeats
from ricenet.evaluation.evidence.scalars import cohort_scalars
from ricenet.evaluation.evidence.visits import VisitEvidence, visit_evidence, visit_times, visits_table
from ricenet.evaluation.evidence.written import write_evidence
from ricenet.evaluation.held_out import lacking, read_by_subset, read_visits_out_of_fold
from ricenet.evaluation.labels.build import build_label_evidence, write_label_evidence
from ricenet.evaluation.labels.gate import label_gate_record
from ricenet.evaluation.labels.held_out import read_out_of_fold_labels
from ricenet.runtime.files import read_json
from ricenet.runtime.workers import one_thread
from ricenet.screening.guards.fold_guards import guards_of_training
from ricenet.screening.guards.result import GuardResult, read_guards
from ricenet.training.ensemble_record import RECORD, read_record
from ricenet.training.label_predictions import LabelPrediction
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import is_rice_task

logger = logging.getLogger("ricenet.stages.evidence")

WORK, ENSEMBLES = Path("work"), Path("models/ensembles")


def main() -> None:
    """Write evidence.json and its tables."""
    with one_thread():
        write()


def write() -> None:
    """The same, on as many threads as there are."""
    params, cohort = read_params(), read_usable_cohort()
    splits = read_splits(WORK / "splits" / "splits.json")
    sets = params.volumes.in_order(params.modality_sets)
    excluded = {name: lacking(cohort, splits, name) for name in sets}
    scalars = cohort_scalars(
        cohort, WORK / "preprocessed", splits.development, params.execution, params.preprocessing
    )
    guards = [
        *read_guards(WORK / "guards" / "guards.json"),
        *guards_of_training(WORK / "training", sets, splits, cohort, WORK / "tuning"),
    ]
    for guard in guards:
        if guard.outcome in ("failed", "warning"):
            logger.warning("guard %s: %s: %s", guard.name, guard.outcome, guard.found)
    if not is_rice_task(splits.label_names):
        of_labels = {
            name: read_out_of_fold_labels(WORK / "training", name, splits, excluded[name]) for name in sets
        }
        _write_of_labels(of_labels, scalars, guards, splits, params)
        return
    by_visit = {
        name: read_visits_out_of_fold(WORK / "training", name, splits, excluded[name]) for name in sets
    }
    predictions = {
        name: [p for p in rows if p.participant_id in splits.labels] for name, rows in by_visit.items()
    }
    evidence = build_evidence(
        _cross_validation(predictions, scalars, cohort, splits, excluded, params),
        guards,
        read_repeats(WORK / "repeats"),
        splits,
        params.volumes,
        params.variables,
        EvidenceSettings(
            params.seed,
            params.evidence.resamples,
            params.evidence.target_error,
            params.evidence.conformal_coverage,
            params.evidence.learning_curve.growth,
            params.evidence.harmonisation,
        ),
    )
    gates = [
        gate_record(
            name, read_json(ENSEMBLES / name / RECORD), WORK / "training", predictions[name], evidence
        )
        for name in sets
    ]
    write_evidence(
        evidence, predictions, scalars, gates, WORK / "evidence", _of_visits(by_visit, cohort, splits, params)
    )
    logger.info("%s", evidence.audit.verdict)
    if left := evidence.audit.unharmonised:
        logger.warning(
            "evidence.harmonisation: %d held-out subject(s) come from a site of which the other folds hold "
            "too few; their intensities are judged as they are",
            left,
        )


def _cross_validation(
    predictions: Mapping[str, Sequence[Prediction]],
    scalars: Mapping[str, Scalars],
    cohort: CheckedCohort,
    splits: Splits,
    excluded: Mapping[str, set[str]],
    params: Params,
) -> CrossValidation:
    curves = read_curve_answers(WORK / "learning_curve", predictions, splits, excluded)
    who_has = {name: set(having(cohort, name)) for name in params.volumes.names}
    convolutions = cohort_convolutions(
        WORK / "preprocessed",
        {s: [name for name, those in who_has.items() if s in those] for s in splits.development},
        # the crop around the high dose, where it is made: a regression sees more in it than in a coarse head
        params.preprocessing.grids.get("crop", params.preprocessing.grids["head"]),
        FILTERS,
        params.seed,
    )
    by_subset = {
        name: read_by_subset(WORK / "training", name, splits, excluded[name], params.volumes)
        for name in predictions
        if read_record(ENSEMBLES / name).network.may_lack_volumes
    }
    return CrossValidation(predictions, scalars, convolutions, curves, by_subset)


def _of_visits(
    by_visit: Mapping[str, Sequence[Prediction]], cohort: CheckedCohort, splits: Splits, params: Params
) -> tuple[VisitEvidence, str] | None:
    """Where a subject has several; with the table of all."""
    if not splits.later:
        return None
    times, events = visit_times(cohort), set(splits.labels)
    found = visit_evidence(by_visit, events, times, params.seed, params.evidence.resamples)
    return found, visits_table(by_visit, times)


def _write_of_labels(
    predictions: Mapping[str, Sequence[LabelPrediction]],
    scalars: Mapping[str, Scalars],
    guards: Sequence[GuardResult],
    splits: Splits,
    params: Params,
) -> None:
    """The same of other labels than the paper's two."""
    evidence = build_label_evidence(
        predictions,
        scalars,
        guards,
        read_repeats(WORK / "repeats"),
        splits,
        params.controls,
        params.volumes,
        params.variables,
        params.seed,
        params.evidence.resamples,
        params.evidence.target_error,
        params.evidence.conformal_coverage,
    )
    gates = [
        label_gate_record(name, read_json(ENSEMBLES / name / RECORD), WORK / "training", rows, evidence)
        for name, rows in predictions.items()
    ]
    write_label_evidence(evidence, scalars, gates, WORK / "evidence")
    logger.info("%s", evidence.verdict)


if __name__ == "__main__":
    run_stage(main)
