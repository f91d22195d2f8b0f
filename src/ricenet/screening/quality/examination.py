"""Examining one subject: its measures, its pictures and the curves, kept as files for the pages to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.scan_checks import load_scan
from ricenet.display.drawing import ISODOSE_COLOURS, PLANES, Plane
from ricenet.preprocessing.cube import bounding_box_mm, dose_on_cube
from ricenet.preprocessing.derivative_dataset import PROVENANCE
from ricenet.preprocessing.derivative_files import brain_file, brain_mask_file, image_file
from ricenet.preprocessing.dose_cube import isocentre_voxel
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.files import atomic_path, read_json, write_json
from ricenet.runtime.tables import require
from ricenet.screening.quality.measures import measures_of
from ricenet.screening.quality.mosaic import (
    Sheet,
    around,
    box_outline,
    draw,
    encode,
    lay_out,
    outlines,
    spread,
)
from ricenet.screening.quality.own_brain import OwnBrain
from ricenet.vocabulary import VolumeSpec
from ricenet.volume import Affine, Grid, Volume, dice, inverse, load_nifti, resample, supersampling_for

RECORD = "examination.json"
OVERLAP_SPACING_MM = 2.0
"""Of the grid around the brain on which masks are compared."""
MARGIN_MM = 12.0
"""Around the brain: pictures show the skull, and little of the face."""
ISODOSES_GY = tuple(ISODOSE_COLOURS)
HEAD_SLICES, DOSE_SLICES, DOSE_STEP_MM = 6, 5, 12.0
CT_WINDOW_HU = (-120.0, 240.0)
AIR_HU = -1000.0
GREY_PERCENTILES = (0.5, 99.7)
HISTOGRAM_SD = (-4.0, 6.0)

SIDECAR_KEYS = (
    *("DoseUnits", "DoseSummationType", "NumberOfFractions", "PrescriptionGy", "DoseType"),
    *("PlansSummed", "BeamsSummed", "SourceSummationType", "DosePlacement", "Decisions"),
)
"""What of a dose's JSON is shown; further keys are the user's own and may identify."""


def examine(raw: RawSubject, preprocessed: Path, own_brain: OwnBrain | None, folder: Path) -> None:
    """Measure and picture one subject, and write all of it into a folder.

    preprocessed: the subject's folder there. own_brain: of the last session, where that is a second one.
    Raises ResultError: a file of preprocessing is missing, or of another version.
    """
    subject = _Subject.read(raw, preprocessed, own_brain)
    sheets = subject.sheets()
    brains = {name: draw(subject.brain_mask, sheet) for name, sheet in sheets.items()}
    inside = subject.brain.data
    record: dict[str, Any] = {
        "measures": measures_of(subject.measured, raw.volumes, subject.brain_overlap()),
        "own_brain": None if own_brain is None else own_brain.origin,
        "mris": [{"name": spec.name, "title": spec.title} for spec in subject.mris],
        "sheets": {name: sheet.as_json() for name, sheet in sheets.items()},
        "pictures": subject.draw(sheets, brains["head"] > 0.5, folder),
        "outlines": {name: subject.outlines(sheet, name, brains[name]) for name, sheet in sheets.items()},
        "histograms": {
            spec.name: histogram(load_nifti(preprocessed / image_file(raw.subject, spec)).data[inside])
            for spec in subject.mris
        },
        "measurements": subject.measured.model_dump(mode="json"),
        "provenance": read_json(require(preprocessed / PROVENANCE, "preprocess")),
    }
    if subject.dose is not None:
        in_brain = StructureDose.of(
            subject.dose.volume, subject.brain_mask, inverse(subject.dose.from_reference)
        )
        record["dose_volume"] = dose_volume_curve(in_brain)
        record["dose_json"] = subject.dose.sidecar
    write_json(folder / RECORD, record)


@dataclass(frozen=True)
class _Dose:
    """Gy of the course as it was given, never EQD2: on its own grid, and (X, Y, Z) on the cube."""

    volume: Volume
    from_reference: Affine
    on_cube_gy: NDArray[np.float32]
    sidecar: dict[str, Any]


@dataclass(frozen=True)
class _Subject:
    """What is examined. brain_mask: on its own grid; brain: on the cube."""

    raw: RawSubject
    measured: Measurements
    brain_mask: Volume
    brain: Volume
    own_brain: OwnBrain | None
    dose: _Dose | None

    @classmethod
    def read(cls, raw: RawSubject, folder: Path, own_brain: OwnBrain | None) -> _Subject:
        files = brain_mask_file(raw.subject), brain_file(raw.subject)
        masks = [load_nifti(require(folder / name, "preprocess")) for name in files]
        brain_mask, brain = (Volume(mask.data > 0.5, mask.grid) for mask in masks)
        measured, dose = Measurements.of_subject(folder), None
        if measured.dose is not None and (spec := raw.volumes.dose) is not None:
            given = load_scan(raw.scan(spec.name), raw.subject, spec.title)
            course = given.times(measured.dose.factor)
            transform = measured.world_of(spec, raw.volumes)
            content = read_json(raw.dose_sidecar)
            shown = {key: content[key] for key in SIDECAR_KEYS if key in content}
            dose = _Dose(course, transform, dose_on_cube(course, brain.grid, 1.0, transform), shown)
        return cls(raw, measured, brain_mask, brain, own_brain, dose)

    @property
    def mris(self) -> list[VolumeSpec]:
        """The MRIs that there are: the reference, the last session's reference, then all others."""
        volumes = self.raw.volumes
        first = dict.fromkeys([volumes.reference, volumes.last_session_reference, *volumes.mris])
        return [spec for spec in first if spec.name in self.measured.mris]

    def from_reference(self, spec: VolumeSpec) -> Affine:
        """From the reference's world into that of a volume."""
        return self.measured.world_of(spec, self.raw.volumes)

    def brain_overlap(self) -> float | None:
        """Dice coefficient of the brain mask and the last session's own brain, registered."""
        if self.own_brain is None or self.own_brain.mask is None:
            return None
        low, high = bounding_box_mm(self.brain_mask)
        grid = Grid.box(low - MARGIN_MM, high + MARGIN_MM, OVERLAP_SPACING_MM)
        to_last = self.from_reference(self.raw.volumes.last_session_reference)
        return dice(mask_on(self.brain_mask, grid), mask_on(self.own_brain.mask, grid, to_last))

    def sheets(self) -> dict[str, Sheet]:
        """`head`: slices through all of the brain. `dose`: slices around the middle of the high dose."""
        low, high = bounding_box_mm(self.brain_mask)
        shown = low - MARGIN_MM, high + MARGIN_MM
        planes: tuple[Plane, ...] = tuple(reversed(PLANES))
        axes = {plane: PLANES.index(plane) for plane in planes}
        ends = {plane: (float(low[axis]), float(high[axis])) for plane, axis in axes.items()}
        sheets = {"head": lay_out(*shown, {p: spread(*ends[p], HEAD_SLICES, margin=0.12) for p in planes})}
        if self.dose is not None:
            voxel = isocentre_voxel(self.dose.on_cube_gy, np.asarray(self.brain.data, dtype=np.bool_))
            centre = self.brain.grid.world_mm(np.asarray(voxel, dtype=np.float64))
            at = {plane: float(centre[axis]) for plane, axis in axes.items()}
            rows = {p: around(at[p], *ends[p], DOSE_STEP_MM, DOSE_SLICES) for p in planes}
            sheets["dose"] = lay_out(*shown, rows)
        return sheets

    def draw(
        self, sheets: dict[str, Sheet], in_brain: NDArray[np.bool_], folder: Path
    ) -> dict[str, dict[str, str]]:
        """Write the pictures of all sheets; returns their files by sheet and layer.

        in_brain: where the sheet `head` shows the brain.
        """
        files: dict[str, dict[str, str]] = {name: {} for name in sheets}

        def write(sheet: str, layer: str, values: NDArray[np.float32], window: tuple[float, float]) -> None:
            files[sheet][layer] = f"{sheet}-{layer}.webp"
            with atomic_path(folder / files[sheet][layer]) as temporary:
                temporary.write_bytes(encode(values, *window))

        for spec in self.mris:
            mri = load_scan(self.raw.scan(spec.name), self.raw.subject, spec.title)
            transform = self.from_reference(spec)
            drawn = {name: draw(mri, sheet, transform) for name, sheet in sheets.items()}
            window = grey_window(drawn["head"], in_brain)
            for name, values in drawn.items():
                write(name, spec.name, values, window)
            if spec != self.raw.volumes.reference:
                write("head", f"{spec.name}_before", draw(mri, sheets["head"]), window)
        if self.dose is not None and is_there(self.raw.planning_ct):
            ct = load_scan(self.raw.planning_ct, self.raw.subject, "planning CT")
            # what lies outside the CT is air, and resampling fills with 0
            above_air = Volume(np.asarray(ct.data - AIR_HU, dtype=np.float32), ct.grid)
            low, high = (level - AIR_HU for level in CT_WINDOW_HU)
            values = draw(above_air, sheets["head"], self.dose.from_reference)
            write("head", "planning_ct", values, (low, high))
        return files

    def outlines(self, sheet: Sheet, name: str, brain: NDArray[np.float32]) -> dict[str, str]:
        """The outlines that the viewers of a sheet offer, by name. brain: the mask, drawn on it."""
        lines = {"brain": outlines(brain, [0.5], sheet)[0]}
        if self.dose is not None:
            levels = ISODOSES_GY if name == "dose" else ISODOSES_GY[:1]
            drawn = draw(self.dose.volume, sheet, self.dose.from_reference)
            paths = outlines(drawn, levels, sheet)
            lines |= {f"isodose_{level:g}": path for level, path in zip(levels, paths, strict=True)}
        if self.own_brain is not None and self.own_brain.mask is not None and name == "head":
            to_last = self.from_reference(self.raw.volumes.last_session_reference)
            (lines["own_brain"],) = outlines(draw(self.own_brain.mask, sheet, to_last), [0.5], sheet)
        for crop, measured in self.measured.crops.items():
            lines[crop] = box_outline(measured.grid, sheet)
        return lines


def mask_on(mask: Volume, grid: Grid, source_from_target: Affine | None = None) -> NDArray[np.bool_]:
    """A mask on another grid: voxels that it fills by half or more."""
    k = supersampling_for(mask.grid, grid)
    share = resample(mask, grid, source_from_target, order=1, supersampling=k).data
    inside: NDArray[np.bool_] = share >= 0.5
    return inside


def dose_volume_curve(inside: StructureDose, step_gy: float = 1.0) -> list[list[float]]:
    """Cumulative dose-volume histogram: rows (dose in Gy, volume in ml that gets it or more)."""
    levels = np.arange(0.0, inside.max_gy + 2 * step_gy, step_gy, dtype=np.float64)
    volumes = inside.volumes_ml(levels)
    return [[gy, round(ml, 2)] for gy, ml in zip(levels.tolist(), volumes.tolist(), strict=True)]


def histogram(inside: NDArray[Any]) -> list[list[float]]:
    """Rows (SDs of the brain from its mean, share of its voxels). inside: (N,) values of the brain."""
    values = inside.astype(np.float64)
    standardised = (values - values.mean()) / max(float(values.std()), 1e-12)
    low, high = HISTOGRAM_SD
    counts, edges = np.histogram(np.clip(standardised, low, high), bins=80, range=HISTOGRAM_SD)
    middles = (edges[:-1] + edges[1:]) / 2
    return [
        [round(float(x), 4), round(float(n) / len(values), 6)] for x, n in zip(middles, counts, strict=True)
    ]


def grey_window(drawn: NDArray[np.float32], in_brain: NDArray[np.bool_]) -> tuple[float, float]:
    """Black and white of an MRI's pictures, from its values in and around the brain on the drawn slices."""
    low, _ = np.nanpercentile(drawn, GREY_PERCENTILES)
    _, high = np.nanpercentile(drawn[in_brain], GREY_PERCENTILES)
    return float(low), max(float(high), float(low) + 1e-6)
