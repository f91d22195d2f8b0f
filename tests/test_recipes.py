"""Recipes of training: what each holds, how sets name them, and the parts that the paper's does not have."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_folds import (
    AUGMENTATION,
    NETWORK,
    PREPROCESSING,
    PROJECT,
    TRAINING,
    InterruptAfter,
    Interrupted,
    elsewhere,
    plan,
    results,
    write_subjects,
)

from ricenet.config.inputs import CropParams
from ricenet.config.network_params import SmallCnnParams
from ricenet.config.params import parse_params, read_params, read_yaml
from ricenet.config.preset import use_preset
from ricenet.config.recipes import Recipe
from ricenet.config.training import TrainingOverride
from ricenet.evaluation.evidence.comparison import pairs_to_compare
from ricenet.runtime.errors import ParamsError
from ricenet.training.augmentation import augment, draw_augmentation
from ricenet.training.fold import train_fold
from ricenet.training.hardware import Hardware
from ricenet.training.networks import Branches, SmallCnn, Starts, build_network
from ricenet.training.optimisation import Optimisation
from ricenet.vocabulary import PAPER_VOLUMES

FLOAT32 = Hardware(torch.device("cpu"), bfloat16=False)
SMALL = SmallCnnParams(widths=[2, 3, 4])
OTHER = Recipe("head", SMALL, TRAINING.changed_by(TrainingOverride(steps=6), recipe="other"), AUGMENTATION)
MAIN = Recipe("head", NETWORK, TRAINING, AUGMENTATION)


def batch(seed: int = 0, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return (
        torch.randn((4, channels, 8, 8, 8), generator=source),
        torch.empty(4, 0),
        torch.tensor([0, 1, 0, 1]),
    )


# how sets name them


def test_a_set_is_trained_by_the_recipe_that_it_names(tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    recipes = {"": MAIN, "other": OTHER}
    main, other = (plan(tmp_path, splits, [name], recipes=recipes)[0] for name in ("dose", "dose@other"))
    assert (main.network, main.epochs) == (NETWORK, 4)
    assert other.network == SMALL and [spec.name for spec in other.members] == ["dose"]
    # six steps of two batches an epoch
    assert other.epochs == 3
    # another recipe beside it changes nothing of the main one
    assert main.key == plan(tmp_path, splits)[0].key != other.key


def test_an_input_decides_where_volumes_are_read(tmp_path: Path) -> None:
    crop = CropParams(voxels=12, spacing_mm=5.0, isodose=0.8)
    preprocessing = PREPROCESSING.model_copy(update={"crop": crop})
    recipes = {"": dataclasses.replace(MAIN, input="auto")}
    splits = write_subjects(tmp_path / "preprocessed")
    grids = {
        name: plan(tmp_path, splits, [name], recipes=recipes, preprocessing=preprocessing)[0].grid
        for name in ("post_op", "post_op+event", "post_op+dose")
    }
    assert [(grid.name, grid.voxels) for grid in grids.values()] == [
        *(("head", 8), ("crop_by_change", 12), ("crop", 12))
    ]


def test_the_names_of_recipes_order_and_title_sets() -> None:
    sets = ["dose@small_cohort", "post_op+dose", "post_op@small_cohort", "dose"]
    assert PAPER_VOLUMES.in_order(sets) == [
        "dose",
        "post_op+dose",
        "post_op@small_cohort",
        "dose@small_cohort",
    ]
    assert PAPER_VOLUMES.set_title("post_op+dose@small_cohort") == "post-op T1ce + dose (small cohort)"


def test_sets_are_compared_within_a_recipe_and_with_themselves_by_another() -> None:
    pairs = pairs_to_compare(["post_op", "dose", "post_op@other", "dose@other"])
    assert pairs == [
        *(("post_op", "dose"), ("post_op", "post_op@other")),
        *(("dose", "dose@other"), ("post_op@other", "dose@other")),
    ]


# what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modality_sets": ["dose", "dose@tiny"]},
            "modality_sets: dose@tiny: the recipe 'tiny'",
        ),
        ({"modality_sets": ["dose@"]}, "modality_sets: dose@: the recipe '' is not declared"),
        ({"training": {"steps": 100}}, "training: epochs and steps: give one of them"),
        ({"training": {"epochs": None}}, "training: epochs and steps: give one of them"),
        (
            {"recipes": {"small_cohort": {"training": {"epochs": 3}}}},
            "recipes.small_cohort.training: epochs and steps: give one of them",
        ),
        ({"training": {"input": "crop"}, "preprocessing": {"crop": None}}, "training.input: crop needs"),
        ({"preprocessing": {"crop": None}}, "recipes.small_cohort.input: auto needs preprocessing.crop"),
        ({"training": {"recipe": "small_cohort"}}, "recipes.small_cohort: the main recipe"),
        (
            {"preprocessing": {"crop": {"isodose": 1.0}}},
            "preprocessing.crop.isodose: Input should be",
        ),
        ({"preprocessing": {"crop": {"voxels": 4}}}, "preprocessing.crop.voxels: Input should be greater"),
        ({"recipes": {"small_cohort": {"input": "lesion"}}}, "recipes.small_cohort.input: Input should be"),
        (
            {"recipes": {"small_cohort": {"network": {"name": "resnet18"}}}},
            "recipes.small_cohort.network: resnet18 has no use for",
        ),
        ({"network": {"starts": 2}}, "network: resnet18 has no use for starts"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_its_path(changes: dict[str, Any], message: str) -> None:
    content = read_yaml(PROJECT / "params.yaml")
    merge(content, changes)
    with pytest.raises(ParamsError) as caught:
        parse_params(content, "params.yaml")
    assert any(problem.startswith(message) for problem in caught.value.problems), caught.value.problems


def merge(content: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(name), dict):
            merge(content[name], value)
        else:
            content[name] = value


def test_the_box_around_the_brains_needs_no_crop_in_either_recipe() -> None:
    content = read_yaml(PROJECT / "params.yaml")
    merge(content, {"training": {"input": "brain"}, "preprocessing": {"crop": None}})
    merge(content, {"recipes": {"small_cohort": {"input": "brain"}}})
    recipes = parse_params(content, "params.yaml").by_recipe
    assert [recipes[name].input for name in ("", "small_cohort")] == ["brain", "brain"]
    assert recipes["small_cohort"].input_of(PAPER_VOLUMES.members("post_op")) == "brain"


def test_a_preset_makes_the_recipe_beside_the_main_one_the_main_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text())
    before = read_params(path)
    use_preset("small_cohort", path)
    now = read_params(path)
    assert now.training.recipe == "small_cohort" and now.recipes == {}
    assert all("@" not in name for name in now.modality_sets)
    beside, main = before.by_recipe["small_cohort"], now.by_recipe[""]
    assert (main.input, main.network, main.augmentation) == (
        beside.input,
        beside.network,
        beside.augmentation,
    )
    assert main.training == beside.training
    use_preset("demo", path)
    assert read_params(path).by_recipe[""] == before.by_recipe[""]


# schedule and optimiser


def test_the_cosine_schedule_goes_down_to_zero_and_a_constant_one_stays() -> None:
    rates = {}
    for schedule in ("cosine", "constant"):
        settings = TRAINING.model_copy(update={"schedule": schedule, "learning_rate": 0.2})
        optimisation = Optimisation(build_network(SMALL, 1), settings, FLOAT32)
        for progress in (0.0, 1 / 3, 1.0):
            optimisation.set_learning_rate(progress)
            rates[schedule, progress] = optimisation.optimiser.param_groups[0]["lr"]
    assert [rates["cosine", p] for p in (0.0, 1 / 3, 1.0)] == pytest.approx([0.2, 0.15, 0.0])
    assert {rates["constant", p] for p in (0.0, 1 / 3, 1.0)} == {0.2}


def test_adamw_shrinks_weights_that_have_no_gradient_by_rate_times_decay() -> None:
    settings = TRAINING.model_copy(update={"optimiser": "adamw", "learning_rate": 0.1, "weight_decay": 0.5})
    network = build_network(SMALL, 1)
    optimisation = Optimisation(network, settings, FLOAT32)
    before = network.head.weight.detach().clone()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimisation.optimiser.step()
    torch.testing.assert_close(network.head.weight.detach(), before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(("subjects", "epochs"), [(32, 200), (33, 133), (4, 400), (10_000, 1)])
def test_steps_become_the_nearest_number_of_epochs(subjects: int, epochs: int) -> None:
    settings = TRAINING.model_copy(update={"epochs": None, "steps": 400, "batch_size": 16})
    assert settings.epochs_for(subjects) == epochs


def test_an_interrupted_cosine_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    settings = TRAINING.model_copy(update={"schedule": "cosine", "optimiser": "adamw"})
    network = SmallCnnParams(widths=[2, 2, 2], starts=2)
    task = plan(tmp_path, splits, training=settings, network=network)[0]
    train_fold(task)
    resumed = elsewhere(task, "again")
    with pytest.raises(Interrupted):
        train_fold(resumed, InterruptAfter(2))
    train_fold(resumed)
    assert results(resumed) == results(task)


# networks


def test_several_starts_learn_as_each_would_alone_and_answer_with_their_mean() -> None:
    alone = [SmallCnn(1, [2, 3, 4], 0) for _ in range(3)]
    together = Starts(copy.deepcopy(alone))
    settings = TRAINING.model_copy(update={"optimiser": "adamw"})
    joint = Optimisation(together, settings, FLOAT32)
    single = [Optimisation(network, settings, FLOAT32) for network in alone]
    for seed in range(3):
        loss, logits = joint.step(*batch(seed))
        apart = [optimisation.step(*batch(seed)) for optimisation in single]
        torch.testing.assert_close(loss, torch.stack([of[0] for of in apart]).mean(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, torch.stack([of[1] for of in apart]).mean(0), rtol=1e-3, atol=1e-4)
    volumes, none, _ = batch(9)
    expected = torch.stack([optimisation.logits(volumes, none) for optimisation in single]).mean(0)
    torch.testing.assert_close(joint.logits(volumes, none), expected, rtol=1e-3, atol=1e-4)


def test_a_branch_for_every_volume_adds_what_each_says_alone() -> None:
    network = build_network(SmallCnnParams(widths=[2, 3, 4], branches=True), 3).eval()
    assert isinstance(network, Branches) and len(network.of_volumes) == 3
    volumes, _, _ = batch(channels=3)
    with torch.no_grad():
        expected = sum(branch(volumes[:, [c]]) for c, branch in enumerate(network.of_volumes))
        torch.testing.assert_close(network(volumes), expected)


# mirroring


def test_mirroring_exchanges_left_and_right_and_changes_no_other_draw() -> None:
    still = AUGMENTATION.model_copy(
        update={
            "rotation_degrees": 0.0,
            "scaling": 0.0,
            "elastic_mm": 0.0,
            "noise_sd": 0.0,
            "brightness": 0.0,
        }
        | {"gamma": 0.0}
    )
    volumes = torch.arange(2 * 8, dtype=torch.float32).view(1, 2, 2, 2, 2) + 1
    always, never = (
        draw_augmentation(still.model_copy(update={"mirroring": p}), 2, np.random.default_rng(1))
        for p in (1, 0)
    )
    torch.testing.assert_close(augment(volumes, (0, None), [always], 4.0), volumes.flip(2))
    torch.testing.assert_close(augment(volumes, (0, None), [never], 4.0), volumes)
    plain, mirrored = (
        draw_augmentation(AUGMENTATION.model_copy(update={"mirroring": p}), 2, np.random.default_rng(1))
        for p in (0.0, 1.0)
    )
    for field in dataclasses.fields(plain):
        if field.name != "mirrored":
            np.testing.assert_array_equal(getattr(plain, field.name), getattr(mirrored, field.name))
