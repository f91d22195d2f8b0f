"""Do maps point at the phantom's cause? How much of a map lies in the causal region, for its volume.

The enrichment factor is a region's share of a map's absolute sum in the brain, divided by its share of the
brain: 1 says that the map is as strong there as anywhere. Two numbers stand beside it. An untrained
network's map says how much comes from the input alone: hiding much dose changes more than hiding little. A
network that looks at the region only, evenly, says what to expect at best, since cubes blur a map over their
size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.occlusion.case import Case
from ricenet.evaluation.occlusion.causal_regions import Region, causal_regions, cause_of
from ricenet.evaluation.occlusion.estimate import Estimate, geometric_mean_over_subjects
from ricenet.evaluation.occlusion.hidden_cubes import cube_starts
from ricenet.evaluation.occlusion.summary import share

Map = NDArray[np.float32]


@dataclass(frozen=True)
class RegionFound:
    """One region of one map.

    of_map, of_volume: shares. enrichment: their ratio; untrained: that of the untrained network's map; None
    where there is no such map or it is 0. looking_there_only: of a network that sees nothing but the region.
    """

    of_map: float
    of_volume: float
    enrichment: float | None
    untrained: float | None
    looking_there_only: float


@dataclass(frozen=True)
class SubjectTruth:
    """What was found of one subject; found: by map and region, without regions that the brain lacks."""

    subject: str
    modality_set: str
    found: Mapping[str, Mapping[str, RegionFound]]


def subject_truth(
    case: Case, untrained: Mapping[str, Map], cube_voxels: int, stride_voxels: int
) -> SubjectTruth:
    """Measure a phantom's maps against its causal regions.

    untrained: maps (X, Y, Z) of an untrained network, by the names of the case's maps; those that are missing
    are not compared. cube_voxels, stride_voxels: with which all of them were made.
    Raises ResultError: the cohort's ground truth has no mask of the cavity or the lesion.
    """
    brain = case.anatomy.brain
    regions = causal_regions(case.anatomy, case.modality_set)
    held = {name: region for name, region in regions.items() if region[brain].any()}
    looking_there_only = {
        name: _ratio(_looking_only(region * brain, cube_voxels, stride_voxels), region, brain)
        for name, region in held.items()
    }
    found = {
        map_name: {
            name: _found(change, untrained.get(map_name), region, brain, looking_there_only[name])
            for name, region in held.items()
        }
        for map_name, change in case.maps.items()
    }
    return SubjectTruth(case.anatomy.subject, case.modality_set, found)


def _found(
    change: Map,
    untrained: Map | None,
    region: Region,
    brain: NDArray[np.bool_],
    looking_there_only: float,
) -> RegionFound:
    part = share("", change, region, brain)
    return RegionFound(
        of_map=part.of_map,
        of_volume=part.of_volume,
        enrichment=_enrichment(change, region, brain),
        untrained=_enrichment(untrained, region, brain),
        looking_there_only=looking_there_only,
    )


def _enrichment(change: Map | None, region: Region, brain: NDArray[np.bool_]) -> float | None:
    if change is None or not change[brain].any():
        return None
    return _ratio(change, region, brain)


def _ratio(change: Map, region: Region, brain: NDArray[np.bool_]) -> float:
    part = share("", change, region, brain)
    return part.of_map / part.of_volume


def _looking_only(region: Region, cube_voxels: int, stride_voxels: int) -> Map:
    """The map of a network whose answer changes by as much of the region as a cube hides."""
    result = region
    for axis, voxels in enumerate(region.shape):
        starts = np.array(cube_starts(voxels, cube_voxels, stride_voxels))[:, None]
        covers = (starts <= np.arange(voxels)) & (np.arange(voxels) < starts + cube_voxels)
        # what a cube hides is a sum, and what a voxel gets a mean; both are the same along every axis
        blur = (covers.T / covers.sum(axis=0)[:, None]) @ covers
        result = np.moveaxis(np.tensordot(blur, result, axes=(1, axis)), 0, axis)
    return np.asarray(result, np.float32)


def cohort_truth(subjects: Sequence[SubjectTruth], seed: int) -> dict[str, Any]:
    """What was found over the subjects of one modality set, as JSON-serialisable values.

    Factors are averaged geometrically: one subject's 4 and another's 1/4 cancel, where the arithmetic mean
    would say 2, and a subject with a small lesion, whose factor varies most, does not outweigh the others.
    Intervals are over subjects: they do not cover another training of the networks.
    """
    if not subjects:
        return {}
    modality_set = subjects[0].modality_set
    return {
        "modality_set": modality_set,
        "subjects": len(subjects),
        "maps": {name: _map_truth(name, modality_set, subjects, seed) for name in subjects[0].found},
        "by_subject": {
            subject.subject: {
                name: {region: found.enrichment for region, found in regions.items()}
                for name, regions in subject.found.items()
            }
            for subject in subjects
        },
    }


def _map_truth(
    map_name: str, modality_set: str, subjects: Sequence[SubjectTruth], seed: int
) -> dict[str, Any]:
    names = dict.fromkeys(name for subject in subjects for name in subject.found[map_name])
    cause = cause_of(map_name, modality_set)
    regions = {
        name: _region_truth([s.found[map_name][name] for s in subjects if name in s.found[map_name]], seed)
        for name in names
    }
    said = verdict(regions[cause]) if cause in regions else "cannot be said: no subject has the cause"
    return {"cause": cause, "verdict": said, "regions": regions}


def _region_truth(found: Sequence[RegionFound], seed: int) -> dict[str, Any]:
    def estimate(factors: Sequence[float | None]) -> dict[str, Any] | None:
        known = [factor for factor in factors if factor is not None]
        result: Estimate | None = geometric_mean_over_subjects(known, seed)
        return None if result is None else asdict(result)

    ratios = [f.enrichment / f.untrained if f.enrichment is not None and f.untrained else None for f in found]
    reached = geometric_mean_over_subjects([f.looking_there_only for f in found], seed)
    return {
        "of_map": float(np.mean([f.of_map for f in found])),
        "of_volume": float(np.mean([f.of_volume for f in found])),
        "enrichment": estimate([f.enrichment for f in found]),
        "untrained": estimate([f.untrained for f in found]),
        "over_untrained": estimate(ratios),
        "looking_there_only": None if reached is None else reached.mean,
    }


def verdict(region: Mapping[str, Any]) -> str:
    """What the intervals of a map's causal region allow to say, in words."""
    enrichment, over_untrained = region["enrichment"], region["over_untrained"]
    if enrichment is None or enrichment["low"] is None:
        return "cannot be said: it takes maps of two subjects at least"
    if enrichment["low"] <= 1:
        return "does not point at the cause: the map is not surely stronger there than elsewhere"
    if over_untrained is None or over_untrained["low"] is None:
        return "lies at the cause; whether an untrained network's map does so too was not compared"
    if over_untrained["low"] <= 1:
        return "lies at the cause, but not surely more than an untrained network's map: the input may be all"
    return "points at the cause, and more so than an untrained network's map"
