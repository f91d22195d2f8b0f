"""The last session's brain as its own scan alone shows it: a check of mask and registration together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.stripped import brain_of_stripped
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain.extraction import extract_brain, read_brain, write_brain
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.volume import Volume, load_nifti

SPACING_MM = 3.0
"""Of the grid on which HD-BET looks for it: coarse, being a check (docs/quality.md)."""

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


def find_own_brain(raw: RawSubject, params: BrainParams) -> OwnBrain:
    """The brain of the last session's reference MRI: what a scan without its skull shows, all that is above 0
    where the cohort gave a brain mask, else by HD-BET's fast network.

    params: precision and device are taken from it; the engine is always the quick one.
    A failure is an answer here, so none is raised.
    """
    spec = raw.volumes.last_session_reference
    scan = load_nifti(raw.scan(spec.name))
    if (stripped := brain_of_stripped(scan)) is not None:
        return OwnBrain(
            Volume(stripped, scan.grid), "all that the scan shows: the scans come without their skull"
        )
    if is_there(raw.brain_mask):
        return OwnBrain(
            Volume(scan.data > 0, scan.grid), "all voxels above 0: the scans come without their skull"
        )
    try:
        mask = extract_brain(scan, raw.subject, spec.title, quick(params))
    except ScanError as error:
        return OwnBrain(None, f"not found: {error.found}")
    return OwnBrain(mask, f"HD-BET, fast, on a grid of {SPACING_MM:g} mm")


def quick(params: BrainParams) -> BrainParams:
    """The settings with which it is found."""
    settings = {"mode": "fast", "mirroring": False, "engine": "minimal", "spacing_mm": SPACING_MM}
    return params.model_copy(update=settings)
