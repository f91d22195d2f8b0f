"""A search: what it tries, what counts as best, what it stops, and which folds it keeps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from small_searches import (
    PARAMS,
    SERIAL,
    NotFinite,
    Scores,
    Ties,
    leave_fold,
    no_waiting_for_the_disk,
    small_search,
    states_of,
    trials_of,
)

from ricenet.runtime.errors import TrainingError
from ricenet.runtime.files import read_json
from ricenet.training.predictions import Prediction
from ricenet.training.task import FoldTask
from ricenet.training.tuning.searching import search_settings
from ricenet.training.tuning.study import best_trial, open_study
from ricenet.training.tuning.trial_records import (
    FoldScore,
    StudyRecord,
    TrialRecord,
    merit,
    read_trials,
    score_of,
    write_trials,
)


@pytest.fixture(autouse=True, scope="module")
def hurry() -> Iterator[None]:
    with no_waiting_for_the_disk():
        yield


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(tmp_path / "calls.txt")


# ---- what is searched


def test_the_first_trial_has_the_settings_of_the_parameter_file(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=3)
    search_settings([search], SERIAL, score_fold=scores)
    first, *others = trials_of(search)
    assert first.values == {"training.learning_rate": PARAMS.training.learning_rate}
    assert all(1e-4 <= trial.values["training.learning_rate"] <= 1e-1 for trial in others)


def test_settings_beyond_the_space_are_not_tried_and_named(
    tmp_path: Path, scores: Scores, caplog: pytest.LogCaptureFixture
) -> None:
    search = small_search(tmp_path, trials=1, ranges={"training.learning_rate": (1e-2, 1e-1)})
    search_settings([search], SERIAL, score_fold=scores)
    assert scores.rates[0] >= 1e-2
    assert "beyond tuning.space: training.learning_rate (0.0005)" in caplog.text


def test_batch_sizes_are_whole_and_rates_are_drawn_by_their_logarithm(tmp_path: Path, scores: Scores) -> None:
    ranges = {"training.learning_rate": (1e-6, 1e-1), "training.batch_size": (4.0, 16.0)}
    # so many that the draws, which follow from the code's digest too, hardly ever miss
    search = small_search(tmp_path, trials=30, ranges=ranges)
    search_settings([search], SERIAL, score_fold=scores)
    drawn = [trial.values for trial in trials_of(search)]
    assert all(isinstance(values["training.batch_size"], int) for values in drawn)
    # uniformly, one in a thousand would lie below 1e-4
    assert sum(values["training.learning_rate"] < 1e-4 for values in drawn) >= 3


def test_the_best_trial_has_the_highest_mean_macro_f1(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=12)
    search_settings([search], SERIAL, score_fold=scores)
    best = best_trial(open_study(search))
    assert best is not None
    assert best.params["training.learning_rate"] == min(scores.rates, key=lambda r: abs(math.log10(r) + 2))


def test_the_log_loss_decides_among_equal_macro_f1(tmp_path: Path) -> None:
    ties = Ties(tmp_path / "calls.txt")
    search = small_search(tmp_path, trials=8)
    search_settings([search], SERIAL, score_fold=ties)
    best = best_trial(open_study(search))
    assert best is not None
    assert best.params["training.learning_rate"] == min(ties.rates, key=lambda r: abs(math.log10(r) + 2))


def test_no_log_loss_outweighs_a_difference_of_macro_f1() -> None:
    # one subject more among thousands, against the worst log-loss there is
    better, worse = FoldScore(0.5 + 1e-6, 1e9), FoldScore(0.5, 0.0)
    assert merit([better]) > merit([worse])
    assert merit([FoldScore(0.5, 0.6)]) > merit([FoldScore(0.5, 0.7)])


def test_the_score_of_a_fold_is_that_of_its_predictions() -> None:
    predictions = [
        Prediction("sub-001", "rice", 0, 0.8),
        Prediction("sub-002", "recurrence", 0, 0.4),
        Prediction("sub-003", "recurrence", 0, 1.0),
    ]
    score = score_of(predictions)
    # rice: one of two calls is right, none missed: 2/3; recurrence: one of two found: 2/3
    assert score.macro_f1 == pytest.approx(2 / 3)
    # a certain and wrong prediction counts as one of 1e-7
    assert score.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.6) + math.log(1e-7)) / 3)


# ---- stopping early, and failing


@pytest.mark.parametrize(("pruner", "trials"), [("wilcoxon", 12), ("median", 16)])
def test_losing_trials_stop_before_their_last_fold(
    tmp_path: Path, scores: Scores, pruner: str, trials: int
) -> None:
    search = small_search(tmp_path, trials=trials, pruner=pruner)
    search_settings([search], SERIAL, score_fold=scores)
    found = trials_of(search)
    pruned = [trial for trial in found if trial.state == "pruned"]
    complete = [trial for trial in found if trial.state == "complete"]
    assert pruned and len(pruned) + len(complete) == trials
    assert all(len(trial.scores) < 4 for trial in pruned)
    assert all(len(trial.scores) == 4 for trial in complete)
    if pruner == "wilcoxon":
        assert {len(trial.scores) for trial in pruned} == {3}
    best = best_trial(open_study(search))
    assert best is not None and best.number in {trial.number for trial in complete}


def test_trials_that_tie_in_macro_f1_are_not_stopped(tmp_path: Path) -> None:
    search = small_search(tmp_path, trials=6, pruner="wilcoxon")
    search_settings([search], SERIAL, score_fold=Ties(tmp_path / "calls.txt"))
    assert states_of(search) == ["complete"] * 6


def test_a_trial_that_cannot_be_trained_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    search = small_search(tmp_path, trials=4)
    search_settings([search], SERIAL, score_fold=NotFinite(tmp_path / "calls.txt", limit=4e-3))
    trials = trials_of(search)
    failed = [trial for trial in trials if trial.state == "failed"]
    assert failed and Counter(trial.state for trial in trials)["complete"] == 4
    assert all("the training loss is nan" in (trial.reason or "") for trial in failed)
    assert all(trial.values["training.learning_rate"] > 4e-3 for trial in failed)


def test_where_nothing_can_be_trained_the_commonest_reason_is_reported(tmp_path: Path) -> None:
    search = small_search(tmp_path, trials=2)
    with pytest.raises(
        TrainingError,
        match=r"none of 2 trials could be trained, 2 of them for such a reason: dose, fold 0, epoch 3: the "
        r"training loss is nan at 0.0005. Narrow tuning.space",
    ):
        search_settings([search], SERIAL, score_fold=NotFinite(tmp_path / "calls.txt", limit=0))


@dataclass(frozen=True)
class DiskFull(Scores):
    def score(self, task: FoldTask) -> FoldScore:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stops_the_search_and_costs_no_values(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=2)
    with pytest.raises(
        TrainingError, match=r"tuning stopped \(trials .*goes on.*:\n  - the disk is full: make"
    ):
        search_settings([search], SERIAL, score_fold=DiskFull(tmp_path / "calls.txt"))
    search_settings([search], SERIAL, score_fold=scores)
    assert states_of(search) == ["interrupted", "complete", "complete"]


# ---- the folds that trials train


def stored(search_folder: Path) -> set[str]:
    return {path.name for path in (search_folder / "folds").iterdir() if len(path.name) == 64}


def test_only_the_best_trials_folds_stay_and_are_those_that_training_asks_for(
    tmp_path: Path, scores: Scores
) -> None:
    search = small_search(tmp_path, trials=6)
    search_settings([search], SERIAL, score_fold=scores)
    best = best_trial(open_study(search))
    assert best is not None
    keys = {task.key for task in search.with_values(best.params)}
    assert stored(tmp_path) == keys
    assert keys <= set(read_json(tmp_path / "folds/in_use.json"))


def test_folds_that_were_there_before_stay(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=6)
    earlier = {task.key for task in search.tasks}
    for task in search.tasks:
        leave_fold(task)
    search_settings([search], SERIAL, score_fold=scores)
    assert earlier < stored(tmp_path)


def test_folds_that_training_will_not_ask_for_all_go(tmp_path: Path, scores: Scores) -> None:
    search = replace(small_search(tmp_path), keeps_folds=False)
    search_settings([search], SERIAL, score_fold=scores)
    assert stored(tmp_path) == set()


# ---- what a study is


def test_another_cohort_or_space_is_another_study_and_more_trials_are_not(tmp_path: Path) -> None:
    search = small_search(tmp_path)
    key = search.study.key
    more = replace(search, trials=80, pruner="median")
    assert more.study.key == key
    rate = search.tasks[0].training.model_copy(update={"learning_rate": 1e-3})
    assert replace(search, tasks=tuple(replace(t, training=rate) for t in search.tasks)).study.key == key
    epochs = search.tasks[0].training.model_copy(update={"epochs": 3})
    others = [
        replace(search, ranges={"training.learning_rate": (1e-4, 1e-2)}),
        replace(search, tasks=search.tasks[:3]),
        replace(search, tasks=tuple(replace(task, code="other code") for task in search.tasks)),
        replace(search, tasks=tuple(replace(task, training=epochs) for task in search.tasks)),
    ]
    assert len({key, *(other.study.key for other in others)}) == 5


def test_trials_are_read_as_they_were_written(tmp_path: Path) -> None:
    ranges = {"training.learning_rate": (1e-4, 1e-1), "training.batch_size": (4.0, 16.0)}
    study = StudyRecord("k" * 64, "dose", None, 2, 3, "none", ranges)
    trials = [
        TrialRecord(
            0,
            "complete",
            {"training.learning_rate": 1 / 3e3, "training.batch_size": 7},
            (FoldScore(1 / 3, 0.7), FoldScore(0.0, 2 / 3)),
            1.5,
        ),
        TrialRecord(
            1,
            "failed",
            {"training.learning_rate": 1e-05, "training.batch_size": 4},
            (),
            0.25,
            'a "reason",\nand more',
        ),
        TrialRecord(2, "waiting", {}),
    ]
    write_trials(trials, study, tmp_path / "trials.csv")
    assert read_trials(tmp_path / "trials.csv", study) == trials
