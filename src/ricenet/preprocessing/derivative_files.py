"""A preprocessed subject's NIfTI files as a BIDS derivative: how they are called, and what lies beside each.

All of them lie in the world of the subject's reference MRI (`space-individual`), on the grid that `res-`
names: `head` around the brain, a crop's name without underscores, or `own`, on which the brain was found.
One sidecar tells of a volume on all its grids, for each file is looked at whenever a stage runs.
Source: BIDS 1.10, derivatives: common data types, imaging data types; inheritance principle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import RawSubject
from ricenet.vocabulary import VolumeSpec
from ricenet.volume import Grid

SPACE = "individual"
RAW_DATASET = "raw"
"""By which the sidecars know the cohort; `DatasetLinks` of the description says where it lies."""

_ENDING = ".nii.gz"
_OWN_GRID = "own"
_RES = re.compile(r"_res-([A-Za-z0-9]+)")


def image_file(subject: str, spec: VolumeSpec, suffix: str = "") -> str:
    """A volume on one of the cubes, within the subject's folder. suffix: that of the grid.

    >>> from ricenet.vocabulary import PAPER_VOLUMES
    >>> image_file("sub-1", PAPER_VOLUMES["event"])
    'ses-event/anat/sub-1_ses-event_ce-gadolinium_space-individual_res-head_desc-preproc_T1w.nii.gz'
    """
    *entities, of_mri = spec.suffix.split("_")
    kind = "rt" if spec.kind == "dose" else "anat"
    name = [subject, f"ses-{spec.session}", *entities, _on(suffix), "desc-preproc", of_mri]
    return f"ses-{spec.session}/{kind}/{'_'.join(name)}{_ENDING}"


def brain_file(subject: str, suffix: str = "") -> str:
    """The brain mask on a cube, within the subject's folder: of no session, for it is that of all.

    >>> brain_file("sub-1", ".crop")
    'anat/sub-1_space-individual_res-crop_desc-brain_mask.nii.gz'
    """
    return f"anat/{subject}_{_on(suffix)}_desc-brain_mask{_ENDING}"


def brain_mask_file(subject: str) -> str:
    """The brain mask as it was found, on its own grid, within the subject's folder."""
    return brain_file(subject, _OWN_GRID)


def sidecar_file(image: str) -> str:
    """The JSON that tells of a NIfTI file, and of the same on other grids.

    >>> sidecar_file("anat/sub-1_space-individual_res-crop_desc-brain_mask.nii.gz")
    'anat/sub-1_space-individual_desc-brain_mask.json'
    """
    return f"{_RES.sub('', image).removesuffix(_ENDING)}.json"


def image_sidecar(
    raw: RawSubject, spec: VolumeSpec, grids: Mapping[str, Grid], eqd2_alpha_beta_gy: float | None = None
) -> dict[str, Any]:
    """What a volume is, and what it was made from.

    grids: on which it lies, by the file on each. eqd2_alpha_beta_gy: of a dose that is EQD2.
    """
    sources = [*_registered_to(raw, spec), f"bids::{raw.subject}/{brain_mask_file(raw.subject)}"]
    if spec.kind == "mri":
        values = f"value / {spec.scale:g}" if spec.scale else "SDs of the brain from its mean"
        told: dict[str, Any] = {"Description": f"{values}; 0 outside the brain", "SkullStripped": True}
        return told | _common(raw, sources, grids)
    told = {"Description": "dose of the whole course", "DoseUnits": "GY"}
    if eqd2_alpha_beta_gy is not None:
        told |= {"Description": "EQD2 of the whole course", "AlphaBetaGy": eqd2_alpha_beta_gy}
    return told | _common(raw, [*sources, _of_raw(raw, raw.dose_sidecar)], grids)


def mask_sidecar(raw: RawSubject, grids: Mapping[str, Grid], *, given: bool) -> dict[str, Any]:
    """What the brain masks were made from. given: by the cohort, rather than from the reference MRI."""
    made_from = raw.brain_mask if given else raw.scan(raw.volumes.reference.name)
    return {"Type": "Brain", **_common(raw, [_of_raw(raw, made_from)], grids)}


def _common(raw: RawSubject, sources: list[str], grids: Mapping[str, Grid]) -> dict[str, Any]:
    return {
        "Sources": list(dict.fromkeys(sources)),
        "SpatialReference": _of_raw(raw, raw.scan(raw.volumes.reference.name)),
        "Resolution": {_RES.findall(file)[0]: _resolution(grid) for file, grid in grids.items()},
    }


def _resolution(grid: Grid) -> str:
    spacing, size = (" x ".join(f"{n:.4g}" for n in of_axes) for of_axes in (grid.spacing_mm, grid.shape))
    return f"{spacing} mm, {size} voxels"


def _registered_to(raw: RawSubject, spec: VolumeSpec) -> Iterator[str]:
    """The volume's own file, then the MRIs by which it came into the reference's world."""
    volumes = raw.volumes
    yield _of_raw(raw, raw.scan(spec.name))
    while spec != volumes.reference:
        is_mri = spec.kind == "mri"
        spec = volumes.reference_of(spec) if is_mri else volumes.session_reference(spec.session)
        yield _of_raw(raw, raw.scan(spec.name))


def _on(suffix: str) -> str:
    """Space and grid. suffix: as grids have it, such as `.crop_by_change`; BIDS wants letters and digits."""
    return f"space-{SPACE}_res-{suffix.lstrip('.').replace('_', '') or 'head'}"


def _of_raw(raw: RawSubject, path: Path) -> str:
    return f"bids:{RAW_DATASET}:{path.relative_to(raw.cohort).as_posix()}"
