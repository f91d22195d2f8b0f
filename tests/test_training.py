"""One fold: what it learns, that it resumes bit for bit, and what it refuses."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from preprocessed_subjects import saved_volumes
from safetensors.torch import load_file
from small_folds import (
    AUGMENTATION,
    NETWORK,
    PREPROCESSING,
    SERIAL,
    TRAINING,
    InterruptAfter,
    Interrupted,
    Recorder,
    elsewhere,
    plan,
    results,
    run_stage,
    write_project,
    write_subjects,
)

from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.network_params import ResNetParams
from ricenet.config.params import AugmentationParams
from ricenet.config.training import TrainingOverride
from ricenet.evaluation.held_out import read_out_of_fold, read_visits_out_of_fold
from ricenet.runtime.errors import FormatError, ScanError, SplitError, TrainingError
from ricenet.runtime.files import write_json
from ricenet.training.cross_validation import lay_out_ensembles, lay_out_training, summary, train_folds
from ricenet.training.ensemble import Ensemble
from ricenet.training.fold import train_fold
from ricenet.training.history import EpochMetrics, read_history, write_history
from ricenet.training.predictions import Prediction, macro_f1, read_predictions, write_predictions
from ricenet.training.sampler import draw_epoch, in_batches, occurrences
from ricenet.training.task import CHECKPOINT, HISTORY, PREDICTIONS, RECORD, WEIGHTS, FoldTask
from ricenet.vocabulary import PAPER_VOLUMES, Label, Volumes, VolumeSpec


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return write_subjects(tmp_path / "preprocessed")


@pytest.fixture
def task(tmp_path: Path, splits: Splits) -> FoldTask:
    return plan(tmp_path, splits)[0]


# ---- a fold


def test_a_plain_difference_of_dose_is_learnt(tmp_path: Path) -> None:
    """Judged by ranks and medians: the statistics of ten subjects are unsteady, and single epochs jump."""
    splits = write_subjects(tmp_path / "preprocessed", 20)
    settings = TRAINING.model_copy(update={"epochs": 40, "batch_size": 10, "checkpoint_every_epochs": 40})
    plainly = AugmentationParams.model_validate({**AUGMENTATION.model_dump(), "probability": 0.0})
    for task in plan(tmp_path, splits, training=settings, augmentation=plainly, seed=3):
        train_fold(task)
        p_rice = {
            label: [row.p_rice for row in read_predictions(task.folder / PREDICTIONS) if row.label == label]
            for label in ("rice", "recurrence")
        }
        assert min(p_rice["rice"]) > max(p_rice["recurrence"])
        losses = [epoch.train_loss for epoch in read_history(task.folder / HISTORY)]
        assert np.median(losses[-10:]) < 0.75 * np.median(losses[:10])


def test_the_predictions_are_those_of_the_last_epochs_weights(task: FoldTask) -> None:
    from ricenet.training.networks import build_network

    train_fold(task)
    network = build_network(NETWORK, channels=1).eval()
    network.load_state_dict(load_file(task.folder / WEIGHTS))
    rows = read_predictions(task.folder / PREDICTIONS)
    assert tuple(row.participant_id for row in rows) == task.validation_subjects
    for row in rows:
        volumes = saved_volumes(task.preprocessed / row.participant_id, ["dose"]).astype(np.float32)
        with torch.no_grad():
            expected = torch.softmax(network(torch.from_numpy(volumes)[None]), 1)[0, 1].item()
        assert row.p_rice == pytest.approx(expected, abs=1e-5)
    labels = [row.label for row in rows]
    last = read_history(task.folder / HISTORY)[-1]
    assert last.validation_macro_f1 == macro_f1(labels, np.array([row.p_rice for row in rows]))


@pytest.mark.parametrize(("every", "interrupted", "resumed"), [(1, 1, 2), (1, 3, 4), (2, 3, 3)])
def test_an_interrupted_training_goes_on_from_its_checkpoint_and_ends_bit_for_bit_as_a_whole_one(
    task: FoldTask, every: int, interrupted: int, resumed: int
) -> None:
    settings = TRAINING.model_copy(update={"checkpoint_every_epochs": every})
    whole = elsewhere(task, "whole")
    broken = dataclasses.replace(elsewhere(task, "broken"), training=settings)
    train_fold(whole)
    with pytest.raises(Interrupted):
        train_fold(broken, InterruptAfter(interrupted))
    recorder = Recorder()
    train_fold(broken, recorder)
    assert [seen[1] for seen in recorder.seen] == list(range(resumed, 5))
    assert results(broken) == results(whole)
    assert not (broken.folder / CHECKPOINT).exists()


def test_a_finished_fold_is_not_trained_again(task: FoldTask) -> None:
    train_fold(task)
    before = (task.folder / WEIGHTS).stat().st_mtime_ns
    recorder = Recorder()
    train_fold(task, recorder)
    assert recorder.seen == []
    assert (task.folder / WEIGHTS).stat().st_mtime_ns == before


def test_the_observer_hears_every_epoch_and_the_end(task: FoldTask) -> None:
    recorder = Recorder()
    train_fold(task, recorder)
    assert [(who, epoch) for who, epoch, _ in recorder.seen] == [("dose, fold 0", k) for k in (1, 2, 3, 4)]
    assert recorder.finished == [[metrics for *_, metrics in recorder.seen]]
    assert read_history(task.folder / HISTORY) == recorder.finished[0]


def test_a_loss_that_is_not_finite_names_set_fold_epoch_and_subjects(task: FoldTask) -> None:
    wild = dataclasses.replace(task, training=TRAINING.model_copy(update={"learning_rate": 1e38}))
    with pytest.raises(
        TrainingError, match=r"dose, fold 0, epoch 1: the \w+ loss is \w+ for subjects sub-00\d, "
    ):
        train_fold(wild)
    assert not wild.is_finished


# ---- the key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"fold": 1},
        {"modality_set": "event"},
        {"training": TRAINING.model_copy(update={"learning_rate": 2e-2})},
        {"augmentation": AUGMENTATION.model_copy(update={"gamma": 0.1})},
        {"network": ResNetParams(widen_factor=0.05, stem_stride=1)},
        {"code": "other"},
        {"subject_keys": {f"sub-{k:03d}": "other" for k in range(10)}},
        {"labels": {f"sub-{k:03d}": "rice" for k in range(10)}},
        {"training_subjects": ("sub-005", "sub-006", "sub-007", "sub-008")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_result_changes_the_key(task: FoldTask, change: dict[str, object]) -> None:
    assert dataclasses.replace(task, **change).key != task.key  # type: ignore[arg-type]


def test_what_does_not_change_the_result_does_not_change_the_key(task: FoldTask) -> None:
    often = TRAINING.model_copy(update={"checkpoint_every_epochs": 3})
    assert dataclasses.replace(task, training=often, store=Path("x"), preprocessed=Path("y")).key == task.key
    stranger = {**task.subject_keys, "sub-999": "unused"}
    assert dataclasses.replace(task, subject_keys=stranger).key == task.key


def test_an_override_retrains_its_set_alone(tmp_path: Path, splits: Splits) -> None:
    overrides = {"event": TrainingOverride(epochs=9)}
    overridden = TRAINING.model_copy(update={"overrides": overrides})
    before = plan(tmp_path, splits, ["dose", "event"])
    after = plan(tmp_path, splits, ["dose", "event"], training=overridden)
    same = [task.key == old.key for task, old in zip(after, before, strict=True)]
    assert same == [True, True, False, False]


# ---- declared volumes

FLAIR = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR", required=False)
FOUR = Volumes([*PAPER_VOLUMES, FLAIR])


def test_subjects_without_an_optional_volume_are_excluded_from_the_sets_that_need_it(
    tmp_path: Path, splits: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = {"sub-001": {"flair"}, "sub-007": {"flair"}}
    with caplog.at_level(logging.INFO):
        dose, _, first, second = plan(tmp_path, splits, ["dose", "dose+flair"], volumes=FOUR, lacking=lacking)
    assert "dose+flair: 2 subject(s) without all volumes excluded: sub-001, sub-007" in caplog.text
    assert (dose.validation_subjects, dose.excluded) == (splits.folds[0], ())
    for fold, task in enumerate((first, second)):
        assert task.excluded == ("sub-001", "sub-007")
        kept = [s for s in splits.folds[fold] if s not in task.excluded]
        assert list(task.validation_subjects) == kept
        assert task.record["excluded_subjects"] == ["sub-001", "sub-007"]
    # an MRI more has draws of its own, so all sets are trained anew
    assert dose.key != plan(tmp_path, splits, ["dose"])[0].key


@pytest.mark.parametrize(
    "lacking",
    [["sub-000", "sub-001", "sub-002", "sub-003", "sub-004"], ["sub-005", "sub-007", "sub-009"]],
    ids=["nobody is left to validate", "no training subject with RICE"],
)
def test_a_set_that_leaves_a_fold_without_subjects_is_refused(
    tmp_path: Path, splits: Splits, lacking: list[str]
) -> None:
    with pytest.raises(SplitError, match=r"flair, fold 0: once \d subject\(s\) that lack a volume"):
        plan(tmp_path, splits, ["flair"], volumes=FOUR, lacking={s: {"flair"} for s in lacking})


def test_a_result_of_an_earlier_version_is_refused_with_what_to_do(task: FoldTask) -> None:
    write_json(task.folder / RECORD, {"modality_set": "dose"})
    with pytest.raises(
        FormatError, match=r"fold.json is of format 1, .*made by an earlier .*\. Move it away"
    ):
        assert task.record


# ---- sampling and predictions


METRICS = EpochMetrics(0.1, 1 / 3, 0.5, 0.25)


def test_the_sampler_balances_the_classes() -> None:
    labels: list[Label] = ["recurrence", "recurrence", "recurrence", "rice"] * 5000
    drawn = Counter(labels[k] for k in draw_epoch(labels, np.random.default_rng(0)))
    assert drawn.total() == 20000
    # binomial SD 0.0035
    assert drawn["rice"] / 20000 == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (3, [3]), (5, [5]), (1, [1])]
)
def test_no_batch_of_one_is_left(count: int, sizes: list[int]) -> None:
    batches = in_batches(np.arange(count), 4)
    assert [len(batch) for batch in batches] == sizes
    assert np.concatenate(batches).tolist() == list(range(count))


def test_repeats_of_a_subject_are_counted() -> None:
    assert occurrences(np.array([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]


def test_macro_f1_is_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    draws = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        rice, p_rice = draws.random(9) < share, draws.random(9)
        labels = ["rice" if is_rice else "recurrence" for is_rice in rice]
        expected = f1_score(rice, p_rice >= 0.5, labels=[False, True], average="macro", zero_division=0)
        assert macro_f1(labels, p_rice) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_by_hand() -> None:
    # RICE: one of two calls is right and one is missed: 1/2. Recurrence: two of three are found, and one
    # call is wrong: 2/3
    labels: list[Label] = ["rice", "rice", "recurrence", "recurrence", "recurrence"]
    assert macro_f1(labels, np.array([0.9, 0.2, 0.7, 0.1, 0.3])) == pytest.approx((1 / 2 + 2 / 3) / 2)
    # a label that neither occurs nor is predicted counts 0
    assert macro_f1(["rice"], np.array([0.9])) == 0.5


def test_one_half_is_called_rice() -> None:
    assert macro_f1(["rice", "recurrence"], np.array([0.5, 0.49999])) == 1.0


def test_tables_keep_every_digit(tmp_path: Path) -> None:
    write_history([METRICS, METRICS], tmp_path / "history.csv")
    assert read_history(tmp_path / "history.csv") == [METRICS, METRICS]
    header = "epoch,train_loss,train_macro_f1,validation_loss,validation_macro_f1"
    assert (tmp_path / "history.csv").read_text().splitlines()[:1] == [header]
    rows = [Prediction("sub-001", "rice", 2, 1 / 3)]
    write_predictions(rows, tmp_path / "predictions.tsv")
    assert read_predictions(tmp_path / "predictions.tsv") == rows
    assert (tmp_path / "predictions.tsv").read_text().startswith("participant_id\tlabel\tfold\tp_rice\n")


# ---- all folds


def test_all_folds_of_all_sets_are_laid_out(tmp_path: Path, splits: Splits) -> None:
    short = TRAINING.model_copy(update={"epochs": 1})
    tasks = plan(tmp_path, splits, ["dose", "post_op+event"], training=short)
    train_folds(tasks, SERIAL)
    lay_out_training(tasks, tmp_path / "training")
    digests = ("data", "preprocessing", splits.digest)
    lay_out_ensembles(tasks, tmp_path / "ensembles", *digests, PREPROCESSING)
    for task in tasks:
        folder = tmp_path / "training" / task.modality_set / f"fold-{task.fold}"
        assert sorted(path.name for path in folder.iterdir()) == [
            "fold.json",
            "history.csv",
            "predictions.tsv",
        ]
    for modality_set in ("dose", "post_op+event"):
        record = Ensemble.load(tmp_path / "ensembles" / modality_set).record
        assert record.fold_keys == tuple(t.key for t in tasks if t.modality_set == modality_set)
        assert (record.data_digest, record.splits_digest) == ("data", splits.digest)
    assert summary(tasks).startswith("validation macro-F1: dose 0.")


def test_sets_no_longer_trained_disappear_from_the_outputs(tmp_path: Path, splits: Splits) -> None:
    short = TRAINING.model_copy(update={"epochs": 1})
    for modality_sets in (["dose", "event"], ["event"]):
        tasks = plan(tmp_path, splits, modality_sets, training=short)
        train_folds(tasks, SERIAL)
        lay_out_training(tasks, tmp_path / "training")
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["event"]


def test_one_faulty_subject_fails_every_fold_by_name_and_the_others_are_kept(
    tmp_path: Path, splits: Splits
) -> None:
    volumes = np.load(tmp_path / "preprocessed" / "sub-000" / "post_op.npy")
    volumes[0, 0, 0] = np.nan
    np.save(tmp_path / "preprocessed" / "sub-000" / "post_op.npy", volumes)
    short = TRAINING.model_copy(update={"epochs": 1})
    tasks = plan(tmp_path, splits, ["post_op", "dose"], training=short)
    recorder = Recorder()
    with pytest.raises(TrainingError, match=r"2 of 4 folds failed \(2 are kept\)") as caught:
        train_folds(tasks, SERIAL, recorder)
    assert recorder.failed == ["post_op, fold 0", "post_op, fold 1"]
    assert len(recorder.finished) == 2
    assert "post_op, fold 1: sub-000: post_op.npy: 1 voxel(s) are not finite" in str(caught.value)
    assert [task.is_finished for task in tasks] == [False, False, True, True]


def test_a_subject_that_is_not_preprocessed_is_named(tmp_path: Path, splits: Splits) -> None:
    with pytest.raises(ScanError, match="sub-000: volumes: not preprocessed"):
        plan(tmp_path, splits, subject_keys={})


def test_all_labelled_visits_are_trained_on_and_judged_in_their_patients_fold(tmp_path: Path) -> None:
    firsts = write_subjects(tmp_path / "preprocessed")
    later: dict[str, dict[str, Label]] = {}
    for subject, label in [*firsts.labels.items()][2:8]:
        name = f"{subject}v2"
        shutil.copytree(tmp_path / "preprocessed" / subject, tmp_path / "preprocessed" / name)
        later[subject] = {name: label}
    splits = dataclasses.replace(firsts, later=later)
    keys = {name: f"volumes of {name}" for name in splits.visits_of(splits.development)}
    tasks = plan(tmp_path, splits, subject_keys=keys)
    assert [len(task.training_subjects) for task in tasks] == [8, 8]
    train_folds(tasks, SERIAL)
    lay_out_training(tasks, tmp_path / "training")
    by_visit = read_visits_out_of_fold(tmp_path / "training", "dose", splits)
    fold_of = {p.participant_id: p.fold for p in by_visit}
    assert fold_of.keys() == keys.keys()
    assert all(fold_of[s] == fold_of[s.removesuffix("v2")] for s in fold_of)
    # what statistics see is one visit a patient
    assert [p.participant_id for p in read_out_of_fold(tmp_path / "training", "dose", splits)] == [
        *firsts.labels
    ]


# ---- the stages


def test_the_stages_write_what_the_next_ones_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_project(tmp_path, split={"folds": 2, "test_fraction": 0.3})
    write_json(tmp_path / "work/tuning/best.json", {})
    monkeypatch.chdir(tmp_path)
    for stage in ("split", "train"):
        run_stage(stage)
    reported = capsys.readouterr().err
    assert "8 subjects in 2 folds, 4 in the test set" in reported
    assert "validation macro-F1: dose 0." in reported
    record = Ensemble.load(tmp_path / "models/ensembles/dose").record
    splits = read_splits(tmp_path / "work/splits/splits.json")
    assert record.splits_digest == splits.digest
    assert (record.data_digest, record.preprocessing_digest) == (cohort.digest, "volumes")
    rows = read_predictions(tmp_path / "work/training/dose/fold-1/predictions.tsv")
    assert tuple(row.participant_id for row in rows) == splits.validation_subjects(1)
