"""Planes in space to one regular grid; whatever keeps them from being one is refused by name.

Positions of planes may deviate from a regular stack by 0.05 mm or 2 % of the spacing, whichever is
more: a tenth of the finest voxels in use, and what rounding in decimal strings can explain. Anything
above would move anatomy by an amount that matters, and a missing slice moves it by half a spacing or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN
from ricenet.runtime.errors import SourceError
from ricenet.volume import Affine, Grid

POSITION_TOLERANCE_MM = 0.05
POSITION_TOLERANCE = 0.02
"""As a part of the spacing."""

DIRECTION_TOLERANCE = 1e-3
"""On components of unit vectors: an orientation of four decimals passes, a tilt of 0.1 degree does not."""

SPACING_TOLERANCE_MM = 1e-4
"""Between pixel spacings of one stack."""

LEAST_RUN = 3
"""Gaps of one width in a row by which a spacing is meant, and no slice is missing."""

MOST_VARYING_MM = 10.0
"""Between slices of a CT that is resampled: the head's outline is still followed."""

_LISTED_GAPS = 3
_ONE_SERIES = "Choose a series that is one volume"
LEAVE_OUT = "write localizer as leave_out into its row of the map (for predict: remove it from the folder)"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """Where an image plane lies, in DICOM's words and coordinates (LPS, mm).

    position_mm: ImagePositionPatient (3). orientation: ImageOrientationPatient (6).
    spacing_mm: PixelSpacing, between rows and between columns. shape: columns and rows.
    Raises SourceError: a size or spacing that is not positive.
    """

    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.shape) <= 0 or min(self.spacing_mm) <= 0:
            raise SourceError("Rows, Columns or PixelSpacing is not positive", EXPORT_AGAIN)


def stack(planes: Sequence[Plane], noun: str = "slice", repeats: str = "") -> tuple[list[int], Grid]:
    """Order the planes along their normal: indices into `planes`, and the grid in RAS.

    The grid's axes: along rows, down columns, along the normal (row x column direction), so the affine's
    determinant is always positive. noun: what the planes are called in errors. repeats: what may
    explain planes at one place, for the error.
    Raises SourceError: a single plane, planes of differing size, spacing or orientation, at one place,
    missing, unevenly spaced, not on a line, or on a line aslant their normal (gantry tilt).
    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    order, positions, axes = _ordered(planes, noun)
    _check_places(positions @ axes[:, 2], noun, repeats)
    return order, _grid(planes[0], positions, np.arange(len(planes), dtype=np.float64), axes, noun)


def stack_varying(planes: Sequence[Plane], repeats: str = "") -> tuple[list[int], Grid, Array]:
    """As `stack`, also where the spacing changes from run to run of slices.

    The grid then has the finest spacing. The array says where each ordered slice lies along its third axis,
    in voxels.
    Raises SourceError: as `stack`, or slices more than MOST_VARYING_MM apart.
    """
    order, positions, axes = _ordered(planes, "slice")
    distances = positions @ axes[:, 2]
    gaps = np.diff(distances)
    if not _spacing_runs(gaps) or gaps.max() > MOST_VARYING_MM:
        return *stack(planes, repeats=repeats), np.arange(len(planes), dtype=np.float64)
    intervals = round(float((distances[-1] - distances[0]) / gaps.min()))
    places: Array = (distances - distances[0]) / (distances[-1] - distances[0]) * intervals
    return order, _grid(planes[0], positions, places, axes, "slice"), places


def _ordered(planes: Sequence[Plane], noun: str) -> tuple[list[int], Array, Array]:
    """Indices into `planes` along their normal, positions in that order, and the axes in columns."""
    if len(planes) < 2:
        raise SourceError(f"a single {noun} is no volume", _ONE_SERIES)
    _check_alike(planes, noun)
    axes = _axes(planes[0].orientation)
    positions = np.array([plane.position_mm for plane in planes])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    return order.tolist(), positions[order], axes


def _grid(plane: Plane, positions: Array, places: Array, axes: Array, noun: str) -> Grid:
    """places: of the positions along the grid's third axis, in voxels, from 0 to the last."""
    step = (positions[-1] - positions[0]) / places[-1]
    _check_straight(positions, places, step, axes[:, 2], noun)
    columns, rows = plane.shape
    between_rows, between_columns = plane.spacing_mm
    lps = np.column_stack([axes[:, 0] * between_columns, axes[:, 1] * between_rows, step, positions[0]])
    return Grid((columns, rows, round(float(places[-1])) + 1), _ras(lps))


def _ras(lps: Array) -> Affine:
    """(3, 4) in LPS to (4, 4) in RAS."""
    affine: Affine = np.vstack([np.diag([-1.0, -1.0, 1.0]) @ lps, [0.0, 0.0, 0.0, 1.0]])
    return affine + 0.0  # no negative zeros


def _axes(orientation: Sequence[float]) -> Array:
    """Unit vectors in columns: along rows, down columns, normal; exactly perpendicular."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    errors = (np.linalg.norm(row) - 1, np.linalg.norm(column) - 1, row @ column)
    if np.abs(errors).max() > DIRECTION_TOLERANCE:
        raise SourceError(
            "ImageOrientationPatient does not hold two perpendicular unit vectors "
            f"(off by {np.abs(errors).max():.2g})",
            EXPORT_AGAIN,
        )
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def _check_alike(planes: Sequence[Plane], noun: str) -> None:
    different = _count_distinct([np.array(plane.orientation) for plane in planes], DIRECTION_TOLERANCE)
    if different > 1:
        raise SourceError(
            f"{noun}s of {different} orientations, as with a localizer or reformatted planes",
            f"{_ONE_SERIES}; or, if a localizer is among them, {LEAVE_OUT}",
        )
    sizes = sorted({plane.shape for plane in planes})
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for columns, rows in sizes[:_LISTED_GAPS])
        raise SourceError(f"{noun}s of {len(sizes)} sizes ({listed})", _ONE_SERIES)
    spacings = np.array([plane.spacing_mm for plane in planes])
    if np.ptp(spacings, axis=0).max() > SPACING_TOLERANCE_MM:
        raise SourceError(
            f"{noun}s of differing pixel spacing ({spacings.min():.4g} to {spacings.max():.4g} mm)",
            _ONE_SERIES,
        )


def _count_distinct(vectors: Sequence[Array], tolerance: float) -> int:
    seen: list[Array] = []
    for vector in vectors:
        if not any(np.abs(vector - other).max() <= tolerance for other in seen):
            seen.append(vector)
    return len(seen)


def _tolerance_mm(spacing_mm: float) -> float:
    return max(POSITION_TOLERANCE_MM, POSITION_TOLERANCE * spacing_mm)


def _check_places(distances: Array, noun: str, repeats: str) -> None:
    """distances: sorted, along the normal."""
    gaps = np.diff(distances)
    repeated = int((gaps < POSITION_TOLERANCE_MM).sum())
    if repeated:
        raise SourceError(
            f"{len(distances)} {noun}s lie at {len(distances) - repeated} positions{repeats}: "
            "several echoes, time points or repeats in one series",
            "Split the series, or choose one that holds a single volume",
        )
    even = np.linspace(distances[0], distances[-1], len(distances))
    if np.abs(distances - even).max() <= _tolerance_mm(even[1] - even[0]):
        return
    if runs := _spacing_runs(gaps):
        listed = " and ".join(f"{spacing:.2f} mm" for spacing in runs)
        raise SourceError(
            f"variable spacing: {noun}s are {listed} apart, each in a row",
            f"Export {noun}s of one spacing",
        )
    _refuse_missing(distances, noun)
    raise SourceError(
        f"{noun}s are unevenly spaced: {gaps.min():.2f} to {gaps.max():.2f} mm apart", _ONE_SERIES
    )


def _spacing_runs(gaps: Array) -> list[float]:
    """The spacings, mm, where they change from run to run of slices; empty where they do not.

    A missing slice widens one gap; a scan with a fine middle has several gaps of each kind in a row, and
    between two runs one gap of a width in between at most.
    """
    runs: list[list[float]] = []
    for gap in gaps.tolist():
        if runs and abs(gap - runs[-1][0]) <= _tolerance_mm(gap):
            runs[-1].append(gap)
        else:
            runs.append([gap])
    widths = [run[0] for run in runs]
    whole = [
        run
        for i, run in enumerate(runs)
        if len(run) > 1 or not 0 < i < len(runs) - 1 or sorted(widths[i - 1 : i + 2])[1] != run[0]
    ]
    spacings = sorted({round(float(np.mean(run)), 2) for run in whole})
    is_varying = len(spacings) > 1 and min(spacings) > 0 and min(map(len, whole)) >= LEAST_RUN
    return spacings if is_varying else []


def _refuse_missing(distances: Array, noun: str) -> None:
    """Raise if all gaps are whole multiples of the usual one."""
    gaps = np.diff(distances)
    usual = float(np.median(gaps) if len(gaps) > 2 else gaps.min())
    multiples = np.rint(gaps / usual)
    if multiples.min() < 1 or (np.abs(gaps - multiples * usual) > multiples * _tolerance_mm(usual)).any():
        return
    wide = np.flatnonzero(multiples > 1)
    places = [
        f"{multiples[i] - 1:.0f} between the {noun}s {i + 1} and {i + 2} "
        f"({distances[i] - distances[0]:.1f} and {distances[i + 1] - distances[0]:.1f} mm from the first)"
        for i in wide[:_LISTED_GAPS]
    ]
    more = ["further ones"] if len(wide) > _LISTED_GAPS else []
    missing = int((multiples - 1).sum())
    raise SourceError(
        f"{missing} {noun}{'s are' if missing > 1 else ' is'} missing: {', '.join(places + more)}",
        "Export the complete series",
    )


def _check_straight(positions: Array, places: Array, step: Array, normal: Array, noun: str) -> None:
    along = float(step @ normal)
    aside = positions - positions[0] - places[:, None] * step
    furthest = float(np.linalg.norm(aside, axis=1).max())
    # twice, since each position may be off along the line as well as beside it
    if furthest > 2 * _tolerance_mm(along):
        raise SourceError(f"{noun}s do not lie on one line: up to {furthest:.2f} mm beside it", _ONE_SERIES)
    slant = float(np.linalg.norm(step - along * normal))
    if slant > DIRECTION_TOLERANCE * along and slant * (len(positions) - 1) > POSITION_TOLERANCE_MM:
        raise SourceError(
            f"gantry tilt: {noun}s follow each other at {np.degrees(np.arctan2(slant, along)):.1f} degrees "
            "to their normal",
            "Export the series resampled without tilt",
        )
