"""An occlusion map in numbers: how much of it lies where, beside how much of the brain does.

All shares are of the map's absolute values, so that evidence for and against RICE count alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import MapSummary, Share
from ricenet.preprocessing.course_dose import isocentre_voxel, plateau_gy

ISODOSE_EDGES_GY = (20.0, 40.0, 50.0, 60.0)
ISODOSE_BANDS = ("0-20 Gy", "20-40 Gy", "40-50 Gy", "50-60 Gy", "above 60 Gy")
"""A dose on an edge belongs to the band above it."""

OUTSIDE_BRAIN = "outside the brain, of the whole volume"
"""Cubes over the brain's border and dose in the scalp put some of a map there."""

Part = NDArray[np.float32] | NDArray[np.bool_]
"""(X, Y, Z), the share of each voxel that belongs to a part."""


def summarise(change: NDArray[np.float32], anatomy: Anatomy) -> MapSummary:
    """Where a map lies, by isodose band and by known region, and how far from isocentre and lesion.

    change: (X, Y, Z) on the anatomy's grid. Bands and regions are shares of what lies in the brain, so that a
    band's share of the map divided by its share of the volume is 1 for an even map; the bands add up to 1
    (to 0 for a map that is 0 in the brain). The last of isodoses, OUTSIDE_BRAIN, is a share of everything.
    Distances: from the whole map's centre of mass, in mm, to the estimated isocentre (`isocentre_voxel`) and
    to the lesion's centre of mass; None where there is no map, no dose or no lesion in the volume.
    """
    brain, everywhere = anatomy.brain, np.ones_like(anatomy.brain)
    bands = np.digitize(anatomy.dose_gy, ISODOSE_EDGES_GY)
    isodoses = [share(name, change, bands == band, brain) for band, name in enumerate(ISODOSE_BANDS)]
    regions = [share(name, change, mask, brain) for name, mask in anatomy.known_masks.items()]
    centre = centre_of_mass(np.abs(change))
    return MapSummary(
        isodoses=[*isodoses, share(OUTSIDE_BRAIN, change, ~brain, everywhere)],
        regions=regions,
        to_isocentre_mm=_distance_mm(anatomy, centre, _isocentre(anatomy)),
        to_lesion_mm=_distance_mm(anatomy, centre, _lesion(anatomy)),
    )


def share(name: str, change: NDArray[np.float32], part: Part, whole: NDArray[np.bool_]) -> Share:
    """How much of a whole's map, and of its volume, lies in a part of it; 0 of a map that is 0.

    change, part, whole: (X, Y, Z); what the part has outside the whole does not count.
    """
    inside = part[whole].astype(np.float64)
    absolute = np.abs(change[whole], dtype=np.float64)
    total = float(absolute.sum())
    return Share(
        name=name,
        of_map=float((absolute * inside).sum()) / total if total > 0 else 0.0,
        of_volume=float(inside.mean()),
    )


def centre_of_mass(weights: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Voxel coordinates (3,) of the mean position by weights (X, Y, Z); None where all are 0."""
    total = float(weights.sum(dtype=np.float64))
    if total == 0:
        return None
    along = [weights.sum(axis=others, dtype=np.float64) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([float(np.arange(len(mass)) @ mass) / total for mass in along])


def _isocentre(anatomy: Anatomy) -> NDArray[np.float64] | None:
    if plateau_gy(anatomy.dose_gy, anatomy.brain) <= 0:
        return None
    return isocentre_voxel(anatomy.dose_gy, anatomy.brain)


def _lesion(anatomy: Anatomy) -> NDArray[np.float64] | None:
    lesion = anatomy.known_masks.get("lesion")
    return None if lesion is None else centre_of_mass(lesion)


def _distance_mm(
    anatomy: Anatomy, a: NDArray[np.float64] | None, b: NDArray[np.float64] | None
) -> float | None:
    if a is None or b is None:
        return None
    return float(np.linalg.norm(anatomy.grid.world_mm(a) - anatomy.grid.world_mm(b)))
