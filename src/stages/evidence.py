"""Stage `evidence`: held-out predictions -> work/evidence: intervals, tests, baselines, calibration."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.config import read_params
from ricenet.ensemble import RECORD
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.predictions import read_out_of_fold
from ricenet.evidence.build import build_evidence
from ricenet.evidence.cohort_scalars import cohort_scalars
from ricenet.evidence.gate import gate_record
from ricenet.evidence.held_out import HeldOut
from ricenet.evidence.output import write_evidence
from ricenet.evidence.repeats import read_repeats
from ricenet.files import read_json
from ricenet.guards.training import guards_of_training
from ricenet.guards.verdict import read_guards
from ricenet.splits import read_splits
from ricenet.store import Store

logger = logging.getLogger("ricenet.stages.evidence")

WORK, ENSEMBLES = Path("work"), Path("models/ensembles")


def main() -> None:
    """Write evidence.json and its tables."""
    params = read_params()
    splits = read_splits(WORK / "splits" / "splits.json")
    sets = in_paper_order(params.modality_sets)
    predictions = {name: read_out_of_fold(WORK / "training", name, splits) for name in sets}
    held_out = HeldOut.of(predictions)
    scalars = cohort_scalars(
        read_usable_cohort(),
        WORK / "preprocessed",
        held_out.subjects,
        params.execution,
        Store((WORK / "store" / "scalars").absolute()),
    )
    guards = [
        *read_guards(WORK / "guards" / "guards.json"),
        *guards_of_training(WORK / "training", sets, splits, WORK / "tuning"),
    ]
    evidence = build_evidence(
        held_out,
        scalars,
        guards,
        read_repeats(WORK / "repeats"),
        splits.digest,
        params.seed,
        params.evidence.resamples,
        params.evidence.target_error,
    )
    gates = [
        gate_record(
            name, read_json(ENSEMBLES / name / RECORD), WORK / "training", predictions[name], evidence
        )
        for name in sets
    ]
    write_evidence(evidence, held_out, scalars, gates, WORK / "evidence")
    logger.info("%s", evidence.audit.verdict)
    for guard in guards:
        if guard.outcome in ("failed", "warning"):
            logger.warning("guard %s: %s: %s", guard.name, guard.outcome, guard.found)


if __name__ == "__main__":
    run_stage(main)
