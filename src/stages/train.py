"""Stage `train`: preprocessed subjects and splits -> work/training and models/ensembles."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.config.params import read_params
from ricenet.config.tuned import read_tuned
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.runtime.store import Store
from ricenet.tracking.connection import open_store
from ricenet.tracking.live import LiveObserver
from ricenet.training.cross_validation import lay_out_ensembles, lay_out_training, summary, train_and_fuse
from ricenet.training.fusion import inner_tasks
from ricenet.training.planning import TrainingSetup, plan_folds

logger = logging.getLogger("ricenet.stages.train")


def main() -> None:
    """Train every fold of every modality set that the store does not hold, and lay all of them out."""
    params = read_params()
    setup = TrainingSetup.of_project(
        params, Path("work/store/folds"), read_tuned(Path("work/tuning/best.json"))
    )
    tasks = plan_folds(setup, params.modality_sets)
    store = open_store(Path(), params.tracking.uri, params.tracking.experiment)
    Store(setup.store).use(task.key for task in (*tasks, *inner_tasks(tasks)))
    observer = LiveObserver(store, [task.record for task in tasks])
    observer.start()
    fusions = train_and_fuse(tasks, params.execution, observer)
    lay_out_training(tasks, Path("work/training"), fusions)
    lay_out_ensembles(
        tasks,
        Path("models/ensembles"),
        read_usable_cohort().digest,
        read_summary(Path("work/preprocessed"))["digest"],
        setup.splits.digest,
        params.preprocessing,
        fusions,
    )
    logger.info(summary(tasks))


if __name__ == "__main__":
    run_stage(main)
