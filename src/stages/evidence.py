"""Stage `evidence`: held-out predictions -> work/evidence: intervals, tests, baselines, calibration."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config import read_params
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.predictions import read_out_of_fold
from ricenet.evidence.build import build_evidence
from ricenet.evidence.held_out import HeldOut
from ricenet.evidence.output import write_evidence
from ricenet.evidence.repeats import read_repeats
from ricenet.evidence.scalars import cohort_scalars
from ricenet.guards.training import guards_of_training
from ricenet.guards.verdict import read_guards
from ricenet.splits import read_splits

logger = logging.getLogger("ricenet.stages.evidence")

WORK = Path("work")


def main() -> None:
    """Write evidence.json and its tables."""
    params = read_params()
    splits = read_splits(WORK / "splits" / "splits.json")
    sets = in_paper_order(params.modality_sets)
    held_out = HeldOut.of({name: read_out_of_fold(WORK / "training", name, splits) for name in sets})
    scalars = cohort_scalars(Path(params.cohort.root), WORK / "preprocessed", held_out.subjects)
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
    write_evidence(evidence, held_out, scalars, WORK / "evidence")
    logger.info("%s", evidence.audit.verdict)
    for guard in guards:
        if guard.outcome in ("failed", "warning"):
            logger.warning("guard %s: %s: %s", guard.name, guard.outcome, guard.found)


if __name__ == "__main__":
    run_stage(main)
