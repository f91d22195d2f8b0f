"""All explained cases on one page, in the order of their predictions, each with a small picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import MAP_COLOURS, reached_isodoses, slice_of
from ricenet.display.templates import render, template_text
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.explained_case import Case, Explanation, strongest_voxel
from ricenet.vocabulary import LABELS, VolumeSpec

PACKAGE = "ricenet.evaluation.occlusion.page"
PAGE = "index.html"
SIDE_PIXELS = 176
GAP_PIXELS = 2
FADE_BELOW = 0.25
"""Share of the map's strongest change under which it fades out, as in the viewer at its start."""
OPACITY = 0.8

Pixels = NDArray[np.float64]


class Tile(NamedTuple):
    """An explained case in the gallery, with its thumbnail as PNG; its page lies in the subject's folder."""

    explanation: Explanation
    thumbnail: bytes

    @property
    def href(self) -> str:
        """Its page, relative to the gallery's folder."""
        return f"{self.explanation.participant_id}/{PAGE}"

    @property
    def picture(self) -> str:
        """The thumbnail as text."""
        return base64.b64encode(self.thumbnail).decode("ascii")


def in_order(tiles: Iterable[Tile]) -> list[Tile]:
    """By p_rice, the highest first."""
    return sorted(tiles, key=lambda t: (-t.explanation.p_rice, t.explanation.participant_id))


def gallery_page(
    tiles: Sequence[Tile],
    failed: Mapping[str, str],
    labels: Mapping[str, str],
    title: str,
    synthetic: bool,
    pages: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML text; those without a page apart.

    tiles: in this order. failed: why there is no page, by subject. labels: of subjects, where known.
    title: of the modality set. synthetic: made by the phantom. pages: further ones, their address by title.
    """
    shown = {tile.explanation.label for tile in tiles}
    return render(
        PACKAGE,
        "gallery.html",
        "pages.css",
        set_title=title,
        synthetic=synthetic,
        pages=pages or {},
        tiles=tiles,
        failed=[(subject, labels.get(subject, "n/a"), why) for subject, why in sorted(failed.items())],
        labels=[*LABELS, *(["n/a"] if "n/a" in shown else [])],
        wrong=sum(tile.explanation.wrong for tile in tiles),
        script=template_text(PACKAGE, "gallery.js"),
    )


def pictured(anatomy: Anatomy) -> list[VolumeSpec]:
    """The volumes of a thumbnail: the MRI that shows the new lesion, and the dose if there is one."""
    wanted = (anatomy.declared.last_session_reference, anatomy.declared.dose)
    return [spec for spec in wanted if spec in anatomy.volumes] or list(anatomy.volumes[:1])


def thumbnail(case: Case) -> bytes:
    """PNG of square axial slices through the strongest voxel of the first map, one a volume of `pictured`.

    Radiological: the patient's right is on the left. The map fades out below a quarter of its strongest
    change; over the MRI lie the isodose lines.
    """
    from PIL import Image

    anatomy, change = case.anatomy, next(iter(case.maps.values()))
    index, limit = strongest_voxel(change)[2], float(np.abs(change).max())
    map_slice = _square(change, anatomy, index)
    parts: list[Pixels] = []
    for spec in pictured(anatomy):
        data, low, high = anatomy.window(spec)
        level = 255 * np.clip((_square(data, anatomy, index) - low) / (high - low), 0.0, 1.0)
        picture = _with_map(np.repeat(level[..., None], 3, axis=2), map_slice, limit)
        if spec.kind == "mri" and anatomy.dose_gy is not None:
            _draw_isodoses(picture, _square(anatomy.dose_gy, anatomy, index))
        parts += [picture, np.zeros((SIDE_PIXELS, GAP_PIXELS, 3))]
    file = io.BytesIO()
    pixels = np.rint(np.concatenate(parts[:-1], axis=1)).astype(np.uint8)
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return file.getvalue()


def _square(data: NDArray[np.floating], anatomy: Anatomy, index: int) -> Pixels:
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
    result: Pixels = ndimage.map_coordinates(sliced, [rows, columns], order=1, mode="nearest")
    return result


def _with_map(under: Pixels, change: Pixels, limit: float) -> Pixels:
    import matplotlib

    if limit == 0:
        return under
    share = np.clip(change / limit, -1.0, 1.0)
    colours = 255 * np.asarray(matplotlib.colormaps[MAP_COLOURS](0.5 + 0.5 * share))[..., :3]
    opacity = OPACITY * np.minimum(np.abs(share) / FADE_BELOW, 1.0)[..., None] ** 2
    result: Pixels = (1 - opacity) * under + opacity * colours
    return result


def _draw_isodoses(picture: Pixels, dose_gy: Pixels) -> None:
    from matplotlib.colors import to_rgb
    from scipy import ndimage

    for level, colour in reached_isodoses(dose_gy).items():
        inside = dose_gy >= level
        picture[inside & ~ndimage.binary_erosion(inside, border_value=1)] = 255 * np.array(to_rgb(colour))
