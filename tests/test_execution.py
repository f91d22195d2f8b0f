"""Tasks fail alone, on every backend, and nothing is lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ricenet.runtime import execution, workers
from ricenet.runtime.errors import RicenetError, ScanError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.machine import THREAD_VARIABLES
from ricenet.runtime.ray.run import Died
from ricenet.runtime.stage_times import read_stage_times, timed


def square(task: int) -> int:
    if task == 2:
        raise ScanError("sub-002", "dose", "all zero", "Check it")
    if task == 3:
        raise ZeroDivisionError("third")
    return task * task


def threads(_: int) -> dict[str, str]:
    return {name: os.environ[name] for name in THREAD_VARIABLES}


def process_id(_: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def card(_: int) -> str | None:
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def die_on_two(task: int) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die_once(task: tuple[int, Path]) -> int:
    number, mark = task
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_a_failing_task_neither_stops_the_others_nor_vanishes(
    backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = run_tasks(square, [0, 1, 2, 3, 4], backend, 2, 1, "squares")
    assert outcomes == [
        Outcome(0, 0),
        Outcome(1, 1),
        Outcome(2, error="sub-002: dose: all zero. Check it"),
        Outcome(3, error="ZeroDivisionError: third"),
        Outcome(4, 16),
    ]
    traces = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(traces) == 1
    assert 'raise ZeroDivisionError("third")' in traces[0].message


def fail_of(task: str) -> None:
    try:
        raise KeyError(f"/export/{task}")
    except KeyError as error:
        raise ValueError(task) from error


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_of_a_private_tasks_unforeseen_error_kind_and_frames_are_told(
    backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (outcome,) = run_tasks(fail_of, ["Sibylle"], backend, 1, 1, "private", private=True)
    assert outcome.error == "an unforeseen ValueError"
    assert "Sibylle" not in caplog.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    for told in ("in fail_of", "KeyError\nwhich led to", "raise ValueError(task) from error", "ValueError"):
        assert told in record.message


def test_what_the_user_can_mend_is_told_of_a_private_task_too() -> None:
    outcomes = run_tasks(square, [2], "serial", 1, 1, "private", private=True)
    assert outcomes[0].error == "sub-002: dose: all zero. Check it"


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_workers_get_the_number_of_threads_and_the_parent_keeps_its_own(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    (outcome,) = run_tasks(threads, [0], backend, 2, 3, "threads")
    assert outcome.result == dict.fromkeys(THREAD_VARIABLES, "3")
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def loaded_threads(_: int) -> tuple[int, int, str]:
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(blas, default=0), torch.get_num_threads(), np.__name__


def test_libraries_that_were_preloaded_run_on_the_workers_threads() -> None:
    for threads_each in (2, 1):
        (outcome,) = run_tasks(
            loaded_threads, [0], "processes", 1, threads_each, "threads", preload=("torch", "numpy")
        )
        assert outcome.result == (threads_each, threads_each, "numpy")


def environment_and_folder(_: int) -> tuple[str | None, str]:
    return os.environ.get("RICENET_TEST"), str(Path.cwd())


def test_a_later_pool_has_the_environment_and_the_folder_of_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("one", "two"):
        (tmp_path / value).mkdir()
        monkeypatch.chdir(tmp_path / value)
        monkeypatch.setenv("RICENET_TEST", value)
        (outcome,) = run_tasks(environment_and_folder, [0], "processes", 1, 1, "where")
        assert outcome.result == (value, str(tmp_path / value))


PRELOADED = """
import os, sys
from ricenet.runtime.execution import run_tasks

def parent_and_state(_):
    threads = [line for line in open(f"/proc/{os.getppid()}/status") if line.startswith("Threads")]
    return os.getppid(), threads[0].split()[1], "torch" in sys.modules

if __name__ == "__main__":
    modules = tuple(sys.argv[1:])
    for _ in range(2):
        (outcome,) = run_tasks(parent_and_state, [0], "processes", 1, 1, "state", preload=modules)
        print(*outcome.result)
"""


def test_workers_of_all_pools_come_from_one_server_that_imports_on_one_thread(tmp_path: Path) -> None:
    from ricenet.screening.quality.examine_cohort import PRELOAD

    script = tmp_path / "preloaded.py"
    script.write_text(PRELOADED)
    told = subprocess.run(
        [sys.executable, str(script), *PRELOAD], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    assert told[0] == told[1] and told[0].split()[1:] == ["1", "True"]


def test_processes_work_side_by_side_outside_this_one() -> None:
    ids = {outcome.result for outcome in run_tasks(process_id, range(4), "processes", 2, 1, "ids")}
    assert len(ids) == 2
    assert os.getpid() not in ids


def test_each_of_several_gpus_has_its_own_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "gpu_names", lambda: ["GPU-a", "GPU-b"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    outcomes = run_tasks(card, range(6), "processes", 3, 1, "cards")
    assert {outcome.result for outcome in outcomes} == {"GPU-a", "GPU-b"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("cards", [[], ["GPU-a"]])
def test_one_graphics_card_is_left_to_all_workers(cards: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "gpu_names", lambda: cards)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    outcomes = run_tasks(card, range(2), "processes", 2, 1, "cards")
    assert [outcome.result for outcome in outcomes] == ["7", "7"]


def test_a_task_that_kills_its_worker_fails_and_the_others_are_completed() -> None:
    outcomes = run_tasks(die_on_two, range(6), "processes", 2, 1, "deaths")
    assert [outcome.result for outcome in outcomes] == [0, 1, None, 3, 4, 5]
    assert outcomes[2].error == "its worker process ended without a word (killed, or out of memory), twice"


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    tasks = [(number, tmp_path / "mark") for number in range(5)]
    outcomes = run_tasks(die_once, tasks, "processes", 2, 1, "deaths")
    assert [(outcome.result, outcome.error) for outcome in outcomes] == [(k, None) for k in range(5)]
    assert (tmp_path / "mark").exists()


def test_no_tasks_are_no_work() -> None:
    assert run_tasks(square, [], "processes", 2, 1, "nothing") == []


def test_a_log_that_is_no_terminal_gets_a_line_for_each_task(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ricenet"):
        run_tasks(square, [0, 1], "serial", 1, 1, "squares")
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "squares: 1 of 2",
        "squares: 2 of 2",
    ]


# a program that was started in the background of a shell ignores Ctrl-C unless it asks for it
SLEEPERS = """
import signal, sys, time
from ricenet.runtime.execution import run_tasks

def sleep(path):
    import os, pathlib
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_tasks(sleep, sys.argv[1:], "processes", 2, 1, "sleep")
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    marks = [tmp_path / "one", tmp_path / "two"]
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, marks)], stderr=subprocess.DEVNULL
    ) as parent:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        parent.send_signal(how)
        parent.wait(timeout=30)
    assert parent.returncode != 0
    wait_until(lambda: not any(is_running(int(mark.read_text())) for mark in marks))


def wait_until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ray_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RicenetError, match=r"pip install 'ricenet\[ray\]'"):
        run_tasks(square, [1], "ray", 2, 1, "squares")


@pytest.mark.parametrize(("private", "told"), [(False, "not done: of Sibylle"), (True, "not done")])
def test_rays_words_are_not_told_of_a_private_task(
    private: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> Iterator[tuple[int, Died]]:
        yield 0, Died("not done", "of Sibylle")

    monkeypatch.setattr(execution, "work_on_cluster", lose)
    (outcome,) = run_tasks(square, [0], "ray", 1, 1, "lost", private=private)
    assert outcome.error == told


def test_a_log_gets_a_line_for_each_tenth_of_the_tasks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ricenet"):
        run_tasks(str, list(range(40)), "serial", 1, 1, "squares")
    lines = [line for line in caplog.messages if line.startswith("squares:")]
    assert [line.split(",")[0] for line in lines] == [f"squares: {n} of 40" for n in range(4, 41, 4)]


def test_a_stage_that_ends_well_leaves_its_time_beside_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "work" / "times.json"
    with timed("train", path):
        time.sleep(0.12)
    with timed("split", path):
        pass
    with pytest.raises(ScanError), timed("vote", path):
        square(2)
    found = read_stage_times(path)
    assert set(found) == {"train", "split"} and found["train"] >= 0.1 > found["split"]
    path.write_text("[")
    assert read_stage_times(path) == {}
