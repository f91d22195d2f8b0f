"""One subject's volumes on the network's grid, and how slices of them are drawn (the paper's figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.cohort.scan_checks import load_scan
from ricenet.cohort.splits import Splits
from ricenet.config.inputs import Part
from ricenet.display.drawing import (
    ISODOSE_COLOURS,
    LINES_GROUND,
    OUTLINE_COLOURS,
    Plane,
    draw_lines,
    mark_sides,
    mri_in_brain,
    show_slice,
    slice_of,
    style,
)
from ricenet.preprocessing.cube import bounding_box_mm, dose_on_cube, on_cube
from ricenet.preprocessing.derivative_files import brain_file, brain_mask_file, image_file
from ricenet.preprocessing.dose_cube import isocentre_voxel, plateau_gy
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.tables import require
from ricenet.vocabulary import Volumes, VolumeSpec
from ricenet.volume import Grid, Volume, load_nifti, resample, supersampling_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_CROSS: Mapping[str, Any] = {
    "color": "#D55E00", "marker": "+", "linestyle": "none", "markersize": 10, "markeredgewidth": 2,
    "label": "isocentre, estimated from the dose",
}  # fmt: skip
LEAST_SPACING_MM, MARGIN_MM = 1.0, 8.0
"""Of pictures of the scans: their finest voxels, and what is shown around the brain."""
MASK_TITLES = {"cavity": "resection cavity", "lesion": "new lesion", "remote": "remote focus"}
"""The masks that a cohort's maker may know."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Anatomy:
    """A subject's volumes on one cube grid; masks only where a cohort's maker knows them.

    declared: all volumes of the cohort. images: (X, Y, Z) by name, those that the subject has: MRI in SD of
    the brain (quantitative ones in units of their scale), as scanned in the scanner's units; dose in Gy.
    """

    subject: str
    label: str
    declared: Volumes
    images: Mapping[str, Image]
    brain: NDArray[np.bool_]
    grid: Grid
    known_masks: Mapping[str, Image]
    """Share of each voxel (X, Y, Z) that a mask fills, by name: cavity, lesion, remote."""

    @property
    def volumes(self) -> tuple[VolumeSpec, ...]:
        """Those that the subject has, in channel order."""
        return tuple(spec for spec in self.declared if spec.name in self.images)

    @property
    def dose_gy(self) -> Image | None:
        """The dose (X, Y, Z), if there is one."""
        return self.images.get(self.declared.dose.name) if self.declared.dose else None

    @cached_property
    def plateau_gy(self) -> float:
        """Of the dose in the brain; 0 without a dose."""
        return 0.0 if self.dose_gy is None else plateau_gy(self.dose_gy, self.brain)

    @cached_property
    def isocentre(self) -> NDArray[np.float64] | None:
        """Its estimate in voxels (3,); None without a dose."""
        if self.dose_gy is None or self.plateau_gy <= 0:
            return None
        return isocentre_voxel(self.dose_gy, self.brain)

    def within(self, part: Part) -> Anatomy:
        """The same, cut to a part of the grid, where it lies in the world."""
        return replace(
            self,
            images={name: image[part] for name, image in self.images.items()},
            brain=self.brain[part],
            grid=self.grid.part(part),
            known_masks={name: mask[part] for name, mask in self.known_masks.items()},
        )

    def window(self, spec: VolumeSpec) -> tuple[Image, float, float]:
        """What is shown of a volume, and the two ends of its grey scale."""
        if spec.kind == "dose":
            return self.images[spec.name], 0.0, max(1.08 * self.plateau_gy, 1.0)
        return mri_in_brain(self.images[spec.name], self.brain)

    def outlined(self, spec: VolumeSpec) -> str | None:
        """The known mask that an MRI shows: the cavity, in the last of several sessions the lesion."""
        if spec.kind == "dose":
            return None
        first, last = self.declared.reference.session, self.declared.last_session_reference.session
        name = "lesion" if spec.session == last != first else "cavity"
        return name if name in self.known_masks else None


def subject_to_show(splits: Splits) -> str:
    """The first training subject with RICE, or the first of all where none has it."""
    subjects = splits.development
    return next((s for s in subjects if splits.labels[s] == "rice"), subjects[0])


def read_anatomy(
    preprocessed: Path, cohort: Path, subject: str, label: str, declared: Volumes, suffix: str = ""
) -> Anatomy:
    """Read a subject's preprocessed volumes and, in a synthetic cohort, its known masks.

    suffix: that of the input's grid; none for the whole head.

    Raises ResultError: a preprocessed volume is missing that every subject needs.
    """
    files = {spec.name: preprocessed / subject / image_file(subject, spec, suffix) for spec in declared}
    needed = [files[spec.name] for spec in declared.required]
    for path in (*needed, brain_path := preprocessed / subject / brain_file(subject, suffix)):
        require(path, "preprocess")
    brain = load_nifti(brain_path)
    return Anatomy(
        subject=subject,
        label=label,
        declared=declared,
        images={n: load_nifti(f).data.astype(np.float32) for n, f in files.items() if f.is_file()},
        brain=brain.data > 0.5,
        grid=brain.grid,
        known_masks={
            name: _on_grid(mask, brain.grid) for name, mask in read_known_masks(cohort, subject).items()
        },
    )


def read_known_masks(cohort: Path, subject: str) -> dict[str, Volume]:
    """The masks that a synthetic cohort's maker knows, on their own grids in the reference MRI's space."""
    files = {name: cohort / GROUND_TRUTH / subject / f"{name}.nii.gz" for name in MASK_TITLES}
    return {name: load_nifti(path) for name, path in files.items() if path.is_file()}


def _on_grid(mask: Volume, grid: Grid) -> Image:
    return resample(mask, grid, supersampling=supersampling_for(mask.grid, grid)).data.astype(np.float32)


def scanned_anatomy(raw: RawSubject, preprocessed: Path, label: str) -> Anatomy:
    """A subject's volumes as they were scanned, not as the network sees them.

    The grid lies around the brain along the axes of the reference MRI's world, as fine as that scan,
    but no finer than LEAST_SPACING_MM.

    preprocessed: the subject's folder there. MRI in scanner units, the dose in Gy of the course as given.
    Raises ResultError: a file of preprocessing is missing. ScanError: a scan cannot be read.
    """
    mask, measured = (
        load_nifti(require(preprocessed / brain_mask_file(raw.subject), "preprocess")),
        Measurements.of_subject(preprocessed),
    )
    declared, dose = raw.volumes, measured.dose
    reference = load_scan(raw.scan(declared.reference.name), raw.subject, declared.reference.title)
    low, high = bounding_box_mm(Volume(mask.data > 0.5, mask.grid))
    spacing_mm = max(min(reference.grid.spacing_mm), LEAST_SPACING_MM)
    grid = Grid.box(low - MARGIN_MM, high + MARGIN_MM, spacing_mm)
    images = {}
    for spec in declared:
        if spec.name in measured.mris:
            scan = load_scan(raw.scan(spec.name), raw.subject, spec.title)
            images[spec.name] = on_cube(scan, grid, 1, measured.world_of(spec, declared))
        elif spec.kind == "dose" and dose is not None:
            given = load_scan(raw.scan(spec.name), raw.subject, spec.title)
            images[spec.name] = dose_on_cube(given, grid, dose.factor, measured.world_of(spec, declared))
    masks = read_known_masks(raw.cohort, raw.subject)
    return Anatomy(
        subject=raw.subject,
        label=label,
        declared=declared,
        images=images,
        brain=_on_grid(mask, grid) > 0.5,
        grid=grid,
        known_masks={name: _on_grid(known, grid) for name, known in masks.items()},
    )


class Drawn(NamedTuple):
    """The picture of a slice, for a colour bar, and the lines on it: what each is, and its colour."""

    picture: AxesImage
    lines: Mapping[str, str]


def draw_volume(
    axes: Axes, anatomy: Anatomy, spec: VolumeSpec, plane: Plane, index: int, colours: str = "gray"
) -> Drawn:
    """A slice of a volume; isodose lines over a dose, over an MRI the outline of its known mask."""
    data, low, high = anatomy.window(spec)
    settings = {"cmap": colours, "vmin": low, "vmax": high, "interpolation": "bilinear"}
    picture = show_slice(axes, data, anatomy.grid, plane, index, **settings)
    if spec.kind == "dose":
        of_slice = slice_of(data, plane, index)
        crossed = draw_lines(axes, of_slice, ISODOSE_COLOURS, anatomy.grid, plane, 0.9)
        return Drawn(picture, {f"{gy:g} Gy": ISODOSE_COLOURS[gy] for gy in crossed})
    if (mask := anatomy.outlined(spec)) is None:
        return Drawn(picture, {})
    share, colour = slice_of(anatomy.known_masks[mask], plane, index), OUTLINE_COLOURS[mask]
    crossed = draw_lines(axes, share, {0.5: colour}, anatomy.grid, plane, 1.4)
    return Drawn(picture, {MASK_TITLES[mask]: colour} if crossed else {})


def legend_below(figure: Figure, drawn: Sequence[Drawn], mark: Mapping[str, Any] | None) -> None:
    """What marks and lines mean that the slices show. mark: the look of one more, with its label."""
    from matplotlib.lines import Line2D

    shown = {title: colour for of_slice in drawn for title, colour in of_slice.lines.items()}
    isodoses = [f"{gy:g} Gy" for gy in ISODOSE_COLOURS if f"{gy:g} Gy" in shown]
    titles = [*isodoses, *(title for title in MASK_TITLES.values() if title in shown)]
    entries = [] if mark is None else [Line2D([], [], **mark)]
    entries += [Line2D([], [], color=shown[title], linewidth=2, label=title) for title in titles]
    if entries:
        figure.legend(
            handles=entries, loc="outside lower center", ncols=min(len(entries), 4), facecolor=LINES_GROUND,
            labelcolor="white", edgecolor="none", framealpha=1.0,
        )  # fmt: skip


def volumes_figure(anatomy: Anatomy) -> Figure:
    """Axial slices of all volumes through the isocentre, the dose in Gy.

    Source: RICE-NET figure 1. The isocentre is estimated (`isocentre_voxel`); without a dose, slices are
    through the cube's middle. Cavity and lesion are outlined where known.
    """
    from matplotlib.figure import Figure

    middle = (np.array(anatomy.grid.shape) - 1) / 2
    centre = middle if anatomy.isocentre is None else anatomy.isocentre
    index = int(np.clip(round(float(centre[2])), 0, anatomy.grid.shape[2] - 1))
    cross = None if anatomy.isocentre is None else _CROSS
    drawn = list[Drawn]()
    with style():
        high_by_wide = anatomy.grid.shape[1] / anatomy.grid.shape[0]
        size = (2.3 * len(anatomy.volumes) + 0.6, 2.25 * high_by_wide + 1.15)
        figure = Figure(figsize=size, layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(anatomy.volumes), squeeze=False)[0]
        for axes, spec in zip(panels, anatomy.volumes, strict=True):
            colours = "inferno" if spec.kind == "dose" else "gray"
            drawn.append(draw_volume(axes, anatomy, spec, "axial", index, colours))
            if spec.kind == "dose":
                figure.colorbar(drawn[-1].picture, ax=axes, shrink=0.85, label="dose (Gy)")
            axes.set_title(spec.title)
            if cross is not None:
                x_mm, y_mm, _ = anatomy.grid.world_mm(centre)
                axes.plot(x_mm, y_mm, **cross)
            mark_sides(axes, "axial")
        legend_below(figure, drawn, cross)
        figure.suptitle(f"{anatomy.subject}, {anatomy.label}")
    return figure
