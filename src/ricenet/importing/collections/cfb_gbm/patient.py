"""One CFB-GBM patient's files to one subject's raw files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.problems import Finding
from ricenet.cohort.scan_checks import check_scan
from ricenet.importing.collections.cfb_gbm.files import CfbFiles
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import write_json
from ricenet.volume import Grid, Volume, load_nifti, resample, save_nifti

_SAME_GRID_MM = 1e-2
"""How far corners of two grids may lie apart that are called the same; headers are rounded."""

_LEAST_GTV_IN_BRAIN = 0.5
"""Share of the target that has to lie in the brain for dose and MRI to share a space."""

_OUTSIDE = "Compare dose, target and T1Gd in a viewer; leave the patient out where they do not fit"
_LEAVE_OUT = "Fetch the patient's files again from the archive; where they stay so, the patient is left out"


def write_cfb_subject(
    files: CfbFiles, prescription_gy: float | None, fractions: int | None, raw: RawSubject
) -> Mapping[str, str]:
    """Write a subject's raw files from NIfTI, each on its own grid; headers keep nothing but the grid.

    The dose is taken to lie in the space of the T1Gd of t0, as distributed; the collection's documentation
    does not confirm it, so that it has to overlap that scan and its target the brain.
    Raises SourceError: a file cannot be used, or the dose contradicts target, prescription or scan.
    """
    sidecar = _sidecar(prescription_gy, fractions)
    _require_sound(files, DoseSidecar.model_validate(sidecar))
    post_op, dose, brain = (load_nifti(path) for path in (files.post_op, files.dose, files.brain_mask))
    brain = _as_mask("brain mask", brain)
    _require_overlap(dose.grid, post_op.grid)
    decisions = ["the dose is taken to lie in the space of the T1Gd of t0, as distributed: not documented"]
    if files.gtv is None:
        decisions.append("no target of the planning is distributed to compare dose and brain by")
    else:
        decisions.append(_judge_target(_as_mask("target (GTV)", load_nifti(files.gtv)), dose, brain))
    save_nifti(post_op, raw.scan("post_op"))
    save_nifti(load_nifti(files.event), raw.scan("event"))
    save_nifti(dose, raw.scan("dose"))
    save_nifti(brain, raw.brain_mask)
    write_json(raw.dose_sidecar, sidecar | {"Decisions": decisions})
    return {}


def _sidecar(prescription_gy: float | None, fractions: int | None) -> dict[str, object]:
    stated = {"NumberOfFractions": fractions, "PrescriptionGy": prescription_gy}
    known = {name: value for name, value in stated.items() if value is not None}
    return {"DoseUnits": "GY", "DoseSummationType": "PLAN", **known}


def _require_sound(files: CfbFiles, sidecar: DoseSidecar) -> None:
    """Refuse what the check of a raw cohort would refuse later."""
    _refuse("T1Gd of t0", files.post_op, check_scan(files.post_op, "mri"))
    _refuse("T1Gd of the event", files.event, check_scan(files.event, "mri"))
    _refuse("dose", files.dose, check_scan(files.dose, "dose", sidecar))
    _refuse("brain mask", files.brain_mask, check_scan(files.brain_mask, "mri"))
    if files.gtv is not None:
        _refuse("target (GTV)", files.gtv, check_scan(files.gtv, "mri"))


def _refuse(scan: str, path: Path, findings: Iterable[Finding]) -> None:
    # the file's name holds the patient's number
    told = "; ".join(finding.found.replace(path.name, "the file") for finding in findings)
    if told:
        raise SourceError(f"{scan}: {told}", _LEAVE_OUT)


def _as_mask(scan: str, volume: Volume) -> Volume:
    """A volume of 0 and one other value as a mask; which value it is, the documentation does not say."""
    values = np.unique(volume.data)
    if len(values) != 2 or values[0] != 0:
        raise SourceError(
            f"{scan}: holds {len(values)} values, 0 and a positive one are expected", _LEAVE_OUT
        )
    return Volume(volume.data > 0, volume.grid)


def _require_overlap(dose: Grid, scan: Grid) -> None:
    """Refuse a dose grid whose bounding box, along the world axes, misses that of the scan."""
    (dose_low, dose_high), (low, high) = _box_mm(dose), _box_mm(scan)
    gap_mm = float(np.maximum(dose_low - high, low - dose_high).max())
    if gap_mm >= 0:
        raise SourceError(
            f"the dose grid lies {gap_mm:.0f} mm outside the field of view of the T1Gd of t0", _OUTSIDE
        )


def _box_mm(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, 8).T
    world = grid.world_mm(corners)
    return world.min(axis=0), world.max(axis=0)


def _judge_target(gtv: Volume, dose: Volume, brain: Volume) -> str:
    """What the target says of the dose: it is irradiated, and lies in the brain."""
    if gtv.grid.shape != dose.grid.shape or _apart_mm(gtv.grid, dose.grid) > _SAME_GRID_MM:
        raise SourceError("the target (GTV) does not lie on the dose's grid", _LEAVE_OUT)
    if not (dose.data[gtv.data] > 0).any():
        raise SourceError("the dose inside the target (GTV) is 0 everywhere", _LEAVE_OUT)
    share = float((resample(brain, gtv.grid, order=0).data > 0)[gtv.data].mean())
    if share < _LEAST_GTV_IN_BRAIN:
        raise SourceError(
            f"{share:.0%} of the target (GTV) lies in the brain of t0, at least {_LEAST_GTV_IN_BRAIN:.0%} is "
            "expected, so the dose does not lie in its space",
            _OUTSIDE,
        )
    return f"{share:.0%} of the target (GTV) lies in the brain mask of t0"


def _apart_mm(one: Grid, other: Grid) -> float:
    """The largest distance between the two grids' corners."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in one.shape])).reshape(3, 8).T.astype(np.float64)
    return float(np.linalg.norm(one.world_mm(corners) - other.world_mm(corners), axis=1).max())
