"""The last session's brain as its own scan alone shows it: a check of mask and registration together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ricenet.cohort.coarse_head import averaged
from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.scan_checks import load_scan
from ricenet.cohort.stripped import brain_of_stripped
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain.device import choose_device, use_bfloat16
from ricenet.preprocessing.brain.extraction import (
    PLAUSIBLE_BRAIN_ML,
    plausible_brain,
    read_brain,
    write_brain,
)
from ricenet.preprocessing.brain.hd_bet import half_size_logits
from ricenet.preprocessing.brain.image import largest_component
from ricenet.preprocessing.cube import bounding_box_mm
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.tables import require
from ricenet.volume import Affine, Grid, Volume, load_nifti, resample

VIEW_VOXELS = (64, 80, 64)
"""Of what HD-BET is shown, from right to left, back to front, below to above: the brain and little more."""

FINEST_MM, MARGIN_MM = 2.4, 4.0
"""Spacing of the view, coarser where the mask and this margin would not fit into it. HD-BET takes bone and
scalp for brain where the view has 3 mm (docs/quality.md)."""

ORIGIN_FILE = "own_brain.json"


@dataclass(frozen=True)
class OwnBrain:
    """A brain mask on a grid in the scan's own space; None where none was found.

    origin: how it was found, or why not, for people.
    """

    mask: Volume | None
    origin: str

    def write(self, folder: Path) -> None:
        """Keep it in a folder."""
        if self.mask is not None:
            write_brain(self.mask, folder)
        write_json(folder / ORIGIN_FILE, {"found": self.mask is not None, "origin": self.origin})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        content = read_json(folder / ORIGIN_FILE)
        return cls(read_brain(folder) if content["found"] else None, content["origin"])


def find_own_brain(raw: RawSubject, preprocessed: Path, params: BrainParams) -> OwnBrain:
    """The brain of the last session's reference MRI: what a scan without its skull shows, all that is above 0
    where the cohort gave a brain mask and that is no more than a brain, else by HD-BET's first network.

    preprocessed: the subject's folder there, whose mask and transform say where to look. A brain that lies
    elsewhere is cut off or not found. params: precision and device are taken from it.
    A brain that is not found is an answer here. Raises ScanError: the scan cannot be read. ResultError: a
    file of preprocessing is missing.
    """
    spec = raw.volumes.last_session_reference
    scan = load_scan(raw.scan(spec.name), raw.subject, spec.title)
    if (stripped := brain_of_stripped(scan)) is not None:
        return OwnBrain(
            Volume(stripped, scan.grid), "all that the scan shows: the scans come without their skull"
        )
    shown = Volume(scan.data > 0, scan.grid)
    # of whole heads with a mask at hand, more than a brain lies above 0
    if is_there(raw.brain_mask) and _brain_ml(shown) <= PLAUSIBLE_BRAIN_ML[1]:
        return OwnBrain(shown, "all voxels above 0: the scans come without their skull")
    expected = load_nifti(require(preprocessed / brain_mask_file(raw.subject), "preprocess"))
    last_from_reference = Measurements.of_subject(preprocessed).world_from_reference(spec.name)
    view = view_of(Volume(expected.data > 0.5, expected.grid), last_from_reference)
    remedy = "Look at the scan and at its registration."
    try:
        mask = plausible_brain(
            _seen(scan, view, params), raw.subject, spec.title, "HD-BET found a brain of", remedy
        )
    except ScanError as error:
        return OwnBrain(None, f"not found: {error.found}")
    return OwnBrain(mask, f"HD-BET, one network, on a view of {view.spacing_mm[0]:.2g} mm around the mask")


def view_of(expected: Volume, last_from_reference: Affine) -> Grid:
    """Where HD-BET looks, in the last session's world. expected: the brain mask, in the reference's."""
    low, high = bounding_box_mm(expected)
    spacing_mm = max(FINEST_MM, float(((high - low + 2 * MARGIN_MM) / VIEW_VOXELS).max()))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = (low + high) / 2 - spacing_mm * (np.array(VIEW_VOXELS) - 1) / 2
    return Grid(VIEW_VOXELS, last_from_reference @ affine)


def _seen(scan: Volume, view: Grid, params: BrainParams) -> Volume:
    """HD-BET's brain (X, Y, Z) on the view: its half-size answer, interpolated."""
    device = choose_device(params.device)
    # blocks of voxels first: every voxel counts, and one point a voxel of the view is enough
    shown = np.asarray(resample(averaged(scan, FINEST_MM), view).data, dtype=np.float32).transpose(2, 1, 0)
    zyx = np.ascontiguousarray((shown - shown.mean()) / (shown.std() or np.float32(1)))
    logits = half_size_logits(zyx, device=device, bfloat16=use_bfloat16(params.precision, device))
    halves = np.ascontiguousarray(logits.transpose(2, 1, 0))
    x, y, z = halves.shape
    affine = view.affine.copy()
    affine[:3, :3] *= 2
    affine[:3, 3] = view.world_mm(np.full(3, 0.5))
    brain = resample(Volume(halves, Grid((x, y, z), affine)), view).data > 0
    return Volume(largest_component(brain), view)


def _brain_ml(mask: Volume) -> float:
    return float(np.count_nonzero(mask.data)) * mask.grid.voxel_ml


def quick(params: BrainParams) -> BrainParams:
    """What its key in the store depends on: precision and device as given, the rest alike for all."""
    settings = {"mode": "fast", "mirroring": False, "engine": "minimal", "spacing_mm": FINEST_MM}
    return params.model_copy(update=settings)
