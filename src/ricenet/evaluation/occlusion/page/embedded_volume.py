"""Volumes as text within a page: NIfTI of 16-bit integers, gzipped, in base64."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.map_summary import Map
from ricenet.volume import Grid

if TYPE_CHECKING:
    from markupsafe import Markup

MRI_STEP, DOSE_STEP_GY, MASK_STEP = 0.01, 0.02, 1 / 255
"""What a stored unit means (an MRI's: SD of the brain): half of it is the largest rounding error."""
MAP_STEPS = 4000
"""Steps between no change and a map's strongest one."""


def embedded_anatomy(anatomy: Anatomy) -> dict[str, Markup]:
    """A subject's volumes and masks (X, Y, Z) by name, rounded to their steps.

    Around the brain, an MRI is one step below its darkest voxel, so that it shows as black.
    """
    brain, grid = anatomy.brain, anatomy.grid
    shown = {}
    for spec in anatomy.volumes:
        image = anatomy.images[spec.name]
        if spec.kind == "dose":
            shown[spec.name] = embed(image, DOSE_STEP_GY, grid)
        else:
            shown[spec.name] = embed(np.where(brain, image, image[brain].min() - MRI_STEP), MRI_STEP, grid)
    masks = {"brain": brain.astype(np.float32), **anatomy.known_masks}
    return shown | {name: embed(mask, MASK_STEP, grid) for name, mask in masks.items()}


def embedded_map(change: Map, grid: Grid) -> Markup:
    """A map, in steps of its own strength."""
    return embed(change, float(np.abs(change).max()) / MAP_STEPS, grid)


def embed(data: NDArray[np.floating], step: float, grid: Grid) -> Markup:
    """A volume (X, Y, Z) in whole steps; where `step` is 0, all of it is 0.

    Raises ValueError: the grid does not lie along the world axes, as the page's lines and labels take it.
    """
    from markupsafe import Markup
    from nibabel.nifti1 import Nifti1Header

    spacing = np.diag(grid.affine)[:3]
    if not np.allclose(grid.affine[:3, :3], np.diag(spacing), atol=1e-6) or spacing.min() <= 0:
        raise ValueError(f"a page shows grids along the world axes only, not {grid.affine.tolist()}")
    header = Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(data.shape)
    header.set_sform(grid.affine, code="aligned")
    header.set_qform(grid.affine, code="aligned")
    header.set_xyzt_units("mm")
    header.set_slope_inter(step or 1.0, 0.0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    limits = np.iinfo(np.int16)
    stored = np.clip(np.rint(data / (step or 1.0)), limits.min, limits.max).astype("<i2")
    file = header.binaryblock + bytes(4) + stored.tobytes(order="F")
    # a fixed time, so that the same case gives the same bytes; base64 holds nothing that HTML would read
    return Markup(base64.b64encode(gzip.compress(file, compresslevel=9, mtime=0)).decode("ascii"))
