"""All guards that need no training, in the order in which they are reported."""

from __future__ import annotations

from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.first_events import first_events
from ricenet.cohort.raw_record import RAW_STORE, records_of
from ricenet.config.params import ExecutionParams
from ricenet.runtime.store import Store
from ricenet.screening.guards.fold_guards import subject_in_two_places
from ricenet.screening.guards.image_guards import same_image, similar_image
from ricenet.screening.guards.input_fingerprint import (
    InputFingerprint,
    foreign_normalisation,
    input_fingerprints,
)
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
    patients, events = cohort.patients, first_events(cohort.subjects)
    places = subject_in_two_places(splits, patients)
    records = records_of(cohort, execution, Store(store / RAW_STORE.name))
    read = input_fingerprints(cohort, preprocessed, dose_unit_gy, execution, Store(store / "guards"))
    subjects = sorted(records)
    # one visit a patient, under the patient's name, as participants.tsv has it
    of_patients = {patient: records[event.participant_id] for patient, event in events.items()}
    properties = properties_of(Path(cohort.root), of_patients)
    labels = {patient: event.label for patient, event in events.items() if event.label is not None}

    def by_patient(patient: str) -> InputFingerprint:
        return read(events[patient].participant_id)

    return (
        places,
        same_image(records, cohort.volumes, patients),
        similar_image(subjects, read, cohort.volumes, similar_correlation, patients),
        label_leakage(properties, labels),
        site_shortcut(properties, labels, by_patient, cohort.volumes),
        foreign_normalisation(subjects, read),
    )
