"""Explained cases made by hand, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from small_results import GRID, ball

from ricenet.config.params import ExplainParams
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case, Explanation, FoldVote
from ricenet.evaluation.occlusion.map_summary import MapSummary, Share, UntrainedComparison
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Volume

BRAIN_CENTRE, LESION_CENTRE = (9.5, 9.5, 9.5), (13.0, 12.0, 11.0)
STRONGEST = (13, 12, 11)
OTHER_VOLUMES = Volumes(
    [
        VolumeSpec(name="flair", kind="mri", session="baseline", suffix="FLAIR", title="FLAIR"),
        VolumeSpec(name="t1", kind="mri", session="month3", suffix="T1w", title="T1 at month 3"),
        VolumeSpec(name="adc", kind="mri", session="month3", suffix="adc", title="ADC", scale=1e-3),
        VolumeSpec(name="t2", kind="mri", session="month3", suffix="T2w", title="T2 <1.5 T>", required=False),
    ]
)  # fmt: skip
"""Another declaration: no dose, one quantitative MRI, two optional ones."""


def settings(cube: int, stride: int, **values: Any) -> ExplainParams:
    """Of occlusion maps."""
    return ExplainParams(
        modality_sets=[], subjects_per_label=None, cube_voxels=cube, stride_voxels=stride, **values
    )


def blob(centre: tuple[float, float, float], sigma_voxels: float) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij")
    squared = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    return np.exp(-squared / (2 * sigma_voxels**2)).astype(np.float32)


def anatomy(
    label: str = "rice",
    highest_gy: float = 62.0,
    with_masks: bool = True,
    declared: Volumes = PAPER_VOLUMES,
    lacks: tuple[str, ...] = (),
) -> Anatomy:
    """A ball of a brain on 20 voxels of 8 mm; a lesion in the last session, the dose falling off."""
    brain = ball(BRAIN_CENTRE, 8.5)
    rng = np.random.default_rng(3)
    mri = np.where(brain, rng.normal(scale=0.5, size=brain.shape), 0).astype(np.float32)
    lesion = ball(LESION_CENTRE, 2.5).astype(np.float32)
    last = declared.last_session_reference.session
    images = {
        spec.name: highest_gy * blob(LESION_CENTRE, 4.0)
        if spec.kind == "dose"
        else mri + np.float32(3 if spec.session == last else 0) * lesion
        for spec in declared
        if spec.name not in lacks
    }
    masks = {"cavity": ball((12, 10, 11), 1.5).astype(np.float32), "lesion": lesion} if with_masks else {}
    return Anatomy("sub-001", label, declared, images, brain, GRID, masks)


def doses_of(shown: Anatomy) -> dict[str, StructureDose]:
    """As if the dose had been exported on the cube."""
    if shown.dose_gy is None:
        return {}
    dose = Volume(shown.dose_gy, shown.grid)
    masks = {"brain": shown.brain, **shown.known_masks}
    return {name: StructureDose.of(dose, Volume(mask, shown.grid)) for name, mask in masks.items()}


def summary(least: float = -0.05, most: float = 0.2) -> MapSummary:
    bands = (("0 to 20 Gy", 0.1, 0.7), ("20 to 40 Gy", 0.3, 0.2), ("above 40 Gy", 0.6, 0.1))
    regions = (("lesion", 0.5, 0.02), ("cavity", 0.05, 0.0))
    shares = [
        tuple(Share(name=name, of_map=of_map, of_volume=of_volume) for name, of_map, of_volume in rows)
        for rows in (bands, regions)
    ]
    return MapSummary(
        min=least, max=most, cubes=7, of_cubes=8, isodoses=shares[0], regions=shares[1], to_isocentre_mm=4.25,
        to_lesion_mm=None, untrained=UntrainedComparison(rank_correlation=0.1, verdict="differs"),
    )  # fmt: skip


def votes(*p_rice: float, held_out: int | None = None) -> tuple[FoldVote, ...]:
    """Of the folds in order; held_out: one fold, or all."""
    return tuple(
        FoldVote(fold=fold, p_rice=p, held_out=held_out in (None, fold)) for fold, p in enumerate(p_rice)
    )


def case(
    of_anatomy: Anatomy | None = None,
    maps: dict[str, Any] | None = None,
    summaries: dict[str, MapSummary] | None = None,
    **changes: Any,
) -> Case:
    """Fold 1 held the subject out and is wrong about it; the maps' strongest voxel is STRONGEST."""
    of_anatomy = of_anatomy or anatomy()
    if maps is None:
        change = 0.2 * blob(LESION_CENTRE, 2.0) - 0.05 * blob((6, 8, 9), 2.0)
        maps = {TOGETHER: change, "event": 0.5 * change, "dose": -0.25 * change}
    contents: dict[str, Any] = {
        "modality_set": "post_op+event+dose",
        "participant_id": of_anatomy.subject,
        "label": of_anatomy.label,
        "predicted": "recurrence",
        "p_rice": 0.32,
        "interval": None,
        "votes": votes(0.71, 0.32, 0.64, held_out=1),
        "maps": {n: summary() for n in maps if n in (TOGETHER, "event")} if summaries is None else summaries,
        "synthetic": True,
        "provenance": {"splits": "0a1b2c", "cube": "16 voxels, stride 8"},
    }
    return Case(Explanation(**(contents | changes)), of_anatomy, maps, {}, doses_of(of_anatomy))
