"""An occlusion map in numbers: where it lies, and how it compares with an untrained network's.

All shares are of the map's absolute values, so that evidence for and against RICE count alike.
Source of the comparison: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018 (model parameter
randomisation test, all layers at once; Spearman rank correlation of the absolute maps). Deviation: they state
no limit; ours is DIFFERS_BELOW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import ISODOSE_COLOURS
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.runtime.records import Record

if TYPE_CHECKING:
    from ricenet.evaluation.occlusion.sensitivity import OcclusionMap

_EDGES_GY = tuple(ISODOSE_COLOURS)
ISODOSE_BANDS = (
    *(f"{low:g}-{high:g} Gy" for low, high in zip((0, *_EDGES_GY), _EDGES_GY, strict=False)),
    f"above {_EDGES_GY[-1]:g} Gy",
)
"""A dose on an edge belongs to the band above it."""

OUTSIDE_BRAIN = "outside the brain, of the whole volume"
"""Cubes over the brain's border and dose in the scalp put some of a map there."""

DIFFERS_BELOW = 0.5
"""Rank correlation from which on a map is said to resemble the untrained network's: there, a quarter of the
ranks' variance is shared. Unrelated maps reach some tenths, since cubes smooth both over their size."""

Map = NDArray[np.float32]
Part = NDArray[np.float32] | NDArray[np.bool_]
"""(X, Y, Z), the share of each voxel that belongs to a part."""


class Share(Record):
    """How much of a map's absolute sum lies in a part of the brain, beside the part's volume."""

    name: str
    of_map: float
    of_volume: float

    @property
    def ratio(self) -> float | None:
        """1 for a map that is as strong there as anywhere; None of a part without volume."""
        return self.of_map / self.of_volume if self.of_volume > 0 else None


class UntrainedComparison(Record):
    """rank_correlation: of the absolute maps within the brain; None where a map is constant there."""

    rank_correlation: float | None
    verdict: str


class MapSummary(Record):
    """A map in numbers. min, max: of the changes. cubes: how many were computed, of how many.

    isodoses: shares by band, none without a dose; regions: by known region (cavity, lesion). Distances, in
    mm, are of the absolute map's centre of mass, None where there is no isocentre or lesion.
    """

    min: float
    max: float
    cubes: int
    of_cubes: int
    untrained: UntrainedComparison
    isodoses: tuple[Share, ...]
    regions: tuple[Share, ...]
    to_isocentre_mm: float | None
    to_lesion_mm: float | None


def summarise(found: OcclusionMap, untrained: Map, anatomy: Anatomy) -> MapSummary:
    """Where a map lies, by isodose band and by known region, and how far from isocentre and lesion.

    Maps are on the anatomy's grid. Bands and regions are shares of what lies in the brain, so that a band's
    share of the map divided by its share of the volume is 1 for an even map; the bands add up to 1 (to 0 for
    a map that is 0 in the brain). The last of isodoses, OUTSIDE_BRAIN, is a share of everything.
    Distances: from the whole map's centre of mass to the estimated isocentre (`isocentre_voxel`) and to the
    lesion's centre of mass.
    """
    change, brain = found.change, anatomy.brain
    isodoses = []
    if anatomy.dose_gy is not None:
        bands = np.digitize(anatomy.dose_gy, _EDGES_GY)
        isodoses = [share(name, change, bands == band, brain) for band, name in enumerate(ISODOSE_BANDS)]
        isodoses.append(share(OUTSIDE_BRAIN, change, ~brain, np.ones_like(brain)))
    centre = centre_of_mass(np.abs(change))
    lesion = anatomy.known_masks.get("lesion")
    return MapSummary(
        min=float(change.min()),
        max=float(change.max()),
        cubes=found.cubes,
        of_cubes=found.of_cubes,
        untrained=compare_with_untrained(change, untrained, brain),
        isodoses=tuple(isodoses),
        regions=tuple(share(name, change, mask, brain) for name, mask in anatomy.known_masks.items()),
        to_isocentre_mm=_distance_mm(anatomy, centre, anatomy.isocentre),
        to_lesion_mm=_distance_mm(anatomy, centre, None if lesion is None else centre_of_mass(lesion)),
    )


def share(name: str, change: Map, part: Part, whole: NDArray[np.bool_]) -> Share:
    """How much of a whole's map, and of its volume, lies in a part of it; 0 of a map that is 0.

    change, part, whole: (X, Y, Z); what the part has outside the whole does not count.
    """
    inside = part[whole].astype(np.float64)
    absolute = np.abs(change[whole], dtype=np.float64)
    total = float(absolute.sum())
    of_map = float((absolute * inside).sum()) / total if total > 0 else 0.0
    return Share(name=name, of_map=of_map, of_volume=float(inside.mean()))


def centre_of_mass(weights: Map) -> NDArray[np.float64] | None:
    """Voxel coordinates (3,) of the mean position by weights (X, Y, Z); None where all are 0."""
    from scipy import ndimage

    return np.array(ndimage.center_of_mass(weights.astype(np.float64))) if weights.any() else None


def _distance_mm(
    anatomy: Anatomy, a: NDArray[np.float64] | None, b: NDArray[np.float64] | None
) -> float | None:
    if a is None or b is None:
        return None
    return float(np.linalg.norm(anatomy.grid.world_mm(a) - anatomy.grid.world_mm(b)))


def compare_with_untrained(trained: Map, untrained: Map, brain: NDArray[np.bool_]) -> UntrainedComparison:
    """Does a map depend on what the network learned? Compared with an untrained network's.

    trained, untrained, brain: (X, Y, Z), of the same subject.
    """
    from scipy import stats

    maps = {"trained": np.abs(trained[brain]), "untrained": np.abs(untrained[brain])}
    if constant := [name for name, values in maps.items() if np.ptp(values) == 0]:
        whose = " and of the ".join(f"{name} network" for name in constant)
        verdict = f"cannot be said: the map of the {whose} is the same everywhere in the brain"
        return UntrainedComparison(rank_correlation=None, verdict=verdict)
    correlation = float(stats.spearmanr(maps["trained"], maps["untrained"]).statistic)
    said = f"rank correlation {correlation:.2f}, limit {DIFFERS_BELOW:g}"
    verdict = (
        f"resembles the map of an untrained network: it may show the input, not what was learned ({said})"
    )
    if correlation < DIFFERS_BELOW:
        verdict = f"differs from the map of an untrained network ({said})"
    return UntrainedComparison(rank_correlation=correlation, verdict=verdict)
