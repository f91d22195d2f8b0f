"""Whether the volumes of one subject lie over one another: dose and masks over the scan of their session.

Everything is told on coarse copies and before any brain is extracted. A dose is judged by three signs: its
grid (the high dose lies within the scan), its high dose (it lies in the head), and its outline (there is no
dose in air). The last compares the placement with others near by, since couch and mask, which some planning
systems include, look the same in all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import CoarseHead, averaged
from ricenet.cohort.problems import Finding
from ricenet.volume import Affine, Grid, Volume

HIGH_DOSE, LEAST_INSIDE = 0.5, 0.5
"""Of the voxels above this share of the largest dose, this share has to lie within the scan, and the head."""

LOW_DOSE = 0.02
"""Of the largest dose: above it a dose shows the body's outline."""

AIR_MM = 4.0
"""Further away from the head than this, a voxel lies in air."""

AIR_SHARE, MOST_AIR = 0.005, 0.08
"""Share of the outline's voxels in air, above which others are tried; which is too much in any case."""

BETTER = 0.6
"""A placement is better where its share in air is below this part of the given one's."""

SHIFT_MM = 10.0

HEAD_ML = (500.0, 10000.0)
"""Between these lies what stands out of the background: a slab of a brain, a head with shoulders."""

LEAST_OF_MASK = {"brain": 0.95, "other": 0.5}
"""Share of a mask that lies in the head: of the brain's, and of a cavity's or a lesion's."""

DOSE_COPY_MM = 5.0
MOST_POINTS = 20_000
"""Of a region, whose place is asked."""

_CONFIRM = (
    'Look at it over that scan. If it is this patient\'s and in its place, write "PlacementConfirmed": true '
    "into the dose's JSON; else place it again, from the planning CT."
)


def distance_from(scan: Grid, dose: Volume) -> tuple[float, float]:
    """Of the voxels of high dose, the share within a scan's extent, and the median distance from it in mm."""
    points = _high_dose_mm(dose)
    voxels, middle = scan.voxel(points), (np.array(scan.shape) - 1) / 2
    beyond = np.maximum(np.abs(voxels - middle) - middle - 0.5, 0) * scan.spacing_mm
    return float(scan.contains(points).mean()), float(np.median(np.linalg.norm(beyond, axis=1)))


def dose_findings(dose: Volume, scan: CoarseHead, scan_file: str, confirmed: bool = False) -> list[Finding]:
    """The first sign that a dose does not lie over its session's scan; empty where there is none.

    dose: (X, Y, Z), of any extent and unit, not 0 everywhere. confirmed: somebody has looked at it, so that
    the outline is not asked for.
    """
    place = "Check that it is this patient's and lies in that scan's space."
    inside, distance_mm = distance_from(scan.grid, dose)
    if inside < LEAST_INSIDE:
        found = (
            f"the dose lies {distance_mm:.0f} mm away from {scan_file} ({inside:.0%} of the voxels above "
            f"{HIGH_DOSE:.0%} of the largest dose are within it)"
        )
        return [Finding(found, place)]
    in_head = float((scan.distances(_high_dose_mm(dose)) < 0).mean())
    if in_head < LEAST_INSIDE:
        found = (
            f"the course's high dose does not lie in the head of {scan_file} ({in_head:.0%} of the voxels "
            f"above {HIGH_DOSE:.0%} of the largest dose are in it)"
        )
        return [Finding(found, place)]
    # without scalp and skull there is no outline to compare with
    return [] if confirmed or scan.stripped else _dose_in_air(averaged(dose, DOSE_COPY_MM), scan, scan_file)


def mask_findings(mask: Volume, scan: CoarseHead, scan_file: str, of_brain: bool) -> list[Finding]:
    """What is wrong with where a mask lies. mask: (X, Y, Z) bool, not empty, in the scan's space."""
    distances = scan.distances(_some_mm(np.asarray(mask.data, dtype=np.float32) > 0.5, mask.grid))
    share, least = float((distances < AIR_MM).mean()), LEAST_OF_MASK["brain" if of_brain else "other"]
    if share >= least:
        return []
    found = f"{share:.0%} of the mask lie in the head of {scan_file}, expected at least {least:.0%}"
    return [Finding(found, "Write the mask on a grid in that scan's space, or remove it.")]


def head_findings(head: CoarseHead) -> list[Finding]:
    """What is wrong with the size of what a scan shows: wrong voxel sizes, or no head."""
    low, high = HEAD_ML
    if low <= head.ml <= high:
        return []
    found = f"what stands out of its background holds {head.ml:.0f} ml, of a head {low:.0f} to {high:.0f} ml"
    return [Finding(f"{found} are expected", "Check its voxel sizes, and that it shows a head.")]


def _high_dose_mm(dose: Volume) -> NDArray[np.float64]:
    data = np.asarray(dose.data)
    return _some_mm(data >= HIGH_DOSE * data.max(), dose.grid)


def _some_mm(where: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """World positions (N, 3) of a region's voxels; of a large one of every n-th, which keeps shares."""
    voxels = np.argwhere(where)
    return grid.world_mm(voxels[:: 1 + len(voxels) // MOST_POINTS].astype(np.float64))


def _dose_in_air(dose: Volume, scan: CoarseHead, scan_file: str) -> list[Finding]:
    """What is wrong where much of a dose's outline lies in air, or less of it would in another placement."""
    data = np.asarray(dose.data)
    outline = data > LOW_DOSE * data.max()
    given = _share_in_air(outline, dose.grid, scan)
    if given <= AIR_SHARE:
        return []
    others = _others(outline, dose.grid)
    best, words = min((_share_in_air(moved, grid, scan), words) for words, moved, grid in others)
    if best >= BETTER * given and given <= MOST_AIR:
        return []
    found = (
        f"{given:.1%} of what gets {LOW_DOSE:.0%} of the largest dose lie in air, more than {AIR_MM:g} mm "
        f"outside the head of {scan_file}"
    )
    return [Finding(found + (f"; {best:.1%} were it {words}" if best < BETTER * given else ""), _CONFIRM)]


def _share_in_air(outline: NDArray[np.bool_], grid: Grid, scan: CoarseHead) -> float:
    """Share of an outline's voxels in air, as far as the scan shows; 0 where it shows nothing of it."""
    distances = scan.distances(_some_mm(outline, grid))
    shown = distances[np.isfinite(distances)]
    return float((shown > AIR_MM).mean()) if len(shown) else 0.0


def _others(outline: NDArray[np.bool_], grid: Grid) -> Iterator[tuple[str, NDArray[np.bool_], Grid]]:
    """Other placements of an outline: mirrored along each of its axes, and moved to all sides."""
    for axis in range(3):
        yield f"mirrored along its axis {axis + 1}", np.flip(outline, axis), grid
    for direction in itertools.product((-1, 0, 1), repeat=3):
        if any(direction):
            affine: Affine = grid.affine.copy()
            affine[:3, 3] += SHIFT_MM * np.array(direction)
            yield f"moved by {SHIFT_MM:g} mm to a side", outline, Grid(grid.shape, affine)
