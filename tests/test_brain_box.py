"""The input `brain`: where the box around all brains lies, what networks see of it, and who remembers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from preprocessed_subjects import image_of
from pydantic import ValidationError
from small_ensembles import ensemble_record, write_untrained
from small_folds import (
    AUGMENTATION,
    NETWORK,
    PREPROCESSING,
    TRAINING,
    plan,
    setup_of,
    write_subjects,
)

from ricenet.cohort.splits import Splits
from ricenet.config.inputs import Box, InputGrid
from ricenet.config.network_params import DenseNetParams, SmallCnnParams
from ricenet.config.recipes import Recipe
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import ParamsError, ResultError, ScanError
from ricenet.runtime.files import read_json
from ricenet.training.augmentation import augment, draw_augmentation
from ricenet.training.brain_box import beyond_box_ml, box_around, cohort_box
from ricenet.training.cross_validation import lay_out_ensembles
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import EnsembleRecord, read_record
from ricenet.training.fold import train_fold
from ricenet.training.one_training import OneTraining
from ricenet.training.task import RECORD, FoldTask
from ricenet.volume import Grid, Volume, save_nifti

CUBE = 12
HEAD = InputGrid("head", CUBE, 20.0)
BOX = Box(first=(1, 1, 2), shape=(8, 10, 8))
CUBES = PREPROCESSING.model_copy(update={"cube_voxels": CUBE})
STILL = {"noise_sd": 0.0, "brightness": 0.0, "gamma": 0.0}


def save_brain(folder: Path, low: tuple[int, int, int], high: tuple[int, int, int]) -> None:
    """A brain that is a block from one voxel to another, both of them in it."""
    mask = np.zeros((CUBE,) * 3, bool)
    mask[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
    save_nifti(Volume(mask, Grid.cube(np.zeros(3), 20.0, CUBE)), image_of(folder, "brain"))


def write_cohort(folder: Path) -> Splits:
    """Ten subjects with brains that reach from (2, 2, 3) to (5, 9, 4) at most."""
    splits = write_subjects(folder, cube=CUBE)
    for subject in splits.development:
        save_brain(folder / subject, (3, 3, 3), (5, 5, 4))
    save_brain(folder / "sub-004", (2, 3, 3), (5, 9, 4))
    save_brain(folder / "sub-007", (3, 2, 3), (4, 4, 3))
    return splits


def tasks_of(folder: Path, seen: str, **changes: Any) -> list[FoldTask]:
    splits = write_cohort(folder / "preprocessed")
    return plan(folder, splits, ("event+dose",), input=seen, preprocessing=CUBES, **changes)


# where it lies


@pytest.mark.parametrize(
    ("low", "high", "margin", "first", "shape"),
    [
        # 8 voxels and a margin of 1 at either end
        ((4, 4, 4), (11, 11, 11), 1, (3, 3, 3), (10, 10, 10)),
        # 9 and 11 voxels become 10 and 12; without room above, from below
        ((2, 2, 11), (10, 12, 19), 0, (2, 2, 10), (10, 12, 10)),
        # the margin ends where the cube does
        ((0, 1, 0), (19, 18, 9), 1, (0, 0, 0), (20, 20, 12)),
        # no network is shown fewer than 8
        ((9, 9, 18), (9, 9, 18), 0, (9, 9, 12), (8, 8, 8)),
    ],
)
def test_the_box_lies_around_the_brains_with_a_margin_and_even_sizes(
    low: tuple[int, ...],
    high: tuple[int, ...],
    margin: int,
    first: tuple[int, int, int],
    shape: tuple[int, int, int],
) -> None:
    assert box_around(np.array(low), np.array(high), 20, margin) == Box(first=first, shape=shape)


def test_a_cube_of_odd_size_is_filled_and_never_left() -> None:
    assert box_around(np.array([0, 1, 2]), np.array([8, 7, 8]), 9, 1) == Box(first=(0, 0, 1), shape=(9, 9, 8))


def test_the_box_of_a_cohort_holds_everyones_brain(tmp_path: Path) -> None:
    splits = write_cohort(tmp_path)
    # voxels of 20 mm, so the margin is one: from (1, 1, 2) to (6, 10, 5); 6 and 4 voxels become 8
    assert cohort_box(tmp_path, splits.development, HEAD) == Box(first=(1, 1, 2), shape=(8, 10, 8))
    # at 1 mm it is four voxels: around (3, 2, 3) to (4, 4, 3)
    fine = dataclasses.replace(HEAD, spacing_mm=1.0)
    assert cohort_box(tmp_path, ["sub-007"], fine) == Box(first=(0, 0, 0), shape=(10, 10, 8))


def test_what_of_a_brain_lies_beyond_the_box_is_counted_in_ml() -> None:
    mask = np.zeros((CUBE,) * 3, bool)
    mask[0:3, 4, 2:4] = True  # 6 voxels, of which the two with x = 0 lie outside
    brain = Volume(mask, Grid.cube(np.zeros(3), 20.0, CUBE))
    assert beyond_box_ml(brain, BOX) == pytest.approx(2 * 8.0)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (Path.unlink, ResultError, "sub-003_space-individual_res-head_desc-brain_mask.nii.gz"),
        (
            lambda path: save_brain(path.parents[1], (1, 1, 1), (0, 0, 0)),
            ScanError,
            "the brain mask is empty",
        ),
        (
            lambda path: save_nifti(Volume(np.ones((4, 4, 4), bool), Grid((4, 4, 4), np.eye(4))), path),
            ScanError,
            r"sub-003: .*desc-brain_mask.nii.gz: shape \(4, 4, 4\), expected \(12, 12, 12\)",
        ),
    ],
)
def test_a_mask_that_cannot_be_used_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    splits = write_cohort(tmp_path)
    spoil(image_of(tmp_path / "sub-003", "brain"))
    with pytest.raises(error, match=message):
        cohort_box(tmp_path, splits.development, HEAD)


def test_neither_labels_nor_folds_nor_sets_move_the_box(tmp_path: Path) -> None:
    splits = write_cohort(tmp_path / "preprocessed")
    setup = setup_of(tmp_path, splits, input="brain", preprocessing=CUBES)
    others = {s: "rice" if label == "recurrence" else "recurrence" for s, label in splits.labels.items()}
    nested = Splits(others, (splits.folds[0][:2], splits.folds[0][2:4]), ())
    assert dataclasses.replace(setup, splits=nested).grid("brain") == setup.grid("brain")
    tasks = plan(tmp_path, splits, ("dose", "post_op+event"), input="brain", preprocessing=CUBES)
    assert {task.grid for task in tasks} == {InputGrid("brain", CUBE, 20.0, BOX)}


def test_a_brain_of_the_test_set_is_held_too(tmp_path: Path) -> None:
    splits = write_cohort(tmp_path / "preprocessed")
    setup = setup_of(tmp_path, splits, input="brain", preprocessing=CUBES)
    save_brain(tmp_path / "preprocessed/sub-010", (3, 3, 0), (5, 5, 11))
    known = {**setup.subject_keys, "sub-010": "of the test set"}
    assert dataclasses.replace(setup, subject_keys=known).grid("brain").shape == (8, 10, 12)


# what networks see


def test_what_is_read_is_the_slice_of_the_cube(tmp_path: Path) -> None:
    write_subjects(tmp_path, cube=CUBE)
    folder, names = tmp_path / "sub-001", ("event", "dose")
    cube = read_volumes(folder, "sub-001", names, HEAD)
    found = read_volumes(folder, "sub-001", names, InputGrid("brain", CUBE, 20.0, BOX))
    np.testing.assert_array_equal(found, cube[:, 1:9, 1:11, 2:10])


@pytest.mark.parametrize("moving", [True, False])
def test_a_part_is_augmented_as_in_the_whole(moving: bool) -> None:
    volumes = torch.randn((1, 2, 10, 12, 14), generator=torch.Generator().manual_seed(0))
    strengths = AUGMENTATION.model_copy(
        update=STILL | {"mirroring": 1.0} | ({} if moving else {"elastic_mm": 0.0})
    )
    sample = draw_augmentation(strengths, 2, np.random.default_rng(1))
    if not moving:
        sample = dataclasses.replace(sample, rotation_rad=np.zeros(3), scale=1.0)
    part = (slice(1, 7), slice(3, 12), slice(0, 5))
    whole = augment(volumes, (0, None), [sample], 5.0)
    found = augment(volumes, (0, None), [sample], 5.0, part)
    assert sample.moves_voxels == moving
    # places of up to 14 voxels are known to 1e-6 in float32, and neighbours differ by some 5; how sums are
    # rounded there depends on the number of threads (2e-6 with two)
    torch.testing.assert_close(found, whole[:, :, 1:7, 3:12, 0:5], rtol=0, atol=5e-6)


@pytest.mark.parametrize("memory", ["device", "streamed"])
def test_in_training_the_box_shows_what_the_cube_shows_there(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[NDArray[Any]]] = {"head": [], "brain": []}
    learn, validate = OneTraining.learn, OneTraining.validate

    def learning(self: OneTraining, batch: Any, augmented: torch.Tensor, *rest: Any) -> None:
        seen[self.task.grid.name].append(augmented.numpy().copy())
        learn(self, batch, augmented, *rest)

    def validating(self: OneTraining, batch: Any, volumes: torch.Tensor) -> None:
        seen[self.task.grid.name].append(volumes.numpy().copy())
        validate(self, batch, volumes)

    monkeypatch.setattr(OneTraining, "learn", learning)
    monkeypatch.setattr(OneTraining, "validate", validating)
    changes = {
        "training": TRAINING.model_copy(update={"epochs": 2, "memory": memory}),
        "augmentation": AUGMENTATION.model_copy(update=STILL | {"rotation_degrees": 90.0}),
        "network": SmallCnnParams(widths=[2, 2, 2]),
    }
    for name in ("head", "brain"):
        train_fold(tasks_of(tmp_path, name, **changes)[0])
    assert len(seen["brain"]) == len(seen["head"]) > 2
    for box, cube in zip(seen["brain"], seen["head"], strict=True):
        np.testing.assert_allclose(box, cube[:, :, 1:9, 1:11, 2:10], atol=1e-5)


# who remembers it


def test_fold_and_ensemble_carry_the_box_and_predict_with_it(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, "brain", training=TRAINING.model_copy(update={"epochs": 1}))
    for task in tasks:
        train_fold(task)
    stated = {"first": [1, 1, 2], "shape": [8, 10, 8]}
    assert read_json(tasks[0].folder / RECORD)["box"] == stated
    lay_out_ensembles(tasks, tmp_path / "ensembles", "d", "p", "s", CUBES)
    ensemble = Ensemble.load(tmp_path / "ensembles/event+dose")
    assert ensemble.record.grid == tasks[0].grid == InputGrid("brain", CUBE, 20.0, BOX)
    # the network of the record answers as it did when its fold ended
    subject = tasks[0].validation_subjects[0]
    volumes = read_volumes(tasks[0].preprocessed / subject, subject, ("event", "dose"), ensemble.record.grid)
    rows = (tasks[0].folder / "predictions.tsv").read_text().splitlines()
    known = next(float(row.split("\t")[-1]) for row in rows if row.startswith(subject))
    assert ensemble.predict(volumes[np.newaxis])[0, 0] == pytest.approx(known, abs=1e-6)


def test_the_box_is_part_of_the_key(tmp_path: Path) -> None:
    task = tasks_of(tmp_path, "brain")[0]
    other = dataclasses.replace(task.grid, box=BOX.model_copy(update={"first": (0, 1, 2)}))
    moved = dataclasses.replace(task, grid=other)
    assert moved.key != task.key
    assert moved.provenance["digests"]["preprocessing"] != task.provenance["digests"]["preprocessing"]


def test_records_of_other_inputs_say_nothing_of_a_box(tmp_path: Path) -> None:
    task = tasks_of(tmp_path, "head")[0]
    assert "box" not in task.record
    assert task.grid.content == {"name": "head", "voxels": CUBE, "spacing_mm": 20.0}
    record = ensemble_record("dose")
    write_untrained(tmp_path / "dose", record)
    assert "box" not in read_json(tmp_path / "dose/ensemble.json")
    assert read_record(tmp_path / "dose").box is None


def test_a_network_that_cannot_work_with_the_box_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"training.input brain: 8 is too small for densenet121"):
        tasks_of(tmp_path, "brain", network=DenseNetParams())


def test_a_recipe_beside_the_main_one_may_show_the_box(tmp_path: Path) -> None:
    splits = write_cohort(tmp_path / "preprocessed")
    parts = (NETWORK, TRAINING, AUGMENTATION)
    recipes = {"": Recipe("head", *parts), "boxed": Recipe("brain", *parts)}
    tasks = plan(tmp_path, splits, ("dose", "dose@boxed"), recipes=recipes, preprocessing=CUBES)
    assert [task.grid.name for task in tasks] == ["head", "head", "brain", "brain"]


@pytest.mark.parametrize(
    "seen", [{"input": "brain"}, {"input": "head", "box": {"first": [0, 0, 0], "shape": [8, 8, 8]}}]
)
def test_a_record_with_a_box_for_another_input_or_none_for_the_brain_is_refused(seen: dict[str, Any]) -> None:
    fields = {"modality_set": "dose", "folds": 1, "network": NETWORK.model_dump()}
    fields |= {"fold_keys": [], "data_digest": "", "preprocessing_digest": "", "splits_digest": ""}
    with pytest.raises(ValidationError, match="a box belongs to the input brain"):
        EnsembleRecord.model_validate({**fields, "preprocessing": {}, **seen})


@pytest.mark.parametrize("wrong", [{"first": (-1, 0, 0)}, {"shape": (8, 0, 8)}])
def test_a_box_lies_in_its_cube(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Box.model_validate({"first": (0, 0, 0), "shape": (8, 8, 8)} | wrong)
