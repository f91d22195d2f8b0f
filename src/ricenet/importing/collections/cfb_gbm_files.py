"""A CFB-GBM patient's NIfTI files: where they lie, and how they become one subject's raw files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.problems import Finding
from ricenet.cohort.scan_checks import check_scan
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import Visit as CohortVisit
from ricenet.cohort.visits import write_sessions
from ricenet.importing.collections.cfb_gbm_tables import CfbPatient, Visit
from ricenet.importing.collections.collection import Exclusion
from ricenet.importing.private_files import file_errors_reported
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.runtime.files import write_json
from ricenet.vocabulary import Volumes
from ricenet.volume import Grid, Volume, load_nifti, resample, save_nifti

KINDS = {"ce-gadolinium_t1w": "t1gd", "flair": "flair", "adc": "adc", "t2w": "t2tse", "t2starw": "t2star"}
"""The collection's name of an MRI, by the declared volume's suffix in lower case."""

_FOLDER = re.compile(r"\d+")
_SAME_GRID_MM = 1e-2
"""How far corners of two grids may lie apart that are called the same; headers are rounded."""

_LEAST_GTV_IN_BRAIN = 0.5
"""Share of the target that has to lie in the brain for dose and MRI to share a space."""

_OUTSIDE = "Compare dose, target and T1Gd in a viewer; exclude the patient where they do not fit"
_AGAIN = "Fetch the patient's files again from the archive; where they stay so, the patient is excluded"
_MASK, _TARGET = "brain mask", "target (GTV)"


@dataclass(frozen=True)
class CfbFiles:
    """One patient's files. scans: of the declared MRIs, by name; optional ones may lack.

    dose: None where none is declared. gtv: None where the tables have none of the planning, or no dose is
    declared.
    """

    scans: Mapping[str, Path]
    brain_mask: Path
    dose: Path | None
    gtv: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Those that there are."""
        return tuple(path for path in (*self.scans.values(), self.dose, self.brain_mask, self.gtv) if path)


def patient_folders(source: Path) -> dict[int, list[Path]]:
    """Folders whose name is a number, by that number: `1` and `001` are the same patient's.

    Raises CohortError: there is none, or the folder cannot be opened.
    """
    folders: dict[int, list[Path]] = {}
    with file_errors_reported("the folder of CFB-GBM's images cannot be opened"):
        for path in sorted(source.iterdir()) if source.is_dir() else ():
            if path.is_dir() and _FOLDER.fullmatch(path.name):
                folders.setdefault(int(path.name), []).append(path)
    if not folders:
        raise CohortError(
            "no folder of a patient (001, 002, ...) in the folder of CFB-GBM's images; give the folder "
            "that holds them directly"
        )
    return folders


def find_files(
    folders: Mapping[int, Sequence[Path]], patient: CfbPatient, visit: Visit, volumes: Volumes
) -> CfbFiles:
    """The files of t0 and of the event's visit.

    Raises Exclusion: files are missing or there twice; all are named by visit and kind.
    """
    of_patient = folders.get(patient.number, ())
    if len(of_patient) != 1:
        raise Exclusion(f"ambiguous: {len(of_patient)} folders" if of_patient else "no folder with files")
    (folder,) = of_patient
    kinds: dict[str, tuple[Visit, str]] = {_MASK: ("t0", "brain_mask")}
    for spec in volumes.mris:
        at = "t0" if spec.session == volumes.reference.session else visit
        kinds[spec.name] = at, KINDS.get(spec.suffix.lower(), spec.suffix)
    if volumes.dose is not None:
        kinds[volumes.dose.name] = "t0", "rtdose"
        if patient.has_gtv:
            kinds[_TARGET] = "t0", "gtv"
    found = {name: _files(folder, patient.number, *kind) for name, kind in kinds.items()}
    optional = {spec.name for spec in volumes.mris if not spec.required}
    if missing := [" ".join(kinds[name]) for name in kinds if not found[name] and name not in optional]:
        raise Exclusion(f"file(s) missing: {', '.join(missing)}")
    if twice := [" ".join(kinds[name]) for name, paths in found.items() if len(paths) > 1]:
        raise Exclusion(f"ambiguous: file(s) there twice: {', '.join(twice)}")
    paths = {name: paths[0] for name, paths in found.items() if paths}
    scans = {spec.name: paths[spec.name] for spec in volumes.mris if spec.name in paths}
    dose = None if volumes.dose is None else paths[volumes.dose.name]
    return CfbFiles(scans, paths[_MASK], dose, paths.get(_TARGET))


def write_cfb_subject(
    files: CfbFiles, prescription_gy: float | None, fractions: int | None, raw: RawSubject
) -> Mapping[str, str]:
    """Write a subject's raw files from NIfTI, each on its own grid; headers keep nothing but the grid.

    The dose is taken to lie in the space of the T1Gd of t0, as distributed; the collection's documentation
    does not confirm it, so that it has to overlap that scan and its target the brain.
    Raises SourceError: a file cannot be used, or the dose contradicts target, prescription or scan.
    """
    stated = {"NumberOfFractions": fractions, "PrescriptionGy": prescription_gy}
    known = {name: value for name, value in stated.items() if value is not None}
    sidecar = {"DoseUnits": "GY", "DoseSummationType": "PLAN", **known}
    for name, path in (*files.scans.items(), (_MASK, files.brain_mask), (_TARGET, files.gtv)):
        if path is not None:
            _refuse(f"the scan {name}" if name in files.scans else name, path, check_scan(path, "mri"))
    brain = _as_mask(_MASK, load_nifti(files.brain_mask))
    if files.dose is not None and raw.volumes.dose is not None:
        _refuse("dose", files.dose, check_scan(files.dose, "dose", DoseSidecar.model_validate(sidecar)))
        dose = load_nifti(files.dose)
        decisions = _judge_dose(
            dose, load_nifti(files.scans[raw.volumes.reference.name]).grid, brain, files.gtv
        )
        save_nifti(dose, raw.scan(raw.volumes.dose.name))
        write_json(raw.dose_sidecar, {**sidecar, "Decisions": decisions})
    for name, path in files.scans.items():
        save_nifti(load_nifti(path), raw.scan(name))
    save_nifti(brain, raw.brain_mask)
    return {}


def write_cfb_visits(
    files: CfbFiles,
    later: Mapping[str, Path],
    visits: Sequence[CohortVisit],
    prescription_gy: float | None,
    fractions: int | None,
    raw: RawSubject,
) -> Mapping[str, str]:
    """The same with the visit after the event. later: its MRIs by volume; none where there is no such visit.

    Raises SourceError: as `write_cfb_subject`.
    """
    # first: by the table the files of later visits are found
    write_sessions(raw.folder, visits, [raw.volumes.reference.session])
    columns = write_cfb_subject(files, prescription_gy, fractions, raw)
    second = replace(raw, subject=sample_name(raw.subject, 2))
    for name, path in later.items():
        _refuse(f"the scan {name} of t2", path, check_scan(path, "mri"))
        save_nifti(load_nifti(path), second.scan(name))
    return columns


def _files(folder: Path, number: int, visit: Visit, kind: str) -> list[Path]:
    """Folders and file prefixes may be zero-padded or not."""
    name = re.compile(rf"0*{number}_{visit}_{re.escape(kind)}\.nii\.gz")
    inside = folder / visit
    return sorted(path for path in inside.iterdir() if name.fullmatch(path.name)) if inside.is_dir() else []


def _refuse(scan: str, path: Path, findings: Iterable[Finding]) -> None:
    # the file's name holds the patient's number
    if found := "; ".join(finding.found.replace(path.name, "the file") for finding in findings):
        raise SourceError(f"{scan}: {found}", _AGAIN)


def _as_mask(scan: str, volume: Volume) -> Volume:
    """A volume of 0 and one other value as a mask; which value it is, the documentation does not say."""
    values = np.unique(volume.data)
    if len(values) != 2 or values[0] != 0:
        raise SourceError(f"{scan}: holds {len(values)} values, 0 and a positive one are expected", _AGAIN)
    return Volume(volume.data > 0, volume.grid)


def _judge_dose(dose: Volume, scan: Grid, brain: Volume, gtv: Path | None) -> list[str]:
    """What was taken for granted of a dose, once it overlaps the scan and its target the brain."""
    corners = dose.grid.corners_mm, scan.corners_mm
    gap_mm = float((np.max([c.min(0) for c in corners], 0) - np.min([c.max(0) for c in corners], 0)).max())
    if gap_mm >= 0:
        raise SourceError(
            f"the dose grid lies {gap_mm:.0f} mm outside the field of view of the T1Gd of t0", _OUTSIDE
        )
    taken = "the dose is taken to lie in the space of the T1Gd of t0, as distributed: not documented"
    if gtv is None:
        return [taken, "no target of the planning is distributed to compare dose and brain by"]
    return [taken, _judge_target(_as_mask(_TARGET, load_nifti(gtv)), dose, brain)]


def _judge_target(gtv: Volume, dose: Volume, brain: Volume) -> str:
    """What the target says of the dose: it is irradiated, and lies in the brain."""
    apart_mm = np.linalg.norm(gtv.grid.corners_mm - dose.grid.corners_mm, axis=1).max()
    if gtv.grid.shape != dose.grid.shape or apart_mm > _SAME_GRID_MM:
        raise SourceError(f"the {_TARGET} does not lie on the dose's grid", _AGAIN)
    if not (dose.data[gtv.data] > 0).any():
        raise SourceError(f"the dose inside the {_TARGET} is 0 everywhere", _AGAIN)
    share = float((resample(brain, gtv.grid, order=0).data > 0)[gtv.data].mean())
    if share < _LEAST_GTV_IN_BRAIN:
        raise SourceError(
            f"{share:.0%} of the {_TARGET} lies in the brain of t0, at least {_LEAST_GTV_IN_BRAIN:.0%} is "
            "expected, so the dose does not lie in its space",
            _OUTSIDE,
        )
    return f"{share:.0%} of the {_TARGET} lies in the brain mask of t0"
