"""How many folds train at a time: from hand-made costs, and measured for real."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pynvml
import pytest
import torch
from small_folds import TRAINING, plan, write_subjects

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import Outcome
from ricenet.runtime.files import read_json
from ricenet.training import concurrency
from ricenet.training.concurrency import MEASURED, Costs, Sizing, best_sizing, measure_costs, sized
from ricenet.training.one_training import first_network
from ricenet.training.task import FoldTask

GB = 10**9
AUTO = ExecutionParams(backend="processes", workers="auto", threads_per_worker="auto")


def sizing(task: FoldTask, execution: ExecutionParams = AUTO) -> Sizing:
    found = sized(execution, task)
    assert isinstance(found.workers, int) and isinstance(found.threads_per_worker, int)
    return Sizing(found.workers, found.threads_per_worker)


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return plan(tmp_path, write_subjects(tmp_path / "preprocessed"))[0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # a second thread makes a step 1.5 times as fast, a second fold makes two of them
        ({1: 3.0, 2: 2.0}, Sizing(2, 1)),
        ({1: 3.0, 2: 1.4}, Sizing(1, 2)),
        # equal: fewer folds at once take less memory
        ({1: 3.0, 2: 1.5}, Sizing(1, 2)),
        # only all cores were tried, since that took long
        ({2: 40.0}, Sizing(1, 2)),
    ],
)
def test_the_sizing_of_most_folds_an_hour_is_taken(seconds: dict[int, float], expected: Sizing) -> None:
    assert best_sizing(Costs(seconds, GB), cores=2, free_bytes=100 * GB) == expected


def test_memory_limits_how_many_folds_train_at_once() -> None:
    costs = Costs({1: 8.0, 2: 6.0, 4: 5.0, 8: 4.9}, 10 * GB)
    assert best_sizing(costs, cores=8, free_bytes=100 * GB) == Sizing(8, 1)
    # three of one thread make 3/8 steps a second, two of four threads 2/5
    assert best_sizing(costs, cores=8, free_bytes=35 * GB) == Sizing(3, 2)
    assert best_sizing(costs, cores=8, free_bytes=GB) == Sizing(1, 8)


@pytest.mark.parametrize(
    ("busy", "gpu_bytes", "expected"),
    [
        (1.0, 80 * GB, Sizing(1, 8)),
        (0.34, 80 * GB, Sizing(3, 2)),
        (0.34, 25 * GB, Sizing(2, 4)),
        (0.34, 5 * GB, Sizing(1, 8)),
        # a GPU that is hardly busy is shared by no more folds than there are cores
        (0.0, 200 * GB, Sizing(8, 1)),
    ],
)
def test_folds_share_a_gpu_until_it_is_busy_or_full(busy: float, gpu_bytes: int, expected: Sizing) -> None:
    costs = Costs({8: 0.1}, 10 * GB, busy, gpu_bytes)
    assert best_sizing(costs, cores=8, free_bytes=100 * GB) == expected


def test_every_gpu_gets_its_folds_as_far_as_cores_and_memory_reach() -> None:
    costs = Costs({16: 0.1}, 10 * GB, busy=0.5, gpu_bytes=80 * GB, gpus=4)
    assert best_sizing(costs, cores=16, free_bytes=100 * GB) == Sizing(8, 2)
    assert best_sizing(costs, cores=6, free_bytes=100 * GB) == Sizing(6, 1)
    assert best_sizing(costs, cores=16, free_bytes=13 * GB) == Sizing(3, 5)


def test_a_share_of_a_gpu_that_does_not_tell_is_taken_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr("torch.cuda.utilization", refuse)
    assert concurrency._busy("cuda:0") == 1.0


def test_volumes_that_wait_in_memory_count(task: FoldTask) -> None:
    # ten subjects, one channel of 8 cubed, two bytes a voxel
    assert concurrency._volume_bytes([task]) == 10 * 8**3 * 2
    streamed = dataclasses.replace(task, training=TRAINING.model_copy(update={"memory": "streamed"}))
    assert concurrency._volume_bytes([streamed]) == 0


def test_in_step_every_volume_that_one_of_them_sees_waits_in_memory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("dose", "post_op+dose", "event+dose")
    tasks = plan(tmp_path, write_subjects(tmp_path / "preprocessed"), sets)
    group = [next(task for task in tasks if task.modality_set == name) for name in sets]
    # three channels together, two of the largest set
    assert concurrency._volume_bytes(group) == 3 * 10 * 8**3 * 2
    costs = Costs({1: 1.0}, GB, state_bytes=1000)
    seen: list[Costs] = []

    def best(costs: Costs, cores: int, free_bytes: int) -> Sizing:
        seen.append(costs)
        return Sizing(1, 1)

    monkeypatch.setattr(concurrency, "_known_costs", lambda task: costs)
    monkeypatch.setattr(concurrency, "best_sizing", best)
    sized(AUTO, group[1], [group])
    sized(AUTO, group[1])
    one_channel = 10 * 8**3 * 2
    assert [found.memory_bytes - GB for found in seen] == [2 * 1000 + one_channel, 0]


def test_networks_that_train_in_step_wait_in_memory_beside_the_one_at_work() -> None:
    one = Costs({1: 1.0}, 10 * GB, state_bytes=GB)
    assert one.of_several(1) == one
    assert one.of_several(7).memory_bytes == 16 * GB


def test_a_few_steps_are_measured_and_leave_nothing_behind(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # however slow the machine is
    monkeypatch.setattr(concurrency, "_LONG_S", 1e6)
    costs = measure_costs(task)
    assert 1 in costs.seconds
    assert all(seconds > 0 for seconds in costs.seconds.values())
    assert costs.memory_bytes > 10**8
    # weights, gradient and two moments, four bytes each
    weights = sum(parameter.numel() for parameter in first_network(task).parameters())
    assert costs.state_bytes == 16 * weights
    assert not task.folder.exists()


def test_long_steps_are_measured_once(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "usable_cores", lambda: 4)
    monkeypatch.setattr(concurrency, "_LONG_S", 0.0)
    threads = torch.get_num_threads()
    assert list(measure_costs(task).seconds) == [4]
    # sums of another number of threads are rounded otherwise: what follows in this process would not repeat
    assert torch.get_num_threads() == threads


def measured(monkeypatch: pytest.MonkeyPatch, costs: Costs) -> list[int]:
    """Let a measurement find these costs; returns a list that grows with each measurement."""
    times: list[int] = []

    def measure(*_: object) -> list[Outcome[FoldTask, Costs]]:
        times.append(1)
        return [Outcome(None, costs)]  # type: ignore[arg-type]

    monkeypatch.setattr(concurrency, "run_tasks", measure)
    monkeypatch.setattr(concurrency, "usable_cores", lambda: 4)
    return times


def test_a_kind_of_network_is_measured_once_on_a_machine(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = measured(monkeypatch, Costs({4: 1.0, 1: 2.0}, GB))
    with caplog.at_level(logging.INFO):
        assert sizing(task) == sizing(task) == Sizing(4, 1)
    assert "4 fold(s) at a time, 1 thread(s) each" in caplog.text
    assert "2.00 s a step on 1 thread(s), 1.00 s a step on 4 thread(s)" in caplog.text
    assert len(times) == 1
    sizing(dataclasses.replace(task, training=TRAINING.model_copy(update={"batch_size": 2})))
    assert len(times) == 2
    assert len(read_json(task.store.parent / MEASURED)) == 2


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(2, "auto", Sizing(2, 2)), ("auto", 3, Sizing(4, 3)), (1, "auto", Sizing(1, 4))],
)
def test_what_is_given_as_a_number_stays(
    workers: int, threads: int, expected: Sizing, task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, Costs({4: 1.0, 1: 2.0}, GB))
    given = AUTO.model_copy(update={"workers": workers, "threads_per_worker": threads})
    assert sizing(task, given) == expected


def test_trial_steps_that_fail_end_with_their_error(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    error = "dose, fold 0: out of memory with 4 samples at once"
    monkeypatch.setattr(concurrency, "run_tasks", lambda *_: [Outcome(task, error=error)])
    with pytest.raises(TrainingError, match=error):
        sized(AUTO, task)
