"""What the tests let nodes of a cluster do; importable there, and light."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ricenet.runtime.errors import RicenetError, ScanError
from ricenet.runtime.files import write_text
from ricenet.runtime.ray.staging import StagedTask
from ricenet.training.history import FoldIdentity

logger = logging.getLogger("ricenet.cluster_tasks")


@dataclass(frozen=True)
class Copying:
    """Write into `folder` what the inputs hold; `home` is where all of it lies on the driver's side."""

    name: str
    inputs: tuple[Path, ...]
    folder: Path
    home: Path
    steps: int = 1
    side_by_side: int = 1


def staged(task: Copying) -> StagedTask[Copying]:
    inputs = {f"content of {path.name}": path for path in task.inputs}
    return StagedTask(inputs, task.folder, partial(moved, task), last="record")


def moved(task: Copying, inputs: Mapping[str, Path], folder: Path) -> Copying:
    return replace(task, inputs=tuple(inputs.values()), folder=folder)


def node_address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def copy(task: Copying) -> str:
    """Refuses the driver's own files; says where it worked."""
    if any(path.is_relative_to(task.home) for path in (*task.inputs, task.folder)):
        raise RicenetError("these files lie on the driver's machine")
    earlier = sorted(path.name for path in task.folder.iterdir())
    text = " ".join(path.read_text() for path in task.inputs)
    (task.folder / "draft").unlink(missing_ok=True)
    write_text(task.folder / "text", f"{task.name}: {text}, after {earlier}")
    write_text(task.folder / "record", "done")
    logger.info("%s is copied", task.name)
    return node_address()


def count(task: Copying) -> list[str]:
    """A line for each step; begun work goes on where its folder says."""
    path = task.folder / "steps"
    lines = path.read_text().splitlines() if path.exists() else []
    if lines:
        logger.info("%s: resumed after step %d", task.name, len(lines))
    meet(task.home / "begun", task.name, task.side_by_side)
    for step in range(len(lines) + 1, task.steps + 1):
        time.sleep(0.2)
        lines.append(f"{step} at {node_address()}")
        write_text(path, "\n".join(lines) + "\n")
    write_text(task.folder / "record", "done")
    return lines


def meet(place: Path, name: str, count: int) -> None:
    """Wait until so many have begun, lest one be done before Ray has a worker for the next."""
    write_text(place / name, "")
    until = time.monotonic() + 60
    while len(list(place.glob("[!.]*"))) < count and time.monotonic() < until:
        time.sleep(0.05)


def fail_from_two_on(task: int) -> int:
    if task == 2:
        raise ScanError("sub-002", "dose", "all zero", "Check it")
    if task > 2:
        raise ZeroDivisionError("third")
    return task


def where(_: int) -> str:
    return node_address()


def gpus_here(_: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def die_on_one(task: int) -> int:
    if task == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def sleep(mark: Path) -> None:
    write_text(mark, str(os.getpid()))
    time.sleep(120)


@dataclass
class SlowObserver:
    """Makes epochs last, so that something can happen meanwhile; two folds begin together."""

    seconds: float
    place: Path

    def on_epoch(self, fold: FoldIdentity, *_: object) -> None:
        meet(self.place, str(fold.fold), 2)
        time.sleep(self.seconds)

    def on_failed(self, *_: object) -> None:
        """Nothing more to do."""

    def on_finished(self, *_: object) -> None:
        """Nothing is left to wait for."""
