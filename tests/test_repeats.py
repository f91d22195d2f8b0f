"""Other divisions into folds, and what a fold says of where it comes from."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import pytest
from sklearn.metrics import f1_score
from small_folds import AUGMENTATION, TRAINING, plan

from ricenet.cohort.splits import Splits, with_other_folds
from ricenet.config.training import AugmentationParams
from ricenet.config.tuned import Tuned
from ricenet.evaluation.evidence.gate import GateFold, GateRecord, failed_conditions
from ricenet.evaluation.evidence.record import Repeats, read_repeats, score_repeats
from ricenet.runtime.errors import ParamsError, ResultError
from ricenet.training.predictions import Prediction, write_predictions
from ricenet.training.task import FoldTask

STAGE = Path(__file__).parents[1] / "src" / "stages" / "repeat.py"
SUBJECTS = [f"sub-{i:03d}" for i in range(24)]
SPLITS = Splits(
    {s: ("rice" if i % 3 == 0 else "recurrence") for i, s in enumerate(SUBJECTS)},
    tuple(tuple(SUBJECTS[k:20:5]) for k in range(5)),
    tuple(SUBJECTS[20:]),
)


def test_other_folds_hold_the_same_subjects_and_leave_the_test_set_alone() -> None:
    other, again, third = (with_other_folds(SPLITS, seed) for seed in (1, 1, 2))
    assert other.test == SPLITS.test
    assert other.development == SPLITS.development
    assert other == again
    assert other.folds != third.folds
    rice = [sum(SPLITS.labels[s] == "rice" for s in fold) for fold in other.folds]
    assert max(rice) - min(rice) <= 1


def test_the_score_of_a_division_is_pooled_over_its_folds(tmp_path: Path) -> None:
    division = with_other_folds(SPLITS, 1)
    wrong = {SUBJECTS[0], SUBJECTS[1]}
    for k, fold in enumerate(division.folds):
        predicted = {s: (SPLITS.labels[s] == "rice") != (s in wrong) for s in fold}
        rows = [Prediction(s, SPLITS.labels[s], k, 0.9 if rice else 0.1) for s, rice in predicted.items()]
        folder = tmp_path / "1" / "dose" / f"fold-{k}"
        folder.mkdir(parents=True)
        write_predictions(rows, folder / "predictions.tsv")
    truth = [SPLITS.labels[s] == "rice" for s in division.development]
    called = [rice != (s in wrong) for s, rice in zip(division.development, truth, strict=True)]
    found = score_repeats(tmp_path, {1: division}, ["dose"], {})
    assert found.fold_seeds == (1,)
    assert found.macro_f1["dose"] == pytest.approx((f1_score(truth, called, average="macro"),))


def test_where_nothing_is_repeated_there_is_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "repeats.json").write_text(Repeats().model_dump_json())
    assert read_repeats(tmp_path) is None
    (tmp_path / "repeats.json").write_text(json.dumps({"seeds": [1]}))
    with pytest.raises(ResultError, match=r"repeats\.json is not of this version.*dvc repro -f repeat"):
        read_repeats(tmp_path)


def test_settings_searched_for_one_division_are_not_taken_to_another() -> None:
    refuse_nested = runpy.run_path(str(STAGE))["refuse_nested"]
    own = {"training.learning_rate": 1e-3}
    nested = Tuned({"dose": [own, {"training.learning_rate": 1e-4}], "event": [own, own]})
    refuse_nested(["event", "post_op"], nested)
    with pytest.raises(ParamsError, match=r"evidence\.repeat_sets: dose was tuned with tuning\.nested"):
        refuse_nested(["dose", "event"], nested)


def gate_folds(tasks: list[FoldTask]) -> tuple[GateFold, ...]:
    return tuple(
        GateFold(fold=task.fold, digests=task.provenance["digests"], **task.provenance["subjects"])
        for task in tasks
    )


def failures(tasks: list[FoldTask]) -> list[str]:
    high = {"value": 0.9, "low": 0.8, "high": 1.0, "method": "bca"}
    given = {"modality_set": "dose", "ensemble_digest": "e", "failed_guards": (), "macro_f1": high}
    given |= {"chance_macro_f1": 0.5, "temperature": 1.0, "threshold": None, "predictions": ()}
    return [str(f) for f in failed_conditions(GateRecord(folds=gate_folds(tasks), **given))]


def test_folds_of_one_plan_pass_the_gate(tmp_path: Path) -> None:
    assert failures(plan(tmp_path, SPLITS)) == []


def test_folds_with_other_settings_labels_or_volumes_do_not(tmp_path: Path) -> None:
    first, second, *rest = plan(tmp_path, SPLITS)
    shorter = dataclasses.replace(second, training=TRAINING.model_copy(update={"epochs": 99}))
    relabelled = dataclasses.replace(second, labels={**second.labels, "sub-000": "recurrence"})
    remade = dataclasses.replace(second, subject_keys={**second.subject_keys, "sub-000": "anew"})
    for changed, name in ((shorter, "parameters"), (relabelled, "labels"), (remade, "preprocessing")):
        (reported,) = failures([first, changed, *rest])
        assert f"fold(s) 1 were trained with other {name} than fold 0" in reported


def test_folds_that_each_searched_their_own_settings_pass_if_the_rest_is_common(tmp_path: Path) -> None:
    rates = [{"training.learning_rate": 1e-3 * (1 + k)} for k in range(5)]
    tuned = Tuned({"dose": rates})
    assert tuned.differing("dose") == {"training.learning_rate"}
    assert tuned.differing("event") == frozenset()
    own = [
        dataclasses.replace(
            task,
            training=tuned.settings("dose", task.fold, task.training, AUGMENTATION)[0],
            own_settings=tuned.differing("dose"),
        )
        for task in plan(tmp_path, SPLITS)
    ]
    assert len({task.key for task in own}) == 5
    assert failures(own) == []
    other = AugmentationParams.model_validate({**AUGMENTATION.model_dump(), "noise_sd": 0.123})
    (reported,) = failures([dataclasses.replace(own[0], augmentation=other), *own[1:]])
    assert "other parameters" in reported
