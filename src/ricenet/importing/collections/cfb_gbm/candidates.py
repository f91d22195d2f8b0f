"""Every patient of CFB-GBM, to be imported or excluded with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ricenet.cohort.participants import MISSING
from ricenet.importing.collections.cfb_gbm.files import CfbFiles, find_files
from ricenet.importing.collections.cfb_gbm.labels import CfbEvent, choose_event
from ricenet.importing.collections.cfb_gbm.patient import write_cfb_subject
from ricenet.importing.collections.cfb_gbm.tables import CfbPatient
from ricenet.importing.import_cohort import Candidate, Exclusion
from ricenet.importing.sources import code_of

SITE = "CFB"

COLUMNS: Mapping[str, str] = {
    "label": "n/a, or by choice the weak label; no accuracy is to be quoted on it",
    "label_source": "follow_up for a weak label, else n/a",
    "subset": "n/a: no test set is named by the collection",
    "site": "the collection",
    "age_years": "age at t0, rounded by the collection to five years",
    "sex": "F or M",
    "mgmt": "n/a: not distributed",
    "idh": "n/a: not distributed",
    "days_rt_end_to_event": "n/a: the end of radiotherapy is not distributed",
    "days_rt_start_to_event": "from the start of radiotherapy to the event; of whole weeks, so approximate",
    "weeks_t0_to_event": "from t0 to the event",
    "follow_up": "1 where the event is the visit t1, 2 where it is t2",
    "weak_label": "of a progression at t1 by volume: recurrence if it is one at t2 too, else rice_candidate",
}
"""What each column of participants.tsv means."""

_LABELS = {"recurrence": "recurrence", "rice_candidate": "rice"}


def cfb_candidates(
    patients: Sequence[CfbPatient],
    folders: Mapping[int, Sequence[Path]],
    follow_up: int | None,
    weak_labels: bool,
) -> list[Candidate]:
    """One candidate a patient of the tables, by number, then those with a folder alone.

    weak_labels: write them as labels. folders: by the patient's number.
    """
    unlisted = sorted(folders.keys() - {patient.number for patient in patients})
    candidates = [_candidate(patient, folders, follow_up, weak_labels) for patient in patients]
    reason = "a folder, but no row in the tables"
    return candidates + [
        Candidate(_patient_id(number), _columns({}), exclusion=reason) for number in unlisted
    ]


def _candidate(
    patient: CfbPatient, folders: Mapping[int, Sequence[Path]], follow_up: int | None, weak_labels: bool
) -> Candidate:
    event = choose_event(patient, follow_up)
    try:
        files = event if isinstance(event, Exclusion) else find_files(folders, patient, event.visit)
        content = [] if isinstance(files, Exclusion) else _content(files)
    except OSError as error:
        # without the path, which holds the patient's number
        files = Exclusion(f"a folder or file cannot be opened ({error.strerror or type(error).__name__})")
    if isinstance(event, Exclusion) or isinstance(files, Exclusion):
        reason = next(found.reason for found in (event, files) if isinstance(found, Exclusion))
        return Candidate(_patient_id(patient.number), _columns(patient.columns), exclusion=reason)
    stated = (patient.prescription_gy, patient.fractions)
    return Candidate(
        _patient_id(patient.number),
        _columns({**patient.columns, **_event_columns(event, weak_labels)}),
        write=partial(write_cfb_subject, files, *stated),
        content=[*stated, content, code_of(write_cfb_subject.__module__)],
    )


def _patient_id(number: int) -> str:
    # padded, so that the order of texts is that of the numbers
    return f"{number:03d}"


def _columns(known: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, MISSING) | {"site": SITE} | dict(known)


def _event_columns(event: CfbEvent, weak_labels: bool) -> dict[str, str]:
    columns = {"follow_up": str(event.follow_up), "weeks_t0_to_event": str(event.weeks_from_t0)}
    if event.days_from_rt_start is not None:
        columns["days_rt_start_to_event"] = str(event.days_from_rt_start)
    if event.weak_label is not None:
        columns["weak_label"] = event.weak_label
        if weak_labels:
            columns |= {"label": _LABELS[event.weak_label], "label_source": "follow_up"}
    return columns


def _content(files: CfbFiles) -> list[object]:
    """The files in the order of their roles, as they are now."""
    status = [(path.name, path.stat()) for path in files.all]
    return [[name, found.st_size, found.st_mtime_ns] for name, found in status]
