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

_LISTED_GAPS = 3
_ONE_SERIES = "Choose a series that is one volume"

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
    if len(planes) < 2:
        raise SourceError(f"a single {noun} is no volume", _ONE_SERIES)
    _check_alike(planes, noun)
    axes = _axes(planes[0].orientation)
    positions = np.array([plane.position_mm for plane in planes])
    distances = positions @ axes[:, 2]
    order = np.argsort(distances, kind="stable")
    positions, distances = positions[order], distances[order]
    _check_places(distances, noun, repeats)
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    _check_straight(positions, step, axes[:, 2], noun)
    columns, rows = planes[0].shape
    between_rows, between_columns = planes[0].spacing_mm
    lps = np.column_stack([axes[:, 0] * between_columns, axes[:, 1] * between_rows, step, positions[0]])
    return order.tolist(), Grid((columns, rows, len(planes)), _ras(lps))


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
            f"{noun}s of {different} orientations, as in a localiser or reformatted planes", _ONE_SERIES
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
    _refuse_missing(distances, noun)
    raise SourceError(
        f"{noun}s are unevenly spaced: {gaps.min():.2f} to {gaps.max():.2f} mm apart", _ONE_SERIES
    )


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


def _check_straight(positions: Array, step: Array, normal: Array, noun: str) -> None:
    along = float(step @ normal)
    aside = positions - positions[0] - np.arange(len(positions))[:, None] * step
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
