"""One subject's declared volumes side by side, as in the paper's figure 1."""

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
from ricenet.vocabulary import Volumes
from ricenet.volume import Grid, Volume, load_nifti, resample, supersampling_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAVITY_COLOUR, LESION_COLOUR, ISOCENTRE_COLOUR = "#56B4E9", "#F0E442", "#D55E00"
ISODOSE_SHARES = (0.2, 0.5, 0.8, 0.95)
"""Isodose lines, as shares of the plateau dose."""


@dataclass(frozen=True)
class Anatomy:
    """A subject's volumes on one cube grid; masks only where a cohort's maker knows them.

    data: (X, Y, Z) float32 of every volume that the subject has, by name; MRIs as the network sees them, the
    dose in Gy. brain: (X, Y, Z). known_masks: share of each voxel that a mask fills, by name: cavity, lesion.
    """

    subject: str
    label: str
    volumes: Volumes
    data: Mapping[str, NDArray[np.float32]]
    brain: NDArray[np.bool_]
    grid: Grid
    known_masks: Mapping[str, NDArray[np.float32]]

    @property
    def post_op(self) -> NDArray[np.float32]:
        """The paper's first MRI, until all that draws it iterates over the declaration."""
        return self.data["post_op"]

    @property
    def event(self) -> NDArray[np.float32]:
        """The paper's second MRI, likewise."""
        return self.data["event"]

    @property
    def has_dose(self) -> bool:
        """Whether the subject has a dose."""
        return self.volumes.dose is not None and self.volumes.dose.name in self.data

    @property
    def dose_gy(self) -> NDArray[np.float32]:
        """The dose in Gy. Raises ValueError: there is none (`has_dose`)."""
        if self.volumes.dose is None or not self.has_dose:
            raise ValueError(f"{self.subject} has no dose")
        return self.data[self.volumes.dose.name]

    def shown_in(self, mask: str) -> str:
        """The MRI on which a known mask is drawn: the cavity after surgery, the lesion at its event."""
        spec = self.volumes.last_session_reference if mask == "lesion" else self.volumes.reference
        return spec.name


def subject_to_show(splits: Splits) -> str:
    """The first training subject with RICE, or the first of all where none has it."""
    subjects = splits.development
    return next((s for s in subjects if splits.labels[s] == "rice"), subjects[0])


def read_anatomy(preprocessed: Path, cohort: Path, subject: str, label: str, volumes: Volumes) -> Anatomy:
    """Read a subject's preprocessed volumes and, in a synthetic cohort, its known masks.

    Raises ResultError: a required volume is missing.
    """
    paths = {spec.name: preprocessed / subject / f"{spec.name}.nii.gz" for spec in volumes}
    for spec in volumes.required:
        require(paths[spec.name], "preprocess")
    brain = load_nifti(require(preprocessed / subject / "brain.nii.gz", "preprocess"))
    known = {name: cohort / GROUND_TRUTH / subject / f"{name}.nii.gz" for name in ("cavity", "lesion")}
    return Anatomy(
        subject=subject,
        label=label,
        volumes=volumes,
        data={n: load_nifti(path).data.astype(np.float32) for n, path in paths.items() if path.is_file()},
        brain=brain.data > 0.5,
        grid=brain.grid,
        known_masks={name: _on_grid(path, brain.grid) for name, path in known.items() if path.is_file()},
    )


def _on_grid(path: Path, grid: Grid) -> NDArray[np.float32]:
    mask: Volume = load_nifti(path)
    return resample(mask, grid, supersampling=supersampling_for(mask.grid, grid)).data.astype(np.float32)


def volumes_figure(anatomy: Anatomy) -> Figure:
    """Axial slices through the isocentre of every volume: MRIs (SDs of the brain) and dose (Gy).

    Source: RICE-NET figure 1. The isocentre is estimated (`isocentre_voxel`); without a dose, slices are
    through the brain's middle. Cavity and lesion are outlined where known.
    """
    from matplotlib.figure import Figure

    dose_gy = anatomy.dose_gy if anatomy.has_dose else np.zeros(anatomy.grid.shape, np.float32)
    centre = isocentre_voxel(dose_gy, anatomy.brain)
    index = int(np.clip(round(float(centre[2])), 0, anatomy.grid.shape[2] - 1))
    with style():
        figure = Figure(figsize=(3.2 * len(anatomy.data), 3.75), layout="constrained")
        panels = figure.subplots(1, len(anatomy.data), squeeze=False)[0]
        for axes, name in zip(panels, anatomy.data, strict=True):
            if anatomy.volumes[name].kind == "dose":
                _draw_dose(figure, axes, anatomy, index)
            else:
                _draw_mri(axes, anatomy, name, index)
            axes.set_title(anatomy.volumes[name].title)
            mark_sides(axes, "axial")
            if anatomy.has_dose:
                x_mm, y_mm, _ = anatomy.grid.world_mm(centre)
                axes.plot(x_mm, y_mm, "+", color=ISOCENTRE_COLOUR, markersize=11, markeredgewidth=2)
        _legend_below(figure, anatomy)
    return figure


def _draw_mri(axes: Axes, anatomy: Anatomy, name: str, index: int) -> None:
    data, low, high = mri_in_brain(anatomy.data[name], anatomy.brain)
    settings = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bilinear"}
    show_slice(axes, data, anatomy.grid, "axial", index, **settings)
    for mask, colour in (("cavity", CAVITY_COLOUR), ("lesion", LESION_COLOUR)):
        if mask in anatomy.known_masks and anatomy.shown_in(mask) == name:
            share = slice_of(anatomy.known_masks[mask], "axial", index)
            if share.max() > 0.5:
                draw_lines(axes, share, [0.5], anatomy.grid, "axial", colors=colour, linewidths=1.6)


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


def _legend_below(figure: Figure, anatomy: Anatomy) -> None:
    from matplotlib.lines import Line2D

    entries = []
    if anatomy.has_dose:
        shares = ", ".join(f"{share:.0%}" for share in ISODOSE_SHARES).replace("%", "")
        entries = [
            Line2D([], [], color=ISOCENTRE_COLOUR, marker="+", linestyle="none", markersize=9,
                   markeredgewidth=2, label="isocentre, estimated from the dose"),
            Line2D([], [], color="#aaaaaa", linewidth=1, label=f"isodoses: {shares} % of the plateau"),
        ]  # fmt: skip
    for mask, colour, text in (
        ("cavity", CAVITY_COLOUR, "resection cavity"),
        ("lesion", LESION_COLOUR, "new lesion"),
    ):
        if mask in anatomy.known_masks:
            entries.append(Line2D([], [], color=colour, linewidth=2, label=text))
    if entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)
    figure.suptitle(f"{anatomy.subject}, {anatomy.label}")
