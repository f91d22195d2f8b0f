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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ricenet.cohort.layout import GROUND_TRUTH, MECHANISM_FILE
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.bootstrap import mean_over_subjects
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case
from ricenet.evaluation.occlusion.hidden_cubes import cube_starts
from ricenet.evaluation.occlusion.map_summary import Map, share
from ricenet.phantom.contrasts import contrast_of
from ricenet.phantom.mechanism import MECHANISMS, Mechanism
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import Volumes, VolumeSpec

if TYPE_CHECKING:
    from ricenet.config.params import ExplainParams

HIGH_DOSE, LESION, CAVITY, REMOTE = "high-dose region", "lesion", "cavity", "remote"
WALL, EVERY_CAUSE = "cavity and its wall", "every cause"

HIGH_DOSE_SHARE = 0.8
"""Of the plateau dose: this isodose follows the phantom's planning target volume."""
WALL_MM = 9.0
"""As thick as residual tumour becomes at a cavity's wall."""
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


def read_mechanism(cohort: Path) -> Mechanism:
    """By which mechanism a synthetic cohort's labels were drawn.

    Raises ResultError: its ground truth does not say so, or names one that is not known.
    """
    path = cohort / GROUND_TRUTH / MECHANISM_FILE
    stated = read_json(path) if path.is_file() else {}
    name = stated.get("mechanism") if isinstance(stated, dict) else None
    if not isinstance(name, str) or name not in MECHANISMS:
        found = repr(name) if path.is_file() else "no such file"
        raise ResultError(
            f"{GROUND_TRUTH}/{MECHANISM_FILE}: found {found}, "
            f"expected a mechanism, one of {', '.join(MECHANISMS)}. Write the cohort again (the demo: "
            "`dvc repro data.dvc`)"
        )
    return MECHANISMS[name]


def causal_regions(anatomy: Anatomy, modality_set: str, mechanism: Mechanism) -> dict[str, Map]:
    """The regions (X, Y, Z) in which evidence can lie, by name: the share of each voxel that is theirs.

    They overlap, since surgery and beam aim at one tumour. Of a set of several volumes, EVERY_CAUSE holds
    those that the mechanism makes causes, if any (docs/phantom.md).
    Raises ResultError: the ground truth has no mask of the cavity or the lesion.
    """
    for name in (CAVITY, LESION):
        if name not in anatomy.known_masks:
            raise ResultError(
                f"{anatomy.subject}: no mask of the {name} in the cohort's {GROUND_TRUTH}, expected cavity "
                "and lesion of every phantom subject. Write it again (the demo: `dvc repro data.dvc`)"
            )
    cavity, lesion = anatomy.known_masks[CAVITY], anatomy.known_masks[LESION]
    regions = {
        HIGH_DOSE: _high_dose(anatomy),
        LESION: lesion,
        CAVITY: cavity,
        WALL: _with_wall(cavity, anatomy.grid.spacing_mm),
    }
    if mechanism.remote:
        regions[REMOTE] = anatomy.known_masks.get(REMOTE, np.zeros_like(lesion))
    inputs = anatomy.declared.members(modality_set)
    causes = [_cause(spec, anatomy.declared, inputs, mechanism) for spec in inputs]
    known = [regions[cause] for cause in causes if cause is not None]
    return regions if len(inputs) == 1 or not known else {**regions, EVERY_CAUSE: np.maximum.reduce(known)}


def cause_of(map_name: str, modality_set: str, volumes: Volumes, mechanism: Mechanism) -> str | None:
    """Name of the region that a map has to point at, None where its volumes hold no cause.

    That of all at once is every cause of its volumes. What only event and dose together show is no cause
    for a network that sees one of them.

    >>> from ricenet.vocabulary import PAPER_VOLUMES
    >>> height = MECHANISMS["dose_height"]
    >>> [cause_of(name, "event+dose", PAPER_VOLUMES, height) for name in ("dose", "together")]
    ['high-dose region', 'every cause']
    >>> cause_of("dose", "dose", PAPER_VOLUMES, MECHANISMS["post_op_only"]) is None
    True
    """
    inputs = volumes.members(modality_set)
    if map_name != TOGETHER:
        return _cause(volumes[map_name], volumes, inputs, mechanism)
    causes = [_cause(spec, volumes, inputs, mechanism) for spec in inputs]
    if not any(causes):
        return None
    return EVERY_CAUSE if len(inputs) > 1 else causes[0]


def _cause(
    spec: VolumeSpec, volumes: Volumes, inputs: Sequence[VolumeSpec], mechanism: Mechanism
) -> str | None:
    """Where a volume shows its evidence, beside the other inputs of the network.

    The dose by its height, or at the lesion; MRIs of the last session by the lesion or a remote focus;
    earlier ones by residual tumour. FLAIR and maps show none of it.
    """
    last = volumes.last_session_reference.session
    event = any(
        s.session == last and s.kind == "mri" and contrast_of(s.suffix).shows_evidence for s in inputs
    )
    dose = volumes.dose in inputs
    product, place = (weight and event and dose for weight in (mechanism.product, mechanism.place))
    if spec.kind == "dose":
        return HIGH_DOSE if mechanism.dose or product else (LESION if place else None)
    if not contrast_of(spec.suffix).shows_evidence:
        return None
    if spec.session != last:
        return WALL if mechanism.post_op else None
    if mechanism.event or product or place:
        return LESION
    return REMOTE if mechanism.remote else None


def _high_dose(anatomy: Anatomy) -> Map:
    if anatomy.dose_gy is None:
        return np.zeros(anatomy.grid.shape, np.float32)
    region = (anatomy.dose_gy >= HIGH_DOSE_SHARE * anatomy.plateau_gy) & (anatomy.dose_gy > 0)
    return np.asarray(region & anatomy.brain, np.float32)


def _with_wall(cavity: Map, spacing_mm: tuple[float, float, float]) -> Map:
    from scipy import ndimage

    if not (cavity >= 0.5).any():
        return cavity
    # the surface lies half a voxel beyond the middle of the last voxel inside
    beyond_mm = ndimage.distance_transform_edt(cavity < 0.5, sampling=spacing_mm) - min(spacing_mm) / 2
    wall: Map = np.maximum(cavity, (beyond_mm <= WALL_MM).astype(np.float32))
    return wall


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
