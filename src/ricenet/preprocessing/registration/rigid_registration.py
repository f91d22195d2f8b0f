"""Step 1: how one MRI lies over another, and whether that is to be believed.

ANTs at full resolution spends its time on voxels that add nothing: a transform has six numbers, and a
hundred thousand voxels give them to some hundredths of a millimetre. So the heads are laid over each other
roughly (`rough_alignment`), then ANTs refines twice, on copies of 4 mm and of the spacing that is asked for,
with as many samples as the error needs, the second time without what differs between the heads
(`comparison.disagreement`; benchmarks/registration.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import averaged, head_mask
from ricenet.preprocessing.registration.ants import Refinement
from ricenet.preprocessing.registration.image_comparison import (
    SimilarityAtPoints,
    disagreement,
    head_overlap,
)
from ricenet.preprocessing.registration.rough_alignment import align
from ricenet.runtime.files import read_json, write_json
from ricenet.volume import Affine, Volume, resample

SPACING_MM = 2.0
FIRST_SPACING_MM = 4.0
FIRST_ITERATIONS, LAST_ITERATIONS = 50, {"rigid": 10, "affine": 50}

RIM_MM = 8.0
"""Air around the head that is compared as well. More of it costs time and adds nothing; less, and the
mask's edge pulls: 0.27 mm off with the brain alone, 0.05 mm with the head and this rim."""

LEAST_SIMILARITY = 1.05
"""Right ones reach 1.10 to 1.28, 1.09 with 10 % noise and 30 % bias, 1.05 to 1.15 with another contrast;
noise and empty heads stay below 1.02, other objects below 1.047, other people's heads 1.02 to 1.04, and
mirrored ones reach 1.12 to 1.15."""

SIMILARITY_TOLERANCE = 0.02
LEAST_OVERLAP = 0.7
"""Right ones exceed 0.95, or 0.76 where one scan lacks skull and scalp; half a head has 0.67."""

REGISTRATION_FILE = "registration.json"


@dataclass(frozen=True)
class RigidResult:
    """`moving_from_fixed`: world transform (RAS, mm) from the fixed to the moving image's space.

    `similarity`: normalised mutual information within the fixed head, registered (1 none, 2 identical).
    `similarity_before`: the same with both images where their headers put them.
    `searched`: whether turned starts had to be tried, as for a scan whose header turns it upside down.
    `overlap`: Dice coefficient of both heads, of what both images show.
    """

    moving_from_fixed: Affine
    similarity: float
    similarity_before: float
    searched: bool = False
    overlap: float = 1.0

    @property
    def failure(self) -> str | None:
        """Why one head does not lie over the other, for people; None where nothing speaks against it.

        Two failures are not recognised for sure: a mirrored scan, and another person's head.
        """
        after, before = self.similarity, self.similarity_before
        if after < max(LEAST_SIMILARITY, before - SIMILARITY_TOLERANCE):
            return (
                f"normalised mutual information within the head {after:.3f}, {before:.3f} before it, "
                f"expected at least {LEAST_SIMILARITY}"
            )
        if self.overlap < LEAST_OVERLAP:
            return f"the heads' overlap (Dice) is {self.overlap:.2f}, expected at least {LEAST_OVERLAP}"
        return None

    def write(self, folder: Path) -> None:
        """Write it as JSON, which keeps every bit."""
        content = asdict(self) | {"moving_from_fixed": self.moving_from_fixed.tolist()}
        write_json(folder / REGISTRATION_FILE, content)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        content = read_json(folder / REGISTRATION_FILE)
        return cls(**content | {"moving_from_fixed": np.array(content["moving_from_fixed"], np.float64)})


def register_rigid(
    fixed: Volume,
    moving: Volume,
    metric: str,
    seed: int,
    *,
    spacing_mm: float = SPACING_MM,
    transform: str = "rigid",
) -> RigidResult:
    """Estimate the transform that lays `moving` over `fixed`, wherever their headers put them.

    fixed, moving: scanner units, on any grids, raw or already `averaged` to spacing_mm: the result is the
    same to the last bit.
    metric: "mattes" (mutual information) or "cross_correlation".
    spacing_mm: of the finest copies that the estimate comes from; no finer than the images themselves.
    transform: "rigid", or "affine" for scanners whose gradients scale differently.
    Only rotations are searched: a scan that is mirrored is laid over the other as well as a mirrored head
    can be, which the similarity does not distinguish from its own for sure.
    Repeatable bit for bit: seeded, and on one ITK thread.
    Source: RICE-NET 2.1 (co-registration with ANTs); deviation: multi-resolution, from a searched start,
    and without what differs between both heads.
    """
    fixed, moving = averaged(fixed, spacing_mm), averaged(moving, spacing_mm)
    coarse, coarse_moving = averaged(fixed, FIRST_SPACING_MM), averaged(moving, FIRST_SPACING_MM)
    start = align(fixed, moving)
    roughly = Refinement(metric, "rigid", FIRST_ITERATIONS, seed)
    everywhere = _compared(coarse, coarse, np.zeros(coarse.grid.shape, dtype=np.bool_))
    first = roughly(coarse, coarse_moving, everywhere, start.moving_from_fixed, start.centre_mm)
    differs = disagreement(coarse, coarse_moving, first, head_mask(coarse))
    finely = Refinement(metric, transform, LAST_ITERATIONS[transform], seed)
    found = finely(fixed, moving, _compared(fixed, coarse, differs), first, start.centre_mm)
    similarity = SimilarityAtPoints.within_head(fixed, moving)
    return RigidResult(
        found,
        similarity=similarity(found),
        similarity_before=similarity(np.eye(4)),
        searched=start.searched,
        overlap=head_overlap(fixed, moving, found),
    )


def _compared(fixed: Volume, coarse: Volume, differs: NDArray[np.bool_]) -> Volume:
    """The head with a rim of air, without what differs and the outermost voxels of the image.

    Where a scan ends within the head, its last voxels meet the other's end, and ends attract each other.
    coarse: the fixed image's copy on whose grid `differs` lies.
    """
    head = Volume(head_mask(coarse, RIM_MM) & ~differs, coarse.grid)
    mask = resample(head, fixed.grid, order=0).data > 0.5
    inner = tuple(slice(1, -1) if n > 2 else slice(None) for n in mask.shape)
    compared = np.zeros_like(mask)
    compared[inner] = mask[inner]
    return Volume(compared, fixed.grid)
