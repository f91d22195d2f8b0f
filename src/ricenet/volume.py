"""Volumes in world coordinates: reading, writing and resampling through composed transforms.

World coordinates are NIfTI's: millimetres, x to the right, y to the front, z up (RAS+).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.nifti_file import read_nifti_file
from ricenet.runtime.files import atomic_path

Affine = NDArray[np.float64]
"""(4, 4) homogeneous matrix; named `to_from` by the spaces it maps between."""

Supersampling = tuple[int, int, int]
"""Points along the target's x, y and z axis whose mean is one voxel's value."""

SLAB_POINTS = 2**24
"""Points that are interpolated at a time, 64 MiB of them."""

ROUNDING = 1e-6
"""Of a voxel: by so much products of transforms may miss the edge of an extent."""

MOST_STEP_BEYOND_VOXEL = 0.25
"""By this share of a source voxel, neighbouring points may lie further apart than one."""


def inverse(transform: Affine) -> Affine:
    """The transform that undoes another."""
    return np.asarray(np.linalg.inv(transform), dtype=np.float64)


def rotation_deg(transform: Affine) -> float:
    """The angle of a rigid transform's rotation about its own axis, 0 to 180 degrees."""
    cosine = (float(np.trace(transform[:3, :3])) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Overlap of two masks: twice their common voxels over the sum of both; 0 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 0.0


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: shape (X, Y, Z) and `affine`, world_mm from voxel index."""

    shape: tuple[int, int, int]
    affine: Affine

    @classmethod
    def cube(cls, centre_mm: NDArray[np.float64], spacing_mm: float, voxels: int) -> Self:
        """An isotropic cube along the world axes, its middle at `centre_mm`."""
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = np.asarray(centre_mm) - spacing_mm * (voxels - 1) / 2
        return cls((voxels, voxels, voxels), affine)

    def every(self, step: int) -> Grid:
        """The grid of every step-th voxel along each axis, beginning with the first."""
        affine = self.affine.copy()
        affine[:3, :3] *= step
        x, y, z = (-(-n // step) for n in self.shape)
        return Grid((x, y, z), affine)

    def part(self, kept: tuple[slice, slice, slice]) -> Grid:
        """The grid of the voxels within slices, each from a first voxel up to one before the end."""
        affine = self.affine.copy()
        affine[:3, 3] = self.world_mm(np.array([along.start for along in kept], dtype=np.float64))
        x, y, z = (along.stop - along.start for along in kept)
        return Grid((x, y, z), affine)

    @classmethod
    def covering(cls, other: Grid, spacing_mm: float) -> Self:
        """The isotropic grid along the world axes that just covers another, oblique one."""
        corners = other.corners_mm
        return cls.box(corners.min(axis=0), corners.max(axis=0), spacing_mm)

    @classmethod
    def box(cls, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64], spacing_mm: float) -> Self:
        """The isotropic grid along the world axes that fills a box from its lowest to its highest corner."""
        shape = np.maximum(1, np.ceil((high_mm - low_mm) / spacing_mm)).astype(int)
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = (low_mm + high_mm) / 2 - spacing_mm * (shape - 1) / 2
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """World positions (8, 3) of the outer corners, half a voxel beyond the outermost centres."""
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in self.shape])).reshape(3, 8).T
        return self.world_mm(corners)

    def contains(self, world_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the world positions (..., 3) lie within the outer corners, the volume's extent.

        It ends half a voxel beyond the outermost centres, as ITK's readers have it (IsInsideBuffer).
        """
        voxels, middle = self.voxel(world_mm), (np.array(self.shape) - 1) / 2
        inside: NDArray[np.bool_] = np.all(np.abs(voxels - middle) <= middle + 0.5 + ROUNDING, axis=-1)
        return inside

    def voxel(self, world_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voxel positions (..., 3) of world positions (..., 3)."""
        voxel_from_world = inverse(self.affine)
        result: NDArray[np.float64] = world_mm @ voxel_from_world[:3, :3].T + voxel_from_world[:3, 3]
        return result

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def world_mm(self, voxel: NDArray[np.float64]) -> NDArray[np.float64]:
        """World positions (..., 3) of voxel positions (..., 3)."""
        result: NDArray[np.float64] = voxel @ self.affine[:3, :3].T + self.affine[:3, 3]
        return result

    def divided(self, parts: Supersampling) -> Grid:
        """The grid that divides every voxel into so many equal parts along each axis."""
        affine = self.affine.copy()
        affine[:3, :3] /= parts
        affine[:3, 3] -= affine[:3, :3] @ ((np.array(parts) - 1) / 2)
        x, y, z = (n * k for n, k in zip(self.shape, parts, strict=True))
        return Grid((x, y, z), affine)


@dataclass(frozen=True)
class Volume:
    """Voxel values (X, Y, Z) on a grid; float32 unless it is a mask (bool)."""

    data: NDArray[np.float32] | NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise ValueError(f"data of shape {self.data.shape} on a grid of shape {self.grid.shape}")

    def times(self, factor: float) -> Volume:
        """The same with every value multiplied, as float32."""
        return Volume(np.asarray(self.data * np.float32(factor), dtype=np.float32), self.grid)


def load_nifti(path: Path) -> Volume:
    """Read a three-dimensional NIfTI file as float32, version 1 or 2, compressed or not.

    Errors of `read_nifti_file` (not NIfTI, truncated, not three-dimensional) pass through;
    `ricenet.cohort.checks` turns them into a report beforehand.
    """
    file = read_nifti_file(path)
    x, y, z = file.data.shape
    return Volume(file.data, Grid((x, y, z), file.affine))


def save_nifti(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI-1 (float32, or uint8 for a mask), atomically and with repeatable bytes."""
    import gzip

    import nibabel as nib

    is_mask = volume.data.dtype == np.bool_
    image = nib.nifti1.Nifti1Image(
        volume.data.astype(np.uint8 if is_mask else np.float32), volume.grid.affine
    )
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.grid.affine, code=1)
    image.set_sform(volume.grid.affine, code=1)
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        # mtime=0: the same volume gives the same bytes
        content = gzip.compress(content, compresslevel=3, mtime=0)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def resample(
    volume: Volume,
    grid: Grid,
    source_from_target: Affine | None = None,
    order: int = 1,
    supersampling: Supersampling = (1, 1, 1),
    outside: float = 0.0,
) -> Volume:
    """Values of `volume` on `grid`, in one interpolation; `outside` beyond the volume's extent.

    The extent is that of `Grid.contains`. In the outer half voxel the edge's value holds, of a spline its
    mirror image, as ITK's interpolators have both.
    source_from_target: world transform from the target's to the source's space (identity if None).
    order: 0 nearest, 1 linear, 3 cubic B-spline.
    supersampling: points along each axis of the target whose mean is a voxel's value; above 1 it is the
    low-pass filter that a coarser target grid needs, and it conserves the integral of a dose.
    outside: of NaN, the mean is that of the points within the extent; NaN where there is none.
    Memory beside both volumes: that of a slab of points, and one copy of the source for B-splines.
    """
    from scipy import ndimage

    fine = grid.divided(supersampling)
    world = fine.affine if source_from_target is None else source_from_target @ fine.affine
    source_from_fine = inverse(volume.grid.affine) @ world
    source = np.asarray(volume.data, dtype=np.float32)
    if order > 1:
        source = ndimage.spline_filter(source, order, output=np.float32)
    values = np.empty(grid.shape, dtype=np.float32)
    k = supersampling
    planes = max(1, SLAB_POINTS // (k[0] * fine.shape[1] * fine.shape[2]))
    for first in range(0, grid.shape[0], planes):
        slab = values[first : first + planes]
        points = ndimage.affine_transform(
            source,
            source_from_fine[:3, :3],
            source_from_fine[:3, 3] + source_from_fine[:3, 0] * first * k[0],
            output_shape=(len(slab) * k[0], *fine.shape[1:]),
            order=order,
            # the coefficients are those of the mirrored volume
            mode="mirror" if order > 1 else "nearest",
            prefilter=False,
        )
        _set_outside(points, volume.grid.shape, source_from_fine, first * k[0], outside)
        slab[...] = points if max(k) == 1 else _block_means(points, k)
    return Volume(values, grid)


def _block_means(points: NDArray[np.float32], k: Supersampling) -> NDArray[np.float64]:
    """Means of blocks of k points, those of NaN left out; NaN where there are no others."""
    x, y, z = (n // parts for n, parts in zip(points.shape, k, strict=True))
    blocks = points.reshape(x, k[0], y, k[1], z, k[2])
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3, 5), dtype=np.float64)
    if (partly := np.isnan(means)).any():
        known = np.isfinite(blocks).sum(axis=(1, 3, 5))
        sums = np.nansum(blocks, axis=(1, 3, 5), dtype=np.float64)
        means[partly] = np.where(known > 0, sums / np.maximum(known, 1), np.nan)[partly]
    return means


def _set_outside(
    points: NDArray[np.float32],
    shape: tuple[int, int, int],
    source_from_fine: Affine,
    first: int,
    value: float,
) -> None:
    """Set what lies outside the source's extent. first: the slab's first plane on the fine grid."""
    nx, ny, nz = points.shape
    corners = np.array(np.meshgrid((first, first + nx - 1), (0, ny - 1), (0, nz - 1), 1)).reshape(4, 8)
    x, y, z = np.ogrid[first : first + nx, :ny, :nz]
    for axis, n in enumerate(shape):
        step_x, step_y, step_z, start = along = source_from_fine[axis]
        middle, reach = (n - 1) / 2, n / 2 + ROUNDING
        # most slabs lie inside
        if np.abs(along @ corners - middle).max() > reach:
            points[np.abs(step_x * x + step_y * y + (step_z * z + (start - middle))) > reach] = value


def supersampling_for(source: Grid, target: Grid, source_from_target: Affine | None = None) -> Supersampling:
    """Points along each axis of the target, so that no two neighbours lie much further apart than the
    source's voxels do in that direction.
    """
    world = target.affine if source_from_target is None else source_from_target @ target.affine
    step_voxels = np.abs((inverse(source.affine) @ world)[:3, :3]).max(axis=0)
    x, y, z = np.maximum(1, np.ceil(step_voxels - MOST_STEP_BEYOND_VOXEL)).astype(int)
    return int(x), int(y), int(z)
