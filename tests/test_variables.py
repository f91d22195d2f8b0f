"""Variables beside the volumes: numbers by hand, in training, in the key, and in the ensemble's record."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preprocessed_subjects import head_of
from small_folds import PREPROCESSING, TRAINING, plan, write_subjects

from ricenet.config.network_params import SmallCnnParams
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import RegistryError, VariableError
from ricenet.training.cross_validation import lay_out_ensembles
from ricenet.training.ensemble import Ensemble
from ricenet.training.fold import train_fold
from ricenet.training.one_training import first_network
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask
from ricenet.training.variables import VariableEncoder
from ricenet.vocabulary import VariableSpec

DAYS = VariableSpec(name="days", kind="number", unit="days")
BEAM = VariableSpec(name="beam", kind="category")
USED = SmallCnnParams(widths=[2, 2, 2], variables=True)


def encoder(*values: dict[str, Any]) -> VariableEncoder:
    return VariableEncoder.fitted([DAYS, BEAM], values)


def test_numbers_are_standardised_and_categories_have_a_column_for_each_level_seen() -> None:
    # mean 20 and SD 10 of the training subjects; of three levels two were seen
    fitted = encoder({"days": 10, "beam": "photon"}, {"days": 30, "beam": "ion"}, {"days": None})
    assert fitted.columns == ("days", "days missing", "beam=ion", "beam=photon")
    encoded = fitted.encode({"a": {"days": 40, "beam": "ion"}, "b": {"days": None, "beam": None}, "c": {}})
    assert encoded.tolist() == [[2, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert VariableEncoder.model_validate_json(fitted.model_dump_json()) == fitted


def test_constant_and_unknown_numbers_are_not_divided_by_zero() -> None:
    assert encoder({"days": 7}, {"days": 7}).encode({"a": {"days": 9}}).tolist() == [[2, 0]]
    assert encoder({}, {}).encode({"a": {"days": 9}}).tolist() == [[9, 0]]
    assert VariableEncoder().encode({"a": {}, "b": {}}).shape == (2, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"beam": "proton"}, "sub-7: beam: 'proton' was not seen in training, which knows ion, photon"),
        ({"days": "soon"}, "sub-7: days: 'soon' is no number"),
        ({"days": float("nan")}, "sub-7: days: nan is no number"),
        ({"dayz": 3}, "sub-7: dayz: not declared; the model knows days, beam"),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_subject_and_variable(
    values: dict[str, Any], words: str
) -> None:
    fitted = encoder({"days": 1, "beam": "photon"}, {"beam": "ion"})
    with pytest.raises(VariableError, match=words):
        fitted.encode({"sub-7": values})


def planned(folder: Path) -> list[FoldTask]:
    splits = write_subjects(folder / "preprocessed")
    beams = {subject: "ion" if k % 4 else "photon" for k, subject in enumerate(splits.labels)}
    variables = {s: {"days": float(k), "beam": beam} for k, (s, beam) in enumerate(beams.items())}
    given: dict[str, Any] = {"variable_specs": (DAYS, BEAM), "variables": variables, "network": USED}
    return plan(folder, splits, training=TRAINING.model_copy(update={"epochs": 2}), **given)


def test_a_network_that_uses_variables_learns_from_them_and_predicts_new_cases(tmp_path: Path) -> None:
    tasks = planned(tmp_path)
    # the layer of two features takes four columns more
    assert first_network(tasks[0]).get_parameter("head.weight").shape == (2, 2 + 4)
    for task in tasks:
        train_fold(task)
    lay_out_ensembles(tasks, tmp_path / "ensembles", "data", "volumes", "splits", PREPROCESSING)
    ensemble = Ensemble.load(tmp_path / "ensembles/dose")
    assert ensemble.record.variables == (DAYS, BEAM)
    subjects = tasks[1].validation_subjects
    volumes = np.stack([read_volumes(tasks[1].preprocessed / s, s, ["dose"], head_of(8)) for s in subjects])
    known = {subject: tasks[1].variables[subject] for subject in subjects}
    found = ensemble.predict(volumes, known)
    expected = [row.p_rice for row in read_predictions(tasks[1].folder / PREDICTIONS)]
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)
    others = {subject: {"days": 900.0, "beam": "ion"} for subject in subjects}
    assert not np.allclose(ensemble.predict(volumes, others), found)
    for missing in (None, {"sub-000": {}}):
        with pytest.raises(RegistryError, match="needs the variables of all 5 subjects: days, beam"):
            ensemble.predict(volumes, missing)
    with pytest.raises(VariableError, match="sub-005: beam: 'proton' was not seen"):
        ensemble.predict(volumes, known | {"sub-005": {"beam": "proton"}})


def test_variables_are_part_of_the_key_only_where_the_network_uses_them(tmp_path: Path) -> None:
    task = planned(tmp_path)[0]
    others = {subject: {**values, "days": 900.0} for subject, values in task.variables.items()}
    assert dataclasses.replace(task, variables=others).key != task.key
    renamed = (DAYS.model_copy(update={"title": "time to event"}), BEAM)
    assert dataclasses.replace(task, variable_specs=renamed).key == task.key
    ignoring = dataclasses.replace(task, network=SmallCnnParams(widths=[2, 2, 2]))
    assert dataclasses.replace(ignoring, variables=others, variable_specs=()).key == ignoring.key
    assert ignoring.encoded_variables(ignoring.validation_subjects).shape == (5, 0)
    # the encoder is recorded all the same
    assert json.loads(ignoring.encoder.model_dump_json())["variables"][0]["spec"]["name"] == "days"


def test_a_level_that_only_the_validation_subjects_have_is_refused_where_it_is_used(tmp_path: Path) -> None:
    task = planned(tmp_path)[0]
    rare = {**task.variables, "sub-001": {"beam": "carbon"}}
    with pytest.raises(VariableError, match="sub-001: beam: 'carbon' was not seen in training"):
        train_fold(dataclasses.replace(task, variables=rare))
