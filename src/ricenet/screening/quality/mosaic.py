"""Slices of a head next to one another on one sheet, as pictures and as outlines that lie over them.

A sheet is measured in millimetres from its upper left corner, x to the right, y downwards. Slices are
shown radiologically: the patient's right is on the page's left, the front is up or on the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import PLANES, Plane, slice_of
from ricenet.volume import Affine, Grid, Volume, resample, supersampling_for

PIXEL_MM = 1.0
GAP_MM = 4.0
AXIS_NAMES = ("x", "y", "z")
_SIMPLER_BY_PIXELS = 0.15
"""How far an outline may be moved so that it needs fewer points."""


@dataclass(frozen=True)
class Panel:
    """One slice of a sheet: where it lies in the world, and where its upper left corner lies on the sheet."""

    plane: Plane
    position_mm: float
    grid: Grid
    left: float
    top: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        across, up = _in_plane(self.plane)
        return self.grid.shape[across] * PIXEL_MM, self.grid.shape[up] * PIXEL_MM

    @property
    def label(self) -> str:
        """The slice's world coordinate."""
        return f"{AXIS_NAMES[PLANES.index(self.plane)]} {self.position_mm:+.0f}"


@dataclass(frozen=True)
class Sheet:
    """Panels that share one picture; sizes in mm."""

    panels: tuple[Panel, ...]
    width: float
    height: float

    def as_json(self) -> dict[str, Any]:
        """Size and labels, which is all that a page needs."""
        labels = [
            {"text": panel.label, "x": panel.left, "y": panel.top, "plane": panel.plane}
            for panel in self.panels
        ]
        return {"width": self.width, "height": self.height, "labels": labels}


def lay_out(
    low_mm: NDArray[np.float64], high_mm: NDArray[np.float64], positions_mm: Mapping[Plane, Sequence[float]]
) -> Sheet:
    """A row a plane, in the order of `positions_mm`; every slice shows the box from low to high (3,)."""
    rows = [[_panel_grid(low_mm, high_mm, plane, at) for at in row] for plane, row in positions_mm.items()]
    panels: list[Panel] = []
    widths = [_row_width(plane, row) for plane, row in zip(positions_mm, rows, strict=True)]
    top = 0.0
    for plane, row, width in zip(positions_mm, rows, widths, strict=True):
        left = float(round((max(widths) - width) / 2))
        for at, grid in zip(positions_mm[plane], row, strict=True):
            panels.append(Panel(plane, at, grid, left, top))
            left += panels[-1].size_mm[0] + GAP_MM
        top += panels[-1].size_mm[1] + GAP_MM
    return Sheet(tuple(panels), max(widths), top - GAP_MM)


def draw(volume: Volume, sheet: Sheet, source_from_sheet: Affine | None = None) -> NDArray[np.float32]:
    """The values (rows, columns) of a volume on a sheet, NaN between the panels."""
    size = round(sheet.height / PIXEL_MM), round(sheet.width / PIXEL_MM)
    canvas = np.full(size, np.nan, dtype=np.float32)
    for panel in sheet.panels:
        rows = _turned(_slice(volume, panel, source_from_sheet), panel.plane)
        _panel_values(canvas, panel)[...] = rows
    return canvas


def outlines(values: NDArray[np.float32], levels: Sequence[float], sheet: Sheet) -> list[str]:
    """Where values (rows, columns), as `draw` gives them, cross each level, as the `d` of an SVG path.

    Empty where they do not.
    """
    from skimage.measure import find_contours

    paths: list[str] = []
    bordered = [np.pad(_panel_values(values, panel), 1) for panel in sheet.panels]
    for level in levels:
        # a border of nothing closes outlines that leave the slice
        found = [(line, p) for p, rows in zip(sheet.panels, bordered, strict=True)
                 for line in find_contours(rows, level)]  # fmt: skip
        kept = simplified([line for line, _ in found], _SIMPLER_BY_PIXELS)
        parts = [
            _path((line[:, 1] - 0.5) * PIXEL_MM + panel.left, (line[:, 0] - 0.5) * PIXEL_MM + panel.top)
            for line, (_, panel) in zip(kept, found, strict=True)
            if len(line) > 2
        ]
        paths.append("".join(parts))
    return paths


def box_outline(grid: Grid, sheet: Sheet) -> str:
    """The outline of a grid's extent on every slice that it meets, as the `d` of an SVG path.

    grid: along the world axes.
    """
    low, high = grid.corners_mm.min(axis=0), grid.corners_mm.max(axis=0)
    parts = []
    for panel in sheet.panels:
        axis, (across, up) = PLANES.index(panel.plane), _in_plane(panel.plane)
        first, last = panel.grid.corners_mm.min(axis=0), panel.grid.corners_mm.max(axis=0)
        start, end = np.maximum(low, first), np.minimum(high, last)
        if (
            low[axis] <= panel.position_mm <= high[axis]
            and start[across] < end[across]
            and start[up] < end[up]
        ):
            x = np.array([start[across], end[across]]) - first[across]
            x = panel.left + (x if panel.plane == "sagittal" else panel.size_mm[0] - x)
            y = panel.top + last[up] - np.array([end[up], start[up]])
            parts.append(_path(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]]))
    return "".join(parts)


def simplified(lines: Sequence[NDArray[np.float64]], tolerance: float) -> list[NDArray[np.float64]]:
    """Lines (K, 2) of fewer points, none of the others further away than a tolerance; ends stay.

    All parts of all lines are split at once, which gives the same as one after the other.
    Source: Douglas and Peucker, Cartographica 10 (1973) 112-122.
    """
    if not lines:
        return []
    points = np.concatenate(lines)
    line_end = np.cumsum([len(line) for line in lines])
    start, end = np.append(0, line_end[:-1]), line_end - 1
    kept = np.zeros(len(points), dtype=np.bool_)
    kept[start] = kept[end] = True
    while len(start := start[between := end - start > 1]):
        end = end[between]
        counts = end - start - 1
        first = np.append(0, counts.cumsum()[:-1])
        part = np.repeat(np.arange(len(start)), counts)
        at = np.arange(len(part)) - first[part] + start[part] + 1
        distance = _distance(points[at], points[start][part], points[end][part])
        furthest = np.maximum.reduceat(distance, first)
        where = np.minimum.reduceat(np.where(distance == furthest[part], at, len(points)), first)
        split = furthest > tolerance
        middle = where[split]
        kept[middle] = True
        start, end = np.append(start[split], middle), np.append(middle, end[split])
    return [line[k] for line, k in zip(lines, np.split(kept, line_end[:-1]), strict=True)]


def _distance(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of points (N, 2) from the straight parts between two points each."""
    along, offset = end - start, points - start
    squared = np.maximum((along**2).sum(axis=1), np.finfo(np.float64).tiny)
    share = np.clip((offset * along).sum(axis=1) / squared, 0.0, 1.0)
    distance: NDArray[np.float64] = np.linalg.norm(offset - share[:, None] * along, axis=1)
    return distance


def encode(values: NDArray[np.float32], low: float, high: float) -> bytes:
    """Values as a grey picture (WebP), black at `low` and between panels, white at `high`."""
    import io

    from matplotlib.image import imsave

    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0.0, 1.0)
    stream = io.BytesIO()
    grey = np.repeat((255 * scaled).astype(np.uint8)[..., None], 3, axis=2)
    imsave(stream, grey, format="webp", pil_kwargs={"quality": 82, "method": 2})
    return stream.getvalue()


def spread(low: float, high: float, count: int, margin: float) -> list[float]:
    """Positions at equal distances within an interval, a share of which is excluded at both ends.

    >>> spread(0.0, 100.0, 3, 0.1)
    [10.0, 50.0, 90.0]
    """
    inset = margin * (high - low)
    return [float(at) for at in np.linspace(low + inset, high - inset, count)]


def around(centre: float, low: float, high: float, step: float, count: int) -> list[float]:
    """Positions a step apart, one of them the centre: the middle one, unless others would leave the interval.

    >>> around(50.0, 0.0, 100.0, 10.0, 3)
    [40.0, 50.0, 60.0]
    >>> around(4.0, 0.0, 100.0, 10.0, 3)
    [4.0, 14.0, 24.0]
    """
    first = -(count // 2)
    while first < 0 and centre + first * step < low:
        first += 1
    while first > 1 - count and centre + (first + count - 1) * step > high:
        first -= 1
    return [centre + k * step for k in range(first, first + count)]


def _panel_values(canvas: NDArray[np.float32], panel: Panel) -> NDArray[np.float32]:
    """A panel's part of a sheet's values; a view."""
    y, x = round(panel.top / PIXEL_MM), round(panel.left / PIXEL_MM)
    width, height = (round(mm / PIXEL_MM) for mm in panel.size_mm)
    return canvas[y : y + height, x : x + width]


def _panel_grid(low: NDArray[np.float64], high: NDArray[np.float64], plane: Plane, at_mm: float) -> Grid:
    shape = np.maximum(1, np.ceil((high - low) / PIXEL_MM)).astype(int)
    affine = np.diag([PIXEL_MM, PIXEL_MM, PIXEL_MM, 1.0])
    affine[:3, 3] = (low + high) / 2 - PIXEL_MM * (shape - 1) / 2
    axis = PLANES.index(plane)
    shape[axis], affine[axis, 3] = 1, at_mm
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _row_width(plane: Plane, row: Sequence[Grid]) -> float:
    across, _ = _in_plane(plane)
    return sum(grid.shape[across] * PIXEL_MM for grid in row) + GAP_MM * (len(row) - 1)


def _in_plane(plane: Plane) -> tuple[int, int]:
    across, up = (axis for axis in range(3) if axis != PLANES.index(plane))
    return across, up


def _slice(volume: Volume, panel: Panel, source_from_sheet: Affine | None) -> NDArray[np.float32]:
    k = supersampling_for(volume.grid, panel.grid)
    data = resample(volume, panel.grid, source_from_sheet, order=1, supersampling=k).data
    values: NDArray[np.float32] = slice_of(data, panel.plane, 0)
    return values


def _turned(rows_upwards: NDArray[np.float32], plane: Plane) -> NDArray[np.float32]:
    """Rows from the top of the page; the patient's right on its left."""
    rows = rows_upwards[::-1]
    return rows if plane == "sagittal" else rows[:, ::-1]


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    points = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    closed = points[0] == points[-1]
    return f"M{' '.join(points[:-1] if closed else points)}{'Z' if closed else ''}"
