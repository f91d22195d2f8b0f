"""Stage `repeat`: other divisions into folds, trained and scored -> work/repeats; none by default."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config import Params, read_params
from ricenet.evidence.record import Repeats
from ricenet.evidence.repeats import REPEATS_FILE, score_repeats
from ricenet.files import atomic_folder, read_json, write_json
from ricenet.splits import Splits, read_splits, with_other_folds
from ricenet.store import Store
from ricenet.training.cross_validation import lay_out_training, plan_folds, train_folds
from ricenet.training.task import FoldTask
from ricenet.tuned import read_tuned

STORE = Path("work/store/repeats")


def main() -> None:
    """Train the sets of evidence.repeat_sets once more for every seed of evidence.repeat_fold_seeds."""
    params = read_params()
    splits = read_splits(Path("work/splits/splits.json"))
    divisions = {seed: with_other_folds(splits, seed) for seed in params.evidence.repeat_fold_seeds}
    tasks = {seed: plan(params, division) for seed, division in divisions.items()}
    everything = [task for of_seed in tasks.values() for task in of_seed]
    if everything:
        Store(STORE).use(task.key for task in everything)
        train_folds(everything, params.execution)
    with atomic_folder(Path("work/repeats")) as folder:
        for seed, of_seed in tasks.items():
            lay_out_training(of_seed, folder / str(seed))
        found = score_repeats(folder, divisions, params.evidence.repeat_sets) if divisions else Repeats.none()
        write_json(folder / REPEATS_FILE, found.model_dump(mode="json"))


def plan(params: Params, division: Splits) -> list[FoldTask]:
    """The folds of a division."""
    return plan_folds(
        params.evidence.repeat_sets,
        division,
        read_json(Path("work/preprocessed/summary.json"))["subjects"],
        params.seed,
        params.preprocessing,
        params.training,
        params.augmentation,
        params.network,
        Path("work/preprocessed"),
        STORE,
        read_tuned(Path("work/tuning/best.json")),
    )


if __name__ == "__main__":
    run_stage(main)
