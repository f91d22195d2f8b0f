"""An occlusion map over each of a subject's volumes, in three planes through its strongest voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.anatomy_figure import Anatomy, plateau_gy
from ricenet.evaluation.drawing import (
    PLANES,
    Plane,
    mark_sides,
    mri_in_brain,
    set_title,
    show_slice,
    slice_of,
    style,
)
from ricenet.modalities import MODALITIES, Modality, members

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROSS_COLOUR = "#009E73"
_COLOURS = "managua_r"
"""Dark in the middle, so that strong changes shine on a dark brain; safe for colour-blind readers."""


@dataclass(frozen=True)
class Explained:
    """What is said of one explained prediction, beside its map."""

    modality_set: str
    participant_id: str
    label: str
    predicted: str
    fold: int
    p_rice: float


def strongest_voxel(change: NDArray[np.float32]) -> tuple[int, int, int]:
    """Index of the largest absolute change; the first of several; the middle of an empty map."""
    if not np.any(change):
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    x, y, z = (int(i) for i in np.unravel_index(np.argmax(np.abs(change)), change.shape))
    return x, y, z


def occlusion_figure(explained: Explained, change: NDArray[np.float32], anatomy: Anatomy) -> Figure:
    """Rows: the three volumes; columns: sagittal, coronal and axial slices with the map on top.

    change: (X, Y, Z) on the anatomy's grid. The map fades out towards no change.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    strongest = strongest_voxel(change)
    limit = max(float(np.abs(change).max()), 1e-6)
    with style():
        figure = Figure(figsize=(8.4, 7.3), layout=ConstrainedLayoutEngine(w_pad=0.08))
        grid = figure.subplots(3, 3)
        for row, modality in zip(grid, MODALITIES, strict=True):
            for axes, plane, index in zip(row, PLANES, strongest, strict=True):
                _draw_underlay(axes, anatomy, modality, plane, index)
                _draw_map(axes, anatomy, change, plane, index, limit=limit)
                _draw_cross(axes, anatomy, strongest, plane)
                mark_sides(axes, plane)
            row[0].set_ylabel(_row_title(modality, explained.modality_set))
        for axes, plane in zip(grid[0], PLANES, strict=True):
            axes.set_title(plane)
        mappable = ScalarMappable(Normalize(-limit, limit), _COLOURS)
        figure.colorbar(
            mappable,
            ax=grid,
            shrink=0.6,
            label="change of p_rice\n(positive: the region speaks for rice)",
        )
        figure.suptitle(_title(explained))
    return figure


def _title(explained: Explained) -> str:
    return (
        f"{explained.participant_id} is {explained.label}, predicted {explained.predicted} "
        f"(p_rice {explained.p_rice:.2f})\n{set_title(explained.modality_set)}, "
        f"by the model of fold {explained.fold}, which did not train on this subject"
    )


def _row_title(modality: Modality, modality_set: str) -> str:
    name = {"post_op": "post-op", "event": "event", "dose": "dose"}[modality]
    return name if modality in members(modality_set) else f"{name} (no input)"


def _draw_underlay(axes: Axes, anatomy: Anatomy, modality: Modality, plane: Plane, index: int) -> None:
    if modality == "dose":
        data, low, high = anatomy.dose_gy, 0.0, max(plateau_gy(anatomy.dose_gy, anatomy.brain) * 1.08, 1.0)
    else:
        data, low, high = mri_in_brain(getattr(anatomy, modality), anatomy.brain)
    settings = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bilinear"}
    show_slice(axes, data, anatomy.grid, plane, index, **settings)


def _draw_map(
    axes: Axes, anatomy: Anatomy, change: NDArray[np.float32], plane: Plane, index: int, *, limit: float
) -> None:
    strength = np.abs(slice_of(change, plane, index)) / limit
    settings = {"cmap": _COLOURS, "vmin": -limit, "vmax": limit, "alpha": 0.85 * strength}
    show_slice(axes, change, anatomy.grid, plane, index, **settings)


def _draw_cross(axes: Axes, anatomy: Anatomy, voxel: tuple[int, int, int], plane: Plane) -> None:
    world_mm = anatomy.grid.world_mm(np.array(voxel, dtype=float))
    across, up = (axis for axis in range(3) if axis != PLANES.index(plane))
    # short ticks at the edge point to the voxel without covering it
    for tick in ({"ymax": 0.06}, {"ymin": 0.94}):
        axes.axvline(world_mm[across], color=_CROSS_COLOUR, linewidth=1.4, **tick)
    for tick in ({"xmax": 0.06}, {"xmin": 0.94}):
        axes.axhline(world_mm[up], color=_CROSS_COLOUR, linewidth=1.4, **tick)
