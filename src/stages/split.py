"""Stage `split`: work/cohort and models/folds.json -> work/splits/splits.json, and the record renewed."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.cohort.settled_places import PLACES_FILE, Changes, SettledPlaces, read_places
from ricenet.cohort.splits import make_splits, write_splits
from ricenet.config.params import read_params

logger = logging.getLogger("ricenet.stages.split")


def main() -> None:
    """Divide the checked cohort once, for every modality set; whoever had a place keeps it."""
    params = read_params()
    cohort, former = read_usable_cohort(), read_places()
    if former is not None and former.cohort != cohort.root:
        logger.info("%s is of %s; %s is dealt anew", PLACES_FILE, former.cohort, cohort.root)
        former = None
    folds, test_fraction = params.split.folds, params.split.test_fraction
    by, names = params.split.by, cohort.label_names
    splits = make_splits(cohort.subjects, folds, test_fraction, params.seed, former, by, names)
    write_splits(splits, Path("work/splits/splits.json"))
    patients = cohort.patients
    places = SettledPlaces(
        cohort=cohort.root,
        seed=params.seed,
        test_fraction=test_fraction,
        by=by,
        folds=tuple(tuple(patients.get(s, s) for s in fold) for fold in splits.folds),
        test=tuple(patients.get(s, s) for s in splits.test),
    )
    places.write(PLACES_FILE)
    logger.info(
        "%d subjects in %d folds%s, %d in the test set",
        len(splits.development),
        len(splits.folds),
        ", one a site" if by == "site" else "",
        len(splits.test),
    )
    if former is not None:
        logger.info("since the former division (%s): %s", PLACES_FILE, Changes.between(former, places).text)


if __name__ == "__main__":
    run_stage(main)
