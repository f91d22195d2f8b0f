"""Stage `repeat`: other divisions into folds, trained and scored -> work/repeats; none by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.cohort.splits import with_other_folds
from ricenet.config.params import PARAMS_FILE, read_params
from ricenet.config.tuned import Tuned, read_tuned
from ricenet.evaluation.evidence.record import REPEATS_FILE, score_repeats
from ricenet.evaluation.held_out import lacking
from ricenet.runtime.errors import ParamsError
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.runtime.store import Store
from ricenet.training.cross_validation import lay_out_training, train_folds
from ricenet.training.fusion import fuse, inner_tasks
from ricenet.training.planning import TrainingSetup, plan_folds

STORE = Path("work/store/repeats")
TUNED = Path("work/tuning/best.json")


def main() -> None:
    """Train the sets of evidence.repeat_sets once more for every seed of evidence.repeat_fold_seeds."""
    params = read_params()
    setup = TrainingSetup.of_project(params, STORE, read_tuned(TUNED))
    if params.evidence.repeat_fold_seeds:
        refuse_nested(params.evidence.repeat_sets, setup.tuned)
    divisions = {seed: with_other_folds(setup.splits, seed) for seed in params.evidence.repeat_fold_seeds}
    tasks = {
        seed: plan_folds(replace(setup, splits=division), params.evidence.repeat_sets)
        for seed, division in divisions.items()
    }
    everything = [task for of_seed in tasks.values() for task in of_seed]
    if everything:
        inner = [task for of_seed in tasks.values() for task in inner_tasks(of_seed)]
        Store(STORE).use(task.key for task in (*everything, *inner))
        train_folds([*everything, *inner], params.execution)
    with atomic_folder(Path("work/repeats")) as folder:
        for seed, of_seed in tasks.items():
            lay_out_training(of_seed, folder / str(seed), fuse(of_seed))
        sets, cohort = params.evidence.repeat_sets, read_usable_cohort()
        excluded = {name: lacking(cohort, setup.splits, name) for name in sets}
        found = score_repeats(folder, divisions, sets, excluded)
        write_json(folder / REPEATS_FILE, found.model_dump(mode="json"))


def refuse_nested(modality_sets: Sequence[str], tuned: Tuned) -> None:
    """Make sure that no fold gets settings that were searched without another division's judges.

    Raises ParamsError: a set whose search was nested.
    """
    problems = [
        f"evidence.repeat_sets: {name} was tuned with tuning.nested, a search a fold of the project's own "
        "division; it cannot be repeated with other folds. Take it out"
        for name in modality_sets
        if tuned.differing(name)
    ]
    if problems:
        raise ParamsError(PARAMS_FILE.name, problems)


if __name__ == "__main__":
    run_stage(main)
