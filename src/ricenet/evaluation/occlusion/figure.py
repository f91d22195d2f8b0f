"""An occlusion map over each of a subject's volumes, in three planes through its strongest voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import (
    PLANES,
    Plane,
    draw_lines,
    mark_sides,
    mri_in_brain,
    set_title,
    show_slice,
    slice_of,
    style,
)
from ricenet.evaluation.anatomy_figure import CAVITY_COLOUR, LESION_COLOUR, Anatomy
from ricenet.evaluation.occlusion.case import TOGETHER, Case
from ricenet.preprocessing.course_dose import plateau_gy
from ricenet.vocabulary import MODALITIES, Modality, members
from ricenet.volume import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROSS_COLOUR = "#009E73"
_ISODOSE_COLOUR = "#ffffff"
_COLOURS = "managua_r"
"""Dark in the middle, so that strong changes shine on a dark brain; safe for colour-blind readers."""
_ISODOSES_GY = (20.0, 40.0, 60.0)
_MARGIN_MM = 10.0
"""Shown around the brain."""
_PANEL_INCHES = 2.25
_LEAST_LIMIT = 1e-6

Voxel = tuple[int, int, int]
_NAMES: dict[Modality, str] = {"post_op": "post-op", "event": "event", "dose": "dose"}
_OUTLINES: dict[Modality, tuple[str, str, str]] = {
    "post_op": ("cavity", CAVITY_COLOUR, "resection cavity"),
    "event": ("lesion", LESION_COLOUR, "new lesion"),
}
"""What is outlined over a scan where it is known: mask, colour and how it is called."""


def strongest_voxel(change: NDArray[np.float32]) -> Voxel:
    """Index of the largest absolute change; the one in the middle of several; the middle of an empty map."""
    size = np.abs(change)
    if not size.any():
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    # cubes that lie a stride apart leave blocks of voxels with the same change
    strongest = np.argwhere(size == size.max())
    from_middle = np.square(strongest - strongest.mean(axis=0)).sum(axis=1)
    x, y, z = (int(i) for i in strongest[np.argmin(from_middle)])
    return x, y, z


def occlusion_figure(case: Case, map_name: str = TOGETHER) -> Figure:
    """Rows: the three volumes; columns: sagittal, coronal and axial slices with one of the maps on top.

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
    box = _shown_mm(anatomy)
    with style():
        room = (0.01, 0.005, 0.98, 0.985)
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01, rect=room)
        figure = Figure(figsize=(3 * _PANEL_INCHES + 1.3, 3 * _PANEL_INCHES + 1.0), layout=layout)
        grid = figure.subplots(3, 3)
        for row, modality in zip(grid, MODALITIES, strict=True):
            for axes, plane, index in zip(row, PLANES, strongest, strict=True):
                _draw_underlay(axes, anatomy, modality, plane, index)
                _draw_map(axes, anatomy.grid, change, plane, index, limit=limit)
                _draw_outlines(axes, anatomy, modality, plane, index)
                _crop(axes, box, plane)
                _draw_ticks(axes, anatomy, strongest, plane)
                mark_sides(axes, plane)
            row[0].set_ylabel(_row_title(modality, case.modality_set, map_name))
        for axes, plane in zip(grid[0], PLANES, strict=True):
            axes.set_title(plane)
        _colour_bar(figure, grid, limit)
        _legend_below(figure, anatomy)
        figure.suptitle(_title(case, map_name))
    return figure


def _title(case: Case, map_name: str) -> str:
    speaking = [vote.fold for vote in case.votes if vote.held_out]
    label = "of unknown label" if case.anatomy.label == "n/a" else case.anatomy.label
    between = "" if case.interval is None else f", 95 % {case.interval[0]:.2f} to {case.interval[1]:.2f}"
    if len(speaking) == 1:
        speaker = f"the network of fold {speaking[0]}, which did not train on this subject"
    else:
        speaker = f"{len(speaking)} networks, none of which trained on this subject"
    hidden = "all volumes at once" if map_name == TOGETHER else f"{set_title(map_name)} alone"
    return (
        f"{case.anatomy.subject}: {label}, predicted {case.predicted}"
        f"{' (wrong)' if case.wrong else ''}, p_rice {case.p_rice:.2f}{between}\n"
        f"{set_title(case.modality_set)}; {speaker}\n"
        f"occluded: {hidden}{'; synthetic subject' if case.synthetic else ''}"
    )


def _row_title(modality: Modality, modality_set: str, map_name: str) -> str:
    name = _NAMES[modality]
    if modality not in members(modality_set):
        return f"{name} (no input)"
    return name if map_name in (TOGETHER, modality) else f"{name} (not occluded)"


def _draw_underlay(axes: Axes, anatomy: Anatomy, modality: Modality, plane: Plane, index: int) -> None:
    if modality == "dose":
        data, low, high = anatomy.dose_gy, 0.0, max(plateau_gy(anatomy.dose_gy, anatomy.brain) * 1.08, 1.0)
    else:
        data, low, high = mri_in_brain(getattr(anatomy, modality), anatomy.brain)
    settings = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bilinear"}
    show_slice(axes, data, anatomy.grid, plane, index, **settings)
    axes.set_facecolor("black")


def _draw_map(
    axes: Axes, grid: Grid, change: NDArray[np.float32], plane: Plane, index: int, *, limit: float
) -> None:
    strength = np.abs(slice_of(change, plane, index)) / limit
    settings: dict[str, Any] = {"cmap": _COLOURS, "vmin": -limit, "vmax": limit, "interpolation": "bilinear"}
    show_slice(axes, change, grid, plane, index, alpha=0.85 * strength, **settings)


def _draw_outlines(axes: Axes, anatomy: Anatomy, modality: Modality, plane: Plane, index: int) -> None:
    if modality == "dose":
        in_slice = slice_of(anatomy.dose_gy, plane, index)
        levels = [level for level in _ISODOSES_GY if in_slice.min() < level < in_slice.max()]
        settings = {"colors": _ISODOSE_COLOUR, "linewidths": 0.7, "alpha": 0.8}
    else:
        mask, colour, _ = _OUTLINES[modality]
        in_slice = slice_of(anatomy.known_masks.get(mask, np.zeros(anatomy.grid.shape)), plane, index)
        levels = [0.5] if in_slice.max() > 0.5 else []
        settings = {"colors": colour, "linewidths": 1.2}
    if levels:
        draw_lines(axes, in_slice, levels, anatomy.grid, plane, **settings)


def _draw_ticks(axes: Axes, anatomy: Anatomy, voxel: Voxel, plane: Plane) -> None:
    world_mm = anatomy.grid.world_mm(np.array(voxel, dtype=float))
    across, up = _in_plane(plane)
    # short ticks at the edge point to the voxel without covering it
    for tick in ({"ymax": 0.06}, {"ymin": 0.94}):
        axes.axvline(world_mm[across], color=_CROSS_COLOUR, linewidth=1.6, **tick)
    for tick in ({"xmax": 0.06}, {"xmin": 0.94}):
        axes.axhline(world_mm[up], color=_CROSS_COLOUR, linewidth=1.6, **tick)


def _in_plane(plane: Plane) -> tuple[int, int]:
    across, up = (axis for axis in range(3) if axis != PLANES.index(plane))
    return across, up


def _shown_mm(anatomy: Anatomy) -> NDArray[np.float64]:
    """Lowest and highest world position (3, 2) of a cube around the brain; so all panels are as large."""
    inside = np.argwhere(anatomy.brain)
    low, high = (anatomy.grid.world_mm(v) for v in (inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5))
    reach = (high - low).max() / 2 + _MARGIN_MM
    middle = (low + high) / 2
    return np.stack([middle - reach, middle + reach], axis=1)


def _crop(axes: Axes, box: NDArray[np.float64], plane: Plane) -> None:
    across, up = _in_plane(plane)
    low, high = box[across]
    axes.set_xlim((low, high) if plane == "sagittal" else (high, low))
    axes.set_ylim(*box[up])


def _colour_bar(figure: Figure, grid: Any, limit: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(Normalize(-limit, limit), _COLOURS)
    label = "change of p_rice by hiding\n(positive: what is hidden speaks for rice)"
    figure.colorbar(mappable, ax=grid, shrink=0.5, aspect=26, label=label)


def _legend_below(figure: Figure, anatomy: Anatomy) -> None:
    from matplotlib.lines import Line2D

    doses = ", ".join(f"{dose:g}" for dose in _ISODOSES_GY)
    entries = [
        Line2D([], [], color=_CROSS_COLOUR, linewidth=1.6, label="strongest voxel"),
        Line2D([], [], color="#aaaaaa", linewidth=1, label=f"isodoses: {doses} Gy"),
    ]
    for mask, colour, text in _OUTLINES.values():
        if mask in anatomy.known_masks:
            entries.append(Line2D([], [], color=colour, linewidth=2, label=text))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)
