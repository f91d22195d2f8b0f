"""Stage `split`: work/cohort -> work/splits/splits.json."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.cohort.splits import make_splits, write_splits
from ricenet.config.params import read_params

logger = logging.getLogger("ricenet.stages.split")


def main() -> None:
    """Divide the checked cohort once, for every modality set."""
    params = read_params()
    subjects = read_usable_cohort().subjects
    splits = make_splits(subjects, params.split.folds, params.split.test_fraction, params.seed)
    write_splits(splits, Path("work/splits/splits.json"))
    logger.info(
        "%d subjects in %d folds, %d in the test set",
        len(splits.development),
        len(splits.folds),
        len(splits.test),
    )


if __name__ == "__main__":
    run_stage(main)
