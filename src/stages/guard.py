"""Stage `guard`: cohort, preprocessed volumes, splits -> work/guards; stops where something leaks."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.config.params import read_params
from ricenet.runtime.store import STORE
from ricenet.screening.guards.result import guards_verdict, write_guards
from ricenet.screening.guards.run_guards import guards_of_cohort

logger = logging.getLogger("ricenet.stages.guard")


def main() -> None:
    """Run every guard that needs no training, write what they found, and refuse a leak."""
    params = read_params()
    results = guards_of_cohort(
        read_usable_cohort(),
        Path("work/preprocessed"),
        Path("work/splits/splits.json"),
        params.guards.similar_correlation,
        params.preprocessing.dose_unit_gy,
        params.execution,
        STORE.absolute(),
    )
    for result in results:
        if result.outcome == "warning":
            logger.warning("guard %s", result)
    write_guards(results, params.guards.tolerated)
    logger.info("guards %s; see work/guards/guards.json", guards_verdict(results))


if __name__ == "__main__":
    run_stage(main)
