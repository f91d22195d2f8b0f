"""The section `tuning`: a space outside of what a setting allows, or a password, is refused by its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ricenet.config.params import parse_params, read_params, read_yaml
from ricenet.runtime.errors import ParamsError
from ricenet.training.tuning.searches import refuse_sqlite_on_a_cluster

PROJECT = Path(__file__).parents[1]
RATE = {"training.learning_rate": [1e-4, 1e-2]}


@pytest.fixture
def content() -> dict[str, Any]:
    values: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
    return values


def problem(content: dict[str, Any], **tuning: Any) -> str:
    """The one problem for which a section is refused."""
    content["tuning"] |= tuning
    with pytest.raises(ParamsError) as refused:
        parse_params(content, "params.yaml")
    (found,) = refused.value.problems
    return found


def test_nothing_is_tuned_by_default(content: dict[str, Any]) -> None:
    assert parse_params(content, "params.yaml").tuning.modality_sets == []


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        ("training.lr", [1e-4, 1e-2], "training.lr: unknown key; remove it or mend its spelling"),
        ("training.epochs", [1, 2], "training.epochs: unknown key"),
        ("training.learning_rate", [0, 1e-2], "training.learning_rate.0: Input should be greater than 0"),
        ("training.weight_decay", [0, 1e-2], "training.weight_decay.0: Input should be greater than 0"),
        ("training.weight_decay", [1e-2, 1e-4], "training.weight_decay: 0.01 is not below 0.0001; write the"),
        ("training.batch_size", [1, 8], "training.batch_size.0: Input should be greater than or equal to 2"),
        ("training.batch_size", [4, 8.5], "training.batch_size.1: Input should be a valid integer"),
        ("augmentation.rotation_degrees", [0, 181], "augmentation.rotation_degrees.1: Input should be less"),
        ("augmentation.scaling", [0, 1], "augmentation.scaling.1: Input should be less than 1"),
        ("augmentation.gamma", [-0.1, 0.5], "augmentation.gamma.0: Input should be greater than or equal"),
        ("augmentation.elastic_mm", [0, float("inf")], "augmentation.elastic_mm.1: Input should be a finite"),
        ("augmentation.noise_sd", [0.1, 0.1], "augmentation.noise_sd: 0.1 is not below 0.1"),
        ("augmentation.brightness", [0.1], "augmentation.brightness: List should have at least 2 items"),
        ("augmentation.brightness", 0.1, "augmentation.brightness: Input should be a valid list"),
        (
            "augmentation.probability.noise",
            [0, 1.1],
            "augmentation.probability.noise.1: Input should be less",
        ),
        ("augmentation.probability.flip", [0, 1], "augmentation.probability.flip: unknown key"),
    ],
)
def test_an_impossible_range_is_refused_by_its_path(
    content: dict[str, Any], name: str, limits: Any, message: str
) -> None:
    assert problem(content, space={name: limits}).startswith(f"tuning.space.{message}")


def test_all_problems_of_a_space_are_reported_at_once(content: dict[str, Any]) -> None:
    content["tuning"]["space"] = {"training.lr": [0, 1], "augmentation.gamma": [0, 2], **RATE}
    with pytest.raises(ParamsError, match=r"2 problem\(s\)"):
        parse_params(content, "params.yaml")


def test_an_empty_space_is_refused(content: dict[str, Any]) -> None:
    assert problem(content, space={}).startswith("tuning.space: Value should have at least 1 item")


def test_a_set_that_is_not_trained_cannot_be_tuned(content: dict[str, Any]) -> None:
    content["modality_sets"] = content["explain"]["modality_sets"] = ["dose"]
    assert problem(content, modality_sets=["event"]) == (
        "tuning.modality_sets: event is not trained (modality_sets)"
    )


@pytest.mark.parametrize(
    "address", ["postgresql://ann:secret@host/db", "postgresql://h/db?user=ann&password=secret"]
)
def test_a_password_in_the_address_is_refused_without_repeating_it(
    content: dict[str, Any], address: str
) -> None:
    found = problem(content, storage=address)
    assert found.startswith("tuning.storage: the address holds a user's name or password, which logs would")
    assert "PGPASSWORD" in found and "secret" not in found


@pytest.mark.parametrize("address", ["tuning.db", "mysql://host/db", "sqlite://", "http://host"])
def test_another_kind_of_database_is_refused(content: dict[str, Any], address: str) -> None:
    assert problem(content, storage=address).startswith("tuning.storage: expected null for a sqlite file")


def test_a_sqlite_file_is_refused_on_a_cluster() -> None:
    params = read_params(PROJECT / "params.yaml")
    on_a_cluster = params.execution.model_copy(update={"backend": "ray"})
    with pytest.raises(ParamsError, match=r"tuning.storage: a sqlite file is not reached from the nodes"):
        refuse_sqlite_on_a_cluster(params.tuning, on_a_cluster)
    postgres = params.tuning.model_copy(update={"storage": "postgresql://host/db"})
    refuse_sqlite_on_a_cluster(postgres, on_a_cluster)
    refuse_sqlite_on_a_cluster(params.tuning, params.execution)
