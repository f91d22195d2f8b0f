"""One subject's three volumes side by side, as in the paper's figure 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.cohort.splits import Splits
from ricenet.display.drawing import draw_lines, mark_sides, mri_in_brain, show_slice, slice_of, style
from ricenet.preprocessing.course_dose import isocentre_voxel, plateau_gy
from ricenet.runtime.tables import require
from ricenet.volume import Grid, Volume, load_nifti, resample, supersampling_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAVITY_COLOUR, LESION_COLOUR, ISOCENTRE_COLOUR = "#56B4E9", "#F0E442", "#D55E00"
ISODOSE_SHARES = (0.2, 0.5, 0.8, 0.95)
"""Isodose lines, as shares of the plateau dose."""


@dataclass(frozen=True)
class Anatomy:
    """A subject's volumes on one cube grid; masks only where a cohort's maker knows them."""

    subject: str
    label: str
    post_op: NDArray[np.float32]
    event: NDArray[np.float32]
    dose_gy: NDArray[np.float32]
    brain: NDArray[np.bool_]
    grid: Grid
    known_masks: Mapping[str, NDArray[np.float32]]
    """Share of each voxel (X, Y, Z) that a mask fills, by name: cavity, lesion."""


def subject_to_show(splits: Splits) -> str:
    """The first training subject with RICE, or the first of all where none has it."""
    subjects = splits.development
    return next((s for s in subjects if splits.labels[s] == "rice"), subjects[0])


def read_anatomy(preprocessed: Path, cohort: Path, subject: str, label: str) -> Anatomy:
    """Read a subject's preprocessed volumes and, in a synthetic cohort, its known masks.

    Raises ResultError: a preprocessed volume is missing.
    """
    folder = preprocessed / subject
    post_op, event, dose, brain = (
        load_nifti(require(folder / f"{name}.nii.gz", "preprocess"))
        for name in ("post_op", "event", "dose", "brain")
    )
    known = {
        name: _on_grid(path, brain.grid)
        for name in ("cavity", "lesion")
        if (path := cohort / GROUND_TRUTH / subject / f"{name}.nii.gz").is_file()
    }
    return Anatomy(
        subject=subject,
        label=label,
        post_op=post_op.data.astype(np.float32),
        event=event.data.astype(np.float32),
        dose_gy=dose.data.astype(np.float32),
        brain=brain.data > 0.5,
        grid=brain.grid,
        known_masks=known,
    )


def _on_grid(path: Path, grid: Grid) -> NDArray[np.float32]:
    mask: Volume = load_nifti(path)
    return resample(mask, grid, supersampling=supersampling_for(mask.grid, grid)).data.astype(np.float32)


def volumes_figure(anatomy: Anatomy) -> Figure:
    """Axial slices through the isocentre: post-op, event (SDs of the brain) and dose (Gy).

    Source: RICE-NET figure 1. The isocentre is estimated (`isocentre_voxel`); cavity and lesion
    are outlined where known.
    """
    from matplotlib.figure import Figure

    centre = isocentre_voxel(anatomy.dose_gy, anatomy.brain)
    index = int(np.clip(round(float(centre[2])), 0, anatomy.grid.shape[2] - 1))
    with style():
        figure = Figure(figsize=(9.6, 3.75), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, name in zip(panels[:2], ("post_op", "event"), strict=True):
            _draw_mri(axes, anatomy, name, index)
        _draw_dose(figure, panels[2], anatomy, index)
        x_mm, y_mm, _ = anatomy.grid.world_mm(centre)
        for axes in panels:
            axes.plot(x_mm, y_mm, "+", color=ISOCENTRE_COLOUR, markersize=11, markeredgewidth=2)
            mark_sides(axes, "axial")
        _legend_below(figure, anatomy)
    return figure


def _draw_mri(axes: Axes, anatomy: Anatomy, name: str, index: int) -> None:
    data, low, high = mri_in_brain(getattr(anatomy, name), anatomy.brain)
    settings = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bilinear"}
    show_slice(axes, data, anatomy.grid, "axial", index, **settings)
    mask, colour = ("cavity", CAVITY_COLOUR) if name == "post_op" else ("lesion", LESION_COLOUR)
    if mask in anatomy.known_masks:
        share = slice_of(anatomy.known_masks[mask], "axial", index)
        if share.max() > 0.5:
            draw_lines(axes, share, [0.5], anatomy.grid, "axial", colors=colour, linewidths=1.6)
    axes.set_title("post-operative T1ce" if name == "post_op" else "T1ce at the event")


def _draw_dose(figure: Figure, axes: Axes, anatomy: Anatomy, index: int) -> None:
    plateau = plateau_gy(anatomy.dose_gy, anatomy.brain)
    in_slice = slice_of(anatomy.dose_gy, "axial", index)
    highest = max(float(in_slice.max()), 1.0)
    settings = {"cmap": "inferno", "vmin": 0, "vmax": highest, "interpolation": "bilinear"}
    image = show_slice(axes, anatomy.dose_gy, anatomy.grid, "axial", index, **settings)
    levels = [share * plateau for share in ISODOSE_SHARES if 0 < share * plateau < highest]
    if levels:
        draw_lines(axes, in_slice, levels, anatomy.grid, "axial", colors="white", linewidths=0.8)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, label="dose (Gy)")
    for level in levels:
        bar.ax.axhline(level, color="white", linewidth=0.8)
    axes.set_title("radiotherapy dose")


def _legend_below(figure: Figure, anatomy: Anatomy) -> None:
    from matplotlib.lines import Line2D

    shares = ", ".join(f"{share:.0%}" for share in ISODOSE_SHARES).replace("%", "")
    entries = [
        Line2D([], [], color=ISOCENTRE_COLOUR, marker="+", linestyle="none", markersize=9, markeredgewidth=2,
               label="isocentre, estimated from the dose"),
        Line2D([], [], color="#aaaaaa", linewidth=1, label=f"isodoses: {shares} % of the plateau"),
    ]  # fmt: skip
    for mask, colour, text in (
        ("cavity", CAVITY_COLOUR, "resection cavity"),
        ("lesion", LESION_COLOUR, "new lesion"),
    ):
        if mask in anatomy.known_masks:
            entries.append(Line2D([], [], color=colour, linewidth=2, label=text))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)
    figure.suptitle(f"{anatomy.subject}, {anatomy.label}")
