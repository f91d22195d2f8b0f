"""A phantom cohort from its seed to its trained folds, as the stages would make it; kept for the next run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.splits import Splits, make_splits
from ricenet.config.params import Params
from ricenet.phantom.mechanism import Mechanism
from ricenet.phantom.write_cohort import write_phantom
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.runtime.files import read_json
from ricenet.runtime.store import Store
from ricenet.training.cross_validation import train_folds
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import FoldTask


@dataclass(frozen=True)
class TrainedPhantom:
    """What is at hand after training."""

    cohort: CheckedCohort
    preprocessed: Path
    splits: Splits
    tasks: Sequence[FoldTask]


def trained_phantom(params: Params, seed: int, mechanism: Mechanism, folder: Path) -> TrainedPhantom:
    """Write, check, preprocess, split and train a phantom cohort below a folder."""
    cohort, preprocessed = folder / "cohort", folder / "preprocessed"
    if not cohort.exists():
        write_phantom(
            cohort,
            params.phantom.subjects,
            seed,
            mechanism,
            test_fraction=params.phantom.test_fraction,
            spacing_mm=params.phantom.spacing_mm,
            single_fraction_share=params.phantom.single_fraction_share,
            backend=params.execution.backend,
            workers=params.execution.workers,
        )
    checked = admit(check_cohort(cohort), exclude_faulty=False)
    preprocess_cohort(
        checked,
        params.preprocessing,
        params.seed,
        params.execution,
        Store(Path("work/store/subjects")),
        preprocessed,
        tool_versions(params.preprocessing.brain),
    )
    splits = make_splits(checked.subjects, params.split.folds, params.split.test_fraction, params.seed)
    setup = TrainingSetup(
        splits,
        read_json(preprocessed / "summary.json")["subjects"],
        params.seed,
        params.preprocessing,
        params.by_recipe,
        preprocessed,
        Path("work/store/folds"),
    )
    tasks = plan_folds(setup, params.modality_sets)
    train_folds(tasks, params.execution)
    return TrainedPhantom(checked, preprocessed, splits, tasks)
