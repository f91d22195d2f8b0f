"""A search goes on after interrupts and kills, on several workers, without repeating what it has done."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from optuna.trial import TrialState
from small_searches import (
    PARAMS,
    SERIAL,
    TWO,
    InterruptedOnce,
    KilledOnce,
    Scores,
    no_waiting_for_the_disk,
    small_search,
    states_of,
    trials_of,
)

from ricenet.training.task import FoldTask
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.searching import search_settings
from ricenet.training.tuning.study import open_study, queue_again
from ricenet.training.tuning.trial_records import FoldScore


@pytest.fixture(autouse=True, scope="module")
def hurry() -> Iterator[None]:
    with no_waiting_for_the_disk():
        yield


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(tmp_path / "calls.txt")


def test_a_search_goes_on_where_it_stopped_and_repeats_nothing(tmp_path: Path, scores: Scores) -> None:
    search_settings([small_search(tmp_path, trials=3)], SERIAL, score_fold=scores)
    search = small_search(tmp_path, trials=7)
    search_settings([search], SERIAL, score_fold=scores)
    assert states_of(search) == ["complete"] * 7
    assert len(set(scores.scored)) == len(scores.scored) == 7 * 4
    # and it is where it would be, had it never stopped
    whole = small_search(tmp_path / "whole", trials=7)
    search_settings([whole], SERIAL, score_fold=scores)
    assert [t.values for t in trials_of(whole)] == [t.values for t in trials_of(search)]


def test_a_search_that_is_over_is_not_begun_again(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=2)
    search_settings([search], SERIAL, score_fold=scores)
    before = scores.scored
    search_settings([search], SERIAL, score_fold=scores)
    assert scores.scored == before


def test_ctrl_c_in_mid_trial_loses_no_values(tmp_path: Path) -> None:
    scores = InterruptedOnce(tmp_path / "calls.txt", at_call=6)
    search = small_search(tmp_path, trials=3)
    with pytest.raises(KeyboardInterrupt):
        search_settings([search], SERIAL, score_fold=scores)
    search_settings([search], SERIAL, score_fold=scores)
    trials = trials_of(search)
    assert [trial.state for trial in trials] == ["complete", "interrupted", "complete", "complete"]
    assert trials[2].values == trials[1].values


def test_a_trial_whose_process_is_killed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ricenet.training.tuning.storage.GRACE", 1)
    scores = KilledOnce(tmp_path / "calls.txt", at_call=6)
    search = small_search(tmp_path, trials=3)
    process = multiprocessing.get_context("spawn").Process(
        target=search_settings, args=([search], SERIAL, None, scores)
    )
    process.start()
    process.join()
    assert process.exitcode == -9
    assert states_of(search) == ["complete", "running"]
    search_settings([search], SERIAL, score_fold=scores)
    trials = trials_of(search)
    assert Counter(trial.state for trial in trials) == {"complete": 3, "interrupted": 1}
    killed = trials[1]
    assert killed.state == "interrupted"
    assert killed.values in [trial.values for trial in trials if trial.state == "complete"]


def test_a_process_that_dies_before_its_first_heartbeat_is_not_waited_for(
    tmp_path: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ricenet.training.tuning.study.GRACE", 0)
    search = small_search(tmp_path, trials=2)
    with pytest.warns(UserWarning, match="Heartbeat"):
        open_study(search).ask()  # what a kill at that moment leaves: a running trial, and no heartbeat
    search_settings([search], SERIAL, score_fold=scores)
    assert states_of(search) == ["interrupted", "complete", "complete"]
    assert trials_of(search)[1].values == {"training.learning_rate": PARAMS.training.learning_rate}


@dataclass(frozen=True)
class TakenForDead(Scores):
    """Stands still at its second fold for so long that another worker queues its values again."""

    search: Search

    def score(self, task: FoldTask) -> FoldScore:
        if len(self.scored) == 2:
            study = open_study(self.search)
            queue_again(study, study.tell(0, state=TrialState.FAIL))
        return super().score(task)


def test_a_trial_that_others_took_for_dead_is_left_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = small_search(tmp_path, trials=2)
    search_settings([search], SERIAL, score_fold=TakenForDead(tmp_path / "calls.txt", search))
    assert states_of(search) == ["interrupted", "complete", "complete"]
    assert "trial 0 went to another worker" in caplog.text


def test_two_workers_share_a_study_and_never_draw_the_same(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=8, heartbeat_s=60)
    search_settings([search], TWO, score_fold=scores)
    assert states_of(search) == ["complete"] * 8
    assert len(set(scores.rates)) == 8


def test_values_that_come_up_again_are_not_trained_again(tmp_path: Path, scores: Scores) -> None:
    search = small_search(tmp_path, trials=6, ranges={"training.batch_size": (15.0, 16.0)})
    search_settings([search], SERIAL, score_fold=scores)
    assert states_of(search) == ["complete"] * 6
    assert len(scores.scored) == 2 * 4
