"""Crops beside the whole head: where they lie, and every volume on them, interpolated once from its raw grid.

A crop shows the region of interest finer than the whole head does, at the same number of voxels. Two are
made: `crop` around the high-dose region, and `crop_by_change` around what changed between the sessions, for
modality sets that do not know the dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.scan_checks import load_scan
from ricenet.config.inputs import InputName
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.preprocessing.cube import INTERPOLATION_ORDER, dose_on_cube, mri_on_cube, on_cube, shown
from ricenet.preprocessing.dose_cube import dose_source, high_dose_regions
from ricenet.preprocessing.intensity import standardised
from ricenet.preprocessing.measurements import CropMeasurements, PlacedBy
from ricenet.runtime.errors import ScanError
from ricenet.volume import Affine, Grid, Volume

CHANGE_MM = 10.0
"""SD of the Gaussian that smooths the change: of the size of a lesion, above that of edges."""

LEAST_BRAIN = 0.02
"""Share of a crop that has to be brain."""


@dataclass(frozen=True)
class Crop:
    """Volumes (X, Y, Z) on a crop, by name: in the units of those on the cube. brain: mask on it."""

    volumes: Mapping[str, Volume]
    brain: Volume
    measurements: CropMeasurements


@dataclass(frozen=True)
class HeadCube:
    """What the crops need of the whole head.

    volumes: on the cube, by name; MRIs as the network sees them, dose in Gy. transforms: from the reference's
    world into that of each volume. scaling: mean and SD by which each MRI was standardised.
    """

    volumes: Mapping[str, Volume]
    brain: Volume
    transforms: Mapping[str, Affine]
    scaling: Mapping[str, tuple[float, float]]


class _Place(NamedTuple):
    """Centre (3,) of a crop, and the rest as `CropMeasurements` has it."""

    centre_mm: NDArray[np.float64]
    by: PlacedBy
    high_dose_regions: int = 0
    second_region: float = 0.0


def make_crops(
    raw: RawSubject, params: PreprocessingParams, brain_mask: Volume, head: HeadCube
) -> dict[InputName, Crop]:
    """Every crop that is asked for. brain_mask: on its own grid.

    Raises ScanError: next to nothing of a crop is brain.
    """
    crop = params.crop
    if crop is None:
        return {}
    wanted: list[InputName] = [name for name in params.grids if name != "head"]
    places = {name: _placed(raw, head, crop.isodose, by_dose=name == "crop") for name in wanted}
    grids = {name: Grid.cube(place.centre_mm, crop.spacing_mm, crop.voxels) for name, place in places.items()}
    brains = {name: on_cube(brain_mask, grid, 1) >= 0.5 for name, grid in grids.items()}
    for brain in brains.values():
        require_brain_in_crop(brain, raw.subject)
    volumes: dict[InputName, dict[str, Volume]] = {name: {} for name in grids}
    for volume_name, transform in head.transforms.items():
        # asked for again, since two fine scans may not fit into memory together, and the change needs both
        found = _on_grids(raw, params, volume_name, transform, grids, brains, head.scaling)
        for name, values in found.items():
            volumes[name][volume_name] = Volume(values, grids[name])
    return {
        name: Crop(
            volumes[name],
            Volume(brains[name], grid),
            CropMeasurements(
                voxels=crop.voxels,
                affine=grid.affine.tolist(),
                placed_by=places[name].by,
                high_dose_regions=places[name].high_dose_regions,
                second_region=places[name].second_region,
                brain_share=float(brains[name].mean()),
            ),
        )
        for name, grid in grids.items()
    }


def require_brain_in_crop(brain: NDArray[np.bool_], subject: str) -> None:
    """Refuse a crop with next to nothing of the brain. brain: (X, Y, Z) mask on it. Raises ScanError."""
    if (share := float(brain.mean())) < LEAST_BRAIN:
        raise ScanError(
            subject,
            "crop",
            f"{share:.1%} of the crop is brain, expected at least {LEAST_BRAIN:.0%}",
            "Lower preprocessing.crop.voxels or preprocessing.crop.spacing_mm.",
        )


def place_of_change(
    first: NDArray[np.float32], last: NDArray[np.float32], brain: NDArray[np.bool_], spacing_mm: float
) -> NDArray[np.float64]:
    """Where two MRIs differ most, in voxels (3,), at the scale of a lesion; within the brain.

    first, last: (X, Y, Z), z-scored, on one grid. The mean of the absolute difference in a Gaussian
    neighbourhood, over the brain's voxels alone, so that the rim of the brain does not count as change.
    """
    from scipy import ndimage

    sigma = CHANGE_MM / spacing_mm
    inside = brain.astype(np.float64)
    weight = ndimage.gaussian_filter(inside, sigma, mode="constant")
    change = ndimage.gaussian_filter(np.abs(last.astype(np.float64) - first) * inside, sigma, mode="constant")
    mean = np.where(brain & (weight > 0), change / np.maximum(weight, 1e-9), -1.0)
    return np.array(np.unravel_index(int(mean.argmax()), mean.shape), dtype=np.float64)


def _placed(raw: RawSubject, head: HeadCube, isodose: float, by_dose: bool) -> _Place:
    """By the dose where it is asked for and there is one; else by the change, where there are two sessions;
    else the middle of the brain.
    """
    cube, brain = head.brain.grid, np.asarray(head.brain.data, np.bool_)
    dose = raw.volumes.dose
    if by_dose and dose is not None and dose.name in head.volumes:
        dose_gy = np.asarray(head.volumes[dose.name].data, np.float32)
        centre, regions, second = high_dose_regions(dose_gy, brain, isodose)
        return _Place(cube.world_mm(centre), "dose", regions, second)
    first, last = raw.volumes.reference.name, raw.volumes.last_session_reference.name
    if first != last and last in head.volumes:
        before, after = (np.asarray(head.volumes[name].data, np.float32) for name in (first, last))
        voxel = place_of_change(before, after, brain, cube.spacing_mm[0])
        return _Place(cube.world_mm(voxel), "change")
    return _Place(cube.world_mm(np.argwhere(brain).mean(axis=0)), "brain")


def _on_grids(
    raw: RawSubject,
    params: PreprocessingParams,
    name: str,
    transform: Affine,
    grids: Mapping[InputName, Grid],
    brains: Mapping[InputName, NDArray[np.bool_]],
    scaling: Mapping[str, tuple[float, float]],
) -> dict[InputName, NDArray[np.float32]]:
    """One volume (X, Y, Z) on every crop: an MRI as the network sees it, the dose in Gy."""
    spec = raw.volumes[name]
    source = load_scan(raw.scan(name), raw.subject, spec.title)
    if spec.kind == "dose":
        sidecar = read_dose_sidecar(raw.dose_sidecar)
        source, factor = dose_source(source, sidecar, params.eqd2_alpha_beta_gy, raw.subject)
        return {crop: dose_on_cube(source, grid, factor, transform) for crop, grid in grids.items()}
    order = INTERPOLATION_ORDER[params.interpolation]
    seen = {crop: shown(source.grid, grid, brains[crop], transform) for crop, grid in grids.items()}
    return {
        crop: standardised(mri_on_cube(source, grid, order, transform), seen[crop], *scaling[name])
        for crop, grid in grids.items()
    }
