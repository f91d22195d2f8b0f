"""Sums of doses: beams to a plan, plans to a course."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.dose import DoseObject
from ricenet.importing.dicom.plan import PlanObject
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume, inverse, resample

SAME_PLACE_MM = 1e-3
"""Grids whose voxels lie nearer to each other than this are one grid, written with other decimals."""

LEAST_SHARE = 0.01
"""Of a dose's maximum; where a dose is lower than this, it may be cut off by the grid of the sum."""


def sum_of_beams(doses: Sequence[DoseObject], plan: PlanObject) -> Volume:
    """The dose of a plan from the doses of its beams, in their units.

    Raises SourceError: a treatment beam missing or there twice, a beam that the plan does not have,
    or beams on different grids.
    Source: DICOM PS3.3 C.8.8.3 (DoseSummationType BEAM).
    """
    if unnumbered := sum(not one.beam_numbers for one in doses):
        raise SourceError(
            f"{unnumbered} of {len(doses)} RTDOSE of summation type BEAM without the beam's number",
            "Export the dose of the plan (summation type PLAN).",
        )
    counts = Counter(number for one in doses for number in one.beam_numbers)
    for found, beams in (
        ("missing", plan.beams - counts.keys()),
        ("there more than once", {number for number, count in counts.items() if count > 1}),
        ("not among the plan's treatment beams", counts.keys() - plan.beams),
    ):
        if beams:
            raise SourceError(
                f"{len(doses)} RTDOSE of summation type BEAM for a plan of {len(plan.beams)} treatment "
                f"beam(s): beam {', '.join(str(number) for number in sorted(beams))} {found}",
                "Choose the dose of each treatment beam once, or export the dose of the plan.",
            )
    volumes = [one.values for one in doses]
    if not _on_one_grid(volumes):
        raise SourceError(
            f"{len(doses)} RTDOSE of summation type BEAM on different grids",
            "Export the dose of the plan (summation type PLAN), or the beams on one grid.",
        )
    return Volume(_plain_sum(volumes), volumes[0].grid)


def sum_of_plans(doses_gy: Sequence[Volume]) -> tuple[Volume, str]:
    """The dose of a course from those of its plans, and how it was made, in words.

    On one grid it is the plain sum. Otherwise the others are resampled linearly onto the finest grid
    that contains every voxel of theirs above LEAST_SHARE of their own maximum.
    Raises SourceError: no grid contains them all.
    """
    if _on_one_grid(doses_gy):
        return Volume(_plain_sum(doses_gy), doses_gy[0].grid), "voxel by voxel on their common grid"
    for grid in sorted((dose.grid for dose in doses_gy), key=lambda grid: grid.voxel_ml):
        if all(_contains(grid, dose) for dose in doses_gy):
            on_grid = [dose if same_grid(dose.grid, grid) else resample(dose, grid) for dose in doses_gy]
            return Volume(_plain_sum(on_grid), grid), (
                "resampled linearly onto the finest of their grids that contains them all"
            )
    raise SourceError(
        f"the doses of {len(doses_gy)} plans reach beyond each other's grids",
        f"Export them on one grid that contains every dose above {LEAST_SHARE:.0%} of its maximum.",
    )


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same voxels in the same places."""
    if one.shape != other.shape:
        return False
    last = np.array(one.shape, dtype=np.float64) - 1
    corners = np.array(np.meshgrid(*zip(np.zeros(3), last, strict=True))).reshape(3, 8).T
    return bool(np.abs(one.world_mm(corners) - other.world_mm(corners)).max() < SAME_PLACE_MM)


def _on_one_grid(volumes: Sequence[Volume]) -> bool:
    return all(same_grid(volumes[0].grid, volume.grid) for volume in volumes)


def _contains(grid: Grid, dose: Volume) -> bool:
    voxels = np.argwhere(dose.data > LEAST_SHARE * dose.data.max()).astype(np.float64)
    to_voxel = inverse(grid.affine)
    inside = dose.grid.world_mm(voxels) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    return bool((inside >= -0.5).all() and (inside <= np.array(grid.shape) - 0.5).all())


def _plain_sum(volumes: Sequence[Volume]) -> NDArray[np.float32]:
    total = np.zeros(volumes[0].grid.shape, dtype=np.float64)
    for volume in volumes:
        total += volume.data
    return total.astype(np.float32)
