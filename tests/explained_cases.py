"""Explained cases made by hand, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from small_results import GRID, ball

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import TOGETHER, Case, FoldVote, MapSummary, Share
from ricenet.vocabulary import PAPER_VOLUMES

BRAIN_CENTRE, LESION_CENTRE = (9.5, 9.5, 9.5), (13.0, 12.0, 11.0)
STRONGEST = (13, 12, 11)


def blob(centre: tuple[float, float, float], sigma_voxels: float) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij")
    squared = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    return np.exp(-squared / (2 * sigma_voxels**2)).astype(np.float32)


def anatomy(label: str = "rice", highest_gy: float = 62.0, with_masks: bool = True) -> Anatomy:
    """A ball of a brain on 20 voxels of 8 mm, the dose falling off from the lesion."""
    brain = ball(BRAIN_CENTRE, 8.5)
    rng = np.random.default_rng(3)
    mri = np.where(brain, rng.normal(scale=0.5, size=brain.shape), 0).astype(np.float32)
    lesion = ball(LESION_CENTRE, 2.5).astype(np.float32)
    return Anatomy(
        subject="sub-001",
        label=label,
        volumes=PAPER_VOLUMES,
        data={
            "post_op": mri,
            "event": (mri + 3 * lesion).astype(np.float32),
            "dose": highest_gy * blob(LESION_CENTRE, 4.0),
        },
        brain=brain,
        grid=GRID,
        known_masks={"cavity": ball((12, 10, 11), 1.5).astype(np.float32), "lesion": lesion}
        if with_masks
        else {},
    )


def summary() -> MapSummary:
    bands = (("0 to 20 Gy", 0.1, 0.7), ("20 to 40 Gy", 0.3, 0.2), ("above 40 Gy", 0.6, 0.1))
    return MapSummary(
        isodoses=[Share(*band) for band in bands],
        regions=[Share("lesion", 0.5, 0.02), Share("cavity", 0.05, 0.0)],
        to_isocentre_mm=4.25,
        to_lesion_mm=None,
    )


def case(**changes: Any) -> Case:
    """Fold 1 held the subject out and is wrong about it; the maps' strongest voxel is STRONGEST."""
    change = 0.2 * blob(LESION_CENTRE, 2.0) - 0.05 * blob((6, 8, 9), 2.0)
    contents: dict[str, Any] = {
        "anatomy": anatomy(),
        "modality_set": "post_op+event+dose",
        "predicted": "recurrence",
        "p_rice": 0.32,
        "interval": None,
        "votes": [FoldVote(0, 0.71, False), FoldVote(1, 0.32, True), FoldVote(2, 0.64, False)],
        "maps": {TOGETHER: change, "event": 0.5 * change, "dose": -0.25 * change},
        "summaries": {TOGETHER: summary(), "event": summary()},
        "synthetic": True,
        "provenance": {"splits": "0a1b2c", "cube": "16 voxels, stride 8"},
    }
    return Case(**(contents | changes))
