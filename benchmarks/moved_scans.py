"""Real heads, and copies of them as another examination would show them, with known displacements."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.cohort.coarse_head import averaged, head_mask
from ricenet.phantom.anatomy import smooth_field
from ricenet.volume import Affine, Grid, Volume, inverse, load_nifti, resample

SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))
NOISE, BIAS_SD = 0.03, 0.1
PUSH_MM, BLOB_ML = 8.0, 30.0
BRAIN_DEPTH_MM = 15.0
"""From here on inwards of a head's outline errors are measured."""


def colin() -> Volume:
    """A T1 of 1 mm with its skull."""
    return load_nifti(SAMPLES / "mri_t1_head" / "colin27_ch2.nii.gz")


def tumour() -> Volume:
    """A T1ce of 0.78 x 0.78 x 6.5 mm with its skull and a lesion."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(SAMPLES / "mri_t1ce_tumour" / "brain1_image.nrrd"))
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    x, y, z = data.shape
    return Volume(data, Grid((x, y, z), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine))


def depth_mm(head: Volume) -> NDArray[np.float32]:
    """Depth (X, Y, Z) below the head's outline, negative outside."""
    copy = averaged(head, 4.0)
    mask, spacing = head_mask(copy), copy.grid.spacing_mm
    inside, outside = (ndimage.distance_transform_edt(m, sampling=spacing) for m in (mask, ~mask))
    depth = Volume((inside - outside).astype(np.float32), copy.grid)
    result: NDArray[np.float32] = resample(depth, head.grid).data.astype(np.float32)
    return result


def brain_points_mm(head: Volume) -> NDArray[np.float64]:
    """World positions (N, 3) well inside the head."""
    copy = averaged(head, 4.0)
    return copy.grid.world_mm(np.argwhere(depth_mm(copy) > BRAIN_DEPTH_MM).astype(np.float64))


def drawn(centre_mm: NDArray[np.float64], degrees: float, mm: float, rng: np.random.Generator) -> Affine:
    """A turn about a random axis through the centre, and a shift in a random direction."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(degrees * axis, degrees=True).as_matrix()
    transform[:3, 3] = centre_mm - transform[:3, :3] @ centre_mm + mm * direction
    return transform


def scanned(head: Volume, world_from_head: Affine, spacing_mm: float, rng: np.random.Generator) -> Volume:
    """The displaced head on a tilted grid of its own, times a bias field, with Rician noise."""
    tilt = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix()
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in head.grid.shape])).reshape(3, 8).T
    world = head.grid.world_mm(corners) @ world_from_head[:3, :3].T + world_from_head[:3, 3]
    low, high = (world @ tilt).min(axis=0), (world @ tilt).max(axis=0)
    x, y, z = (int(n) for n in np.ceil((high - low) / spacing_mm))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = tilt * spacing_mm, tilt @ low
    grid = Grid((x, y, z), affine)
    ideal = resample(head, grid, inverse(world_from_head), order=3).data
    bias = np.exp(smooth_field(Grid(grid.shape, np.diag([spacing_mm] * 3 + [1])), 1, 70.0, BIAS_SD, rng)[0])
    noise = rng.normal(0, NOISE * np.percentile(head.data, 99), (2, *grid.shape))
    return Volume(np.hypot(ideal * bias + noise[0], noise[1]).astype(np.float32), grid)


def disturbed(
    head: Volume, what: str, points_mm: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Volume, Volume]:
    """The head after surgery (a dark cavity) and later (a bright lesion that pushes tissue aside).

    what: "lesion" alone, or with it "scalp" (10 mm swollen over the cavity) or "neck" (bent by 8 degrees).
    """
    middle = points_mm.mean(axis=0)
    near = points_mm[np.linalg.norm(points_mm - middle, axis=1) < 50]
    cavity = near[rng.integers(len(near))]
    radius = float((3000 * BLOB_ML / 4 / np.pi) ** (1 / 3))
    inwards = middle - cavity + 20 * rng.normal(size=3)
    lesion = cavity + 1.3 * radius * inwards / np.linalg.norm(inwards)
    world = head.grid.world_mm(np.moveaxis(np.indices(head.grid.shape), 0, -1).astype(np.float64))
    depth = depth_mm(head)
    field = _pushed(world - lesion, radius) * np.clip((depth - 10) / 12, 0, 1)[..., None]
    if what == "scalp":
        out = (cavity - middle) / np.linalg.norm(cavity - middle)
        there = np.exp(-(((world - middle - 80 * out) ** 2).sum(axis=-1)) / 2 / 35**2)
        field += (10 * there * np.clip((14 - depth) / 8, 0, 1))[..., None] * out
    elif what == "neck":
        field += _bent(world - (middle - [0, 0, 35]), 8.0)
    bright = float(np.percentile(head.data[head.data > head.data.mean()], 90))
    source = head.grid.world_mm(np.zeros(3))
    voxels = np.moveaxis((world - field - source) @ np.linalg.inv(head.grid.affine[:3, :3]).T, -1, 0)
    later = ndimage.map_coordinates(np.asarray(head.data, np.float32), voxels, order=1)
    return (
        Volume(_with_ball(head.data, world - cavity, radius, 0.25 * bright), head.grid),
        Volume(_with_ball(later, world - lesion, radius, 1.7 * bright), head.grid),
    )


def _pushed(offset: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    distance = np.linalg.norm(offset, axis=-1)
    fading = np.exp(-(np.maximum(distance - radius, 0) ** 2) / 2 / (1.5 * radius) ** 2)
    push = PUSH_MM * np.minimum(distance / radius, 1) * fading / np.maximum(distance, 1e-3)
    result: NDArray[np.float64] = push[..., None] * offset
    return result


def _bent(offset: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Displacements of a neck that bends forward, within 25 mm below the head's base."""
    angle = np.deg2rad(degrees) * np.clip(-offset[..., 2] / 25, 0, 1)
    y, z = offset[..., 1], offset[..., 2]
    forward, down = (np.cos(angle) - 1) * y - np.sin(angle) * z, np.sin(angle) * y + (np.cos(angle) - 1) * z
    return np.stack([np.zeros_like(y), forward, down], axis=-1)


def _with_ball(
    data: NDArray[np.float32] | NDArray[np.bool_], offset: NDArray[np.float64], radius: float, value: float
) -> NDArray[np.float32]:
    share = np.clip(0.5 - (np.linalg.norm(offset, axis=-1) - radius) / 2, 0, 1)
    return (data * (1 - share) + value * share).astype(np.float32)
