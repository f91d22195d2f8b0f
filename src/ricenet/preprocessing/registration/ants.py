"""Rigid co-registration by ANTs: the sole wrapper around antspyx.

ANTs at full resolution spends its time on voxels that add nothing: a transform has six numbers, and a
hundred thousand voxels give them to some hundredths of a millimetre. So the heads are laid over each other
roughly (`alignment`), then ANTs refines twice, on copies of 4 mm and of the spacing that is asked for, with
as many samples as the error needs, the second time without what differs between the heads (`disagreement`;
benchmarks/registration.py).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.registration.alignment import align
from ricenet.preprocessing.registration.coarse import averaged, head_mask
from ricenet.preprocessing.registration.disagreement import disagreement
from ricenet.preprocessing.registration.similarity import SIMILARITY_SPACING_MM, similarity_within_head
from ricenet.volume import Affine, Grid, Volume, inverse, resample

if TYPE_CHECKING:
    import ants

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's world axes point left and back, NIfTI's right and front."""

METRICS = {"mattes": "mattes", "cross_correlation": "GC"}
TRANSFORMS = {"rigid": "Rigid", "affine": "Affine"}

SPACING_MM = 2.0
FIRST_SPACING_MM = 4.0
FIRST_ITERATIONS, LAST_ITERATIONS = 50, 10
AFFINE_ITERATIONS = 50
SAMPLES = 60_000
"""Of the fixed image, for each estimate of the metric; twice as many gain less than 0.03 mm."""

RIM_MM = 8.0
"""Air around the head that is compared as well. More of it costs time and tells nothing; less, and the
mask's edge pulls: 0.27 mm off with the brain alone, 0.05 mm with the head and this rim."""

LEAST_SIMILARITY = 1.05
"""Right ones reach 1.10 to 1.28, 1.09 with 10 % noise and 30 % bias, 1.05 to 1.15 with another contrast;
noise and empty heads stay below 1.02, other objects below 1.047, other people's heads 1.02 to 1.04, and
mirrored ones reach 1.12 to 1.15."""

SIMILARITY_TOLERANCE = 0.02
LEAST_OVERLAP = 0.7
"""Right ones exceed 0.95, or 0.76 where one scan lacks skull and scalp; half a head has 0.67."""


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


def failure_of(result: RigidResult) -> str | None:
    """What tells that one head was not laid over the other, for the reader; None where nothing does.

    Not told from success for sure: a mirrored scan, and another person's head.
    """
    after, before = result.similarity, result.similarity_before
    if after < max(LEAST_SIMILARITY, before - SIMILARITY_TOLERANCE):
        return (
            f"normalised mutual information within the head {after:.3f}, {before:.3f} before it, "
            f"expected at least {LEAST_SIMILARITY}"
        )
    if result.overlap < LEAST_OVERLAP:
        return f"the heads' overlap (Dice) is {result.overlap:.2f}, expected at least {LEAST_OVERLAP}"
    return None


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
    can be, which the similarity does not tell from its own for sure.
    Repeatable bit for bit: seeded, and on one ITK thread.
    Source: RICE-NET 2.1 (co-registration with ANTs); deviation: multi-resolution, from a searched start,
    and without what differs between both heads.
    """
    fixed, moving = averaged(fixed, spacing_mm), averaged(moving, spacing_mm)
    coarse = averaged(fixed, FIRST_SPACING_MM), averaged(moving, FIRST_SPACING_MM)
    start = align(fixed, moving)
    nowhere = np.zeros(coarse[0].grid.shape, dtype=np.bool_)
    first = _refined(
        *coarse,
        _compared(coarse[0], coarse[0], nowhere),
        start.moving_from_fixed,
        start.centre_mm,
        _Way(METRICS[metric], TRANSFORMS["rigid"], FIRST_ITERATIONS, seed),
    )
    differs = disagreement(*coarse, first, head_mask(coarse[0]))
    iterations = LAST_ITERATIONS if transform == "rigid" else AFFINE_ITERATIONS
    found = _refined(
        fixed,
        moving,
        _compared(fixed, coarse[0], differs),
        first,
        start.centre_mm,
        _Way(METRICS[metric], TRANSFORMS[transform], iterations, seed),
    )
    return _judged(fixed, moving, found, start.searched)


def _judged(fixed: Volume, moving: Volume, found: Affine, searched: bool) -> RigidResult:
    within = similarity_within_head(fixed, moving)
    overlap = _overlap(_coarse_head(fixed), _coarse_head(moving), found)
    return RigidResult(found, within(found), within(np.eye(4)), searched, overlap)


def _coarse_head(scan: Volume) -> Volume:
    coarse = averaged(scan, SIMILARITY_SPACING_MM)
    return Volume(head_mask(coarse), coarse.grid)


def _overlap(fixed_head: Volume, moving_head: Volume, moving_from_fixed: Affine) -> float:
    """Dice coefficient over the points of the fixed image that the moving image shows; 0 if none."""
    everywhere = Volume(np.ones(moving_head.grid.shape, dtype=np.float32), moving_head.grid)
    shown = resample(everywhere, fixed_head.grid, moving_from_fixed).data > 0.5
    there = resample(moving_head, fixed_head.grid, moving_from_fixed).data[shown] > 0.5
    here = np.asarray(fixed_head.data[shown], dtype=np.bool_)
    both = int(here.sum()) + int(there.sum())
    return 2 * float((here & there).sum()) / both if both else 0.0


@dataclass(frozen=True)
class _Way:
    """How ANTs refines: its names of metric and transform, at most so many steps, and a seed."""

    metric: str
    transform: str
    iterations: int
    seed: int


def _refined(
    fixed: Volume,
    moving: Volume,
    compared: Volume,
    start: Affine,
    centre_mm: NDArray[np.float64],
    way: _Way,
) -> Affine:
    """ANTs' estimate on these very images, from a start that is nearly right.

    compared: where, on the fixed image's grid.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # read when ITK first runs
    import ants

    # the argument random_seed is not handed on to ANTs; this is. ITK takes 0 for "seed from the clock"
    ants.config.set_ants_deterministic(on=False, seed_value=way.seed % (2**31 - 1) + 1)
    # the start goes into the moving image's header, and the head's middle to the origin, about which ANTs
    # then turns: nothing is left to initialise, and nothing is rounded by being written
    centred = np.eye(4)
    centred[:3, 3] = -centre_mm
    with tempfile.TemporaryDirectory(prefix="ricenet-ants-") as folder:
        result = ants.registration(
            fixed=_to_ants(_moved(fixed, centred)),
            moving=_to_ants(_moved(moving, centred @ inverse(start))),
            mask=_to_ants(_moved(compared, centred)),
            type_of_transform=way.transform,
            initial_transform="Identity",
            outprefix=f"{folder}/",
            aff_metric=way.metric,
            aff_iterations=(way.iterations,),
            aff_shrink_factors=(1,),
            aff_smoothing_sigmas=(0,),
            aff_random_sampling_rate=min(1.0, SAMPLES / fixed.data.size),
        )
        step = _matrix(ants.read_transform(str(_only(result["fwdtransforms"]))))
    found: Affine = start @ inverse(centred) @ step @ centred
    return found


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


def _moved(volume: Volume, transform: Affine) -> Volume:
    return Volume(volume.data, Grid(volume.grid.shape, transform @ volume.grid.affine))


def _to_ants(volume: Volume) -> ants.ANTsImage:
    import ants

    affine = LPS_FROM_RAS @ volume.grid.affine
    spacing = np.array(volume.grid.spacing_mm)
    return ants.from_numpy(
        np.ascontiguousarray(volume.data, dtype=np.float32),
        origin=affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=affine[:3, :3] / spacing,
    )


def _matrix(transform: ants.ANTsTransform) -> Affine:
    """ITK's rotation about a fixed centre as one homogeneous matrix in RAS."""
    parameters = np.asarray(transform.parameters, dtype=np.float64)
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)[:3]
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:12] + centre - lps[:3, :3] @ centre
    ras: Affine = LPS_FROM_RAS @ lps @ LPS_FROM_RAS
    return ras


def _only(paths: list[str]) -> Path:
    if len(paths) != 1:
        raise RuntimeError(f"ANTs returned {len(paths)} transforms for a rigid registration, expected 1")
    return Path(paths[0])
