"""A plain MONAI training loop, as a tutorial has it: what the training engine is measured against."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, ThreadDataLoader
from monai.networks.nets.resnet import resnet18
from monai.transforms import (
    Compose,
    MapTransform,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandGaussianNoised,
    RandShiftIntensityd,
)

from ricenet.config.params import AugmentationParams
from ricenet.preprocessing.network_input import volume_file
from ricenet.training.task import FoldTask

KEYS = ("post_op", "event", "dose")


class LoadChannels(MapTransform):
    """The preprocessed volumes of a subject as float32 images of one channel."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Read the files in the folder data["path"]."""
        folder = Path(data["path"])
        volumes = {key: np.load(folder / volume_file(key)).astype(np.float32) for key in KEYS}
        return {**data, **{key: torch.from_numpy(volume[np.newaxis]) for key, volume in volumes.items()}}


def monai_augmentation(
    strengths: AugmentationParams, cube_voxels: int, spacing_mm: float, *, affine_apart: bool = False
) -> Compose:
    """The six kinds, with the same strengths: one resampling of all volumes, the rest for the MRIs.

    affine_apart: rotation and scaling as a transform and a resampling of their own.
    """
    often, mri = strengths.probability, KEYS[:2]
    angle = float(np.deg2rad(strengths.rotation_degrees))
    turned = {"rotate_range": (angle,) * 3, "scale_range": (strengths.scaling,) * 3}
    own = [RandAffined(KEYS, prob=often.rotation, padding_mode="zeros", **turned)] if affine_apart else []
    return Compose(
        [
            *own,
            Rand3DElasticd(
                KEYS,
                sigma_range=(5, 7),
                magnitude_range=(0, strengths.elastic_mm / spacing_mm),
                prob=often.elastic,
                **({} if affine_apart else turned),
                spatial_size=(cube_voxels,) * 3,
                padding_mode="zeros",
            ),
            RandGaussianNoised(mri, prob=often.noise, std=strengths.noise_sd),
            RandShiftIntensityd(mri, strengths.brightness, prob=often.brightness),
            RandAdjustContrastd(mri, prob=often.gamma, gamma=(1 - strengths.gamma, 1 + strengths.gamma)),
        ]
    )


class PlainLoop:
    """CacheDataset, ThreadDataLoader, MONAI's network, torch's Adam; AMP on a GPU."""

    def __init__(self, task: FoldTask) -> None:
        self.task, self.device = task, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = resnet18(
            spatial_dims=3,
            n_input_channels=3,
            conv1_t_size=7,
            conv1_t_stride=task.network.stem_stride,
            widen_factor=task.network.widen_factor,
            num_classes=2,
        )
        self.network.to(self.device).train()
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=task.training.learning_rate, weight_decay=task.training.weight_decay
        )

    def loader(self, order: list[str], augmented: bool) -> ThreadDataLoader:
        """The subjects in this order, cached."""
        task = self.task
        items = [{"path": str(task.preprocessed / s), "label": int(task.labels[s] == "rice")} for s in order]
        varied = monai_augmentation(task.augmentation, task.cube_voxels, task.spacing_mm)
        steps = [LoadChannels(KEYS), *(varied.transforms if augmented else ())]
        cached = CacheDataset(items, Compose(steps), progress=False)
        return ThreadDataLoader(cached, batch_size=task.training.batch_size, shuffle=False, num_workers=0)

    def epoch(self, loader: ThreadDataLoader) -> tuple[float, list[float]]:
        """Seconds, and the loss of each batch."""
        losses, start = [], time.monotonic()
        for batch in loader:
            volumes = torch.cat([batch[key] for key in KEYS], 1).to(self.device)
            on_gpu = self.device.type == "cuda"
            with torch.autocast("cuda", torch.bfloat16) if on_gpu else contextlib.nullcontext():
                logits = self.network(volumes)
                loss = torch.nn.functional.cross_entropy(logits, batch["label"].to(self.device))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses.append(loss.item())
        return time.monotonic() - start, losses
