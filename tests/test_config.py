"""The parameter file: every refused value is named by its dotted path, all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ricenet.config import Params, parse_params, read_params, read_yaml
from ricenet.errors import ParamsError
from ricenet.modalities import MODALITY_SETS

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def content() -> dict[str, Any]:
    """The committed parameters as plain values, to be spoiled."""
    values: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
    return values


def spoil(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *sections, key = path.split(".")
    section = content
    for name in sections:
        section = section[name]
    section[key] = value
    return content


def test_the_committed_parameters_are_valid() -> None:
    params = read_params(PROJECT / "params.yaml")
    assert params.modality_sets == list(MODALITY_SETS)
    assert params.training.learning_rate == 1e-3  # YAML 1.2: 1e-3 is a number


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.epohs", 3, "training.epohs: unknown key; remove it or mend its spelling"),
        ("sed", 3, "sed: unknown key"),
        ("training.epochs", 0, "training.epochs: Input should be greater than or equal to 1 (found 0)"),
        ("training.epochs", "sixty", "training.epochs: Input should be a valid integer (found 'sixty')"),
        ("training.epochs", 1.5, "training.epochs: Input should be a valid integer (found 1.5)"),
        (
            "training.batch_size",
            1,
            "training.batch_size: Input should be greater than or equal to 2 (found 1)",
        ),
        ("training.learning_rate", float("inf"), "training.learning_rate: Input should be a finite number"),
        (
            "training.learning_rate",
            -1.0,
            "training.learning_rate: Input should be greater than 0 (found -1.0)",
        ),
        ("training.overrides", {"dosis": {}}, "training.overrides: unknown modality set 'dosis'"),
        ("training.overrides", {"dose": {"lr": 1.0}}, "training.overrides.dose.lr: unknown key"),
        ("seed", -1, "seed: Input should be greater than or equal to 0 (found -1)"),
        ("seed", True, "seed: Input should be a valid integer (found True)"),
        (
            "cohort.exclude_faulty",
            "no",
            "cohort.exclude_faulty: Input should be a valid boolean (found 'no')",
        ),
        ("cohort", {"root": "data/x"}, "cohort.exclude_faulty: missing; add it"),
        ("preprocessing.spacing_mm", 0.0, "preprocessing.spacing_mm: Input should be greater than 0"),
        (
            "preprocessing.brain.mode",
            "quick",
            "preprocessing.brain.mode: Input should be 'fast' or 'accurate'",
        ),
        ("preprocessing.registration.metric", "mi", "Input should be 'mattes' or 'cross_correlation'"),
        ("split.folds", 1, "split.folds: Input should be greater than or equal to 2 (found 1)"),
        ("split.test_fraction", 1.0, "split.test_fraction: Input should be less than 1 (found 1.0)"),
        ("modality_sets", [], "modality_sets: List should have at least 1 item"),
        ("modality_sets", ["dose+post_op"], "modality_sets: unknown modality set 'dose+post_op'"),
        ("modality_sets", ["dose", "dose"], "modality_sets: a modality set is named twice: dose, dose"),
        ("modality_sets", ["dose"], "explain.modality_sets: post_op+event+dose is not trained"),
        (
            "augmentation.probability",
            1.1,
            "augmentation.probability: Input should be less than or equal to 1",
        ),
        ("explain.stride_voxels", 7, "explain: stride_voxels 7 is larger than cube_voxels 6"),
        ("explain.cube_voxels", 64, "explain.cube_voxels: 64 is larger than the volume"),
        ("execution.backend", "threads", "Input should be 'serial', 'processes' or 'ray' (found 'threads')"),
        ("execution.workers", 0, "execution.workers: Input should be greater than or equal to 1 (found 0)"),
        ("tracking.model_prefix", "a/b", "tracking.model_prefix: String should match pattern"),
        ("phantom.subjects", 1, "phantom.subjects: Input should be greater than or equal to 2 (found 1)"),
    ],
)
def test_an_impossible_value_is_refused_by_its_path(
    content: dict[str, Any], path: str, value: Any, message: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(spoil(content, path, value), "params.yaml")
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_problems_are_listed_at_once(content: dict[str, Any]) -> None:
    spoil(content, "training.epohs", 3)
    spoil(content, "split.folds", 1)
    del content["network"]
    with pytest.raises(ParamsError, match=r"params.yaml: 3 problem\(s\)") as caught:
        parse_params(content, "params.yaml")
    assert {problem.split(":")[0] for problem in caught.value.problems} == {
        "training.epohs",
        "split.folds",
        "network",
    }


def test_a_missing_file_and_broken_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params.yaml: 1 problem\(s\)\n  - file not found"):
        read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: [1\n")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_params(tmp_path / "params.yaml")


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("- 1\n")
    with pytest.raises(ParamsError, match="valid dictionary"):
        read_params(tmp_path / "params.yaml")


def test_parameters_cannot_be_changed_after_reading(content: dict[str, Any]) -> None:
    params: Params = parse_params(content, "params.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        params.seed = 3  # type: ignore[misc]


def test_an_override_changes_its_set_alone(content: dict[str, Any]) -> None:
    spoil(content, "training.overrides", {"dose": {"learning_rate": 0.5}})
    training = parse_params(content, "params.yaml").training
    assert training.of_set("dose").learning_rate == 0.5
    assert training.of_set("dose").epochs == training.epochs
    assert training.of_set("event") == training.model_copy(update={"overrides": {}})
