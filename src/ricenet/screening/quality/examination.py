"""Examining one subject: its measures, its pictures and the curves, kept as files for the pages to show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams
from ricenet.display.drawing import PLANES, Plane
from ricenet.preprocessing.high_dose import isocentre_voxel
from ricenet.preprocessing.registration.similarity import similarity_within_head
from ricenet.runtime.files import atomic_path, write_json
from ricenet.screening.quality import geometry
from ricenet.screening.quality.measures import SubjectQuality
from ricenet.screening.quality.mosaic import Sheet, around, draw, encode, lay_out, outlines, spread
from ricenet.screening.quality.scans import EventBrain, Scans, find_event_brain, read_scans
from ricenet.volume import Affine, Grid, Volume, resample, supersampling_for

RECORD = "examination.json"
SPACING_MM = 2.0
"""Of the grid around the brain on which masks and dose are compared."""
MARGIN_MM = 12.0
"""Around the brain: pictures show the skull, and little of the face."""
ISODOSES_GY = (20.0, 40.0, 60.0)
HEAD_SLICES, DOSE_SLICES, DOSE_STEP_MM = 6, 5, 12.0
CT_WINDOW_HU = (-120.0, 240.0)
AIR_HU = -1000.0
GREY_PERCENTILES = (0.5, 99.7)
HISTOGRAM_SD = (-4.0, 6.0)
SHOWN = {
    "head": {"post_op", "event", "event_before", "planning_ct"},
    "dose": {"post_op", "event"},
}
"""Layers of each sheet."""


class Layer(NamedTuple):
    """A volume to be pictured, where it lies, and what is black and white of it."""

    volume: Volume
    source_from_sheet: Affine | None
    window: tuple[float, float]


def examine(raw: RawSubject, preprocessed: Path, settings: BrainParams, folder: Path) -> None:
    """Measure and picture one subject, and write all of it into a folder.

    preprocessed: the subject's folder there. settings: how HD-BET runs.
    Raises ResultError: a file of preprocessing is missing.
    """
    scans = read_scans(raw, preprocessed)
    event_brain = find_event_brain(scans, skull_stripped=raw.brain_mask.is_file(), settings=settings)
    low, high = geometry.bounding_box_mm(scans.brain)
    grid = geometry.box_grid(low - MARGIN_MM, high + MARGIN_MM, SPACING_MM)
    brain = geometry.mask_on(scans.brain, grid)
    dose_gy = _on_grid(scans.dose, grid)
    sheets = _sheets((low, high), grid, dose_gy, brain)
    mri = {
        "post_op": _on_grid(scans.post_op, grid),
        "event": _on_grid(scans.event, grid, scans.event_from_post_op),
    }
    layers = _layers(scans, {name: _window(values, brain) for name, values in mri.items()})
    record = {
        "measures": _measure(scans, event_brain, grid, brain, dose_gy).as_json(),
        "event_brain": event_brain.origin,
        "sheets": {name: sheet.as_json() for name, sheet in sheets.items()},
        "pictures": {name: _draw_layers(layers, sheet, name, folder) for name, sheet in sheets.items()},
        "outlines": {name: _outlines(scans, event_brain, sheet, name) for name, sheet in sheets.items()},
        "histograms": {name: _histogram(values, brain) for name, values in mri.items()},
        "dose_volume": geometry.dose_volume_curve(dose_gy, brain, grid.voxel_ml),
        "provenance": dict(scans.provenance),
        "dose_json": dict(scans.dose_json),
    }
    write_json(folder / RECORD, record)


def _measure(
    scans: Scans, event_brain: EventBrain, grid: Grid, brain: geometry.Mask, dose_gy: geometry.Floats
) -> SubjectQuality:
    before, after = _similarity(scans)
    middle = np.asarray(grid.world_mm(np.argwhere(brain).mean(axis=0)), dtype=np.float64)
    to_event, prescription_gy = scans.event_from_post_op, scans.sidecar.prescription_gy
    largest_gy = float(scans.dose.data.max())
    overlap = None
    if event_brain.mask is not None:
        overlap = geometry.dice(brain, geometry.mask_on(event_brain.mask, grid, to_event))
    v20, v40, v60 = (geometry.volume_from_ml(dose_gy, brain, gy, grid.voxel_ml) for gy in ISODOSES_GY)
    return SubjectQuality(
        participant_id=scans.subject,
        mutual_information_before=before,
        mutual_information=after,
        rotation_deg=geometry.rotation_deg(to_event),
        shift_mm=geometry.shift_mm(to_event, middle),
        brain_ml=float(scans.brain.data.sum()) * scans.brain.grid.voxel_ml,
        brain_overlap=overlap,
        coverage=geometry.coverage(scans.event.grid, brain, grid, to_event),
        dose_max_gy=largest_gy,
        dose_of_prescription=None if prescription_gy is None else largest_gy / prescription_gy,
        dose_outside_brain=geometry.share_outside(scans.dose, scans.brain),
        v20_ml=v20,
        v40_ml=v40,
        v60_ml=v60,
    )


def _similarity(scans: Scans) -> tuple[float, float]:
    """Normalised mutual information within the head: as the headers put both scans, and registered."""
    within = similarity_within_head(scans.post_op, scans.event)
    return within(np.eye(4)), within(scans.event_from_post_op)


def _sheets(
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
    grid: Grid,
    dose_gy: geometry.Floats,
    brain: geometry.Mask,
) -> dict[str, Sheet]:
    """`head`: slices through all of the brain. `dose`: slices around the middle of the high dose.

    box: of the brain, without a margin.
    """
    low, high = box
    centre = grid.world_mm(np.asarray(isocentre_voxel(dose_gy, brain), dtype=np.float64))
    through_all: dict[Plane, list[float]] = {}
    through_dose: dict[Plane, list[float]] = {}
    for plane in reversed(PLANES):
        axis = PLANES.index(plane)
        ends = float(low[axis]), float(high[axis])
        through_all[plane] = spread(*ends, HEAD_SLICES, margin=0.12)
        through_dose[plane] = around(float(centre[axis]), *ends, DOSE_STEP_MM, DOSE_SLICES)
    shown = low - MARGIN_MM, high + MARGIN_MM
    return {"head": lay_out(*shown, through_all), "dose": lay_out(*shown, through_dose)}


def _layers(scans: Scans, windows: Mapping[str, tuple[float, float]]) -> dict[str, Layer]:
    """What can be pictured. windows: of both MRIs, by name."""
    to_event = scans.event_from_post_op
    layers = {
        "post_op": Layer(scans.post_op, None, windows["post_op"]),
        "event": Layer(scans.event, to_event, windows["event"]),
        "event_before": Layer(scans.event, None, windows["event"]),
    }
    if scans.planning_ct is not None:
        # what lies outside the CT is air, and resampling fills with 0
        above_air = np.asarray(scans.planning_ct.data - AIR_HU, dtype=np.float32)
        low, high = (level - AIR_HU for level in CT_WINDOW_HU)
        layers["planning_ct"] = Layer(Volume(above_air, scans.planning_ct.grid), None, (low, high))
    return layers


def _draw_layers(layers: Mapping[str, Layer], sheet: Sheet, name: str, folder: Path) -> dict[str, str]:
    """Write the pictures of a sheet; returns their files by layer."""
    files = {}
    for layer in SHOWN[name] & layers.keys():
        volume, transform, (low, high) = layers[layer]
        files[layer] = f"{name}-{layer}.webp"
        with atomic_path(folder / files[layer]) as temporary:
            temporary.write_bytes(encode(draw(volume, sheet, transform), low, high))
    return files


def _outlines(scans: Scans, event_brain: EventBrain, sheet: Sheet, name: str) -> dict[str, str]:
    """The outlines that the viewers of a sheet offer, by name."""
    levels = ISODOSES_GY if name == "dose" else ISODOSES_GY[:1]
    paths = outlines(scans.dose, levels, sheet)
    lines = {f"isodose_{level:g}": path for level, path in zip(levels, paths, strict=True)}
    (lines["brain"],) = outlines(scans.brain, [0.5], sheet)
    if event_brain.mask is not None and name == "head":
        (lines["event_brain"],) = outlines(event_brain.mask, [0.5], sheet, scans.event_from_post_op)
    return lines


def _histogram(values: geometry.Floats, brain: geometry.Mask) -> list[list[float]]:
    """Rows (SDs of the brain from its mean, share of the brain's voxels), as the network sees intensities."""
    inside = values[brain].astype(np.float64)
    standardised = (inside - inside.mean()) / max(float(inside.std()), 1e-12)
    low, high = HISTOGRAM_SD
    counts, edges = np.histogram(np.clip(standardised, low, high), bins=80, range=HISTOGRAM_SD)
    middles = (edges[:-1] + edges[1:]) / 2
    return [
        [round(float(x), 4), round(float(n) / len(inside), 6)] for x, n in zip(middles, counts, strict=True)
    ]


def _window(values: geometry.Floats, brain: geometry.Mask) -> tuple[float, float]:
    """Black and white of an MRI's pictures, from its values in and around the brain."""
    low, _ = np.percentile(values, GREY_PERCENTILES)
    _, high = np.percentile(values[brain], GREY_PERCENTILES)
    return float(low), max(float(high), float(low) + 1e-6)


def _on_grid(volume: Volume, grid: Grid, source_from_grid: Affine | None = None) -> geometry.Floats:
    return np.asarray(_on_grid_volume(volume, grid, source_from_grid).data, dtype=np.float32)


def _on_grid_volume(volume: Volume, grid: Grid, source_from_grid: Affine | None = None) -> Volume:
    return resample(volume, grid, source_from_grid, 1, supersampling_for(volume.grid, grid))
