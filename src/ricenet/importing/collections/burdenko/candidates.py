"""Every patient of Burdenko-GBM-Progression, to be imported or excluded with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ricenet.cohort.participants import MISSING
from ricenet.importing.collections.burdenko.labels import FirstEvent, LabelRules, first_event
from ricenet.importing.collections.burdenko.table import ClinicalRow
from ricenet.importing.collections.burdenko.visits import choose_visits
from ricenet.importing.dicom.instances import DicomTree, Series
from ricenet.importing.import_cohort import Candidate, Exclusion
from ricenet.importing.import_subject import FROM_FILES, SubjectWriter

SITE = "Burdenko"

COLUMNS: Mapping[str, str] = {
    "label": "recurrence or rice, by the first event of the follow-up; rice stands for pseudo progression",
    "label_source": "follow_up: the response that the collection's clinical table states",
    "subset": "n/a: no test set is named by the collection",
    "site": "the collection",
    "age_years": "age at the collection's study date",
    "sex": "F or M",
    "mgmt": "promoter methylation, positive or negative",
    "idh": "IDH1/2 mutation, positive or negative",
    **FROM_FILES,
    "follow_up": "number of the follow-up visit of the event; it alone tells much of the label",
    "label_confidence": "high, or low for a pseudo progression that is called a response as well",
    "distant": "yes for a progression away from the irradiated tumour, else no",
}
"""What each column of participants.tsv means."""


def burdenko_candidates(
    rows: Sequence[ClinicalRow], tree: DicomTree, rules: LabelRules, tolerance_days: int, seed: int
) -> list[Candidate]:
    """One candidate a patient of the clinical table, in its order, then those with images alone."""
    series_of: dict[str, list[Series]] = {patient_id: [] for patient_id in tree.patient_ids}
    for series in tree.series:
        series_of[series.first.patient_id].append(series)
    listed = {row.patient_id for row in rows}
    unlisted = [patient_id for patient_id in tree.patient_ids if patient_id not in listed]
    candidates = [
        _candidate(row, series_of.get(row.patient_id, []), rules, tolerance_days, seed) for row in rows
    ]
    reason = "images, but no row in the clinical table"
    return candidates + [Candidate(patient_id, _columns({}), exclusion=reason) for patient_id in unlisted]


def _candidate(
    row: ClinicalRow, series: Sequence[Series], rules: LabelRules, tolerance_days: int, seed: int
) -> Candidate:
    origin = f"line {row.line} of the clinical table"
    event = first_event(row, rules)
    source = event if isinstance(event, Exclusion) else choose_visits(series, row, event, tolerance_days)
    if isinstance(event, Exclusion) or isinstance(source, Exclusion):
        reason = next(found.reason for found in (event, source) if isinstance(found, Exclusion))
        return Candidate(row.patient_id, _columns(row.columns), exclusion=reason, origin=origin)
    write = SubjectWriter(source, seed, event.rt_end)
    columns = _columns({**row.columns, **_event_columns(event)})
    return Candidate(row.patient_id, columns, write=write, content=write.content, origin=origin)


def _columns(known: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, MISSING) | {"site": SITE} | dict(known)


def _event_columns(event: FirstEvent) -> dict[str, str]:
    return {
        "label": event.meaning.label,
        "label_source": "follow_up",
        "follow_up": str(event.follow_up),
        "label_confidence": event.meaning.confidence,
        "distant": "yes" if event.meaning.distant else "no",
    }
