"""Fusion: its weights, that no level sees whom it judges, and where its answers appear."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from small_folds import CUBE, PREPROCESSING, SERIAL, TRAINING, plan, write_subjects

from ricenet.cohort.splits import Splits
from ricenet.config.training import TrainingParams
from ricenet.preprocessing.network_input import read_volumes, write_volume
from ricenet.runtime.errors import SplitError, TrainingError
from ricenet.runtime.files import read_json
from ricenet.training import input_features as features_module
from ricenet.training.cross_validation import lay_out_ensembles, lay_out_training, train_and_fuse
from ricenet.training.ensemble import Ensemble
from ricenet.training.fusion import Fusion, inner_tasks, non_negative_weights
from ricenet.training.group_regression import FeatureGroup
from ricenet.training.input_features import FILTERS, INTENSITIES, input_features, of_all
from ricenet.training.networks import p_rice, predict_logits
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, RECORD, FoldTask
from ricenet.vocabulary import Label

FUSED = TRAINING.model_copy(update={"fusion": "fitted", "epochs": 2})


def three_folds(folder: Path, count: int = 12) -> Splits:
    subjects = tuple((known := write_subjects(folder / "preprocessed", count)).labels)
    third = count // 3
    return Splits(known.labels, (subjects[:third], subjects[third : 2 * third], subjects[2 * third :]), ())


def trained(folder: Path, splits: Splits, training: TrainingParams = FUSED) -> tuple[list[FoldTask], Fusion]:
    tasks = plan(folder, splits, training=training)
    return tasks, train_and_fuse(tasks, SERIAL)["dose"]


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FoldTask], Fusion]:
    folder = tmp_path_factory.mktemp("fusion")
    return trained(folder, three_folds(folder))


# ---- weights


def slow_loss(weights: tuple[float, float], logits: np.ndarray, is_rice: np.ndarray) -> float:
    """The loss written out: each class counts a half of all, and each weight is about 0.5 +- 0.5."""
    total = 0.0
    for row, rice in zip(logits, is_rice, strict=True):
        p = expit(row @ weights)
        of_class = np.mean(is_rice == rice)
        total -= 0.5 / of_class * np.log(p if rice else 1 - p)
    return total + sum(((w - 0.5) / 0.5) ** 2 / 2 for w in weights)


@pytest.mark.parametrize("seed", range(3))
def test_the_weights_have_the_least_loss_of_all_that_are_not_negative(seed: int) -> None:
    random = np.random.default_rng(seed)
    is_rice = random.random(40) < 0.4
    logits = np.stack([2 * is_rice + random.normal(size=40), random.normal(size=40) - is_rice], axis=1)
    found = non_negative_weights(logits, is_rice)
    grid = np.arange(0, 2.001, 0.02)
    best = min(itertools.product(grid, grid), key=lambda weights: slow_loss(weights, logits, is_rice))
    assert found == pytest.approx(best, abs=0.011)


def test_an_answer_that_says_the_contrary_gets_no_weight() -> None:
    is_rice = np.arange(40) % 2 == 0
    logits = np.where(is_rice, 2.0, -2.0)
    right, wrong = non_negative_weights(np.stack([logits, -logits], axis=1), is_rice)
    assert right > 0.5 and wrong == 0


def test_two_answers_that_say_the_contrary_leave_every_subject_undecided(
    fused: tuple[list[FoldTask], Fusion],
) -> None:
    is_rice = np.arange(60) % 2 == 0
    wrong = np.where(is_rice, -3.0, 3.0)
    weights = non_negative_weights(np.stack([wrong, wrong], axis=1), is_rice)
    assert weights.tolist() == [0, 0]
    fold = fused[1].folds[0].model_copy(update={"network_weight": 0.0, "regression_weight": 0.0})
    groups = input_features(np.zeros((2, 1, CUBE, CUBE, CUBE)), ["dose"])
    assert fold.p_rice(np.array([0.1, 0.9]), groups).tolist() == [0.5, 0.5]


def test_equal_weights_need_no_other_training(tmp_path: Path) -> None:
    equally = TRAINING.model_copy(update={"fusion": "mean", "epochs": 1})
    # two folds are enough
    splits = write_subjects(tmp_path / "preprocessed")
    tasks, fusion = trained(tmp_path, splits, equally)
    assert inner_tasks(tasks) == []
    assert [fold.weights for fold in fusion.folds] == [{"network": 0.5, "regression": 0.5}] * 2
    assert [fold.regression.n for fold in fusion.folds] == [5, 5]


def test_few_subjects_leave_the_weights_near_the_mean_of_both() -> None:
    assert non_negative_weights(np.zeros((4, 2)), np.array([True, False] * 2)) == pytest.approx([0.5, 0.5])


# ---- nothing is fitted to whom it judges


def test_the_inner_trainings_leave_out_every_two_folds(tmp_path: Path) -> None:
    splits = three_folds(tmp_path)
    inner = inner_tasks(plan(tmp_path, splits, training=FUSED))
    assert [(task.fold, task.left_out) for task in inner] == [(0, 1), (0, 2), (1, 2)]
    assert [task.training_subjects for task in inner] == [splits.folds[2], splits.folds[1], splits.folds[0]]
    assert str(inner[0].identity) == "dose, fold 0 without fold 1"
    assert inner_tasks(plan(tmp_path, splits)) == []


def test_whom_a_fold_judges_changes_nothing_of_what_judges_them(
    tmp_path: Path, fused: tuple[list[FoldTask], Fusion]
) -> None:
    # as the fixture's, but for the labels and images of fold 0
    splits = three_folds(tmp_path)
    labels = dict(splits.labels)
    for subject in splits.folds[0]:
        labels[subject] = "recurrence" if labels[subject] == "rice" else "rice"
        values = np.random.default_rng(len(subject)).normal(3, 2, (CUBE,) * 3).astype(np.float32)
        write_volume(values, tmp_path / "preprocessed" / subject, subject, "dose")
    _, other = trained(tmp_path, dataclasses.replace(splits, labels=labels))
    same = [a.model_dump() == b.model_dump() for a, b in zip(other.folds, fused[1].folds, strict=True)]
    # they do change what is fitted to them
    assert same == [True, False, False]


def with_judged(task: FoldTask) -> FoldTask:
    """Trained on one whom it judges."""
    judged = task.validation_subjects[0]
    return dataclasses.replace(task, training_subjects=(*task.training_subjects, judged))


def leak_into_inner(tasks: list[FoldTask]) -> list[FoldTask]:
    """The first fold is what inner trainings are made of."""
    return [with_judged(tasks[0]), *tasks[1:]]


def leak_into_network(tasks: list[FoldTask]) -> list[FoldTask]:
    """None is made of the last."""
    return [*tasks[:-1], with_judged(tasks[-1])]


def leak_into_weights(tasks: list[FoldTask]) -> list[FoldTask]:
    """One subject is judged in two folds, so that the weights of each see it."""
    first, second, *others = tasks
    twice = (*second.validation_subjects, first.validation_subjects[0])
    kept = tuple(s for s in second.training_subjects if s != first.validation_subjects[0])
    return [first, dataclasses.replace(second, training_subjects=kept, validation_subjects=twice), *others]


@pytest.mark.parametrize(
    ("leak", "level"),
    [
        *((leak_into_inner, "an inner training"), (leak_into_network, "the network")),
        (leak_into_weights, "the weights"),
    ],
)
def test_a_planted_leak_is_found(tmp_path: Path, leak, level: str) -> None:
    tasks = leak(plan(tmp_path, three_folds(tmp_path), training=FUSED))
    with pytest.raises(TrainingError, match=f"data leakage: dose, fold .*{level}.*no score is computed"):
        train_and_fuse(tasks, SERIAL)


# ---- where its answers appear


def test_the_answers_are_those_of_both_weighted(fused: tuple[list[FoldTask], Fusion]) -> None:
    tasks, fusion = fused
    for task, fold, rows in zip(tasks, fusion.folds, fusion.predictions, strict=True):
        alone = read_predictions(task.folder / PREDICTIONS)
        assert [row.participant_id for row in rows] == [row.participant_id for row in alone]
        for row, network in zip(rows, alone, strict=True):
            subject = row.participant_id
            volumes = read_volumes(task.preprocessed / subject, subject, ["dose"], task.grid)
            regression = fold.regression.logits(input_features(volumes[None], ["dose"]))[0]
            regression -= np.log(fold.regression.share / (1 - fold.regression.share))
            expected = fold.network_weight * logit(network.p_rice) + fold.regression_weight * regression
            assert row.p_rice == pytest.approx(expit(expected), abs=1e-9)


def test_the_ensemble_answers_as_its_folds_did(tmp_path: Path, fused: tuple[list[FoldTask], Fusion]) -> None:
    tasks, fusion = fused
    lay_out_training(tasks, tmp_path / "training", {"dose": fusion})
    lay_out_ensembles(tasks, tmp_path / "ensembles", "", "", "", PREPROCESSING, {"dose": fusion})
    ensemble = Ensemble.load(tmp_path / "ensembles" / "dose")
    for k, task in enumerate(tasks):
        folder = tmp_path / "training" / "dose" / f"fold-{k}"
        rows = read_predictions(folder / PREDICTIONS)
        volumes = [
            read_volumes(task.preprocessed / r.participant_id, r.participant_id, ["dose"], task.grid)
            for r in rows
        ]
        found = ensemble.predict(torch.from_numpy(np.stack(volumes).astype(np.float32)))[:, k]
        assert found == pytest.approx([row.p_rice for row in rows], abs=1e-6)
        # what is explained and perturbed answers alike
        answering = ensemble.answering(k, {})
        batch = torch.from_numpy(np.stack(volumes).astype(np.float32))
        assert p_rice(predict_logits(answering, batch, 2)).numpy() == pytest.approx(found, abs=1e-6)
        assert read_json(folder / RECORD)["fusion_weights"] == fusion.folds[k].weights


def test_fusion_and_none_are_two_trainings(tmp_path: Path) -> None:
    splits = three_folds(tmp_path)
    assert plan(tmp_path, splits, training=FUSED)[0].key != plan(tmp_path, splits)[0].key


def test_two_folds_are_too_few(tmp_path: Path) -> None:
    tasks = plan(tmp_path, write_subjects(tmp_path / "preprocessed"), training=FUSED)
    with pytest.raises(SplitError, match=r"folds 0 and 1 at once, and 0 subject.* set fusion: mean"):
        inner_tasks(tasks)


def test_two_folds_that_hold_a_label_alone_are_named(tmp_path: Path) -> None:
    splits = three_folds(tmp_path)
    labels: dict[str, Label] = {s: "recurrence" if s in splits.folds[2] else "rice" for s in splits.labels}
    tasks = plan(tmp_path, dataclasses.replace(splits, labels=labels), training=FUSED)
    with pytest.raises(SplitError, match="dose: fusion holds out folds 0 and 1 at once, and 4 subject"):
        inner_tasks(tasks)


# ---- features


def test_the_features_are_those_of_the_volumes_one_by_one() -> None:
    volumes = np.random.default_rng(0).normal(size=(3, 2, 9, 9, 9)).astype(np.float16)
    together = input_features(volumes, ["event", "dose"])
    assert [(g.name, g.values.shape) for g in together] == [
        *(("event intensities", (3, len(INTENSITIES))), ("event convolved", (3, 4 * FILTERS))),
        *(("event finely convolved", (3, 4 * FILTERS)), ("dose intensities", (3, len(INTENSITIES)))),
        *(("dose convolved", (3, 4 * FILTERS)), ("dose finely convolved", (3, 4 * FILTERS))),
    ]
    alone = input_features(volumes[1:2], ["event", "dose"])
    for some, one in zip(together, alone, strict=True):
        assert some.values[1:2] == pytest.approx(one.values, rel=1e-6, abs=1e-6)
    joined = of_all(
        [input_features(volumes[:2], ["event", "dose"]), input_features(volumes[2:], ["event", "dose"])]
    )
    for some, both in zip(together, joined, strict=True):
        assert (some.name, some.features) == (both.name, both.features)
        assert some.values == pytest.approx(both.values, rel=1e-6, abs=1e-6)


def test_intensities_are_what_their_names_say() -> None:
    # a dose of 2 in the middle third, and 0 elsewhere
    dose = np.zeros((1, 1, 9, 9, 9))
    dose[..., 3:6, 3:6, 3:6] = 2
    group: FeatureGroup = input_features(dose, ["dose"])[0]
    values = dict(zip(group.features, group.values[0].tolist(), strict=True))
    share = 27 / 729
    assert values["dose_mean"] == pytest.approx(2 * share)
    assert values["dose_sd"] == pytest.approx(2 * np.sqrt(share * (1 - share)))
    assert (values["dose_max"], values["dose_middle"], values["dose_p50"]) == (2, 2, 0)
    assert values["dose_eud8"] == pytest.approx(2 * share ** (1 / 8))


def test_sets_that_share_a_volume_share_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = np.random.default_rng(7).normal(size=(2, 2, 9, 9, 9)).astype(np.float32)
    both = input_features(volumes, ["event", "dose"])
    monkeypatch.setattr(features_module, "_of_volume", lambda values: pytest.fail("computed again"))
    (alone, *_) = input_features(volumes[:, 1:], ["dose"])
    assert alone.name == "dose intensities" and np.array_equal(alone.values, both[3].values)
    with pytest.raises(pytest.fail.Exception):
        input_features(volumes[:, 1:] + 1, ["dose"])
