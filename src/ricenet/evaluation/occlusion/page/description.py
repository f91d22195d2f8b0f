"""What the viewer has to know of a case beside its volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import mri_in_brain, set_title
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import TOGETHER, Case
from ricenet.evaluation.occlusion.figure import strongest_voxel
from ricenet.preprocessing.course_dose import isocentre_voxel
from ricenet.vocabulary import members

ISODOSES_GY = (20.0, 40.0, 50.0, 60.0)
COLOURS = "managua_r"
"""As in the static figure: dark where nothing changes, safe for colour-blind readers."""
PLANES = ("axial", "coronal", "sagittal")
VOLUME_TITLES = {"post_op": "Post-operative T1ce", "event": "T1ce at the event", "dose": "Dose"}
MARGIN_MM = 6.0
"""Left free around the brain where the whole of it is shown."""

_ISODOSE_COLOURS = {20.0: "#35b779", 40.0: "#7ad98a", 50.0: "#b9f2a1", 60.0: "#f0ffd0"}
_OUTLINES = {"brain": "#c9ced3", "cavity": "#b6a2ff", "lesion": "#ff5cdb"}
_OTHER_OUTLINE = "#ff9ec4"


def viewer_description(case: Case) -> dict[str, Any]:
    """The JSON that the viewer reads: volumes with their windows, maps, lines, places and colours."""
    anatomy = case.anatomy
    limits = {name: float(np.abs(change).max()) for name, change in case.maps.items()}
    centre_mm, zoom = _brain_in_view(anatomy)
    first = next(iter(case.maps.values()))
    return {
        "volumes": [_volume(anatomy, name) for name in VOLUME_TITLES],
        "maps": [
            {"name": name, "title": map_title(name, case.modality_set), "volume": f"map-{name}",
             "limit": limits[name], "strongest": list(strongest_voxel(change))}
            for name, change in case.maps.items()
        ],
        "masks": ["brain", *anatomy.known_masks],
        "regions": list(anatomy.known_masks),
        "lines": lines(anatomy),
        "places": _places(anatomy),
        "start": list(strongest_voxel(first)),
        "planes": list(PLANES),
        "decimals": decimals_for(max(limits.values())),
        "centre_mm": centre_mm,
        "zoom": zoom,
        "colours": map_colours(),
    }  # fmt: skip


def map_title(name: str, modality_set: str) -> str:
    """What is hidden for a map, as a reader says it.

    >>> map_title("together", "post_op+dose"), map_title("post_op", "post_op+dose")
    ('both volumes', 'post-op alone')
    """
    if name != TOGETHER:
        return f"{set_title(name)} alone"
    return {1: set_title(modality_set), 2: "both volumes", 3: "all volumes"}[len(members(modality_set))]


def decimals_for(limit: float) -> int:
    """Decimals that show three digits of the strongest change, and at least three.

    >>> decimals_for(0.4), decimals_for(0.0123)
    (3, 4)
    """
    return 3 if limit <= 0 else min(max(3, 2 - math.floor(math.log10(limit))), 9)


def reached_isodoses(dose_gy: NDArray[np.float32]) -> list[float]:
    """Which of ISODOSES_GY the dose reaches somewhere."""
    return [level for level in ISODOSES_GY if float(dose_gy.max()) > level]


def lines(anatomy: Anatomy) -> list[dict[str, Any]]:
    """Isodoses and outlines: of which volume, at what level, in which colour, and what is written there.

    label_at: the direction (radians, anticlockwise) in which a line's label stands, each another one, so
    that labels of neighbouring isodoses part.
    """
    reached = reached_isodoses(anatomy.dose_gy)
    isodoses = [
        {"name": f"isodose-{level:g}", "volume": "dose", "level": level, "title": f"{level:g} Gy",
         "colour": _ISODOSE_COLOURS[level], "label": f"{level:g}", "shown": True,
         "label_at": math.pi * (0.1 + 0.55 * position)}
        for position, level in enumerate(reached)
    ]  # fmt: skip
    outlines = [
        {"name": name, "volume": name, "level": 0.5, "title": name, "label": "", "shown": name != "cavity",
         "colour": _OUTLINES.get(name, _OTHER_OUTLINE)}
        for name in ("brain", *anatomy.known_masks)
    ]  # fmt: skip
    return [*isodoses, *outlines]


def map_colours(steps: int = 32) -> dict[str, dict[str, list[int]]]:
    """NiiVue's tables for both halves of the map's colours, from no change to the strongest one.

    lowers: hiding lowers p_rice (a positive change); raises: the opposite.
    """
    import matplotlib

    scale = matplotlib.colormaps[COLOURS]
    return {
        name: _table(np.asarray(scale(np.linspace(0.5, end, steps)))[:, :3])
        for name, end in (("lowers", 1.0), ("raises", 0.0))
    }


def css_gradient(steps: int = 24) -> str:
    """The whole scale, from the strongest negative change to the strongest positive one."""
    import matplotlib

    colours = np.asarray(matplotlib.colormaps[COLOURS](np.linspace(0.0, 1.0, steps)))[:, :3]
    return ", ".join("rgb({} {} {})".format(*np.rint(255 * colour).astype(int)) for colour in colours)


def _table(colours: NDArray[np.float64]) -> dict[str, list[int]]:
    levels = np.rint(255 * colours).astype(int)
    channels = {channel: levels[:, k].tolist() for k, channel in enumerate("RGB")}
    places = np.rint(np.linspace(0, 255, len(levels))).astype(int).tolist()
    # the first entry is that of no change at all, which hides nothing
    return {**channels, "A": [0] + [255] * (len(levels) - 1), "I": places}


def _volume(anatomy: Anatomy, name: str) -> dict[str, Any]:
    if name == "dose":
        low, high = 0.0, max(float(anatomy.dose_gy.max()), 1.0)
    else:
        _, low, high = mri_in_brain(getattr(anatomy, name), anatomy.brain)
    kind = "dose" if name == "dose" else "mri"
    return {"name": name, "title": VOLUME_TITLES[name], "kind": kind, "low": low, "high": high}


def _places(anatomy: Anatomy) -> Mapping[str, Sequence[int]]:
    """Where the buttons lead: the middle of the high dose, and of each known mask."""
    from scipy import ndimage

    masks = {name: mask for name, mask in anatomy.known_masks.items() if mask.max() > 0}
    middles = {name: ndimage.center_of_mass(mask) for name, mask in masks.items()}
    found = {"dose": isocentre_voxel(anatomy.dose_gy, anatomy.brain), **middles}
    return {name: [round(float(index)) for index in voxel] for name, voxel in found.items()}


def _brain_in_view(anatomy: Anatomy) -> tuple[list[float], float]:
    """The middle of the brain's box (world mm), and how far it may be enlarged to be seen whole."""
    inside = np.argwhere(anatomy.brain)
    low, high = inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5
    spacing = np.array(anatomy.grid.spacing_mm)
    reach_mm = (high - low) * spacing + 2 * MARGIN_MM
    zoom = float(np.min(np.array(anatomy.grid.shape) * spacing / reach_mm))
    centre = anatomy.grid.world_mm((low + high) / 2)
    return [float(mm) for mm in centre], max(zoom, 1.0)
