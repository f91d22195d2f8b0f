"""From the rows of the map to each patient's chosen objects: what contradicts the export is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ricenet.importing.dicom.instances import DicomTree, Instance, Kind, Series
from ricenet.importing.radiotherapy import instances_of
from ricenet.importing.series_map import UNDECIDED, MapRow, Role, SeriesMap
from ricenet.importing.sources import DoseChoice, PatientSource
from ricenet.importing.tables import Fault, problem_list
from ricenet.runtime.errors import CohortError

NEEDED: tuple[Role, ...] = ("post_op", "event", "dose")
ONCE: tuple[Role, ...] = ("post_op", "event", "planning_ct")
"""Roles that one row of a patient can have; doses may be several."""

_KINDS: Mapping[Role, Kind] = {"post_op": "MR", "event": "MR", "dose": "RTDOSE", "planning_ct": "CT"}
_NOUNS: Mapping[Kind, str] = {"MR": "an MR series", "CT": "a CT series", "RTDOSE": "an RTDOSE"}


@dataclass(frozen=True)
class Selection:
    """One patient of the map. lines: its first row, in the map. undecided: lines of rows that say ?.

    source: None where roles are undecided or missing.
    """

    patient_id: str
    line: int
    source: PatientSource | None
    undecided: tuple[int, ...] = ()
    missing: tuple[Role, ...] = ()


@dataclass(frozen=True)
class _Export:
    """An export, looked up by what rows of a map say. objects: by patient and uid."""

    objects: Mapping[tuple[str, str], Series | Instance]
    uids: frozenset[str]
    series: Mapping[str, Sequence[Series]]

    @classmethod
    def of(cls, tree: DicomTree) -> _Export:
        objects = {(_patient(one), _uid(one)): one for one in _listable(tree)}
        # one walk through the series, since every patient's are looked up
        in_order = sorted(tree.series, key=_patient)
        series = {patient: tuple(of_patient) for patient, of_patient in groupby(in_order, key=_patient)}
        return cls(objects, frozenset(uid for _, uid in objects), series)


def select(tree: DicomTree, series_map: SeriesMap, path: Path) -> tuple[Selection, ...]:
    """Each patient's chosen objects, in the order of the map. path: of the map, for messages.

    Raises CohortError: rows that are malformed, contradict each other or do not fit the export; all of
    them together, by line, without what a cell says.
    """
    export = _Export.of(tree)
    faults = [*series_map.faults, *_repeated(series_map.rows)]
    for row in series_map.rows:
        faults += [Fault((row.line,), text) for text in _faults(row, export)]
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    if not series_map.rows:
        raise CohortError(f"{path.name}: has no row. Remove it to have it proposed anew, or add rows")
    of_patient: dict[str, list[MapRow]] = {}
    for row in series_map.rows:
        of_patient.setdefault(row.patient_id, []).append(row)
    return tuple(_selection(patient, rows, export) for patient, rows in of_patient.items())


def _listable(tree: DicomTree) -> list[Series | Instance]:
    """What rows stand for: MR and CT series, RTDOSE instances."""
    images: list[Series | Instance] = [one for one in tree.series if one.kind in ("MR", "CT")]
    return images + list(instances_of(tree.series, "RTDOSE"))


def _patient(one: Series | Instance) -> str:
    return one.first.patient_id if isinstance(one, Series) else one.patient_id


def _uid(one: Series | Instance) -> str:
    return one.uid if isinstance(one, Series) else one.sop_instance_uid


def _faults(row: MapRow, export: _Export) -> list[str]:
    """What keeps a row, taken alone, from standing for something in the export."""
    found = export.objects.get((row.patient_id, row.uid))
    if found is None:
        return [_unknown(row, export)]
    faults = []
    kind = _KINDS.get(row.role)
    if kind is not None and found.kind != kind:
        faults.append(
            f"the role {row.role} needs {_NOUNS[kind]}, and this is {_NOUNS[found.kind]}. Correct the role"
        )
    if row.role in ONCE and any(one is not None for one in row.statements):
        faults.append(
            f"course, dose_of, fractions or prescription_gy stands beside the role {row.role}. "
            "Write it into the rows of doses"
        )
    return faults


def _unknown(row: MapRow, export: _Export) -> str:
    if row.uid in export.uids:
        return (
            "the uid is another patient's than the patient_id says. Correct one of them "
            "(spreadsheets drop zeros at the start of a number)"
        )
    if row.patient_id not in export.series:
        return (
            "the export holds neither this patient_id nor this uid. Correct or remove the row, "
            "or name the export that the map was made for"
        )
    return "the export holds no MR or CT series and no RTDOSE of this uid. Copy it from a proposed map"


def _repeated(rows: Sequence[MapRow]) -> list[Fault]:
    """Rows that stand for the same object, and roles of which a patient can have one alone."""
    same: dict[tuple[str, str], list[int]] = {}
    roles: dict[tuple[str, Role], list[int]] = {}
    for row in rows:
        same.setdefault((row.patient_id, row.uid), []).append(row.line)
        if row.role in ONCE:
            roles.setdefault((row.patient_id, row.role), []).append(row.line)
    faults = [Fault(tuple(at), "the same uid. Keep one of the rows") for at in same.values() if len(at) > 1]
    return faults + [
        Fault(tuple(at), f"the role {role} is given {len(at)} times to one patient. Keep it in one row")
        for (_, role), at in roles.items()
        if len(at) > 1
    ]


def _selection(patient: str, rows: Sequence[MapRow], export: _Export) -> Selection:
    line = rows[0].line
    undecided = tuple(row.line for row in rows if row.role == UNDECIDED)
    roles = {row.role for row in rows}
    missing = tuple(role for role in NEEDED if role not in roles)
    if undecided or missing:
        return Selection(patient, line, None, undecided, missing)
    return Selection(patient, line, _source(patient, rows, export))


def _source(patient: str, rows: Sequence[MapRow], export: _Export) -> PatientSource:
    series = export.series[patient]
    chosen = {row.uid: (row, export.objects[patient, row.uid]) for row in rows}
    images = {row.role: one for row, one in chosen.values() if isinstance(one, Series)}
    doses = [(row, one) for row, one in chosen.values() if isinstance(one, Instance) and row.role == "dose"]
    planning_ct = images.get("planning_ct")
    return PatientSource(
        post_op=images["post_op"],
        event=images["event"],
        doses=tuple(
            DoseChoice(one, row.course, row.dose_of, row.fractions, row.prescription_gy) for row, one in doses
        ),
        plans=instances_of(series, "RTPLAN"),
        structures=instances_of(series, "RTSTRUCT"),
        planning_cts=(planning_ct,) if planning_ct else tuple(one for one in series if one.kind == "CT"),
        planning_ct_named=planning_ct is not None,
    )
