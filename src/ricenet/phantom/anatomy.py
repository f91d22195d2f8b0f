"""Heads made from the MNI152 tissue maps: deformed brain, cerebrospinal fluid, skull and scalp.

Template: ICBM 2009a nonlinear symmetric maps as shipped by nilearn. Copyright (C) 1993-2009
Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University;
permission to use, copy, modify and distribute is granted without fee, the notice being kept.
Source: Fonov et al., NeuroImage 54 (2011) 313-327.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.runtime.temporary import partial_folder
from ricenet.splines import along_axis
from ricenet.volume import Affine, Grid, Volume, load_nifti, resample, supersampling_for

FloatArray = NDArray[np.float32]
Point = NDArray[np.float64]
"""(3,), millimetres or degrees."""

MARGIN_MM = 24.0
"""Room around the brain for skull and scalp."""

SKULL_MM = (2.5, 8.0)
SCALP_MM = (8.0, 14.0)
"""Shells by distance from the brain's surface; between brain and skull lies fluid."""


@dataclass(frozen=True)
class Anatomy:
    """Tissues on an isotropic grid: the template's in MNI space, or one subject's in a space of its own.

    All arrays (X, Y, Z); tissue maps are fractions in [0, 1]; `brain_depth_mm` is positive inside the brain.
    """

    grid: Grid
    grey: FloatArray
    white: FloatArray
    brain_depth_mm: FloatArray

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The brain with its ventricles and sulci."""
        return self.brain_depth_mm > 0

    def offset_mm(self, point_mm: Point | NDArray[np.float32]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """From a point to each voxel along x, y and z: (X, 1, 1), (1, Y, 1), (1, 1, Z).

        The grid lies along the world axes.
        """
        affine, shape, point = self.grid.affine, self.grid.shape, point_mm.astype(np.float32)
        axes = [affine[i, 3] + affine[i, i] * np.arange(shape[i], dtype=np.float32) for i in range(3)]
        x, y, z = (axis.astype(np.float32) - at for axis, at in zip(axes, point, strict=True))
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def squared_distance_mm2(self, point_mm: Point) -> FloatArray:
        """From a point to each voxel, (X, Y, Z)."""
        x, y, z = self.offset_mm(point_mm)
        squared: FloatArray = (x * x + y * y) + z * z
        return squared

    def along_mm(self, point_mm: Point | NDArray[np.float32], direction: NDArray[np.float32]) -> FloatArray:
        """From a point to each voxel, as far as it goes along a direction (3,), (X, Y, Z)."""
        x, y, z = self.offset_mm(point_mm)
        along: FloatArray = (direction[0] * x + direction[1] * y) + direction[2] * z
        return along


def load_template(spacing_mm: float) -> Anatomy:
    """The MNI maps averaged onto a grid of the given spacing, with room for skull and scalp."""
    from nilearn.datasets import struct

    t1, grey, white = (
        load_nifti(path)
        for path in (struct.MNI152_FILE_PATH, struct.GM_MNI152_FILE_PATH, struct.WM_MNI152_FILE_PATH)
    )
    covering = Grid.covering(t1.grid, spacing_mm)
    k, room = supersampling_for(t1.grid, covering), int(np.ceil(MARGIN_MM / spacing_mm))
    # the room around the maps is empty
    t1_, grey_, white_ = (
        np.pad(
            np.asarray(
                resample(Volume(v.data / v.data.max(), v.grid), covering, supersampling=k).data, np.float32
            ),
            room,
        )
        for v in (t1, grey, white)
    )
    return Anatomy(
        _padded(covering, room),
        grey_.astype(np.float32),
        white_.astype(np.float32),
        _depth_mm(t1_ > 0.05, spacing_mm),
    )


@functools.cache
def shared_template(spacing_mm: float) -> Anatomy:
    """One template a process: it takes longer to load than a subject takes to make."""
    return load_template(spacing_mm)


@contextlib.contextmanager
def template_file(spacing_mm: float, folder: Path) -> Iterator[Path]:
    """The template in a temporary file, from which other processes have it at once (`read_template`).

    folder: one that all of them see.
    """
    template = shared_template(spacing_mm)
    with partial_folder(folder) as kept:
        write_template(template, kept / "template.npz")
        yield kept / "template.npz"


def write_template(template: Anatomy, path: Path) -> None:
    """A template as a file of arrays (.npz)."""
    depth, affine = template.brain_depth_mm, template.grid.affine
    with path.open("wb") as stream:
        np.savez(stream, affine=affine, grey=template.grey, white=template.white, depth=depth)


@functools.lru_cache(maxsize=1)
def read_template(path: Path) -> Anatomy:
    """What `write_template` wrote, once a process; of several cohorts the last one's."""
    with np.load(path, allow_pickle=False) as kept:
        x, y, z = kept["grey"].shape
        return Anatomy(Grid((x, y, z), kept["affine"]), kept["grey"], kept["white"], kept["depth"])


def make_anatomy(template: Anatomy, rng: np.random.Generator) -> Anatomy:
    """A new head: the template under a random affine and a smooth random deformation.

    The MNI template is larger than an average head, hence scales below one.
    """
    scales = rng.uniform(0.88, 0.96) * rng.uniform(0.97, 1.03, size=3)
    shears = rng.uniform(-0.03, 0.03, size=3)
    matrix = (np.array([[1, shears[0], shears[1]], [0, 1, shears[2]], [0, 0, 1]]) / scales).astype(np.float32)
    centre = _centre_mm(template)
    moved: FloatArray = np.stack([template.along_mm(centre, row) for row in matrix])
    moved += centre[:, None, None, None] + smooth_field(template.grid, 3, 40.0, 2.5, rng)
    voxels = (moved - template.grid.affine[:3, 3, None, None, None]) / template.grid.spacing_mm[0]

    def sample(values: FloatArray, outside: float) -> FloatArray:
        sampled: FloatArray = ndimage.map_coordinates(
            values, voxels, order=1, cval=outside, output=np.float32
        )
        return sampled

    mean_scale = float(scales.mean())
    return Anatomy(
        template.grid,
        sample(template.grey, 0.0),
        sample(template.white, 0.0),
        sample(template.brain_depth_mm, -100.0) * np.float32(mean_scale),
    )


def head_bounds_mm(anatomy: Anatomy) -> NDArray[np.float64]:
    """Corners (8, 3) of the box around the head, scalp included."""
    inside = np.argwhere(anatomy.brain_depth_mm > -SCALP_MM[1])
    low, high = anatomy.grid.world_mm(inside.min(axis=0)), anatomy.grid.world_mm(inside.max(axis=0))
    return np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, 8).T


def smooth_field(
    grid: Grid, components: int, length_mm: float, amplitude: float, rng: np.random.Generator
) -> FloatArray:
    """Smooth random values (components, X, Y, Z) of SD `amplitude`, varying over `length_mm`.

    Drawn on a grid of that length and enlarged by cubic splines, so that the cost does not
    depend on the length.
    """
    spacing = grid.spacing_mm[0]
    coarse = [int(np.ceil(n * spacing / length_mm)) + 4 for n in grid.shape]
    values: NDArray[np.float64] = rng.normal(size=(components, *coarse))
    # axis after axis, which cubic splines allow: 4 products a voxel and axis in place of 64
    for axis, n in enumerate(grid.shape, start=1):
        values = along_axis(values, axis, 1.5 + spacing / length_mm * np.arange(n, dtype=np.float64))
    field = np.ascontiguousarray(values)
    mean = field.mean()
    sd = np.sqrt(max(0.0, float(np.vdot(field, field)) / field.size - float(mean) ** 2))
    scaled: FloatArray = (amplitude * field / max(float(sd), 1e-6)).astype(np.float32)
    return scaled


def rigid(
    rotation_degrees: NDArray[np.float64], translation_mm: NDArray[np.float64], about_mm: NDArray[np.float64]
) -> Affine:
    """World transform: rotation (extrinsic x, y, z) about a point, then translation."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", rotation_degrees, degrees=True).as_matrix()
    transform[:3, 3] = about_mm - transform[:3, :3] @ about_mm + translation_mm
    return transform


def _padded(grid: Grid, extra: int) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] -= extra * grid.spacing_mm[0]
    x, y, z = (n + 2 * extra for n in grid.shape)
    return Grid((x, y, z), affine)


def _depth_mm(tissue: NDArray[np.bool_], spacing_mm: float) -> FloatArray:
    reach = int(np.ceil(4.0 / spacing_mm))
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), reach)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(tissue, ball))
    inside = ndimage.distance_transform_edt(brain, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~brain, sampling=spacing_mm)
    depth: FloatArray = (inside - outside).astype(np.float32)
    return depth


def _centre_mm(template: Anatomy) -> NDArray[np.float32]:
    inside = np.argwhere(template.brain_depth_mm > 0)
    return template.grid.world_mm((inside.min(axis=0) + inside.max(axis=0)) / 2).astype(np.float32)
