"""One draw of benchmarks/learning_curve.py with networks on images: forecast, double, train and judge again.

    python benchmarks/learning_curve_network.py   # an hour on one core; a stopped run goes on

A cohort of n phantoms of the mechanism `clinical` is trained on its dose by the recipe for small cohorts,
with fewer steps and without its regression, at the product's shares and draws. The truth: the cohort and as
many new phantoms, trained in the same way, on phantoms that nobody learned from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from figure import report
from learning_curve import FOLDS, folds_of
from numpy.typing import NDArray
from phantom_inputs import make_inputs

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.splits import Splits
from ricenet.config.params import ExecutionParams, Params, read_params
from ricenet.evaluation.bootstrap import score_of
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.learning_curve import CURVE_SCORES, learning_curve
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.cross_validation import lay_out_ensembles, train_folds
from ricenet.training.ensemble import Ensemble
from ricenet.training.fewer_subjects import on_fewer
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask

POOL_SEED, JUDGED_SEED = 5101, 5102
RECIPE, MODALITY_SET = "small_cohort", "dose@small_cohort"
ONE_CORE = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


def folds_planned(params: Params, causes: Sequence[Cause], work: Path, steps: int) -> list[FoldTask]:
    """Five folds of these phantoms."""
    labels = {cause.subject: cause.label for cause in causes}
    fold = folds_of(np.array([label == "rice" for label in labels.values()]), params.seed)
    splits = Splits(
        labels, tuple(tuple(s for s, k in zip(labels, fold, strict=True) if k == j) for j in range(FOLDS)), ()
    )
    recipe = params.by_recipe[RECIPE]
    fewer_steps = recipe.training.model_copy(update={"steps": steps, "fusion": "none"})
    recipes = {**params.by_recipe, RECIPE: replace(recipe, training=fewer_steps)}
    keys = dict.fromkeys(labels, f"phantom {POOL_SEED}")
    setup = TrainingSetup(
        splits, keys, params.seed, params.preprocessing, recipes, work / "pool", work / "store"
    )
    return plan_folds(setup, [MODALITY_SET])


def held_out(tasks: Sequence[FoldTask]) -> dict[str, float]:
    """p_rice of everyone by the network that did not see them."""
    rows = [row for task in tasks for row in read_predictions(task.folder / PREDICTIONS)]
    return {row.participant_id: row.p_rice for row in rows}


def truth_of(
    tasks: Sequence[FoldTask], params: Params, judged: Sequence[Cause], work: Path
) -> dict[str, float]:
    """Scores on the judged, each of whom one fold's network answers for."""
    lay_out_ensembles(tasks, work / "ensembles", "", "", "", params.preprocessing)
    ensemble = Ensemble.load(work / "ensembles" / MODALITY_SET)
    names = [spec.name for spec in ensemble.members]
    folder = work / "judged"
    volumes = [read_volumes(folder / c.subject, c.subject, names, ensemble.record.grid) for c in judged]
    p_rice = np.concatenate([ensemble.predict(volume[np.newaxis]) for volume in volumes])
    of_one = p_rice[np.arange(len(judged)), np.arange(len(judged)) % FOLDS]
    is_rice = np.array([cause.label == "rice" for cause in judged])
    return {name: score_of(of(of_one, is_rice), len(is_rice)) for name, of in CURVE_SCORES.items()}


def main() -> None:
    """Make inputs, train what is missing, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/learning_curve_network"))
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    log_to_stderr()
    params, n, work = read_params(), arguments.subjects, arguments.work
    pool, judged = (
        [draw_cause(f"sub-{k:03d}", seed, MECHANISMS["clinical"]) for k in range(1, count + 1)]
        for seed, count in ((POOL_SEED, 2 * n), (JUDGED_SEED, arguments.judged))
    )
    make_inputs(work / "pool", params, pool, POOL_SEED)
    make_inputs(work / "judged", params, judged, JUDGED_SEED)
    asked = params.evidence.learning_curve
    now = folds_planned(params, pool[:n], work, arguments.steps)
    of_shares = [
        [on_fewer(now, share, draw) for draw in range(asked.draws)] for share in sorted(asked.shares)
    ]
    doubled = folds_planned(params, pool, work, arguments.steps)
    train_folds([t for draws in (*of_shares, [now, doubled]) for tasks in draws for t in tasks], ONE_CORE)

    def column(tasks: Sequence[FoldTask]) -> NDArray[np.float64]:
        by_subject = held_out(tasks)
        return np.array([by_subject[cause.subject] for cause in pool[:n]])

    sizes = [len({s for t in draws[0] for s in t.training_subjects}) for draws in of_shares]
    answers = CurveAnswers(
        np.array([cause.label == "rice" for cause in pool[:n]]),
        (*sizes, n),
        (*(np.array([column(tasks) for tasks in draws]) for draws in of_shares), column(now)[np.newaxis]),
    )
    whole = scores_with_intervals(answers.p_rice[-1][0], answers.is_rice, params.seed, 999)
    curve = learning_curve(answers, whole, [2.0], params.seed)
    true = truth_of(doubled, params, judged, work)
    for score in CURVE_SCORES:
        found = getattr(curve, score)
        said = f"{n} phantoms; " + ", ".join(f"{p.subjects}: {p.score.value:.3f}" for p in found.points)
        name = f"learning_curve_network/{score}/times2"
        if found.refusal:
            report(name, true[score], "none", f"{said}; no forecast: {found.refusal}", True)
            continue
        (forecast,) = found.forecasts
        holds = forecast.score.low <= true[score] <= forecast.score.high
        report(name, true[score], f"within {forecast.score.text(3)}", f"{said}; one draw", holds)


if __name__ == "__main__":
    main()
