"""Sites that tell the label: whether guard, table by site and leave-one-site-out see it, and never elsewhere.

    python benchmarks/site_shortcut.py            # 20 cohorts of 80 phantoms without networks
    python benchmarks/site_shortcut.py --quick    # two cohorts of each kind
    python benchmarks/site_shortcut.py --network  # one cohort more, with small networks on its cubes

Phantoms are brought to small cubes by their true transforms. In the planted cohorts the images hold no truth
at all (mechanism none), and three sites with other scanners hold 10, 40 and 70 % RICE. In the others the
same scanners hold the same share, and the images hold the event's core (mechanism event_core): what is found
there is a false alarm. In place of a network answers the product's own group-wise regression, on intensities
and random convolutions of the cubes.

Harmonisation is judged on the planted cohorts, where nothing can be known within sites: ComBat fitted within
the training folds, as the product does; to all subjects; and to all subjects while it keeps the labels'
difference.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figure import report
from numpy.typing import NDArray
from scipy.special import expit

from ricenet.cohort.dealing import as_folds, deal_folds
from ricenet.cohort.site_folds import site_folds
from ricenet.cohort.splits import Splits
from ricenet.config.params import Params, read_params
from ricenet.evaluation.bootstrap import score_of
from ricenet.evaluation.evidence.harmonisation import Combat, harmonised
from ricenet.evaluation.evidence.sites import (
    area_under_curve,
    area_within_sites,
    gap_of_areas,
    verdict,
)
from ricenet.evaluation.scores import auc, scores_with_intervals
from ricenet.phantom.anatomy import head_bounds_mm, shared_template
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, make_subject
from ricenet.phantom.scanners import SiteDesign
from ricenet.phantom.write_cohort import at_sites, draw_causes, with_rice_share
from ricenet.screening.guards.appearance import appearance
from ricenet.screening.guards.site_shortcut import LEAST_P, dependence, told_by
from ricenet.training.group_regression import FeatureGroup, fit_group_regression
from ricenet.training.random_convolutions import random_convolutions
from ricenet.vocabulary import PAPER_VOLUMES, Label
from ricenet.volume import Grid, Volume, resample

Floats = NDArray[np.float64]

SUBJECTS, SPACING_MM, CUBE_MM, CUBE_VOXELS, FILTERS, FOLDS = 80, 4.0, 8.0, 22, 24, 5
PLANTED_SEEDS, OTHER_SEEDS, NETWORK_SEED = range(501, 511), range(601, 611), 701
SHARES = (0.1, 0.1, 0.7, 0.7)
DESIGN = SiteDesign(4, 0.25, 2.0, 2.0, 3.0)
RESAMPLES = 1999


@dataclass(frozen=True)
class Cohort:
    """Subjects in order of name. groups: features of the images. looks: (N, F) as the guard sees them."""

    causes: Sequence[Cause]
    groups: tuple[FeatureGroup, ...]
    looks: Floats

    @property
    def names(self) -> list[str]:
        """The subjects."""
        return [cause.subject for cause in self.causes]

    @property
    def labels(self) -> dict[str, Label]:
        """Of each subject."""
        return {cause.subject: cause.label for cause in self.causes}

    @property
    def is_rice(self) -> NDArray[np.bool_]:
        """(N,)."""
        return np.array([cause.label == "rice" for cause in self.causes])

    @property
    def sites(self) -> dict[str, str]:
        """Of each subject."""
        return {cause.subject: cause.scanner.site for cause in self.causes}


def drawn(mechanism: str, shares: tuple[float, ...] | None, seed: int) -> list[Cause]:
    """The causes of a cohort, with their scanners."""
    own = with_rice_share(MECHANISMS[mechanism], 0.4, SUBJECTS, seed)
    design = SiteDesign(
        *(getattr(DESIGN, n) for n in ("count", "contrast", "noise", "bias", "resolution_mm")), shares
    )
    return at_sites(draw_causes(SUBJECTS, seed, own), design, seed)


def made(mechanism: str, shares: tuple[float, ...] | None, seed: int) -> Cohort:
    """A cohort with the features of its images."""
    causes = drawn(mechanism, shares, seed)
    cubes = [cubes_of(cause, seed) for cause in causes]
    groups, looks = [], list[Floats]()
    for i, name in enumerate(("post_op", "event")):
        volumes = np.stack([of_subject[0][i] for of_subject in cubes]).astype(np.float32)
        groups.append(random_convolutions(volumes, name, FILTERS, seed))
        rows = [appearance(values[i], brain) for values, brain in cubes]
        looks.append(np.array([[*row.values()] for row in rows]))
        groups.append(FeatureGroup(f"{name} intensities", tuple(rows[0]), looks[-1]))
    return Cohort(causes, tuple(groups), np.hstack(looks))


def cubes_of(cause: Cause, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Both MRIs (2, X, Y, Z) in the head's own space, standardised within the brain, 0 outside; the brain."""
    subject = make_subject(shared_template(SPACING_MM), cause, seed, PAPER_VOLUMES)
    grid = Grid.cube(head_bounds_mm(subject.anatomy).mean(axis=0), CUBE_MM, CUBE_VOXELS)
    brain = resample(Volume(subject.anatomy.brain.astype(np.float32), subject.anatomy.grid), grid).data >= 0.5
    cubes = []
    for name in ("post_op", "event"):
        values = resample(subject.scans[name], grid, subject.world_from_anatomy(name)).data
        inside = values[brain]
        cubes.append(np.where(brain, (values - inside.mean()) / inside.std(), 0))
    return np.stack(cubes).astype(np.float32), brain


Prepare = Callable[[Floats, NDArray[np.bool_]], Floats]
"""Features (N, F) as the training subjects (N,) make them."""


def answers(cohort: Cohort, folds: Sequence[Sequence[str]], prepare: Prepare | None = None) -> Floats:
    """p_rice (N,) of each subject by the regression of the other folds."""
    p_rice = np.full(len(cohort.causes), np.nan)
    for fold in folds:
        inside = np.isin(cohort.names, fold)
        groups = [
            group
            if prepare is None
            else FeatureGroup(group.name, group.features, prepare(group.values, ~inside))
            for group in cohort.groups
        ]
        fitted = fit_group_regression([group.rows(~inside) for group in groups], cohort.is_rice[~inside])
        p_rice[inside] = expit(fitted.logits([group.rows(inside) for group in groups]) - fitted.log_odds)
    return p_rice


def stratified(cohort: Cohort, seed: int) -> tuple[tuple[str, ...], ...]:
    """The folds that split.by: subject makes."""
    return as_folds(deal_folds(cohort.labels, FOLDS, seed), FOLDS)


@dataclass(frozen=True)
class Seen:
    """What each looks like in one cohort."""

    guard: bool
    table: bool
    pooled: float
    within: float
    falls: bool
    left_out_within: float
    left_out_f1: float


def seen(cohort: Cohort, seed: int) -> Seen:
    """Guard, table of the stratified folds, and the same regression with sites left out."""
    found = dependence("site", cohort.sites, cohort.labels)
    label = np.array([cohort.labels[name] == "rice" for name in cohort.names], dtype=np.int64)
    sites = np.array([cohort.sites[name] for name in cohort.names])
    guard = (
        found.p <= LEAST_P and told_by(cohort.looks, np.unique(sites, return_inverse=True)[1], label).is_shown
    )
    p_rice = answers(cohort, stratified(cohort, seed))
    pooled = area_under_curve(p_rice, cohort.is_rice, seed, RESAMPLES)
    within = area_within_sites(p_rice, cohort.is_rice, sites, seed, RESAMPLES)
    gap = gap_of_areas(p_rice, cohort.is_rice, sites, seed, RESAMPLES)
    left_out = answers(cohort, site_folds(cohort.sites, cohort.labels))
    left_within = area_within_sites(left_out, cohort.is_rice, sites, seed, RESAMPLES)
    of_f1 = scores_with_intervals(left_out, cohort.is_rice, seed, RESAMPLES).macro_f1
    assert pooled is not None and within is not None and left_within is not None
    return Seen(
        guard,
        "what it knows is the site" in verdict(pooled, within, gap, False),
        pooled.value,
        within.value,
        left_within.low <= 0.5,
        left_within.value,
        of_f1.value,
    )


def chance(is_rice: NDArray[np.bool_]) -> float:
    """Macro-F1 of guessing."""
    share = float(is_rice.mean())
    return (share / (share + 0.5) + (1 - share) / (1.5 - share)) / 2


def harmonisations(cohort: Cohort) -> dict[str, Prepare]:
    """Within the training folds, to everyone, and to everyone with the labels' difference kept."""
    sites, y = [cohort.sites[name] for name in cohort.names], cohort.is_rice.astype(np.float64)
    dummies = np.array([[site == name for name in sorted(set(sites))] for site in sites], dtype=np.float64)

    def keeping_labels(values: Floats, _: NDArray[np.bool_]) -> Floats:
        coefficient = np.linalg.lstsq(np.column_stack([y, dummies]), values, rcond=None)[0][0]
        kept = np.outer(y, coefficient)
        return Combat.fit(values - kept, sites).apply(values - kept, sites) + kept

    return {
        "none": lambda values, _: values,
        "within": lambda values, training: harmonised(values, sites, training),
        "outside": lambda values, _: Combat.fit(values, sites).apply(values, sites),
        "outside, labels kept": keeping_labels,
    }


def report_shortcuts(planted: Sequence[Seen], others: Sequence[Seen]) -> None:
    """Print how often each finds what is there, and what is not."""
    n, m = len(planted), len(others)
    numbers = (
        f"pooled AUC {np.mean([s.pooled for s in planted]):.2f}, within sites "
        f"{np.mean([s.within for s in planted]):.2f}; sites left out: within "
        f"{np.mean([s.left_out_within for s in planted]):.2f}, macro-F1 "
        f"{np.mean([s.left_out_f1 for s in planted]):.2f} (means)"
    )
    for name, hits in {
        "guard": sum(s.guard for s in planted),
        "table": sum(s.table for s in planted),
        "left_out": sum(s.falls for s in planted),
    }.items():
        report(f"site_shortcut/planted/{name}", hits, f"{n} of {n}", numbers, hits == n)
    numbers = (
        f"images hold the truth: pooled AUC {np.mean([s.pooled for s in others]):.2f}, within sites "
        f"{np.mean([s.within for s in others]):.2f} (means)"
    )
    for name, alarms in {
        "guard": sum(s.guard for s in others),
        "table": sum(s.table for s in others),
    }.items():
        report(f"site_shortcut/none_planted/{name}", alarms, f"0 of {m}", numbers, alarms == 0)


def report_harmonisation(areas: dict[str, list[float]]) -> None:
    """Print the mean AUC by where ComBat was fitted; nothing can be known, so 0.5 is honest."""
    mean = {name: float(np.mean(values)) for name, values in areas.items()}
    error = {name: float(np.std(values, ddof=1) / len(values) ** 0.5) for name, values in areas.items()}
    for name, goal, met in (
        ("none", "none", True),
        ("within", "<= 0.5 within 2 standard errors", mean["within"] <= 0.5 + 2 * error["within"]),
        ("outside", "none", True),
        ("outside, labels kept", "above within", mean["outside, labels kept"] > mean["within"] + 0.05),
    ):
        text = f"{len(areas[name])} cohorts whose images hold no truth, standard error {error[name]:.3f}"
        report(f"site_shortcut/harmonised/{name}/auc", mean[name], goal, text, met)


def network_draw(params: Params, work: Path) -> None:
    """Small networks on the cubes of one planted cohort, folds by subject and by site."""
    from ricenet.preprocessing.network_input import write_volume
    from ricenet.training.cross_validation import train_folds
    from ricenet.training.planning import TrainingSetup, plan_folds
    from ricenet.training.predictions import read_predictions
    from ricenet.training.task import PREDICTIONS

    causes = drawn("none", SHARES, NETWORK_SEED)
    cohort = Cohort(causes, (), np.empty((0, 0)))
    for cause in causes:
        volumes, _ = cubes_of(cause, NETWORK_SEED)
        for name, values in zip(("post_op", "event"), volumes, strict=True):
            write_volume(values, work / "inputs" / cause.subject, cause.subject, name)
    sites = np.array([cohort.sites[name] for name in cohort.names])
    for by, folds in {
        "subject": stratified(cohort, NETWORK_SEED),
        "site": site_folds(cohort.sites, cohort.labels),
    }.items():
        splits = Splits(cohort.labels, folds, ())
        keys = dict.fromkeys(cohort.labels, f"sites {NETWORK_SEED}")
        setup = TrainingSetup(
            splits, keys, params.seed, params.preprocessing, params.by_recipe, work / "inputs", work / by
        )
        tasks = plan_folds(setup, ["post_op+event@small_cohort"])
        train_folds(tasks, params.execution)
        found = {
            row.participant_id: row.p_rice
            for task in tasks
            for row in read_predictions(task.folder / PREDICTIONS)
        }
        p_rice = np.array([found[name] for name in cohort.names])
        pooled = area_under_curve(p_rice, cohort.is_rice, 1, RESAMPLES)
        within = area_within_sites(p_rice, cohort.is_rice, sites, 1, RESAMPLES)
        assert pooled is not None and within is not None
        gap = gap_of_areas(p_rice, cohort.is_rice, sites, 1, RESAMPLES)
        said = verdict(pooled, within, gap, by == "site")
        text = f"{pooled.text()} over all pairs, {within.text()} within sites; {said}"
        if by == "subject":
            met = "what it knows is the site" in said
            report("site_shortcut/network/folds_by_subject/auc", pooled.value, "seen by the table", text, met)
        else:
            report(
                "site_shortcut/network/sites_left_out/auc_within",
                within.value,
                "<= 0.5",
                text,
                within.low <= 0.5,
            )


def main() -> None:
    """Make the cohorts, judge them, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--steps", type=int, default=150, help="of the networks")
    parser.add_argument("--seeds", type=int, nargs="*", help="others than the benchmark's own, to try")
    given = parser.parse_args()
    if given.network:
        params = read_params()
        small, cube = params.recipes["small_cohort"], {"cube_voxels": CUBE_VOXELS, "spacing_mm": CUBE_MM}
        training = small.training.model_copy(update={"steps": given.steps, "fusion": "none"})
        changes = {
            "recipes": {"small_cohort": small.model_copy(update={"training": training, "input": "head"})},
            "preprocessing": params.preprocessing.model_copy(update=cube),
            "execution": params.execution.model_copy(update={"backend": "serial"}),
        }
        with tempfile.TemporaryDirectory() as folder:
            network_draw(params.model_copy(update=changes), Path(folder))
        return
    few = 2 if given.quick else None
    planted_seeds = given.seeds or list(PLANTED_SEEDS)[:few]
    planted, areas = list[Seen](), dict[str, list[float]]()
    for seed in planted_seeds:
        cohort = made("none", SHARES, seed)
        planted.append(seen(cohort, seed))
        for name, prepare in harmonisations(cohort).items():
            p_rice = answers(cohort, stratified(cohort, seed), prepare)
            area = score_of(auc(p_rice, cohort.is_rice), SUBJECTS)
            areas.setdefault(name, []).append(area)
        print(seed, planted[-1], {name: round(values[-1], 3) for name, values in areas.items()}, flush=True)
    others = []
    for seed in [s + 50 for s in given.seeds] if given.seeds else list(OTHER_SEEDS)[:few]:
        others.append(seen(made("event_core", None, seed), seed))
        print(seed, others[-1], flush=True)
    report_shortcuts(planted, others)
    report_harmonisation(areas)


if __name__ == "__main__":
    main()
