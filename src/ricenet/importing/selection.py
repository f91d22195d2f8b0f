"""From the rows of the map to each patient's chosen objects: what contradicts the export is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.importing.dicom.instances import DicomTree, Instance, Kind, Series
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.importing.dose.statement import NOTHING_STATED
from ricenet.importing.dose.treatment import instances_of
from ricenet.importing.series_map import NOT_USED, PLANNING_CT, UNDECIDED, MapRow, SeriesMap
from ricenet.importing.sources import PatientSource
from ricenet.importing.spreadsheets import Fault, problem_list, repeated
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import Volumes

_NOUNS: Mapping[Kind, str] = {"MR": "an MR series", "CT": "a CT series", "RTDOSE": "an RTDOSE"}


@dataclass(frozen=True)
class Selection:
    """One patient of the map. line: its first row, in the map. undecided: lines of rows that say ?.

    source: None where roles are undecided or missing.
    """

    patient_id: str
    line: int
    source: PatientSource | None
    undecided: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    has_roles: bool = True


_Objects = Mapping[tuple[str, str], Series | Instance]
"""What rows stand for, by patient and uid: MR and CT series, RTDOSE instances."""


def select(tree: DicomTree, series_map: SeriesMap, path: Path, volumes: Volumes) -> tuple[Selection, ...]:
    """Each patient's chosen objects, in the order of the map. path: of the map, for messages.

    Raises CohortError: rows that are malformed, contradict each other or do not fit the export; all of
    them together, by line, without what a cell says.
    """
    objects: dict[tuple[str, str], Series | Instance] = {
        (one.first.patient_id, one.uid): one for one in tree.series if one.kind in ("MR", "CT")
    }
    objects |= {(one.patient_id, one.sop_instance_uid): one for one in instances_of(tree.series, "RTDOSE")}
    uids = {uid for _, uid in objects}
    kinds: dict[str, Kind] = {**{spec.name: "MR" for spec in volumes.mris}, PLANNING_CT: "CT"}
    rows = series_map.rows
    same = (((row.patient_id, row.uid), row.line) for row in rows)
    faults = [*series_map.faults, *repeated(same, "the same uid. Keep one of the rows")]
    for role in kinds:
        of_role = ((row.patient_id, row.line) for row in rows if row.role == role)
        faults += repeated(
            of_role, f"the role {role} is given {{count}} times to one patient. Keep it in one row"
        )
    if volumes.dose is not None:
        kinds[volumes.dose.name] = "RTDOSE"
    for row in rows:
        found = objects.get((row.patient_id, row.uid))
        texts = [_unknown(row, tree, uids)] if found is None else _faults(row, found, kinds)
        texts += _foreign_plan(row, tree)
        faults += [Fault((row.line,), text) for text in texts]
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    if not rows:
        raise CohortError(f"{path.name}: has no row. Remove it to have it proposed anew, or add rows")
    of_patient: dict[str, list[MapRow]] = {}
    for row in rows:
        of_patient.setdefault(row.patient_id, []).append(row)
    return tuple(
        _selection(rows, objects, tree.of_patient(patient), volumes) for patient, rows in of_patient.items()
    )


def _faults(row: MapRow, found: Series | Instance, kinds: Mapping[str, Kind]) -> list[str]:
    """What keeps a row, taken alone, from standing for what was found. kinds: by role."""
    faults = []
    kind = kinds.get(row.role)
    if kind is not None and found.kind != kind:
        faults.append(
            f"the role {row.role} needs {_NOUNS[kind]}, and this is {_NOUNS[found.kind]}. Correct the role"
        )
    if kind in ("MR", "CT") and row.stated != NOTHING_STATED:
        faults.append(
            f"course, dose_of, fractions, prescription_gy or plan_uid stands beside the role {row.role}. "
            "Write it into the rows of doses"
        )
    if row.leaves_out_localizers and isinstance(found, Instance):
        faults.append("leave_out stands beside a dose. Write it into the rows of images")
    return faults


def _foreign_plan(row: MapRow, tree: DicomTree) -> list[str]:
    plans = {one.sop_instance_uid for one in instances_of(tree.of_patient(row.patient_id), "RTPLAN")}
    if row.stated.plan_uid is None or row.stated.plan_uid in plans:
        return []
    return [
        "the export holds no RTPLAN of this plan_uid for this patient. Correct it, or leave it empty and "
        "write fractions and prescription_gy"
    ]


def _unknown(row: MapRow, tree: DicomTree, uids: set[str]) -> str:
    if row.uid in uids:
        return (
            "the uid is another patient's than the patient_id says. Correct one of them "
            "(spreadsheets drop zeros at the start of a number)"
        )
    if not tree.of_patient(row.patient_id):
        return (
            "the export holds neither this patient_id nor this uid. Correct or remove the row, "
            "or name the export that the map was made for"
        )
    return "the export holds no MR or CT series and no RTDOSE of this uid. Copy it from a proposed map"


def _selection(
    rows: Sequence[MapRow], objects: _Objects, series: Sequence[Series], volumes: Volumes
) -> Selection:
    """rows, series: of one patient."""
    patient, line, roles = rows[0].patient_id, rows[0].line, {row.role for row in rows}
    undecided = tuple(row.line for row in rows if row.role == UNDECIDED)
    needed = {spec.name for spec in volumes.required}
    if volumes.dose is not None and volumes.dose.name in roles:
        # the dose is brought into its space
        needed.add(volumes.reference_of(volumes.dose).name)
    missing = tuple(name for name in volumes.names if name in needed - roles)
    if undecided or missing:
        return Selection(patient, line, None, undecided, missing, bool(roles - {NOT_USED}))
    leaving_out = {row.uid for row in rows if row.leaves_out_localizers}
    series = [replace(one, leaves_out_localizers=one.uid in leaving_out) for one in series]
    of_uid = {one.uid: one for one in series if one.kind in ("MR", "CT")}
    chosen = [(row, of_uid.get(row.uid) or objects[patient, row.uid]) for row in rows if row.role != NOT_USED]
    images = {row.role: one for row, one in chosen if isinstance(one, Series)}
    doses = tuple(ChosenDose(one, row.stated) for row, one in chosen if isinstance(one, Instance))
    named = images.pop(PLANNING_CT, None)
    source = PatientSource(
        volumes,
        {name: images[name] for name in volumes.names if name in images},
        doses,
        plans=instances_of(series, "RTPLAN"),
        structures=instances_of(series, "RTSTRUCT"),
        planning_cts=(named,) if named else tuple(one for one in series if one.kind == "CT"),
        planning_ct_named=named is not None,
    )
    return Selection(patient, line, source)
