"""Do the occlusion maps of networks trained on the phantom point at its cause?

    dvc repro train && python benchmarks/occlusion_truth.py
    python benchmarks/occlusion_truth.py --project FOLDER --modality-sets dose post_op+event+dose

For every subject outside the test set: maps by the network that did not train on it, and by an untrained one
for comparison, as `explain` in params.yaml says (`--fill` and `--cube` say otherwise). Prints a table a
modality set (docs/occlusion-truth.md says how to read it), then the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from figure import report

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.config.params import Fill, read_params
from ricenet.evaluation.anatomy_figure import read_anatomy
from ricenet.evaluation.bootstrap import mean_over_subjects
from ricenet.evaluation.occlusion.causal_regions import (
    CAVITY,
    HIGH_DOSE,
    LESION,
    causal_regions,
    read_mechanism,
)
from ricenet.evaluation.occlusion.explained_case import TOGETHER
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.evaluation.occlusion.map_summary import DIFFERS_BELOW
from ricenet.evaluation.occlusion.truth import RegionFound, cohort_truth, subject_truth, truth_markdown
from ricenet.volume import load_nifti, resample, supersampling_for

LOOKED_AT = (HIGH_DOSE, LESION, CAVITY)


@dataclass
class Found:
    """Of one modality set, a value a subject; correlations: with the map of an untrained network, by map."""

    measured: list[RegionFound] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    p_rice: list[float] = field(default_factory=list)
    correlations: dict[str, list[float]] = field(default_factory=dict)


def measure(explainer: Explainer, subjects: Sequence[str]) -> Found:
    """Explain subjects and compare with the cause and with untrained weights."""
    result = Found()
    for subject in subjects:
        case = explainer.explain(subject)
        said = case.explanation
        result.measured += subject_truth(case, explainer.settings, read_mechanism(explainer.raw))
        result.labels.append(said.label)
        result.p_rice.append(said.p_rice)
        for name, summary in said.maps.items():
            if summary.untrained.rank_correlation is not None:
                result.correlations.setdefault(name, []).append(summary.untrained.rank_correlation)
        print(f"{subject}  {said.label}, p_rice {said.p_rice:.3f}", flush=True)
    return result


def report_truth(truth: dict[str, Any]) -> None:
    """A figure a map and region: is the interval above 1?"""
    for map_name, of_map in truth["maps"].items():
        causes = [of_map["cause"]] if of_map["cause"] in of_map["regions"] else []
        for region in dict.fromkeys([*causes, *(LOOKED_AT if map_name == TOGETHER else ())]):
            for what, against in (("enrichment", "the volume"), ("over_untrained", "an untrained network")):
                estimate = of_map["regions"][region][what]
                if estimate is None or estimate["low"] is None:
                    continue
                name = f"{what}, {truth['modality_set']}, map {map_name}, {region}"
                agreement = (
                    f"against {against}; 95 % {estimate['low']:.2f} to {estimate['high']:.2f}, "
                    f"{estimate['n']} subjects"
                )
                report(name, estimate["mean"], "interval above 1", agreement, estimate["low"] > 1)


def report_learned(modality_set: str, labels: Sequence[str], p_rice: Sequence[float]) -> None:
    """Did the networks learn anything that holds for the subjects they are asked about?"""
    if len(set(labels)) < 2:
        return
    from scipy import stats

    with_rice, without = (
        [p for p, label in zip(p_rice, labels, strict=True) if (label == "rice") == rice]
        for rice in (True, False)
    )
    test = stats.mannwhitneyu(with_rice, without, alternative="greater")
    area = float(test.statistic) / (len(with_rice) * len(without))
    agreement = f"{len(labels)} subjects, p {test.pvalue:.3f} (Mann-Whitney, one-sided)"
    report(
        f"area under the curve, {modality_set}", area, "above 0.5, p < 0.05", agreement, test.pvalue < 0.05
    )


def report_untrained(modality_set: str, correlations: dict[str, list[float]], seed: int) -> None:
    """A figure a map: is it unlike that of an untrained network?"""
    for map_name, of_map in correlations.items():
        estimate = mean_over_subjects(of_map, seed)
        if estimate is None or len(of_map) < 2:
            continue
        name = f"rank correlation with untrained, {modality_set}, map {map_name}"
        agreement = f"95 % {estimate.low:.2f} to {estimate.high:.2f}, {len(of_map)} subjects"
        report(name, estimate.value, f"< {DIFFERS_BELOW}", agreement, estimate.value < DIFFERS_BELOW)


def report_high_dose(explainer: Explainer, subjects: Sequence[str]) -> None:
    """How well the high-dose region stands for the target volume, which only the phantom states."""
    overlaps = []
    for subject in subjects:
        label = explainer.splits.labels[subject]
        anatomy = read_anatomy(explainer.preprocessed, explainer.raw, subject, label, explainer.volumes)
        target = load_nifti(explainer.raw / GROUND_TRUTH / subject / "ptv.nii.gz")
        points = supersampling_for(target.grid, anatomy.grid)
        planned = resample(target, anatomy.grid, supersampling=points).data * anatomy.brain
        region = causal_regions(anatomy, "dose", read_mechanism(explainer.raw))[HIGH_DOSE]
        overlaps.append(2 * (region * planned).sum() / (region.sum() + planned.sum()))
    median = float(np.median(overlaps))
    agreement = f"{len(overlaps)} subjects, least {min(overlaps):.2f}"
    report(
        "Dice of high-dose region and planning target volume, median",
        median,
        "> 0.8",
        agreement,
        median > 0.8,
    )


def opened(folder: Path, modality_set: str, fill: Fill | None, cube_voxels: int | None) -> Explainer:
    """A project's explainer; every modality alone too, fill and cube in place of the parameters' own."""
    explainer = Explainer.open(folder, modality_set, read_params(folder / "params.yaml"))
    changes: dict[str, Any] = {"each_modality": True}
    if fill is not None:
        changes["fill"] = fill
    if cube_voxels is not None:
        changes |= {"cube_voxels": cube_voxels, "stride_voxels": max(1, cube_voxels // 2)}
    return replace(explainer, settings=explainer.settings.model_copy(update=changes))


def main() -> None:
    """Print a table a modality set, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--modality-sets", nargs="+", default=["dose", "post_op+event+dose"])
    parser.add_argument("--fill", choices=get_args(Fill))
    parser.add_argument("--cube", type=int, help="voxels; the stride is half of it")
    parser.add_argument("--subjects", type=int, help="only the first so many")
    arguments = parser.parse_args()
    explainers = [
        opened(arguments.project, name, arguments.fill, arguments.cube) for name in arguments.modality_sets
    ]
    if not explainers[0].synthetic:
        parser.error(f"{explainers[0].cohort} is not synthetic, so nobody knows its cause")
    subjects = explainers[0].splits.development[: arguments.subjects]
    report_high_dose(explainers[0], subjects)
    for name, explainer in zip(arguments.modality_sets, explainers, strict=True):
        found = measure(explainer, subjects)
        truth = cohort_truth(
            found.measured, name, explainer.volumes, read_mechanism(explainer.raw), explainer.seed
        )
        print(f"\n{truth_markdown(truth)}")
        report_learned(name, found.labels, found.p_rice)
        report_truth(truth)
        report_untrained(name, found.correlations, explainer.seed)


if __name__ == "__main__":
    main()
