"""What a table of scalars would know of each subject: what was measured, segmented, or stated in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import CERTAINTY, MISSING, Participant, read_participants
from ricenet.cohort.raw_record import RAW_STORE, records_of
from ricenet.cohort.visits import days_of
from ricenet.config.params import ExecutionParams
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.evaluation.evidence.baselines import MASKS, SITE, Scalars
from ricenet.evaluation.evidence.lesion_dose import LesionDoses
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.store import STORE, Store
from ricenet.runtime.tables import table_text


def cohort_scalars(
    cohort: CheckedCohort,
    preprocessed: Path,
    subjects: Iterable[str],
    execution: ExecutionParams,
    preprocessing: PreprocessingParams,
    stores: Path = STORE,
) -> dict[str, Scalars]:
    """The scalars of some subjects of a checked and preprocessed cohort; None where one is not known.

    Preprocessing measured them, and the check the masks of lesion and cavity; only for the dose at the lesion
    images are read, once for each subject. stores: the folder of the check's records and of these.
    Raises ResultError: a subject is not preprocessed. CohortError: files that became faulty since the check.
    """
    root, subjects, stores = Path(cohort.root), tuple(subjects), stores.absolute()
    table = read_participants(root / PARTICIPANTS_TABLE, None)
    records = records_of(cohort, execution, Store(stores / RAW_STORE.name))
    measuring = LesionDoses(
        root, cohort.volumes, preprocessed, preprocessing.grids["head"], preprocessing.dose_unit_gy
    )
    at_lesion = measuring.of(subjects, execution, Store(stores / "lesion_dose"))
    checked = {subject.participant_id: subject for subject in cohort.subjects}
    rows = {name: table.participants[one.patient] for name, one in checked.items()}
    # for subgroups alone; no key without the column, so that tables of before stay as they are
    certainty: dict[str, Scalars] = {
        subject: {CERTAINTY: row.label_certainty} if CERTAINTY in table.columns else {}
        for subject, row in rows.items()
    }
    radiation = _radiation(table.participants, [spec.name for spec in cohort.variables])
    return {
        subject: {
            **Measurements.of_subject(preprocessed / subject).scalars(cohort.volumes),
            **dict.fromkeys(MASKS),
            **records[subject].segmented_ml,
            **at_lesion[subject],
            **{name: _known(table.cells[checked[subject].patient].get(name)) for name in SITE},
            "sex": rows[subject].sex,
            "age_years": rows[subject].age_years,
            "days_rt_end_to_event": days_of(checked[subject], rows[subject]),
            **certainty[subject],
            **checked[subject].variables,
            **radiation.get(checked[subject].patient, {}),
        }
        for subject in subjects
    }


def _radiation(participants: Mapping[str, Participant], declared: Iterable[str]) -> dict[str, Scalars]:
    """The kind of radiation of each subject, where any states one and it is no declared variable."""
    found = {subject: row.rt_modality for subject, row in participants.items()}
    if "rt_modality" in declared or not any(found.values()):
        return {}
    return {subject: {"rt_modality": modality} for subject, modality in found.items()}


def scalars_table(scalars: Mapping[str, Scalars]) -> str:
    """TSV text, a row a subject; n/a where a value is not known."""
    names = list(next(iter(scalars.values()), {}))
    rows = [[subject, *(_cell(values[name]) for name in names)] for subject, values in scalars.items()]
    return table_text(["participant_id", *names], rows)


def _known(cell: str | None) -> str | None:
    return None if cell in (None, "", MISSING) else cell


def _cell(value: float | str | None) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else f"{value:.6g}"
