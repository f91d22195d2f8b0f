"""What networks learn from small cohorts: the paper's recipe and `small_cohort`, on the same phantoms.

    python benchmarks/small_cohorts.py            # up to three hours on two cores; a stopped run goes on
    python benchmarks/small_cohorts.py --quick    # ten minutes: two draws, two sets

Networks are trained on n subjects of a pool, in five folds as in the product, and judged on phantoms that
nobody trained on. Their answer is the mean logit of the five folds, calibrated by Platt scaling on the
out-of-fold answers of the n. Each draw of n is disjoint from the others where the pool allows. Prints a
table, then a figure a line: mean over draws of macro-F1 and AUC by set and recipe, beside what one reaches
who knows the true probability of each subject, given all its features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from figure import report
from numpy.typing import NDArray
from phantom_inputs import make_inputs
from scipy import special
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.splits import Splits
from ricenet.config.params import Params, read_params
from ricenet.evaluation.evidence.calibration import fit_platt
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.randomness import generator_for
from ricenet.training.cross_validation import lay_out_ensembles, train_folds
from ricenet.training.ensemble import Ensemble
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask
from ricenet.vocabulary import in_recipe

POOL_SEED, JUDGED_SEED = 31, 32
FOLDS, RECIPE = 5, "small_cohort"
AT_DOSE = "at_dose"
"""As small_cohort, but a set without a dose sees the crop around the high dose too: its place tells of it."""

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


class Found(NamedTuple):
    """Scores on the judged subjects."""

    macro_f1: float
    auc: float
    log_loss: float


@dataclass(frozen=True)
class Cohorts:
    """The pool and the judged subjects of one mechanism."""

    pool: Sequence[Cause]
    judged: Sequence[Cause]

    @property
    def is_rice(self) -> NDArray[np.bool_]:
        """Labels (N,) of the judged."""
        return np.array([cause.label == "rice" for cause in self.judged])

    @property
    def ceiling(self) -> Found:
        """Of one who knows each judged subject's true probability."""
        return scores(np.array([cause.p_rice for cause in self.judged]), self.is_rice)


def scores(p_rice: NDArray[np.float64], is_rice: NDArray[np.bool_]) -> Found:
    """Of probabilities (N,) at the threshold 0.5."""
    return Found(
        float(f1_score(is_rice, p_rice >= 0.5, average="macro")),
        float(roc_auc_score(is_rice, p_rice)),
        float(log_loss(is_rice, np.clip(p_rice, 1e-6, 1 - 1e-6))),
    )


def logits(p_rice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds, of probabilities that float32 rounds to 0 or 1 as well."""
    odds: NDArray[np.float64] = special.logit(np.clip(p_rice, 1e-7, 1 - 1e-7))
    return odds


def planned(
    params: Params, cohorts: Cohorts, names: Sequence[str], n: int, draw: int, work: Path
) -> dict[str, list[FoldTask]]:
    """The folds of every set on the draw's subjects."""
    order = generator_for("small cohorts", len(cohorts.pool)).permutation(len(cohorts.pool))
    taken = [cohorts.pool[i] for i in np.take(order, np.arange(draw * n, (draw + 1) * n), mode="wrap")]
    labels = {cause.subject: cause.label for cause in taken}
    divider = StratifiedKFold(FOLDS, shuffle=True, random_state=draw)
    parts = divider.split(list(labels), list(labels.values()))
    folds = tuple(tuple(taken[i].subject for i in part) for _, part in parts)
    splits = Splits(labels, folds, ())
    inputs = work / f"pool-{POOL_SEED}"
    keys = dict.fromkeys(labels, f"phantom {POOL_SEED}")
    small = params.by_recipe[RECIPE]
    recipes = {**params.by_recipe, AT_DOSE: replace(small, input="crop")}
    setup = TrainingSetup(splits, keys, params.seed, params.preprocessing, recipes, inputs, work / "store")
    return {name: plan_folds(setup, [name]) for name in names}


def judged(tasks: Sequence[FoldTask], params: Params, cohorts: Cohorts, work: Path) -> Found:
    """How an ensemble answers for those whom nobody trained on."""
    lay_out_ensembles(tasks, work / "ensembles", "", "", "", params.preprocessing)
    ensemble = Ensemble.load(work / "ensembles" / tasks[0].modality_set)
    names = [spec.name for spec in ensemble.members]
    folder = work / f"judged-{JUDGED_SEED}"
    volumes = (
        read_volumes(folder / cause.subject, cause.subject, names, ensemble.record.grid)
        for cause in cohorts.judged
    )
    answers = np.concatenate([ensemble.predict(of_subject[np.newaxis]) for of_subject in volumes])
    held_out = [row for task in tasks for row in read_predictions(task.folder / PREDICTIONS)]
    slope, intercept = fit_platt(
        np.array([row.p_rice for row in held_out]), np.array([row.label == "rice" for row in held_out])
    )
    return scores(special.expit(slope * logits(answers).mean(axis=1) + intercept), cohorts.is_rice)


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
    parser.add_argument("--mechanisms", nargs="+", choices=list(MECHANISMS), default=DEFAULT)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.draws, arguments.subjects, arguments.judged = 2, [40], 100
        arguments.sets, arguments.mechanisms = ["post_op+event+dose", "dose"], ["dose_height"]
    log_to_stderr()
    params = read_params()
    pool = min(max(arguments.subjects) * arguments.draws, 200)
    for mechanism in arguments.mechanisms:
        causes = {
            seed: [draw_cause(f"sub-{k:03d}", seed, MECHANISMS[mechanism]) for k in range(1, count + 1)]
            for seed, count in ((POOL_SEED, pool), (JUDGED_SEED, arguments.judged))
        }
        work = arguments.work / mechanism
        make_inputs(work / f"pool-{POOL_SEED}", params, causes[POOL_SEED], POOL_SEED)
        make_inputs(work / f"judged-{JUDGED_SEED}", params, causes[JUDGED_SEED], JUDGED_SEED)
        compare(params, mechanism, Cohorts(causes[POOL_SEED], causes[JUDGED_SEED]), work, arguments)


def compare(
    params: Params, mechanism: str, cohorts: Cohorts, work: Path, arguments: argparse.Namespace
) -> None:
    """Both recipes on one mechanism."""
    ceiling = cohorts.ceiling
    print(f"{mechanism}: with the true probabilities macro-F1 {ceiling.macro_f1:.3f}, AUC {ceiling.auc:.3f}")
    for n in arguments.subjects:
        found: dict[str, list[Found]] = {}
        for recipe in ("", RECIPE, AT_DOSE):
            without_dose = [of_set for of_set in arguments.sets if "dose" not in of_set]
            names = [in_recipe(s, recipe) for s in (without_dose if recipe == AT_DOSE else arguments.sets)]
            draws = [planned(params, cohorts, names, n, k, work) for k in range(arguments.draws)]
            start = time.monotonic()
            train_folds(
                [task for draw in draws for tasks in draw.values() for task in tasks], params.execution
            )
            print(f"  n = {n}, {recipe or 'paper'}: trained in {time.monotonic() - start:.0f} s")
            for name in names:
                found[name] = [judged(draw[name], params, cohorts, work) for draw in draws]
        for name, of_draws in found.items():
            mean, sd = np.mean(of_draws, axis=0), np.std(of_draws, axis=0)
            print(
                f"  n = {n}, {name:<40} macro-F1 {mean[0]:.3f} (SD {sd[0]:.3f}), AUC {mean[1]:.3f} "
                f"({sd[1]:.3f}), log-loss {mean[2]:.3f}"
            )
        for of_set in arguments.sets:
            report_set(mechanism, of_set, n, found, ceiling)


def report_set(mechanism: str, of_set: str, n: int, found: dict[str, list[Found]], ceiling: Found) -> None:
    """Print the figures of one set."""
    # the goals of sets without a dose were set with the crop around the high dose
    own = AT_DOSE if in_recipe(of_set, AT_DOSE) in found else RECIPE
    paper, small = (np.mean(found[in_recipe(of_set, recipe)], axis=0) for recipe in ("", own))
    goals = GOALS.get((mechanism, of_set, n))
    for place, score in enumerate(("macro_f1", "auc")):
        beside = f"the paper's recipe {paper[place]:.3f}, the true probabilities {ceiling[place]:.3f}"
        report(
            f"small_cohorts/{mechanism}/{in_recipe(of_set, own)}/n{n}/{score}",
            small[place],
            "none" if goals is None else f">= {goals[place]}",
            f"{beside}; same subjects, folds and judged phantoms; mean of {len(found[of_set])} draws",
            goals is None or small[place] >= goals[place],
        )


if __name__ == "__main__":
    main()
