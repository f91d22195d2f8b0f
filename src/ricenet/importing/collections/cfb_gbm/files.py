"""Where a CFB-GBM patient's NIfTI files lie: folders zero-padded or not, file prefixes too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.importing.collections.cfb_gbm.tables import CfbPatient, Visit
from ricenet.importing.import_cohort import Exclusion
from ricenet.importing.private_files import file_errors_reported
from ricenet.runtime.errors import CohortError

_FOLDER = re.compile(r"\d+")


@dataclass(frozen=True)
class CfbFiles:
    """One patient's files. gtv: None where the tables have none of the planning."""

    post_op: Path
    event: Path
    dose: Path
    brain_mask: Path
    gtv: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Those that there are."""
        files = (self.post_op, self.event, self.dose, self.brain_mask, self.gtv)
        return tuple(path for path in files if path is not None)


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
    folders: Mapping[int, Sequence[Path]], patient: CfbPatient, visit: Visit
) -> CfbFiles | Exclusion:
    """The files of t0 and of the event's visit; all that are missing are named by visit and kind."""
    of_patient = folders.get(patient.number, ())
    if len(of_patient) != 1:
        return Exclusion(f"ambiguous: {len(of_patient)} folders" if of_patient else "no folder with files")
    kinds: dict[str, tuple[Visit, str]] = {
        "post_op": ("t0", "t1gd"),
        "event": (visit, "t1gd"),
        "dose": ("t0", "rtdose"),
        "brain_mask": ("t0", "brain_mask"),
    }
    if patient.has_gtv:
        kinds["gtv"] = ("t0", "gtv")
    candidates = {role: _files(of_patient[0], patient.number, *kind) for role, kind in kinds.items()}
    if missing := [" ".join(kinds[role]) for role, paths in candidates.items() if not paths]:
        return Exclusion(f"file(s) missing: {', '.join(missing)}")
    if twice := [" ".join(kinds[role]) for role, paths in candidates.items() if len(paths) > 1]:
        return Exclusion(f"ambiguous: file(s) there twice: {', '.join(twice)}")
    chosen = {role: paths[0] for role, paths in candidates.items()}
    return CfbFiles(
        chosen["post_op"], chosen["event"], chosen["dose"], chosen["brain_mask"], chosen.get("gtv")
    )


def _files(folder: Path, number: int, visit: Visit, kind: str) -> list[Path]:
    name = re.compile(rf"0*{number}_{visit}_{kind}\.nii\.gz")
    inside = folder / visit
    return sorted(path for path in inside.iterdir() if name.fullmatch(path.name)) if inside.is_dir() else []
