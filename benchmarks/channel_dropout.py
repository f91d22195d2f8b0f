"""One network that may lack volumes against a network for each of the seven sets.

    python benchmarks/channel_dropout.py          # ten minutes on one core; a stopped run goes on

Both sides are the recipe `small_cohort`'s network alone on the crop around the high dose, in the same folds
of the same phantoms, trained by one process on one thread; the one network with `channel_dropout`. A step of
it costs two to three of theirs, so it makes half as many. Judged on phantoms that nobody trained on: macro-F1
of the majority vote and AUC of the mean probability, with each subset of volumes. Prints a table, then two
figures: by how much the one network's macro-F1 is lower in the mean over subsets and draws, and its share of
the seven's CPU time, augmentation included, which the seven share as in the product. Settings are chosen with
other seeds (`--seeds`) than those that judge by default.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from figure import report
from numpy.typing import NDArray
from phantom_inputs import make_inputs
from small_cohorts import FOLDS, RECIPE, Cohorts, Found, planned, scores

from ricenet.cli.running import log_to_stderr
from ricenet.config.params import ExecutionParams, Params, read_params
from ricenet.config.recipes import Recipe
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.cross_validation import lay_out_ensembles, train_folds
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.fold import train_together
from ricenet.training.task import FoldTask
from ricenet.vocabulary import PAPER_VOLUMES, in_recipe

SEEDS = (5101, 5102)
"""Of the pool and of the judged: with them nothing was chosen."""

ONE, EACH = "any_volumes", "each"
MOST_LOST, TIME_SHARE = 0.03, 0.2
SHORTER = 5
"""By which trainings are shortened whose time is taken."""

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
ALL = PAPER_VOLUMES.sets[-1]


def recipes(params: Params, probability: float, steps: int, steps_of_one: int) -> dict[str, Recipe]:
    """By name: the small network on the crop, as it is and with volumes withheld."""
    small = params.by_recipe[RECIPE]
    training = small.training.model_copy(update={"fusion": "none", "steps": steps})
    alone = replace(small, input="crop", training=training)
    network = small.network.model_copy(update={"channel_dropout": probability})
    fewer = training.model_copy(update={"steps": steps_of_one})
    return {EACH: alone, ONE: replace(alone, network=network, training=fewer)}


def answers(
    tasks: list[FoldTask], params: Params, work: Path, volumes: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Each fold's probability (N, folds) of the judged, whose volumes are those of the tasks' set."""
    name = tasks[0].modality_set
    lay_out_ensembles(tasks, work / "ensembles", "", "", "", params.preprocessing)
    ensemble = Ensemble.load(work / "ensembles" / name)
    return np.concatenate([ensemble.predict(part) for part in np.array_split(volumes, 10)])


def main() -> None:
    """Train what is not there yet, print the table, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/channel_dropout"))
    parser.add_argument("--mechanism", choices=list(MECHANISMS), default="clinical")
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("POOL", "JUDGED"))
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--folds", type=int, default=FOLDS, help="of the five, that are trained")
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--probability", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=200, help="of each of the seven; the recipe's are 400")
    parser.add_argument("--steps-of-one", type=int, default=100, help="of the one network")
    arguments = parser.parse_args()
    log_to_stderr()
    params, (pool, others) = read_params(), arguments.seeds
    counts = {pool: arguments.subjects * arguments.draws, others: arguments.judged}
    causes = {
        seed: [draw_cause(f"sub-{k:03d}", seed, MECHANISMS[arguments.mechanism]) for k in range(1, count + 1)]
        for seed, count in counts.items()
    }
    work = arguments.work / arguments.mechanism
    make_inputs(work / f"pool-{pool}", params, causes[pool], pool)
    make_inputs(work / f"judged-{others}", params, causes[others], others)
    cohorts = Cohorts(causes[pool], causes[others], pool, others)
    by_name = recipes(params, arguments.probability, arguments.steps, arguments.steps_of_one)
    compare(params, cohorts, by_name, work, arguments)


def compare(
    params: Params, cohorts: Cohorts, by_recipe: dict[str, Recipe], work: Path, arguments: argparse.Namespace
) -> None:
    """Train both sides on every draw; print the table and the figures."""
    names = {EACH: [in_recipe(s, EACH) for s in PAPER_VOLUMES.sets], ONE: [in_recipe(ALL, ONE)]}
    grid = params.preprocessing.grids["crop"]
    folder = work / f"judged-{cohorts.judged_seed}"
    read = [read_volumes(folder / c.subject, c.subject, PAPER_VOLUMES.names, grid) for c in cohorts.judged]
    volumes = np.stack(read).astype(np.float32)
    found: dict[tuple[str, str], list[Found]] = {}
    for draw in range(arguments.draws):
        for side, sets in names.items():
            every = planned(params, cohorts, sets, arguments.subjects, draw, work, by_recipe)
            tasks = {name: of_set[: arguments.folds] for name, of_set in every.items()}
            train_folds([task for of_set in tasks.values() for task in of_set], SERIAL)
            for subset in PAPER_VOLUMES.sets:
                there = [name in subset.split("+") for name in PAPER_VOLUMES.names]
                if side == EACH:
                    of_folds = answers(tasks[in_recipe(subset, EACH)], params, work, volumes[:, there])
                else:
                    withheld = np.where(np.array(there)[:, None, None, None], volumes, np.float32("nan"))
                    of_folds = answers(tasks[names[ONE][0]], params, work, withheld)
                p_rice = of_folds.mean(axis=1)
                score = scores(majority_vote(of_folds), p_rice, p_rice, cohorts.is_rice)
                found.setdefault((side, subset), []).append(score)
    print(f"{'volumes':<22} one network: macro-F1 AUC   a network for these: macro-F1 AUC")
    lost, lost_auc = [], []
    for subset in PAPER_VOLUMES.sets:
        one, each = (Found(*np.mean(found[side, subset], axis=0).tolist()) for side in (ONE, EACH))
        print(f"{subset:<22} {one.macro_f1:.3f} {one.auc:.3f}   {each.macro_f1:.3f} {each.auc:.3f}")
        lost.append(each.macro_f1 - one.macro_f1)
        lost_auc.append(each.auc - one.auc)
    what = f"{arguments.mechanism}, n = {arguments.subjects}, {arguments.draws} draw(s), "
    what += f"{arguments.folds} folds, {arguments.steps} steps, {arguments.judged} judged"
    report(
        "channel_dropout/macro_f1_lost",
        np.mean(lost),
        f"<= {MOST_LOST}",
        f"{what}; by subset {min(lost):.3f} to {max(lost):.3f}; of AUC {np.mean(lost_auc):.3f} is lost",
        np.mean(lost) <= MOST_LOST,
    )
    seconds = {side: cpu_seconds(params, cohorts, sets, by_recipe, work) for side, sets in names.items()}
    share = seconds[ONE] / seconds[EACH]
    report(
        "channel_dropout/training_time",
        share,
        f"<= {TIME_SHARE}",
        f"{seconds[ONE]:.1f} s of CPU for {arguments.steps_of_one // SHORTER} steps against "
        f"{seconds[EACH]:.1f} s for {arguments.steps // SHORTER} of seven, one fold, one thread",
        share <= TIME_SHARE,
    )


def cpu_seconds(
    params: Params, cohorts: Cohorts, sets: list[str], by_recipe: dict[str, Recipe], work: Path
) -> float:
    """Of a fold of these sets in step, for a part of the steps; other processes do not count.

    Trained once before, so that nothing is loaded or allocated for the first time.
    """
    planned_sets = planned(params, cohorts, sets, len(cohorts.pool), 0, work, by_recipe).values()
    for steps in (2, None):
        with tempfile.TemporaryDirectory() as store:
            short = [shortened(of_set[0], Path(store), steps) for of_set in planned_sets]
            start = time.process_time()
            if any(train_together(short)):
                raise SystemExit("a training failed")
            seconds = time.process_time() - start
    return seconds


def shortened(task: FoldTask, store: Path, steps: int | None) -> FoldTask:
    """The same fold elsewhere, with so many steps; None: a part of its own."""
    fewer = steps or (task.training.steps or 0) // SHORTER
    return replace(task, store=store, training=task.training.model_copy(update={"steps": fewer}))


if __name__ == "__main__":
    main()
