"""A node's copies of the files that tasks need: shared ones stay until the run ends, and then go."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import content_digest, locked
from ricenet.runtime.ray.staging import Files, FolderWatch, write_files

SWEEP_SECONDS = 5.0
"""How long the last workers of a run may take to let go of their copies."""


@dataclass(frozen=True)
class StagedInputs:
    """What a task finds on a node: its inputs in Ray's object store, None where one is missing."""

    inputs: Mapping[str, Any]
    folder_name: str
    last: str
    at: Callable[[Mapping[str, Path], Path], Any]


@contextlib.contextmanager
def staged(staging: StagedInputs, left: Files, run: str, node: str) -> Iterator[tuple[Any, FolderWatch]]:
    """The task with copies of its files on this node, and its folder; shared copies stay until the run ends.

    left: what earlier attempts have left. run: a name for this run alone.
    """
    home = home_of_copies()
    for other in home.glob("run-*"):
        if other.suffix != ".lock" and not other.name.startswith(f"run-{run}"):
            _sweep(other)
    shared = home / f"run-{run}-{node[:12]}"
    with locked(_lock_of(shared), shared=True):
        shared.mkdir(exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix="task-", dir=shared))
        try:
            watch = FolderWatch(own / staging.folder_name, staging.last)
            watch.lay_out(left)
            inputs = {key: _copy(shared, key, content) for key, content in staging.inputs.items()}
            yield staging.at(inputs, watch.folder), watch
        finally:
            shutil.rmtree(own)


def sweep_run(run: str) -> None:
    """Delete this node's copies of a run's inputs; workers that were just cancelled may take a moment."""
    until = time.monotonic() + SWEEP_SECONDS
    while folders := [path for path in home_of_copies().glob(f"run-{run}-*") if path.suffix != ".lock"]:
        for folder in folders:
            _sweep(folder)
        if time.monotonic() > until:
            return
        time.sleep(0.1)


def home_of_copies() -> Path:
    """Where this node keeps copies; only its user can read them. Raises RicenetError: others could."""
    home = Path(tempfile.gettempdir()) / f"ricenet-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    status = home.lstat()
    if home.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RicenetError(
            f"a node's {home} belongs to somebody else or can be read by others, so no patient's data is "
            "copied there: remove it, or start Ray on that node with another TMPDIR"
        )
    return home


def _sweep(folder: Path) -> None:
    """Delete copies that no worker uses; a run that is still busy with them makes them anew."""
    with contextlib.suppress(BlockingIOError), locked(_lock_of(folder), wait=False):
        shutil.rmtree(folder, ignore_errors=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _copy(shared: Path, key: str, content: Any) -> Path:
    """This node's copy of an input; where it is missing on the driver's side too, a path to nothing."""
    import ray

    path = shared / "inputs" / content_digest(key)
    if content is not None:
        with locked(_lock_of(path)):
            if not path.exists():
                write_files({path.name: ray.get(content)}, path.parent)
    return path
