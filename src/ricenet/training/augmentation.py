"""Random variation of training samples: parameters drawn per sample, applied per batch.

Mirroring comes first. Rotation, scaling and elastic deformation are one displacement field and one
interpolation for all channels. Noise, brightness and gamma change voxels of z-scored MRIs only: a dose, or an
MRI with a scale, is a measured physical quantity. The background stays exactly 0. Source: RICE-NET section 2
names the six kinds, mirroring not among them; their forms and strengths are ours (docs/protocol.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.config.inputs import Part
from ricenet.config.training import AugmentationParams
from ricenet.vocabulary import Volumes

CONTROL_CELLS = 4
"""Cells of the elastic control grid along each axis of the volume."""

CONTROL_POINTS = CONTROL_CELLS + 3
"""Points of a cubic B-spline over that many cells."""


@dataclass(frozen=True)
class SampleAugmentation:
    """Everything random about one sample. Neutral: no rotation, scale 1, no elastic, 0, 0, 1."""

    rotation_rad: NDArray[np.float64]
    """(3,) about the x, y and z axis, applied in this order."""
    scale: float
    """Size of the result relative to the original."""
    elastic_mm: NDArray[np.float64]
    """(3, G, G, G) displacement at the control points, G = CONTROL_POINTS."""
    noise_sd: NDArray[np.float64]
    """(M,) one for each declared MRI, in z-scored intensity."""
    noise_seed: int
    brightness: NDArray[np.float64]
    """(M,) added to each MRI, in z-scored intensity."""
    gamma: NDArray[np.float64]
    """(M,) exponent for each MRI, its in-brain range scaled to 0..1."""
    mirrored: bool = False
    """Whether left and right, the ends of the first axis, change places."""

    @property
    def moves_voxels(self) -> bool:
        """Whether anything spatial happens."""
        return bool(self.rotation_rad.any() or self.scale != 1.0 or self.elastic_mm.any())


def draw_augmentation(
    strengths: AugmentationParams, mris: int, generator: np.random.Generator
) -> SampleAugmentation:
    """Draw one sample's parameters; the order and number of draws never depend on the strengths.

    mris: how many are declared, whether or not the modality set has them: each has draws of its own.
    Each kind happens with its own `strengths.probability`. Rotation: each axis uniform in +-rotation_degrees.
    Scale: uniform in 1 +- scaling. Elastic: control points uniform, none longer than an amplitude
    uniform in 0..elastic_mm. Noise SD: uniform in 0..noise_sd. Brightness: uniform in +-brightness.
    Gamma: uniform in 1 +- gamma. Mirroring by its own probability.
    """
    often = strengths.probability
    happens = generator.random(6) < np.array(
        [often.rotation, often.scaling, often.elastic, often.noise, often.brightness, often.gamma]
    )
    rotation = generator.uniform(-1, 1, 3) * np.deg2rad(strengths.rotation_degrees)
    scale = 1 + generator.uniform(-1, 1) * strengths.scaling
    amplitude_mm = generator.random() * strengths.elastic_mm
    direction = generator.uniform(-1, 1, (3, *(CONTROL_POINTS,) * 3))
    direction /= np.maximum(1, np.linalg.norm(direction, axis=0))
    noise_sd = generator.random(mris) * strengths.noise_sd
    noise_seed = int(generator.integers(2**63))
    brightness = generator.uniform(-1, 1, mris) * strengths.brightness
    gamma = generator.uniform(-1, 1, mris) * strengths.gamma
    return SampleAugmentation(
        rotation_rad=rotation * happens[0],
        scale=float(scale) if happens[1] else 1.0,
        elastic_mm=direction * amplitude_mm * happens[2],
        noise_sd=noise_sd * happens[3],
        noise_seed=noise_seed,
        brightness=brightness * happens[4],
        gamma=1 + gamma * happens[5],
        # drawn last: what comes before is what it is without
        mirrored=bool(generator.random() < strengths.mirroring),
    )


def varied_mris(volumes: Volumes, modality_set: str) -> tuple[int | None, ...]:
    """For each channel of a set the place of its MRI among the declared ones; None: its intensities stay.

    >>> from ricenet.vocabulary import PAPER_VOLUMES
    >>> varied_mris(PAPER_VOLUMES, "event+dose")
    (1, None)
    """
    places = {spec.name: place for place, spec in enumerate(volumes.mris) if spec.scale is None}
    return tuple(places.get(spec.name) for spec in volumes.members(modality_set))


@torch.no_grad()
def augment(
    volumes: torch.Tensor,
    varied: Sequence[int | None],
    samples: Sequence[SampleAugmentation],
    spacing_mm: float,
    part: Part | None = None,
) -> torch.Tensor:
    """Apply each sample's parameters; 0 outside the volume.

    volumes: (N, C, X, Y, Z) float16 or float32, unchanged by this function. varied: by channel
    (`varied_mris`). spacing_mm: isotropic voxel size. part: computed alone, moved as in the whole; its
    intensities vary by its own voxels. Returns float32 of the same shape, or the part's, on the same
    device; a sample's values do not depend on the others in the batch.
    """
    x, y, z = part or (slice(None),) * 3
    shape = volumes[:, :, x, y, z].shape
    result = torch.empty(shape, dtype=torch.float32, device=volumes.device)
    # one by one: the fields of a whole batch would not fit into the CPU's cache
    for values, given, sample in zip(result, volumes, samples, strict=True):
        whole = given.flip(1) if sample.mirrored else given
        if sample.moves_voxels:
            field = sampling_field(tuple(given.shape[1:]), sample, spacing_mm, volumes.device, part)
            _resample(whole.float(), field, values)
        else:
            values.copy_(whole[:, x, y, z])
        for channel, mri in zip(values, varied, strict=True):
            if mri is not None:
                _vary_intensity(channel, sample, mri)
    return result


def _resample(given: torch.Tensor, field: torch.Tensor, values: torch.Tensor) -> None:
    """Interpolate volumes (C, ...) at the positions of a field (X, Y, Z, 3) into others (C, X, Y, Z); 0
    outside.
    """
    channels, x, y, z = values.shape
    # on a CPU torch gives each sample to one thread; slabs of a volume pass for samples
    slabs = math.gcd(x, torch.get_num_threads()) if values.device.type == "cpu" else 1
    moved = torch.nn.functional.grid_sample(
        given.expand(slabs, *given.shape),
        field.view(slabs, x // slabs, y, z, 3),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    values.view(channels, slabs, x // slabs, y, z).copy_(moved.transpose(0, 1))


def sampling_field(
    shape: tuple[int, ...],
    sample: SampleAugmentation,
    spacing_mm: float,
    device: torch.device,
    part: Part | None = None,
) -> torch.Tensor:
    """Where each voxel's value comes from, in grid_sample's coordinates (X, Y, Z, 3) float32.

    source = inverse(rotation) (position / scale + displacement), in mm from the volume's middle.
    A cubic B-spline reproduces linear functions, so rotation and scaling act on the few control
    points, and one evaluation of the spline gives the whole field, or that of a part of the volume.
    """
    position_mm = _control_positions_mm(shape, spacing_mm)
    before_mm = position_mm / sample.scale + np.moveaxis(sample.elastic_mm, 0, -1)
    source_mm = before_mm @ rotation_matrix(sample.rotation_rad)
    # grid_sample runs from -1 to 1 between the centres of the outermost voxels, last axis first
    half_mm = np.maximum(np.array(shape) - 1, 1) / 2 * spacing_mm
    control = torch.from_numpy((source_mm / half_mm)[..., ::-1].astype(np.float32)).to(device)
    along = part or (slice(None),) * 3
    x, y, z = (_spline_weights(n, device)[kept] for n, kept in zip(shape, along, strict=True))
    along_z = z @ control
    along_y = y @ along_z.flatten(2)
    return (x @ along_y.flatten(1)).view(len(x), len(y), len(z), 3)


def rotation_matrix(rotation_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) matrix that rotates about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation_rad), np.sin(rotation_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix: NDArray[np.float64] = about_z @ about_y @ about_x
    return matrix


@cache
def _control_positions_mm(shape: tuple[int, ...], spacing_mm: float) -> NDArray[np.float64]:
    """(G, G, G, 3) positions of the control points from the volume's middle; one lies outside each face."""
    cells = np.arange(CONTROL_POINTS) - 1 - CONTROL_CELLS / 2
    axes = [cells * (n - 1) * spacing_mm / CONTROL_CELLS for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@cache
def _spline_weights(voxels: int, device: torch.device) -> torch.Tensor:
    """(voxels, G) share of each control point along one axis, of a uniform cubic B-spline."""
    position = np.linspace(0, CONTROL_CELLS, voxels) if voxels > 1 else np.array([CONTROL_CELLS / 2])
    # at the far end the last cell is used, at its full width
    cell = np.minimum(position.astype(int), CONTROL_CELLS - 1)
    t = position - cell
    basis = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((voxels, CONTROL_POINTS), np.float32)
    for k in range(4):
        weights[np.arange(voxels), cell + k] = basis[k]
    return torch.from_numpy(weights).to(device)


def _vary_intensity(values: torch.Tensor, sample: SampleAugmentation, mri: int) -> None:
    """Noise, then brightness, then gamma, in place, on the voxels of one MRI (X, Y, Z) that are not 0."""
    noise_sd, brightness, gamma = (float(p[mri]) for p in (sample.noise_sd, sample.brightness, sample.gamma))
    if noise_sd == 0 and brightness == 0 and gamma == 1:
        return
    # most of a head's cube is background
    places = values.flatten().nonzero().squeeze(1)
    if not len(places):
        return
    of_brain = values.view(-1)[places]
    if noise_sd > 0:
        source = torch.Generator(values.device).manual_seed(sample.noise_seed + mri)
        of_brain.add_(torch.randn(len(places), generator=source, device=values.device), alpha=noise_sd)
    of_brain.add_(brightness)
    if gamma != 1:
        low, high = of_brain.aminmax()
        width = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
        of_brain.sub_(low).div_(width).pow_(gamma).mul_(width).add_(low)
    values.view(-1).index_copy_(0, places, of_brain)
