"""The sole wrapper around antspyx: one refinement of a transform, seeded and on one ITK thread."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Affine, Grid, Volume, inverse

if TYPE_CHECKING:
    import ants

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's world axes point left and back, NIfTI's right and front."""

METRICS = {"mattes": "mattes", "cross_correlation": "GC"}
TRANSFORMS = {"rigid": "Rigid", "affine": "Affine"}

SAMPLES = 60_000
"""Of the fixed image, for each estimate of the metric; twice as many gain less than 0.03 mm."""


@dataclass(frozen=True)
class Refinement:
    """How ANTs refines: metric and transform as parameters name them, at most so many steps, and a seed."""

    metric: str
    transform: str
    iterations: int
    seed: int

    def __call__(
        self, fixed: Volume, moving: Volume, compared: Volume, start: Affine, centre_mm: NDArray[np.float64]
    ) -> Affine:
        """ANTs' estimate of moving_from_fixed on these very images, from a start that is nearly right.

        compared: mask on the fixed image's grid. centre_mm: (3,) world of the fixed image, the middle of
        turns.
        """
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # read when ITK first runs
        import ants

        # the argument random_seed is not handed on to ANTs; this is. ITK takes 0 for "seed from the clock"
        ants.config.set_ants_deterministic(on=False, seed_value=self.seed % (2**31 - 1) + 1)
        # the start goes into the moving image's header, and the head's middle to the origin, about which
        # ANTs then turns: nothing is left to initialise, and nothing is rounded by being written
        centred = np.eye(4)
        centred[:3, 3] = -centre_mm
        with tempfile.TemporaryDirectory(prefix="ricenet-ants-") as folder:
            result = ants.registration(
                fixed=to_ants(_moved(fixed, centred)),
                moving=to_ants(_moved(moving, centred @ inverse(start))),
                mask=to_ants(_moved(compared, centred)),
                type_of_transform=TRANSFORMS[self.transform],
                initial_transform="Identity",
                outprefix=f"{folder}/",
                aff_metric=METRICS[self.metric],
                aff_iterations=(self.iterations,),
                aff_shrink_factors=(1,),
                aff_smoothing_sigmas=(0,),
                aff_random_sampling_rate=min(1.0, SAMPLES / fixed.data.size),
            )
            step = matrix_of(ants.read_transform(str(_only(result["fwdtransforms"]))))
        found: Affine = start @ inverse(centred) @ step @ centred
        return found


def to_ants(volume: Volume) -> ants.ANTsImage:
    """A volume as ANTs' image, in ITK's world axes."""
    import ants

    affine = LPS_FROM_RAS @ volume.grid.affine
    spacing = np.array(volume.grid.spacing_mm)
    return ants.from_numpy(
        np.ascontiguousarray(volume.data, dtype=np.float32),
        origin=affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=affine[:3, :3] / spacing,
    )


def matrix_of(transform: ants.ANTsTransform) -> Affine:
    """ITK's rotation about a fixed centre as one homogeneous matrix in RAS."""
    parameters = np.asarray(transform.parameters, dtype=np.float64)
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)[:3]
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:12] + centre - lps[:3, :3] @ centre
    ras: Affine = LPS_FROM_RAS @ lps @ LPS_FROM_RAS
    return ras


def _moved(volume: Volume, transform: Affine) -> Volume:
    return Volume(volume.data, Grid(volume.grid.shape, transform @ volume.grid.affine))


def _only(paths: list[str]) -> Path:
    if len(paths) != 1:
        raise RuntimeError(f"ANTs returned {len(paths)} transforms for a rigid registration, expected 1")
    return Path(paths[0])
