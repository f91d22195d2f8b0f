"""What networks learn from small cohorts: the paper's recipe and `small_cohort`, on the same phantoms.

    python benchmarks/small_cohorts.py            # up to three hours on two cores; a stopped run goes on
    python benchmarks/small_cohorts.py --quick    # ten minutes: two draws, two sets

Ensembles are trained on n subjects of a pool, in five folds as in the product, and judged on phantoms that
nobody trained on, as the product answers: macro-F1 of the majority vote, AUC of the mean probability, and
log-loss of that probability, recalibrated by the out-of-fold answers of the n. Draws of n are disjoint where
the pool allows. Prints a table, then a figure a line: mean over draws by set and recipe, beside what one
reaches who knows the true probability of each subject, given all its features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from figure import report
from numpy.typing import NDArray
from phantom_inputs import make_inputs
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.splits import Splits
from ricenet.config.params import Params, read_params
from ricenet.config.recipes import Recipe
from ricenet.evaluation.evidence.calibration import recalibrated, recalibration
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.randomness import generator_for
from ricenet.training.cross_validation import lay_out_ensembles, lay_out_training, train_folds
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.fusion import fuse, inner_tasks
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask
from ricenet.vocabulary import in_recipe

POOL_SEED, JUDGED_SEED = 31, 32
FOLDS, RECIPE = 5, "small_cohort"
AT_DOSE = "at_dose"
"""As small_cohort, but a set without a dose sees the crop around the high dose too: its place tells of it."""

RECIPES = ["paper", RECIPE, AT_DOSE]

DEFAULT = ["dose_height", "post_op_only", "event_core", "clinical", "none"]

GOALS = {
    ("dose_height", "post_op+event+dose", 40): (0.80, 0.88),
    ("dose_height", "post_op+dose", 40): (0.78, 0.87),
    ("dose_height", "event+dose", 40): (0.74, 0.82),
    ("dose_height", "dose", 40): (0.73, 0.82),
    ("dose_height", "post_op", 40): (0.57, 0.65),
    ("post_op_only", "post_op+event+dose", 40): (0.86, 0.92),
    ("event_core", "post_op+event+dose", 40): (0.70, 0.78),
    ("event_core", "post_op+event+dose", 80): (0.76, 0.86),
    ("dose_height", "post_op+event+dose", 80): (0.82, 0.90),
    ("dose_height", "post_op+dose", 80): (0.81, 0.88),
    ("dose_height", "event+dose", 80): (0.76, 0.82),
    ("dose_height", "dose", 80): (0.76, 0.83),
    ("dose_height", "post_op", 80): (0.60, 0.65),
    ("post_op_only", "post_op+event+dose", 80): (0.88, 0.93),
}
"""Macro-F1 and AUC by mechanism, set and number of subjects."""

LOG_LOSS = {("dose_height", "post_op+event+dose", 40): 0.42, ("dose_height", "post_op+event+dose", 80): 0.38}

COST = 0.01
"""Of AUC, that another volume may cost in the mean."""


class Found(NamedTuple):
    """Scores on the judged subjects."""

    macro_f1: float
    auc: float
    log_loss: float


Means = dict[tuple[str, int, str], Found]
"""Over draws, by mechanism, number of subjects and name of the set."""


@dataclass(frozen=True)
class Cohorts:
    """The pool and the judged subjects of one mechanism, and by which seeds they were drawn."""

    pool: Sequence[Cause]
    judged: Sequence[Cause]
    pool_seed: int = POOL_SEED
    judged_seed: int = JUDGED_SEED

    @property
    def is_rice(self) -> NDArray[np.bool_]:
        """Labels (N,) of the judged."""
        return np.array([cause.label == "rice" for cause in self.judged])

    @property
    def ceiling(self) -> Found:
        """Of one who knows each judged subject's true probability."""
        p_rice = np.array([cause.p_rice for cause in self.judged])
        return scores(p_rice >= 0.5, p_rice, p_rice, self.is_rice)


def scores(
    called_rice: NDArray[np.bool_],
    p_rice: NDArray[np.float64],
    calibrated: NDArray[np.float64],
    is_rice: NDArray[np.bool_],
) -> Found:
    """Of what is called rice, of the ranking, and of calibrated probabilities (N,)."""
    return Found(
        float(f1_score(is_rice, called_rice, average="macro")),
        float(roc_auc_score(is_rice, p_rice)),
        float(log_loss(is_rice, np.clip(calibrated, 1e-6, 1 - 1e-6))),
    )


def planned(
    params: Params,
    cohorts: Cohorts,
    names: Sequence[str],
    n: int,
    draw: int,
    work: Path,
    further: Mapping[str, Recipe] = MappingProxyType({}),
) -> dict[str, list[FoldTask]]:
    """The folds of every set on the draw's subjects. further: recipes beside those of params.yaml."""
    order = generator_for("small cohorts", len(cohorts.pool)).permutation(len(cohorts.pool))
    taken = [cohorts.pool[i] for i in np.take(order, np.arange(draw * n, (draw + 1) * n), mode="wrap")]
    labels = {cause.subject: cause.label for cause in taken}
    divider = StratifiedKFold(FOLDS, shuffle=True, random_state=draw)
    parts = divider.split(list(labels), list(labels.values()))
    folds = tuple(tuple(taken[i].subject for i in part) for _, part in parts)
    splits = Splits(labels, folds, ())
    inputs = work / f"pool-{cohorts.pool_seed}"
    keys = dict.fromkeys(labels, f"phantom {cohorts.pool_seed}")
    small = params.by_recipe[RECIPE]
    recipes = {**params.by_recipe, AT_DOSE: replace(small, input="crop"), **further}
    setup = TrainingSetup(splits, keys, params.seed, params.preprocessing, recipes, inputs, work / "store")
    return {name: plan_folds(setup, [name]) for name in names}


def judged(
    tasks: Sequence[FoldTask], params: Params, cohorts: Cohorts, work: Path, *, network_alone: bool = False
) -> Found:
    """How an ensemble answers for those whom nobody trained on, as `predict` does."""
    fusions = {} if network_alone else fuse(tasks)
    name = tasks[0].modality_set
    lay_out_ensembles(tasks, work / "ensembles", "", "", "", params.preprocessing, fusions)
    lay_out_training(tasks, work / "training", fusions)
    ensemble = Ensemble.load(work / "ensembles" / name)
    names = [spec.name for spec in ensemble.members]
    folder = work / f"judged-{cohorts.judged_seed}"
    volumes = (
        read_volumes(folder / cause.subject, cause.subject, names, ensemble.record.grid)
        for cause in cohorts.judged
    )
    answers = np.concatenate([ensemble.predict(of_subject[np.newaxis]) for of_subject in volumes])
    rows = [
        row
        for task in tasks
        for row in read_predictions(work / "training" / name / f"fold-{task.fold}" / PREDICTIONS)
    ]
    by = recalibration(
        np.array([row.p_rice for row in rows]),
        np.array([row.label == "rice" for row in rows]),
        np.array([row.fold for row in rows]),
    )
    p_rice = answers.mean(axis=1)
    return scores(majority_vote(answers), p_rice, recalibrated(p_rice, by), cohorts.is_rice)


def main() -> None:
    """Train what is not there yet, print the table, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("work/small_cohorts"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--subjects", type=int, nargs="+", default=[40, 80])
    parser.add_argument("--judged", type=int, default=300)
    parser.add_argument(
        "--sets", nargs="+", default=["post_op+event+dose", "post_op+dose", "event+dose", "dose", "post_op"]
    )
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--mechanisms", nargs="+", choices=list(MECHANISMS), default=DEFAULT)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.draws, arguments.subjects, arguments.judged = 2, [40], 100
        arguments.sets, arguments.mechanisms = ["post_op+event+dose", "dose"], ["dose_height"]
    log_to_stderr()
    params = read_params()
    pool = min(max(arguments.subjects) * arguments.draws, 200)
    means: Means = {}
    ceilings = {}
    for mechanism in arguments.mechanisms:
        causes = {
            seed: [draw_cause(f"sub-{k:03d}", seed, MECHANISMS[mechanism]) for k in range(1, count + 1)]
            for seed, count in ((POOL_SEED, pool), (JUDGED_SEED, arguments.judged))
        }
        work = arguments.work / mechanism
        make_inputs(work / f"pool-{POOL_SEED}", params, causes[POOL_SEED], POOL_SEED)
        make_inputs(work / f"judged-{JUDGED_SEED}", params, causes[JUDGED_SEED], JUDGED_SEED)
        cohorts = Cohorts(causes[POOL_SEED], causes[JUDGED_SEED])
        ceilings[mechanism] = cohorts.ceiling
        means |= compare(params, mechanism, cohorts, work, arguments)
        if mechanism == "none":
            report_none(means, cohorts.is_rice)
    report_sets(means, ceilings)
    report_costs(means)


def compare(
    params: Params, mechanism: str, cohorts: Cohorts, work: Path, arguments: argparse.Namespace
) -> Means:
    """All recipes on one mechanism: train, print the table and the sets' figures."""
    print(f"{mechanism}: with the true probabilities {shown(cohorts.ceiling)}")
    means: Means = {}
    for n in arguments.subjects:
        found: dict[str, list[Found]] = {}
        for recipe in arguments.recipes:
            sets = [s for s in arguments.sets if recipe != AT_DOSE or "dose" not in s]
            names = [in_recipe(s, "" if recipe == "paper" else recipe) for s in sets]
            draws = [planned(params, cohorts, names, n, k, work) for k in range(arguments.draws)]
            start = time.monotonic()
            of_sets = [tasks for draw in draws for tasks in draw.values()]
            inner = [task for tasks in of_sets for task in inner_tasks(tasks)]
            train_folds([*inner, *(task for tasks in of_sets for task in tasks)], params.execution)
            print(f"  n = {n}, {recipe}: trained in {time.monotonic() - start:.0f} s")
            for name in names:
                found[name] = [judged(draw[name], params, cohorts, work) for draw in draws]
                if recipe != "paper":
                    found[f"{name}, network alone"] = [
                        judged(draw[name], params, cohorts, work, network_alone=True) for draw in draws
                    ]
        for name, of_draws in found.items():
            means[mechanism, n, name] = mean = Found(*np.mean(of_draws, axis=0).tolist())
            print(f"  n = {n}, {name:<45} {shown(mean)} (SD {shown(Found(*np.std(of_draws, axis=0)))})")
    return means


def shown(found: Found) -> str:
    """For the table."""
    return f"macro-F1 {found.macro_f1:.3f}, AUC {found.auc:.3f}, log-loss {found.log_loss:.3f}"


def report_sets(means: Means, ceilings: dict[str, Found]) -> None:
    """Print the figures of each set by the recipe for small cohorts, beside the paper's."""
    for (mechanism, n, name), found in means.items():
        of_set, _, recipe = name.partition("@")
        # the goals of sets without a dose were set with the crop around the high dose
        also_at_dose = (mechanism, n, in_recipe(of_set, AT_DOSE)) in means
        if recipe != (AT_DOSE if also_at_dose else RECIPE):
            continue
        key, paper = (mechanism, of_set, n), means.get((mechanism, n, of_set))
        goals = {
            **dict(zip(("macro_f1", "auc"), GOALS.get(key, ()), strict=False)),
            "log_loss": LOG_LOSS.get(key),
        }
        for score, value in found._asdict().items():
            beside = "" if paper is None else f"the paper's recipe {getattr(paper, score):.3f}, "
            beside += f"the true probabilities {getattr(ceilings[mechanism], score):.3f}"
            goal = goals.get(score)
            sign = "<=" if score == "log_loss" else ">="
            met = goal is None or (value <= goal if sign == "<=" else value >= goal)
            report(
                f"small_cohorts/{mechanism}/{name}/n{n}/{score}",
                value,
                "none" if goal is None else f"{sign} {goal}",
                f"{beside}; same subjects, folds and judged phantoms; mean over draws",
                met,
            )


def report_costs(means: Means) -> None:
    """Print by how much AUC falls where a volume joins a set, in the mean over sets and mechanisms."""
    for recipe in ("", RECIPE):
        falls = [
            found.auc - more.auc
            for (mechanism, n, name), found in means.items()
            for (other_mechanism, other_n, other), more in means.items()
            if (mechanism, n) == (other_mechanism, other_n)
            and (parts := [whole.partition("@") for whole in (name, other)])
            and all(part[2] == recipe for part in parts)
            and set(parts[0][0].split("+")) < set(parts[1][0].split("+"))
            and len(parts[1][0].split("+")) == len(parts[0][0].split("+")) + 1
        ]
        if falls:
            value = float(np.mean(falls))
            agreement = f"{len(falls)} pairs of sets; the most {max(falls):.3f}"
            is_ours = recipe == RECIPE
            report(
                f"small_cohorts/adding_a_volume/{recipe or 'paper'}",
                value,
                f"<= {COST}" if is_ours else "none",
                agreement,
                not is_ours or value <= COST,
            )


def report_none(means: Means, judged_labels: NDArray[np.bool_]) -> None:
    """Print whether the AUC where nothing is to be found is that of a coin, within its 95 % interval."""
    rice, recurrence = int(judged_labels.sum()), int((~judged_labels).sum())
    margin = 1.96 * float(np.sqrt((rice + recurrence + 1) / (12 * rice * recurrence)))
    for (mechanism, n, name), found in means.items():
        if mechanism == "none" and name.endswith(RECIPE):
            report(
                f"small_cohorts/none/{name}/n{n}/auc",
                found.auc,
                f"0.5 +- {margin:.3f}",
                "the interval of an AUC of 0.5 (Mann-Whitney) for as many judged subjects",
                abs(found.auc - 0.5) <= margin,
            )


if __name__ == "__main__":
    main()
