"""Stage `learning_curve`: folds trained on fewer subjects -> work/learning_curve; none by default."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.evidence import LearningCurveParams
from ricenet.config.params import read_params
from ricenet.config.tuned import read_tuned
from ricenet.evaluation.evidence.curve_points import TRAININGS_FILE, CurveTraining, CurveTrainings
from ricenet.runtime.errors import SplitError
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.runtime.store import Store
from ricenet.training.cross_validation import lay_out_training, train_folds
from ricenet.training.fewer_subjects import on_fewer
from ricenet.training.fusion import fuse, inner_tasks
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import FoldTask

STORE = Path("work/store/learning_curve")
TUNED = Path("work/tuning/best.json")


def main() -> None:
    """Train the sets of evidence.learning_curve on every draw of every share below the whole."""
    params = read_params()
    setup = TrainingSetup.of_project(params, STORE, read_tuned(TUNED))
    planned = plan(setup, params.evidence.learning_curve)
    everything = [task for tasks in planned.values() for task in tasks]
    if everything:
        inner = [task for tasks in planned.values() for task in inner_tasks(tasks)]
        Store(STORE).use(task.key for task in (*everything, *inner))
        train_folds([*everything, *inner], params.execution)
    with atomic_folder(Path("work/learning_curve")) as folder:
        for training, tasks in planned.items():
            lay_out_training(tasks, folder / training.folder, fuse(tasks))
        found = CurveTrainings(trainings=tuple(planned))
        write_json(folder / TRAININGS_FILE, found.model_dump(mode="json"))


def plan(setup: TrainingSetup, asked: LearningCurveParams) -> dict[CurveTraining, list[FoldTask]]:
    """The folds of every draw of every share below 1, of every set.

    Raises SplitError: a share with too few subjects of a label, or with as many subjects as another.
    """
    planned = {}
    for name in asked.sets:
        tasks = plan_folds(setup, [name])
        sizes = {sum(len(task.validation_subjects) for task in tasks): 1.0}
        for share in sorted(share for share in asked.shares if share < 1):
            for draw in range(asked.draws):
                fewer = on_fewer(tasks, share, draw)
                kept = len({subject for task in fewer for subject in task.training_subjects})
                require_own_size(name, share, kept, sizes)
                training = CurveTraining(modality_set=name, share=share, draw=draw, subjects=kept)
                planned[training] = fewer
    return planned


def require_own_size(modality_set: str, share: float, subjects: int, sizes: dict[int, float]) -> None:
    """Make sure that no other share has as many subjects. sizes: shares by number. Raises SplitError."""
    if (other := sizes.setdefault(subjects, share)) != share:
        raise SplitError(
            f"{modality_set}: {share:g} and {other:g} of the subjects are {subjects} both; write shares that "
            "are further apart into evidence.learning_curve"
        )


if __name__ == "__main__":
    run_stage(main)
