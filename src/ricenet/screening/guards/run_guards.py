"""All guards that need no training, in the order in which they are reported."""

from __future__ import annotations

from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.config.params import ExecutionParams
from ricenet.runtime.store import Store
from ricenet.screening.guards.fingerprints import look_at_cohort
from ricenet.screening.guards.label_leakage import label_given_away
from ricenet.screening.guards.normalisation import foreign_normalisation
from ricenet.screening.guards.places import subject_in_two_places
from ricenet.screening.guards.properties import properties_of
from ricenet.screening.guards.result import GuardResult
from ricenet.screening.guards.same_image import same_image
from ricenet.screening.guards.similar_image import similar_image


def guards_of_cohort(
    cohort: CheckedCohort,
    preprocessed: Path,
    splits: Path,
    similar_correlation: float,
    dose_unit_gy: float,
    execution: ExecutionParams,
    store: Store,
) -> tuple[GuardResult, ...]:
    """Look at every subject, unless the store knows it, and run the guards on what was seen.

    Raises CohortError: files that cannot be read. ResultError: a missing result of an earlier stage.
    """
    places = subject_in_two_places(splits)
    looks = look_at_cohort(cohort, preprocessed, dose_unit_gy, execution, store)
    labels = {s.participant_id: s.label for s in cohort.subjects if s.label is not None}
    properties = properties_of(Path(cohort.root), looks.raw)
    subjects = sorted(looks.preprocessed)
    return (
        places,
        same_image(looks.raw),
        similar_image(subjects, looks.preprocessed_look, similar_correlation),
        label_given_away(properties, labels),
        foreign_normalisation(subjects, looks.preprocessed_look),
    )
