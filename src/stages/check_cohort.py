"""Check the raw cohort before anything else reads it."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import CHECKED_COHORT_FILE, write_checked_cohort
from ricenet.cohort.checks import admit, check_cohort, write_problems
from ricenet.cohort.counts import Demands, doubtful_by_counts, forbidden_by_counts
from ricenet.cohort.raw_record import RAW_STORE
from ricenet.config.params import read_params
from ricenet.runtime.errors import SplitError
from ricenet.runtime.store import Store

logger = logging.getLogger("ricenet.stages.check_cohort")  # __name__ is __main__ here


def main() -> None:
    """Write work/cohort/problems.json, and work/cohort/cohort.json where the cohort is admitted."""
    params = read_params()
    # an earlier cohort must not outlive a check that fails
    CHECKED_COHORT_FILE.unlink(missing_ok=True)
    root, store = Path(params.cohort.root), Store(RAW_STORE.absolute())
    report = check_cohort(root, params.volumes, params.variables, store, params.execution, params.labels)
    write_problems(report)
    cohort = admit(report, params.cohort.exclude_faulty)
    if forbidden := forbidden_by_counts(cohort.subjects, Demands.of(params)):
        raise SplitError("\n  - ".join(["too few subjects for what params.yaml asks:", *forbidden]))
    for text in doubtful_by_counts(cohort.subjects, params.split.by, cohort.label_names):
        logger.warning("warning: %s", text)
    write_checked_cohort(cohort)
    logger.info("%s", cohort.summary())


if __name__ == "__main__":
    run_stage(main)
