"""What is to be trained: what all folds have in common, and every fold of every modality set."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Self

from ricenet.cohort.checked import read_usable_cohort
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.inputs import Box, InputGrid, InputName
from ricenet.config.params import Params
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe
from ricenet.config.tuned import Tuned, refuse_overridden
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import ParamsError, ScanError, SplitError
from ricenet.runtime.files import content_digest
from ricenet.training.brain_box import cohort_box
from ricenet.training.initial_weights import InitialWeights
from ricenet.training.task import FoldTask
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec, Volumes, volumes_and_recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """What all folds of all modality sets have in common: subjects, settings, and where files lie.

    subject_keys: content addresses of preprocessed subjects. preprocessed: a folder with a folder per
    subject. recipes: by name, the main one as "". store: a folder for folds, by key. variables: values by
    subject. lacking: optional volumes that a subject does not have. tuned: settings that take the place of
    others.
    """

    splits: Splits
    subject_keys: Mapping[str, str]
    seed: int
    preprocessing: PreprocessingParams
    recipes: Mapping[str, Recipe]
    preprocessed: Path
    store: Path
    volumes: Volumes = PAPER_VOLUMES
    variable_specs: tuple[VariableSpec, ...] = ()
    variables: Mapping[str, SubjectVariables] = field(default_factory=dict)
    lacking: Mapping[str, Collection[str]] = field(default_factory=dict)
    tuned: Tuned = field(default_factory=Tuned)

    @classmethod
    def of_project(cls, params: Params, store: Path, tuned: Tuned | None = None) -> Self:
        """From the parameters and from what the stages before left in work/.

        Raises SplitError, ResultError: a file of theirs is missing or damaged.
        """
        preprocessed, cohort = Path("work/preprocessed"), read_usable_cohort()
        optional = {spec.name for spec in params.volumes if not spec.required}
        return cls(
            read_splits(Path("work/splits/splits.json")),
            read_summary(preprocessed)["subjects"],
            params.seed,
            params.preprocessing,
            params.by_recipe,
            preprocessed,
            store,
            params.volumes,
            params.variables,
            variables_of(cohort, preprocessed),
            {subject.participant_id: optional - subject.scans.keys() for subject in cohort.subjects},
            tuned or Tuned(),
        )

    def grid(self, name: InputName) -> InputGrid:
        """The grid of an input. The box of `brain` is that of all preprocessed subjects, in whatever folds.

        Raises ScanError: as `cohort_box`.
        """
        grids = self.preprocessing.grids
        if name != "brain":
            return grids[name]
        # of other content, another box
        keys = tuple(sorted(self.subject_keys.items()))
        return replace(grids["head"], name=name, box=_box(self.preprocessed.absolute(), keys, grids["head"]))


@lru_cache(maxsize=1)
def _box(preprocessed: Path, keys: tuple[tuple[str, str], ...], head: InputGrid) -> Box:
    box = cohort_box(preprocessed, [subject for subject, _ in keys], head)
    seen = replace(head, box=box)
    logger.info("input brain: %s, of %d subjects' brains, in cubes of %d", seen, len(keys), head.voxels)
    return box


def plan_folds(setup: TrainingSetup, modality_sets: Sequence[str]) -> list[FoldTask]:
    """Every fold of every set, in this order, with the settings of its set.

    Raises ScanError: a subject of the splits that is not preprocessed. ParamsError: a setting that is
    both tuned and in `training.overrides` of its set, or initial weights that are not there. SplitError:
    too few subjects have the volumes of a set.
    """
    for subject in setup.splits.visits_of(setup.splits.development):
        if subject not in setup.subject_keys:
            raise ScanError(subject, "volumes", "not preprocessed", "Run `dvc repro preprocess`")
    setup.tuned.refuse_unknown(setup.volumes)
    overrides = setup.recipes[""].training.overrides
    refuse_overridden({name: setup.tuned.names(name) for name in modality_sets}, overrides)
    weights = {name: InitialWeights.of(r.network.initial_weights) for name, r in setup.recipes.items()}
    folds = range(len(setup.splits.folds))
    return [_plan_fold(setup, name, fold, weights) for name in modality_sets for fold in folds]


def _plan_fold(
    setup: TrainingSetup, modality_set: str, fold: int, weights: Mapping[str, InitialWeights | None]
) -> FoldTask:
    splits, members = setup.splits, setup.volumes.members(modality_set)
    _, name = volumes_and_recipe(modality_set)
    recipe = setup.recipes[name]
    of_set = recipe.training.of_set(modality_set)
    training, augmentation = setup.tuned.settings(modality_set, fold, of_set, recipe.augmentation)
    needed, everyone = {spec.name for spec in members}, splits.visits_of(splits.development)
    labels = splits.labels_of_visits
    excluded = [s for s in everyone if needed.intersection(setup.lacking.get(s, ()))]
    if fold == 0 and excluded:
        logger.info(
            "%s: %d subject(s) without all volumes excluded: %s",
            modality_set,
            len(excluded),
            ", ".join(excluded),
        )
    task = FoldTask(
        modality_set=modality_set,
        fold=fold,
        seed=setup.seed,
        training=training,
        augmentation=augmentation,
        network=recipe.network,
        grid=setup.grid(recipe.input_of(members)),
        labels={subject: labels[subject] for subject in everyone},
        training_subjects=tuple(s for s in splits.training_subjects(fold) if s not in excluded),
        validation_subjects=tuple(s for s in splits.validation_subjects(fold) if s not in excluded),
        subject_keys={subject: setup.subject_keys[subject] for subject in everyone},
        code=training_code(training.fusion != "none"),
        preprocessed=setup.preprocessed.absolute(),
        store=setup.store.absolute(),
        volumes=setup.volumes,
        variable_specs=setup.variable_specs,
        variables={s: setup.variables[s] for s in everyone if s in setup.variables},
        initial_weights=weights[name],
        excluded=tuple(excluded),
        own_settings=setup.tuned.differing(modality_set),
        label_names=splits.label_names,
    )
    _require_subjects(task)
    _require_large_enough(task)
    return task


def _require_subjects(task: FoldTask) -> None:
    """Make sure that a fold is left with subjects. Raises SplitError."""
    trained = {task.labels[subject] for subject in task.training_subjects}
    if task.excluded and (not task.validation_subjects or trained != set(task.label_names)):
        raise SplitError(
            f"{task.modality_set}, fold {task.fold}: once {len(task.excluded)} subject(s) that lack a volume "
            "of the set are excluded, a label has no training subject or nobody is left to validate; take "
            "the set out of modality_sets, or add subjects"
        )


def _require_large_enough(task: FoldTask) -> None:
    """Make sure that the network can work with a box, whose size no parameter states. Raises ParamsError."""
    sizes = {"training.input brain": task.grid.shape}
    if task.grid.box and (found := task.network.misfits(sizes, task.training.samples_at_once, True)):
        raise ParamsError(f"params.yaml, {task.modality_set} in the box around the brains", found)


@cache
def training_code(fusion: bool = False) -> str:
    """Digest of the code that trains, and of the libraries that compute. fusion: with a regression beside."""
    modules = ("ricenet.training.fold", *(("ricenet.training.fusion",) if fusion else ()))
    versions = {name: version(name) for name in ("numpy", "torch", "monai", *(("scipy",) if fusion else ()))}
    return content_digest({"source": code_digest(*modules), "versions": versions})
