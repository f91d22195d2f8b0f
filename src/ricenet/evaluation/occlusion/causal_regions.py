"""Where in a phantom's head its label comes from (docs/phantom.md), as regions on the network's cube."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import TOGETHER
from ricenet.preprocessing.course_dose import plateau_gy
from ricenet.runtime.errors import ResultError
from ricenet.vocabulary import Modality, members

HIGH_DOSE = "high-dose region"
LESION = "lesion"
CAVITY = "cavity"
WALL = "cavity and its wall"
EVERY_CAUSE = "every cause"

CAUSE_OF: dict[Modality, str] = {"post_op": WALL, "event": LESION, "dose": HIGH_DOSE}
"""The region in which a modality shows its evidence: residual tumour, lesion's core, height of the dose."""

HIGH_DOSE_SHARE = 0.8
"""Of the plateau dose: this isodose follows the phantom's planning target volume."""
WALL_MM = 9.0
"""As thick as residual tumour becomes at a cavity's wall."""

Region = NDArray[np.float32]
"""(X, Y, Z), the share of each voxel that belongs to it."""


def causal_regions(anatomy: Anatomy, modality_set: str) -> dict[str, Region]:
    """The regions in which evidence lies, by name; they overlap, since surgery and beam aim at one tumour.

    Of a set of several modalities, EVERY_CAUSE holds all of theirs.
    Raises ResultError: the cohort's ground truth has no mask of the cavity or the lesion.
    """
    cavity, lesion = (_known(anatomy, name) for name in ("cavity", "lesion"))
    regions = {
        HIGH_DOSE: _high_dose(anatomy),
        LESION: lesion,
        CAVITY: cavity,
        WALL: _with_wall(cavity, anatomy.grid.spacing_mm),
    }
    causes = [regions[CAUSE_OF[modality]] for modality in members(modality_set)]
    return regions if len(causes) == 1 else {**regions, EVERY_CAUSE: np.maximum.reduce(causes)}


def cause_of(map_name: str, modality_set: str) -> str:
    """Name of the region that a map has to point at; that of all at once is every cause of its modalities.

    >>> cause_of("dose", "event+dose")
    'high-dose region'
    >>> cause_of("together", "dose")
    'high-dose region'
    >>> cause_of("together", "event+dose")
    'every cause'
    """
    inputs = members(modality_set)
    if map_name == TOGETHER and len(inputs) > 1:
        return EVERY_CAUSE
    return next(CAUSE_OF[m] for m in inputs if map_name in (m, TOGETHER))


def _known(anatomy: Anatomy, name: str) -> Region:
    if name not in anatomy.known_masks:
        raise ResultError(
            f"{anatomy.subject}: no mask of the {name} in the cohort's {GROUND_TRUTH}, expected cavity "
            "and lesion of every phantom subject. Write the phantom again (`dvc repro data.dvc` for the demo)"
        )
    return anatomy.known_masks[name]


def _high_dose(anatomy: Anatomy) -> Region:
    threshold_gy = HIGH_DOSE_SHARE * plateau_gy(anatomy.dose_gy, anatomy.brain)
    region = (anatomy.dose_gy >= threshold_gy) & (anatomy.dose_gy > 0)
    return np.asarray(region & anatomy.brain, np.float32)


def _with_wall(cavity: Region, spacing_mm: tuple[float, float, float]) -> Region:
    from scipy import ndimage

    if not (cavity >= 0.5).any():
        return cavity
    # the surface lies half a voxel beyond the middle of the last voxel inside
    beyond_mm = ndimage.distance_transform_edt(cavity < 0.5, sampling=spacing_mm) - min(spacing_mm) / 2
    wall: Region = np.maximum(cavity, (beyond_mm <= WALL_MM).astype(np.float32))
    return wall
