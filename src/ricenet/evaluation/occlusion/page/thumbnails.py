"""A small picture of a case: where its map is strongest, over the event scan and over the dose."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import mri_in_brain, slice_of
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import TOGETHER, Case
from ricenet.evaluation.occlusion.figure import strongest_voxel
from ricenet.evaluation.occlusion.page.description import COLOURS
from ricenet.preprocessing.course_dose import plateau_gy

SIDE_PIXELS = 176
GAP_PIXELS = 2
FADE_BELOW = 0.25
"""Share of the map's strongest change under which it fades out, as in the viewer at its start."""
OPACITY = 0.8
CONTOUR_SHARE = 0.8
"""The dose's contour over the event scan, as a share of its plateau."""
_CONTOUR = np.array([185, 242, 161], dtype=np.float64)


def thumbnail(case: Case) -> bytes:
    """PNG of two square axial slices through the map's strongest voxel: over the event scan, over the dose.

    Radiological: the patient's right is on the left. The map fades out below a quarter of its strongest
    change; the line over the event scan is the isodose of 80 % of the plateau.
    """
    from PIL import Image

    anatomy = case.anatomy
    change = case.maps[TOGETHER] if TOGETHER in case.maps else next(iter(case.maps.values()))
    index = strongest_voxel(change)[2]
    event, low, high = mri_in_brain(anatomy.event, anatomy.brain)
    plateau = max(plateau_gy(anatomy.dose_gy, anatomy.brain), 1.0)
    dose_slice = _picture(anatomy.dose_gy, anatomy, index)
    map_slice = _picture(change, anatomy, index)
    limit = float(np.abs(change).max())
    over_event = _with_map(_grey(_picture(event, anatomy, index), low, high), map_slice, limit)
    over_dose = _with_map(_grey(dose_slice, 0.0, 1.08 * plateau), map_slice, limit)
    over_event[_edge(dose_slice >= CONTOUR_SHARE * plateau)] = _CONTOUR
    gap = np.zeros((SIDE_PIXELS, GAP_PIXELS, 3))
    pixels = np.concatenate([over_event, gap, over_dose], axis=1)
    file = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(file, format="png", optimize=True)
    return file.getvalue()


def _picture(data: NDArray[np.floating], anatomy: Anatomy, index: int) -> NDArray[np.float64]:
    """An axial slice (SIDE_PIXELS squared) around the brain, anterior on top, the patient's right left."""
    from scipy import ndimage

    inside = np.argwhere(anatomy.brain)
    spacing = np.array(anatomy.grid.spacing_mm)[:2]
    low, high = inside.min(axis=0)[:2] - 1.0, inside.max(axis=0)[:2] + 1.0
    reach = float(np.max((high - low) * spacing)) / 2
    steps = np.linspace(-reach, reach, SIDE_PIXELS)
    middle = (low + high) / 2
    right_to_left = middle[0] - steps / spacing[0]
    front_to_back = middle[1] - steps / spacing[1]
    rows, columns = np.meshgrid(front_to_back, right_to_left, indexing="ij")
    sliced = np.asarray(slice_of(data, "axial", index), dtype=np.float64)
    result: NDArray[np.float64] = ndimage.map_coordinates(sliced, [rows, columns], order=1, mode="nearest")
    return result


def _grey(picture: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    level = 255 * np.clip((picture - low) / (high - low), 0.0, 1.0)
    return np.repeat(level[..., None], 3, axis=2)


def _with_map(under: NDArray[np.float64], change: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    import matplotlib

    if limit == 0:
        return under
    share = np.clip(change / limit, -1.0, 1.0)
    colours = 255 * np.asarray(matplotlib.colormaps[COLOURS](0.5 + 0.5 * share))[..., :3]
    opacity = OPACITY * np.minimum(np.abs(share) / FADE_BELOW, 1.0)[..., None] ** 2
    result: NDArray[np.float64] = (1 - opacity) * under + opacity * colours
    return result


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    result: NDArray[np.bool_] = inside & ~ndimage.binary_erosion(inside, border_value=1)
    return result
