"""A subject made by hand, for tests of what perturbs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from small_results import ball

from ricenet.config.evidence import RobustnessParams
from ricenet.evaluation.robustness.altered_volumes import standardised_as
from ricenet.evaluation.robustness.perturbations import Given

SHAPE = (20, 20, 20)
BRAIN = torch.from_numpy(ball((9.5, 9.5, 9.5), 8.5))
OUTSIDE = ~BRAIN
PARAMS = RobustnessParams(
    modality_sets=["dose"],
    dose_shift_mm=[3.0],
    dose_rotation_degrees=[5.0],
    noise_sd=[0.1, 0.3],
    bias_field=[0.3],
    batch_size=4,
)


def standardised(values: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Mean 0 and SD 1 within the brain."""
    return standardised_as(torch.tensor([-1.0, 1.0]), values, brain)


def given(**changes: Any) -> Given:
    """Noise in a ball of a brain, voxels of 3 mm, donors with an even dose of 0.25 and 0.75."""
    rng = np.random.default_rng(2)
    mris = torch.from_numpy(rng.normal(size=(3, *SHAPE)).astype(np.float32)).masked_fill(OUTSIDE, 0)
    contents: dict[str, Any] = {
        "subject": "sub-001",
        "volumes": {
            "post_op": mris[0],
            "event": mris[1],
            "dose": torch.from_numpy(rng.random(SHAPE, dtype=np.float32)),
        },
        "brain": BRAIN,
        "spacing_mm": 3.0,
        "brain_mean_sd": {"post_op": 4.5, "event": 5.0},
        "donor_doses": {"same": torch.full(SHAPE, 0.25), "other": torch.full(SHAPE, 0.75)},
        "seed": 7,
    }
    return Given(**(contents | changes))
