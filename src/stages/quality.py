"""Stage `quality`: raw and preprocessed subjects -> work/quality, pages and measures to look at."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.config.params import read_params
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.screening.quality.examine_cohort import examine_cohort
from ricenet.screening.quality.pages import write_pages

logger = logging.getLogger("ricenet.stages.quality")

PREPROCESSED = Path("work/preprocessed")


def main() -> None:
    """Examine every subject of the checked cohort, and write the pages."""
    params = read_params()
    cohort = read_usable_cohort()
    digest = read_summary(PREPROCESSED)["digest"]
    stores = Path("work/store").absolute()
    examined = examine_cohort(cohort, PREPROCESSED, params.preprocessing.brain, params.execution, stores)
    marks = write_pages(examined, cohort, params.quality, digest, Path("work/quality"))
    for subject, found in marks.items():
        if found:
            logger.info("%s is marked: %s", subject, "; ".join(mark.reason for mark in found))
    marked = sum(bool(found) for found in marks.values())
    logger.info("quality: %d of %d subjects are marked; see work/quality/index.html", marked, len(marks))


if __name__ == "__main__":
    run_stage(main)
