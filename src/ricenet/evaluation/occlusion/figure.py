"""An occlusion map over each of a subject's volumes, in three planes through its strongest voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import MAP_COLOURS, PLANES, Plane, mark_sides, show_slice, slice_of, style
from ricenet.evaluation.anatomy_figure import Anatomy, Drawn, draw_volume, legend_below
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case, strongest_voxel
from ricenet.vocabulary import VolumeSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROSS_COLOUR = "#009E73"
_MARGIN_MM = 10.0
"""Shown around the brain."""
_PANEL_INCHES = 2.25
_LEAST_LIMIT = 1e-6


def occlusion_figure(case: Case, map_name: str = TOGETHER) -> Figure:
    """Rows: the subject's volumes; columns: sagittal, coronal and axial slices with one of the maps on top.

    map_name: which of the case's maps. It fades out towards no change. Green ticks at the edges point to
    its strongest voxel, through which all slices go. Shown is the brain with a margin.
    Source: RICE-NET figure 3 (map over all three inputs). Deviations: three planes, isodoses, and
    outlines of what a synthetic cohort knows.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    change, anatomy = case.maps[map_name], case.anatomy
    strongest = strongest_voxel(change)
    limit = max(float(np.abs(change).max()), _LEAST_LIMIT)
    box, rows, drawn = _shown_mm(anatomy), len(anatomy.volumes), list[Drawn]()
    with style():
        room = (0.01, 0.005, 0.98, 0.985)
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01, rect=room)
        figure = Figure(figsize=(3 * _PANEL_INCHES + 1.3, rows * _PANEL_INCHES + 1.0), layout=layout)
        grid = figure.subplots(rows, 3, squeeze=False)
        for row, spec in zip(grid, anatomy.volumes, strict=True):
            for axes, plane, index in zip(row, PLANES, strongest, strict=True):
                drawn.append(draw_volume(axes, anatomy, spec, plane, index))
                axes.set_facecolor("black")
                strength = np.abs(slice_of(change, plane, index)) / limit
                colours = {"cmap": MAP_COLOURS, "vmin": -limit, "vmax": limit, "interpolation": "bilinear"}
                show_slice(axes, change, anatomy.grid, plane, index, alpha=0.85 * strength, **colours)
                _crop_and_mark(axes, box, anatomy.grid.world_mm(np.array(strongest, dtype=float)), plane)
                mark_sides(axes, plane)
            row[0].set_ylabel(_row_title(spec, case, map_name))
        for axes, plane in zip(grid[0], PLANES, strict=True):
            axes.set_title(plane)
        _colour_bar(figure, grid, limit)
        legend_below(figure, drawn, {"color": _CROSS_COLOUR, "linewidth": 1.6, "label": "strongest voxel"})
        figure.suptitle(_title(case, map_name))
    return figure


def _title(case: Case, map_name: str) -> str:
    said, volumes = case.explanation, case.anatomy.declared
    label = "of unknown label" if said.label == "n/a" else said.label
    between = "" if said.interval is None else f", 95 % {said.interval[0]:.2f} to {said.interval[1]:.2f}"
    speaker = f"{len(said.held_out)} networks, none of which trained on this subject"
    if len(said.held_out) == 1:
        speaker = f"the network of fold {said.held_out[0]}, which did not train on this subject"
    hidden = "all volumes at once" if map_name == TOGETHER else f"{volumes[map_name].title} alone"
    return (
        f"{said.participant_id}: {label}, predicted {said.predicted}"
        f"{' (wrong)' if said.wrong else ''}, p_rice {said.p_rice:.2f}{between}\n"
        f"{volumes.set_title(said.modality_set)}\n{speaker}\n"
        f"occluded: {hidden}{'; synthetic subject' if said.synthetic else ''}"
    )


def _row_title(spec: VolumeSpec, case: Case, map_name: str) -> str:
    if spec not in case.anatomy.declared.members(case.explanation.modality_set):
        return f"{spec.title} (no input)"
    return spec.title if map_name in (TOGETHER, spec.name) else f"{spec.title} (not occluded)"


def _shown_mm(anatomy: Anatomy) -> NDArray[np.float64]:
    """Lowest and highest world position (3, 2) of a cube around the brain; so all panels are as large."""
    inside = np.argwhere(anatomy.brain)
    low, high = (anatomy.grid.world_mm(v) for v in (inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5))
    reach = (high - low).max() / 2 + _MARGIN_MM
    middle = (low + high) / 2
    return np.stack([middle - reach, middle + reach], axis=1)


def _crop_and_mark(
    axes: Axes, box: NDArray[np.float64], strongest_mm: NDArray[np.float64], plane: Plane
) -> None:
    across, up = (axis for axis in range(3) if axis != PLANES.index(plane))
    low, high = box[across]
    axes.set_xlim((low, high) if plane == "sagittal" else (high, low))
    axes.set_ylim(*box[up])
    # short ticks at the edge point to the voxel without covering it
    for low, high in ((0.0, 0.06), (0.94, 1.0)):
        axes.axvline(strongest_mm[across], low, high, color=_CROSS_COLOUR, linewidth=1.6)
        axes.axhline(strongest_mm[up], low, high, color=_CROSS_COLOUR, linewidth=1.6)


def _colour_bar(figure: Figure, grid: Any, limit: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(Normalize(-limit, limit), MAP_COLOURS)
    label = "change of p_rice by hiding\n(positive: what is hidden speaks for rice)"
    figure.colorbar(mappable, ax=grid, shrink=0.5, aspect=26, label=label)
