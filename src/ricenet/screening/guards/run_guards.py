"""All guards that need no training, in the order in which they are reported."""

from __future__ import annotations

from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.raw_record import RAW_STORE, records_of
from ricenet.config.params import ExecutionParams
from ricenet.runtime.store import Store
from ricenet.screening.guards.fold_guards import subject_in_two_places
from ricenet.screening.guards.image_guards import same_image, similar_image
from ricenet.screening.guards.input_fingerprint import foreign_normalisation, input_fingerprints
from ricenet.screening.guards.label_leakage import label_leakage
from ricenet.screening.guards.properties import properties_of
from ricenet.screening.guards.result import GuardResult
from ricenet.screening.guards.site_shortcut import site_shortcut


def guards_of_cohort(
    cohort: CheckedCohort,
    preprocessed: Path,
    splits: Path,
    similar_correlation: float,
    dose_unit_gy: float,
    execution: ExecutionParams,
    store: Path,
) -> tuple[GuardResult, ...]:
    """Read what the store lacks of every subject, and run the guards on it.

    store: the folder with the stores of all kinds.
    Raises CohortError: files that cannot be read. ResultError: a missing result of an earlier stage.
    """
    places = subject_in_two_places(splits)
    records = records_of(cohort, execution, Store(store / RAW_STORE.name))
    read = input_fingerprints(cohort, preprocessed, dose_unit_gy, execution, Store(store / "guards"))
    subjects, properties = sorted(records), properties_of(Path(cohort.root), records)
    return (
        places,
        same_image(records, cohort.volumes),
        similar_image(subjects, read, cohort.volumes, similar_correlation),
        label_leakage(properties, cohort.labels),
        site_shortcut(properties, cohort.labels, read, cohort.volumes),
        foreign_normalisation(subjects, read),
    )
