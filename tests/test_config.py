"""The parameter file: every refused value is named by its dotted path, all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ricenet.config.params import Params, parse_params, read_params, read_yaml
from ricenet.runtime.errors import ParamsError
from ricenet.vocabulary import PAPER_VOLUMES

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
    small = [f"{name}@small_cohort" for name in ("dose", "post_op+dose", "post_op+event+dose")]
    assert params.modality_sets == [*PAPER_VOLUMES.sets, *small]
    assert params.training.learning_rate == 5e-4  # YAML 1.2: 5e-4 is a number


def problems(content: dict[str, Any]) -> list[str]:
    """Each problem for which the content is refused."""
    with pytest.raises(ParamsError) as refused:
        parse_params(content, "params.yaml")
    return refused.value.problems


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
        ("training.overrides", {"dosis": {}}, "training.overrides.dosis: dosis is not trained"),
        ("training.overrides", {"dose": {"lr": 1.0}}, "training.overrides.dose.lr: unknown key"),
        ("seed", -1, "seed: Input should be greater than or equal to 0 (found -1)"),
        ("seed", True, "seed: Input should be a valid integer (found True)"),
        (
            "cohort.exclude_faulty",
            "no",
            "cohort.exclude_faulty: Input should be a valid boolean (found 'no')",
        ),
        ("cohort", {"root": "data/x"}, "cohort.exclude_faulty: missing; add it"),
        (
            "preprocessing.spacing_mm",
            0.09,
            "preprocessing.spacing_mm: Input should be greater than or equal to 0.1 (found 0.09)",
        ),
        (
            "preprocessing.spacing_mm",
            20.1,
            "preprocessing.spacing_mm: Input should be less than or equal to 20 (found 20.1)",
        ),
        (
            "preprocessing.registration.spacing_mm",
            0.01,
            "preprocessing.registration.spacing_mm: Input should be greater than or equal to 0.1",
        ),
        (
            "preprocessing.registration.spacing_mm",
            float("nan"),
            "preprocessing.registration.spacing_mm: Input should be",
        ),
        (
            "preprocessing.brain.spacing_mm",
            3.5,
            "preprocessing.brain.spacing_mm: Input should be less than or equal to 3 (found 3.5)",
        ),
        (
            "network.widen_factor",
            0.0156,
            "network.widen_factor: Input should be greater than or equal to 0.015625 (found 0.0156)",
        ),
        ("network.widen_factor", float("inf"), "network.widen_factor: Input should be a finite number"),
        (
            "preprocessing.brain.mode",
            "quick",
            "preprocessing.brain.mode: Input should be 'fast' or 'accurate'",
        ),
        ("preprocessing.registration.metric", "mi", "Input should be 'mattes' or 'cross_correlation'"),
        ("quality.brain_ml", [1900, 900], "quality.brain_ml: 1900 is not below 900; write the lower limit"),
        ("quality.brain_ml", [900], "quality.brain_ml: List should have at least 2 items"),
        ("quality.brain_ml", [-1, 900], "quality.brain_ml.0: Input should be greater than or equal to 0"),
        (
            "quality.least_mutual_information",
            0.9,
            "quality.least_mutual_information: Input should be greater than or equal to 1 (found 0.9)",
        ),
        ("quality.least_brain_overlap", 1.1, "quality.least_brain_overlap: Input should be less than or"),
        ("quality.most_shift_mm", 0, "quality.most_shift_mm: Input should be greater than 0 (found 0)"),
        ("quality.most_rotation_deg", 181, "quality.most_rotation_deg: Input should be less than or equal"),
        ("quality.least_dice", 0.9, "quality.least_dice: unknown key"),
        ("split.folds", 1, "split.folds: Input should be greater than or equal to 2 (found 1)"),
        ("split.test_fraction", 1.0, "split.test_fraction: Input should be less than 1 (found 1.0)"),
        ("modality_sets", [], "modality_sets: List should have at least 1 item"),
        ("modality_sets", ["dose+post_op"], "modality_sets: unknown modality set 'dose+post_op'; expected"),
        (
            "modality_sets",
            ["dose", "dse"],
            "modality_sets: unknown modality set 'dse': dse is not declared under volumes (post_op, event",
        ),
        (
            "explain.modality_sets",
            ["dse"],
            "explain.modality_sets: dse is not trained",
        ),
        ("modality_sets", ["dose", "dose"], "modality_sets: a modality set is named twice: dose, dose"),
        ("modality_sets", ["dose"], "explain.modality_sets: post_op+event+dose@small_cohort is not trained"),
        ("robustness.modality_sets", ["dse"], "robustness.modality_sets: dse is not trained"),
        (
            "augmentation.probability",
            1.1,
            "augmentation.probability: expected a number from 0 to 1, or one for each kind, found 1.1",
        ),
        (
            "explain.stride_voxels",
            7,
            "explain.stride_voxels: 7 is larger than explain.cube_voxels 6: the cubes would leave gaps",
        ),
        ("execution.gpus_per_worker", 1.5, "execution.gpus_per_worker: 1.5: above one GPU"),
        ("training.samples_at_once", 1, "training.samples_at_once: 1 leaves batch norm a single value"),
        ("evidence.repeat_fold_seeds", [1, 1], "evidence.repeat_fold_seeds: a seed is named twice: 1, 1"),
        (
            "evidence.learning_curve.shares",
            [0.5, 1.5],
            "evidence.learning_curve.shares.1: Input should be less than or equal to 1 (found 1.5)",
        ),
        (
            "evidence.learning_curve.shares",
            [0.0, 0.5],
            "evidence.learning_curve.shares.0: Input should be greater than 0 (found 0.0)",
        ),
        (
            "evidence.learning_curve.shares",
            [0.5, 0.5],
            "evidence.learning_curve.shares: a share is named twice: 0.5, 0.5",
        ),
        (
            "evidence.learning_curve.shares",
            [1],
            "evidence.learning_curve.shares: no share is below 1; write some, such as [0.25, 0.5, 0.75]",
        ),
        (
            "evidence.learning_curve.draws",
            1,
            "evidence.learning_curve.draws: Input should be greater than or equal to 2 (found 1)",
        ),
        (
            "evidence.learning_curve.growth",
            [10],
            "evidence.learning_curve.growth.0: Input should be less than or equal to 4 (found 10)",
        ),
        (
            "evidence.learning_curve.sets",
            ["dose", "dose"],
            "evidence.learning_curve.sets: a modality set is named twice: dose, dose",
        ),
        (
            "evidence.learning_curve.sets",
            ["adc"],
            "evidence.learning_curve.sets: adc is not trained (modality_sets)",
        ),
        ("evidence.repeat_fold_seeds", [3, 7], "evidence.repeat_fold_seeds: 7 is the project's own seed"),
        ("evidence.target_error", 0.5, "evidence.target_error: Input should be less than 0.5 (found 0.5)"),
        ("guards.tolerated", ["luck"], "guards.tolerated.0: Input should be 'subject_in_two_places'"),
        ("tuning.modality_sets", ["dose", "x"], "tuning.modality_sets: x is not trained"),
        ("explain.cube_voxels", 64, "explain.cube_voxels: 64 is larger than the volume"),
        ("execution.backend", "threads", "Input should be 'serial', 'processes' or 'ray' (found 'threads')"),
        ("execution.workers", 0, "execution.workers: expected auto or a whole number of at least 1, found 0"),
        (
            "execution.threads_per_worker",
            "all",
            "execution.threads_per_worker: expected auto or a whole number of at least 1, found 'all'",
        ),
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


def test_values_that_do_not_fit_one_another_are_told_beside_all_other_problems(
    content: dict[str, Any],
) -> None:
    spoil(content, "modality_sets", ["event", "dose"])
    spoil(content, "explain.modality_sets", ["post_op", "post_op+dose"])
    spoil(content, "explain.cube_voxels", 33)
    spoil(content, "explain.subjects_per_label", -1)
    spoil(content, "preprocessing.dose_unit_gy", 0.0)
    spoil(content, "training.overrides", {"dose": {}, "post_op": {"epochs": 3}})
    assert problems(content) == [
        "preprocessing.dose_unit_gy: Input should be greater than 0 (found 0.0)",
        "explain.subjects_per_label: Input should be greater than or equal to 0 (found -1)",
        "explain.modality_sets: post_op is not trained (modality_sets)",
        "explain.modality_sets: post_op+dose is not trained (modality_sets)",
        "training.overrides.post_op: post_op is not trained (modality_sets)",
        "explain.cube_voxels: 33 is larger than the volume (preprocessing.crop.voxels 24)",
    ]


@pytest.mark.parametrize("section", ["preprocessing", "training", "explain", "modality_sets"])
def test_a_refused_or_missing_value_is_compared_with_nothing(content: dict[str, Any], section: str) -> None:
    assert problems(spoil(dict(content), section, 5))[0].startswith(f"{section}: Input should be a valid")
    del content[section]
    assert problems(content) == [
        f"{section}: missing; add it (`git diff params.yaml` shows what was removed)"
    ]


def test_gaps_between_cubes_are_told_beside_another_problem_of_the_section(content: dict[str, Any]) -> None:
    spoil(content, "explain.stride_voxels", 7)
    spoil(content, "explain.subjects_per_label", -1)
    assert [problem.split(":")[0] for problem in problems(content)] == [
        "explain.subjects_per_label",
        "explain.stride_voxels",
    ]


@pytest.mark.parametrize("root", ["", " ", ".", "/data/mine", "../mine", "data/../../mine"])
def test_a_cohort_outside_the_project_is_refused(content: dict[str, Any], root: str) -> None:
    (problem,) = problems(spoil(content, "cohort.root", root))
    assert problem.startswith("cohort.root: not a folder inside the project; write it relative to")


@pytest.mark.parametrize(
    "uri",
    ["", "mlruns", "runs.db", "localhost:5000", "http://", "http:/host", "postgresql:user:secret@host/db"],
)
def test_an_address_without_a_scheme_is_refused_without_repeating_it(
    content: dict[str, Any], uri: str
) -> None:
    (problem,) = problems(spoil(content, "tracking.uri", uri))
    assert problem.startswith("tracking.uri: an address without a scheme; write null")
    assert "secret" not in problem


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "sqlite:///mlflow/mlflow.db",
        "http://127.0.0.1:5000",
        "https://mlflow.example.org/base",
        "postgresql://user@host/db",
        "mysql+pymysql://user@host/db",
    ],
)
def test_local_and_remote_stores_are_accepted(content: dict[str, Any], uri: str | None) -> None:
    assert parse_params(spoil(content, "tracking.uri", uri), "params.yaml").tracking.uri == uri


@pytest.mark.parametrize("factor", [1 / 64, 1.0, 2.0])
def test_the_narrowest_network_is_accepted(content: dict[str, Any], factor: float) -> None:
    assert parse_params(spoil(content, "network.widen_factor", factor), "x").network.widen_factor == factor


@pytest.mark.parametrize(
    ("cube_mm", "asked", "brain_mm"),
    [(1.0, "auto", 1.5), (5.1, "auto", 1.7), (6.0, "auto", 2.0), (12.0, "auto", 2.0), (6.0, 1.5, 1.5)],
)
def test_the_brain_is_looked_for_on_a_grid_as_fine_as_the_cube_needs(
    content: dict[str, Any], cube_mm: float, asked: object, brain_mm: float
) -> None:
    content["preprocessing"]["spacing_mm"] = cube_mm
    content["preprocessing"]["brain"]["spacing_mm"] = asked
    assert Params.model_validate(content).preprocessing.brain.spacing_mm == pytest.approx(brain_mm)


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


T1 = {"kind": "mri", "session": "postop", "suffix": "T1w"}
FLAIR = {"kind": "mri", "session": "event", "suffix": "FLAIR"}


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        (
            [{"name": "a", "title": "A", **T1}, {"name": "a", "title": "B", **FLAIR, "suffix": "FLAIR"}],
            "declared twice: a",
        ),
        ([{"name": "a", "title": "A", **T1}, {"name": "b", "title": "B", **T1}], "file declared twice"),
        ([{"name": "a", "title": "A", **T1, "kind": "ct"}], "volumes.0.kind"),
        ([{"name": "d", "title": "D", **T1, "kind": "dose"}], "no required MRI"),
        ([{"name": "a", "title": "A", **T1, "scale": 0}], "volumes.0.scale"),
        ([{"name": "a", "title": "A", **T1, "unit": "mm"}], "volumes.0.unit: unknown key"),
        ([], "no required MRI"),
    ],
)
def test_a_declaration_of_volumes_that_cannot_be_is_refused(
    content: dict[str, Any], volumes: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(ParamsError, match="volumes") as caught:
        parse_params(spoil(content, "volumes", volumes), "params.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ([{"name": "age_years", "kind": "number"}] * 2, "declared twice: age_years"),
        ([{"name": "site", "kind": "category", "unit": "mm"}], "no unit"),
        ([{"name": "age_years", "kind": "number", "categories": ["a"]}], "no categories"),
        ([{"name": "v20", "kind": "number", "measured": True, "column": "v20"}], "without a column"),
        ([{"name": "site", "kind": "text"}], "variables.0.kind"),
    ],
)
def test_a_declaration_of_variables_that_cannot_be_is_refused(
    content: dict[str, Any], variables: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(spoil(content, "variables", variables), "params.yaml")
    assert words in str(caught.value)


def test_without_a_declaration_the_volumes_are_the_papers(content: dict[str, Any]) -> None:
    del content["volumes"], content["variables"]
    params = parse_params(content, "params.yaml")
    assert (params.volumes, params.variables) == (PAPER_VOLUMES, ())
