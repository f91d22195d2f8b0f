"""Rigid co-registration by ANTs: the sole wrapper around antspyx."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Affine, Volume

if TYPE_CHECKING:
    import ants

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's world axes point left and back, NIfTI's right and front."""

METRICS = {"mattes": "mattes", "cross_correlation": "GC"}


@dataclass(frozen=True)
class RigidResult:
    """`moving_from_fixed`: world transform (RAS, mm) from the fixed to the moving image's space.

    `similarity`: normalised mutual information after registration (1 none, 2 identical).
    `similarity_before`: the same with both images where their headers put them.
    """

    moving_from_fixed: Affine
    similarity: float
    similarity_before: float


def register_rigid(fixed: Volume, moving: Volume, metric: str, seed: int) -> RigidResult:
    """Estimate the rigid transform that lays `moving` over `fixed`, starting from the centres of mass.

    fixed, moving: scanner units, on grids along the world axes.
    metric: "mattes" (mutual information) or "cross_correlation".
    Repeatable bit for bit: seeded, and on one ITK thread.
    Source: RICE-NET 2.1 (co-registration with ANTs).
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # read when ITK loads
    import ants

    # the argument random_seed is not handed on to ANTs; this is. ITK takes 0 for "seed from the clock"
    ants.config.set_ants_deterministic(on=False, seed_value=seed % (2**31 - 1) + 1)
    fixed_image, moving_image = _to_ants(fixed), _to_ants(moving)
    with tempfile.TemporaryDirectory(prefix="ricenet-ants-") as folder:
        result = ants.registration(
            fixed=fixed_image,
            moving=moving_image,
            type_of_transform="Rigid",
            aff_metric=METRICS[metric],
            outprefix=f"{folder}/",
        )
        transform = ants.read_transform(str(_only(result["fwdtransforms"])))
        moving_from_fixed = _matrix(transform)
    before, after = (normalised_mutual_information(fixed, moving, t) for t in (np.eye(4), moving_from_fixed))
    return RigidResult(moving_from_fixed, similarity=after, similarity_before=before)


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


def normalised_mutual_information(fixed: Volume, moving: Volume, moving_from_fixed: Affine) -> float:
    """(H(A) + H(B)) / H(A, B) over the fixed image's grid (Studholme et al., 1999)."""
    from ricenet.volume import resample

    return shared_information(fixed.data, resample(moving, fixed.grid, moving_from_fixed).data)


def shared_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """(H(A) + H(B)) / H(A, B) of paired values; 1 where neither tells anything of the other."""
    joint, _, _ = np.histogram2d(first.ravel(), second.ravel(), bins=48)
    joint /= joint.sum()

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    return (entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))) / entropy(joint)
