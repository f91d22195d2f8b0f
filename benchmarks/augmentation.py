"""Augmentation of one sample of 96 cubed with three channels: ours, MONAI's dictionary transforms, TorchIO.

    python benchmarks/augmentation.py
    python benchmarks/augmentation.py --quick      # 32 cubed

The same six kinds, each applied to every sample: rotation, scaling and elastic deformation of all channels;
noise, brightness and gamma of the MRIs. TorchIO (pip install 'ricenet[benchmarks]') has no brightness; a
constant added stands for it. That ours is right is checked on the same volumes against scipy's interpolators.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from epoch import apart
from figure import report
from plain_loop import KEYS, monai_augmentation

from ricenet.config.params import AugmentationParams
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.randomness import generator_for
from ricenet.training.augmentation import augment, draw_augmentation, varied_mris
from ricenet.vocabulary import PAPER_VOLUMES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_augmentation import neutral, slowly_moved

SPACING_MM = 2.0
STRENGTHS = AugmentationParams(
    rotation_degrees=15.0,
    scaling=0.1,
    elastic_mm=6.0,
    noise_sd=0.1,
    brightness=0.1,
    gamma=0.2,
    probability=1.0,
)
VARIED = varied_mris(PAPER_VOLUMES, "post_op+event+dose")


def head(voxels: int) -> torch.Tensor:
    """(3, X, Y, Z) smooth volumes within a ball, and 0 around it."""
    axis = torch.linspace(-1, 1, voxels)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    inside = (x**2 + y**2 + z**2 < 0.8).float()
    return torch.stack([inside * (torch.sin(3 * x + k) * torch.cos(4 * y) + z) for k in range(3)])


def seconds_each(function: Callable[[int], Any], repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    function(0)
    times = []
    for count in range(1, repeats + 1):
        start = time.perf_counter()
        function(count)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def ours(volumes: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """One sample by the engine's augmentation, drawn anew each time."""

    def one(count: int) -> torch.Tensor:
        drawn = draw_augmentation(STRENGTHS, len(PAPER_VOLUMES.mris), generator_for("benchmark", count))
        return augment(volumes[None], VARIED, [drawn], SPACING_MM)

    return one


def by_monai(volumes: torch.Tensor) -> Callable[[int], Any]:
    """One sample by MONAI's dictionary transforms, rotation and scaling within the elastic deformation."""
    transform = monai_augmentation(STRENGTHS, volumes.shape[-1], SPACING_MM).set_random_state(0)
    return lambda _: transform({key: volumes[k : k + 1] for k, key in enumerate(KEYS)})


def by_monai_apart(volumes: torch.Tensor) -> Callable[[int], Any]:
    """The same with rotation and scaling as a transform of their own, as they are mostly written."""
    transform = monai_augmentation(STRENGTHS, volumes.shape[-1], SPACING_MM, affine_apart=True)
    transform.set_random_state(0)
    return lambda _: transform({key: volumes[k : k + 1] for k, key in enumerate(KEYS)})


def by_torchio(volumes: torch.Tensor) -> Callable[[int], Any]:
    """One sample by TorchIO."""
    import torchio

    angle = STRENGTHS.rotation_degrees
    transform = torchio.Compose(
        [
            torchio.RandomAffine(scales=STRENGTHS.scaling, degrees=angle),
            torchio.RandomElasticDeformation(num_control_points=7, max_displacement=STRENGTHS.elastic_mm),
            torchio.RandomNoise(std=(0, STRENGTHS.noise_sd), include=KEYS[:2]),
            torchio.Lambda(lambda values: values + 0.1, include=KEYS[:2]),
            torchio.RandomGamma(log_gamma=STRENGTHS.gamma, include=KEYS[:2]),
        ]
    )
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])

    def one(_: int) -> Any:
        images = {
            k: torchio.ScalarImage(tensor=volumes[i : i + 1], affine=affine) for i, k in enumerate(KEYS)
        }
        return transform(torchio.Subject(**images))

    return one


def difference_to_scipy(volumes: torch.Tensor) -> float:
    """Largest difference of the spatial part from the tests' slow reference."""
    drawn = draw_augmentation(STRENGTHS, len(PAPER_VOLUMES.mris), generator_for("benchmark", 1))
    spatial = neutral(rotation_rad=drawn.rotation_rad, scale=drawn.scale, elastic_mm=drawn.elastic_mm)
    moved = augment(volumes[None], VARIED, [spatial], SPACING_MM)[0].numpy()
    return float(np.abs(moved[0] - slowly_moved(volumes[0].numpy(), spatial, SPACING_MM)).max())


def seconds_of(side: Callable[[torch.Tensor], Callable[[int], Any]], voxels: int, repeats: int) -> float:
    """Median time of a sample, in a process of its own set up as the engine sets up one that trains."""
    keep_freed_memory()
    return seconds_each(side(head(voxels)), repeats)


def main() -> None:
    """Run all sides and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="32 cubed")
    parser.add_argument("--repeats", type=int, default=15)
    chosen = parser.parse_args()
    voxels = 32 if chosen.quick else 96
    difference = difference_to_scipy(head(voxels))
    agreement = f"spatial part differs from scipy's by at most {difference:.1e}"
    mine = apart(seconds_of, ours, voxels, chosen.repeats)
    print(f"ours {mine * 1000:.1f} ms")
    others = (("monai", by_monai, 5.0), ("monai_apart", by_monai_apart, 5.0), ("torchio", by_torchio, 8.0))
    for name, other, goal in others:
        theirs = apart(seconds_of, other, voxels, chosen.repeats)
        print(f"{name} {theirs * 1000:.1f} ms")
        met = theirs / mine >= goal and difference < 1e-3
        report(f"augmentation_against_{name}", theirs / mine, f">= {goal}", agreement, met)


if __name__ == "__main__":
    main()
