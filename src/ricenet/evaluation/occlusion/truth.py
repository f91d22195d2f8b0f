"""Do maps point at the phantom's cause? How much of a map lies in the causal region, for its volume.

The enrichment factor is a region's share of a map's absolute sum in the brain, divided by its share of the
brain: 1 says that the map is as strong there as anywhere. Two numbers stand beside it. An untrained
network's map says how much comes from the input alone: hiding much dose changes more than hiding little. A
network that looks at the region only, evenly, says what to expect at best, since cubes blur a map over their
size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ricenet.evaluation.bootstrap import mean_over_subjects
from ricenet.evaluation.occlusion.causal_regions import causal_regions, cause_of
from ricenet.evaluation.occlusion.explained_case import Case
from ricenet.evaluation.occlusion.hidden_cubes import cube_starts
from ricenet.evaluation.occlusion.map_summary import Map, share
from ricenet.phantom.mechanism import Mechanism
from ricenet.vocabulary import Volumes

if TYPE_CHECKING:
    from ricenet.config.params import ExplainParams

LEAST_FACTOR = 0.01
"""A smaller factor counts as this one in a geometric mean, which a single 0 would make 0."""


@dataclass(frozen=True)
class RegionFound:
    """One region of one map of a subject.

    of_map, of_volume: shares. enrichment: their ratio, None of a map that is 0; untrained: that of the
    untrained network's map. looking_there_only: of a network that sees nothing but the region.
    """

    subject: str
    map: str
    region: str
    of_map: float
    of_volume: float
    enrichment: float | None
    untrained: float | None
    looking_there_only: float


def subject_truth(case: Case, settings: ExplainParams, mechanism: Mechanism) -> list[RegionFound]:
    """Measure a phantom's maps against its causal regions, without those that its brain lacks.

    Raises ResultError: the cohort's ground truth has no mask of the cavity or the lesion.
    """
    brain = case.anatomy.brain

    def enrichment(change: Map, region: Map) -> float | None:
        return share("", change, region, brain).ratio if change[brain].any() else None

    found = []
    for name, region in causal_regions(case.anatomy, case.explanation.modality_set, mechanism).items():
        if not region[brain].any():
            continue
        only = share("", _looking_only(region * brain, settings), region, brain).ratio or 0.0
        for map_name, change in case.maps.items():
            part = share("", change, region, brain)
            found.append(
                RegionFound(
                    subject=case.anatomy.subject,
                    map=map_name,
                    region=name,
                    of_map=part.of_map,
                    of_volume=part.of_volume,
                    enrichment=enrichment(change, region),
                    untrained=enrichment(case.untrained[map_name], region),
                    looking_there_only=only,
                )
            )
    return found


def _looking_only(region: Map, settings: ExplainParams) -> Map:
    """The map of a network whose answer changes by as much of the region as a cube hides."""
    result = region
    for axis, voxels in enumerate(region.shape):
        starts = np.array(cube_starts(voxels, settings.cube_voxels, settings.stride_voxels))[:, None]
        covers = (starts <= np.arange(voxels)) & (np.arange(voxels) < starts + settings.cube_voxels)
        # what a cube hides is a sum, and what a voxel gets a mean; both are the same along every axis
        blur = (covers.T / covers.sum(axis=0)[:, None]) @ covers
        result = np.moveaxis(np.tensordot(blur, result, axes=(1, axis)), 0, axis)
    return np.asarray(result, np.float32)


def cohort_truth(
    found: Sequence[RegionFound], modality_set: str, volumes: Volumes, mechanism: Mechanism, seed: int
) -> dict[str, Any]:
    """What was found over the subjects of one modality set, as JSON-serialisable values.

    Factors are averaged geometrically: one subject's 4 and another's 1/4 cancel, where the arithmetic mean
    would say 2, and a subject with a small lesion, whose factor varies most, does not outweigh the others.
    Intervals are over subjects: they do not cover another training of the networks.
    """
    maps = {}
    for map_name in dict.fromkeys(row.map for row in found):
        rows = [row for row in found if row.map == map_name]
        cause = cause_of(map_name, modality_set, volumes, mechanism)
        regions = {
            name: _region_truth([row for row in rows if row.region == name], seed)
            for name in dict.fromkeys(row.region for row in rows)
        }
        if cause is None:
            said = f"nothing to point at: with the mechanism {mechanism.name} these volumes hold no cause"
        else:
            said = verdict(regions[cause]) if cause in regions else "cannot be said: no subject has the cause"
        maps[map_name] = {"cause": cause, "verdict": said, "regions": regions}
    by_subject: dict[str, Any] = {}
    for row in found:
        by_subject.setdefault(row.subject, {}).setdefault(row.map, {})[row.region] = row.enrichment
    return {
        "modality_set": modality_set,
        "subjects": len(by_subject),
        "maps": maps,
        "by_subject": by_subject,
    }


def _region_truth(rows: Sequence[RegionFound], seed: int) -> dict[str, Any]:
    over = [r.enrichment / r.untrained if r.enrichment is not None and r.untrained else None for r in rows]
    return {
        "of_map": float(np.mean([row.of_map for row in rows])),
        "of_volume": float(np.mean([row.of_volume for row in rows])),
        "enrichment": geometric_mean((row.enrichment for row in rows), seed),
        "untrained": geometric_mean((row.untrained for row in rows), seed),
        "over_untrained": geometric_mean(over, seed),
        "looking_there_only": geometric_mean((row.looking_there_only for row in rows), seed),
    }


def geometric_mean(factors: Iterable[float | None], seed: int) -> dict[str, Any] | None:
    """Of factors, for which twice and half are equally far from 1: mean, n, and low and high of two or more.

    None of no factors. The interval is the bootstrap's of the mean logarithm.
    """
    logs = np.log([max(factor, LEAST_FACTOR) for factor in factors if factor is not None])
    if (found := mean_over_subjects(logs, seed)) is None:
        return None
    ends = zip(("mean", "low", "high"), np.exp([found.value, found.low, found.high]), strict=True)
    several = len(logs) > 1
    return {**{k: float(v) if several or k == "mean" else None for k, v in ends}, "n": len(logs)}


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


def truth_markdown(truth: Mapping[str, Any]) -> str:
    """A table: one line a map and region, the map's own cause in bold, and a verdict a map.

    truth: of `cohort_truth`.
    """
    header = ("map", "region", "of the map", "of the brain", "enrichment (95 %)", "untrained network",
              "over untrained (95 %)", "looking there only")  # fmt: skip
    rows = [header, ("---",) * len(header)]
    for map_name, of_map in truth["maps"].items():
        for name, region in of_map["regions"].items():
            shown = f"**{name}**" if name == of_map["cause"] else name
            shares = (f"{region['of_map']:.1%}", f"{region['of_volume']:.1%}")
            factors = (
                _estimate(region["enrichment"]),
                _mean(region["untrained"]),
                _estimate(region["over_untrained"]),
                _mean(region["looking_there_only"], 1),
            )
            rows.append((map_name, shown, *shares, *factors))
    table = [f"| {' | '.join(row)} |" for row in rows]
    verdicts = [f"- {name}: {of_map['verdict']}." for name, of_map in truth["maps"].items()]
    head = f"{truth['modality_set']}, {truth['subjects']} synthetic subjects:"
    return "\n".join([head, "", *table, "", *verdicts, ""])


def _estimate(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["low"] is None:
        return _mean(estimate)
    return f"{estimate['mean']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def _mean(estimate: Mapping[str, Any] | None, digits: int = 2) -> str:
    return "n/a" if estimate is None else f"{estimate['mean']:.{digits}f}"
