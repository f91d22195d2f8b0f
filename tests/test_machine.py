"""Workers and threads share the cores, and fit into memory."""

from __future__ import annotations

import os
from typing import Any

import pynvml
import pytest

from ricenet.runtime import machine
from ricenet.runtime.machine import WORKER_BYTES, gpu_names, shares


@pytest.mark.parametrize(
    ("backend", "asked", "expected"),
    [
        ("processes", ("auto", "auto"), (8, 1)),  # one worker a core
        ("processes", (3, "auto"), (3, 2)),  # 8 cores between 3: two each, two idle
        ("processes", (16, "auto"), (16, 1)),  # as told, and never less than a thread
        ("processes", ("auto", 4), (8, 4)),
        ("serial", ("auto", "auto"), (1, 8)),
        ("serial", (5, 2), (1, 2)),
        ("ray", ("auto", "auto"), (8, 1)),  # cores of other machines are not counted
    ],
)
def test_workers_and_threads_share_the_cores(
    backend: Any, asked: tuple[Any, Any], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "available_bytes", lambda: 100 * WORKER_BYTES)
    assert shares(backend, *asked) == expected


@pytest.mark.parametrize(("available", "workers"), [(0.5, 1), (3.9, 3), (50, 8)])
def test_workers_are_no_more_than_memory_allows(
    available: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "available_bytes", lambda: int(available * WORKER_BYTES))
    assert shares("processes", "auto", "auto") == (workers, 8 // workers)


def test_this_machine_has_cores_and_memory() -> None:
    workers, threads = shares("processes", "auto", "auto")
    assert 1 <= workers * threads <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("chosen", "gpus"), [("0, 3", ["0", "3"]), ("GPU-a", ["GPU-a"]), ("", [])])
def test_only_the_gpus_that_are_made_visible_count(
    chosen: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpu_names() == gpus


def test_gpus_are_told_apart_by_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")
    assert gpu_names() == ["GPU-0", "GPU-1"]


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert gpu_names() == []
