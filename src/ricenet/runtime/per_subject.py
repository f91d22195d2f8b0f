"""The one loop over subjects: what the store holds intact is kept, the rest made, failures collected."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.machine import Backend, GpuShare, Share
from ricenet.runtime.store import Store

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Execution(Protocol):
    """How independent work is spread (the section `execution` of the parameters)."""

    @property
    def backend(self) -> Backend: ...  # noqa: D102
    @property
    def workers(self) -> Share: ...  # noqa: D102
    @property
    def threads_per_worker(self) -> Share: ...  # noqa: D102
    @property
    def gpus_per_worker(self) -> GpuShare: ...  # noqa: D102


@dataclass(frozen=True)
class SubjectTask:
    """One subject's share of the work, and the content key of its result."""

    subject: str
    key: str


def per_subject(
    what: str,
    make: Callable[[str, Path], None],
    keys: Mapping[str, str],
    store: Store,
    execution: Execution,
    remedy: str = "Correct these files and run again",
    preload: Sequence[str] = (),
) -> dict[str, Path]:
    """Every subject's folder in the store, made where it is not there intact.

    make: writes the result of a subject into an empty folder, maybe in another process. keys: content key
    by subject. Keys of other subjects may be swept afterwards (`Store.use`). preload: modules that workers
    need (`run_tasks`).
    Raises CohortError: some subjects failed; all of them are named, the others stay in the store.
    """
    store.use(keys.values())
    outcomes = run_missing(what, functools.partial(_into_store, store, make), keys, store, execution, preload)
    if failed := [f"  - {o.task.subject}: {o.error}" for o in outcomes if o.error is not None]:
        lines = "\n".join(failed)
        raise CohortError(
            f"{what}: {len(failed)} of {len(keys)} subjects failed; the others are kept. {remedy}:\n{lines}"
        )
    return {subject: store.path(key) for subject, key in keys.items()}


def run_missing(
    what: str,
    work: Callable[[SubjectTask], Result],
    keys: Mapping[str, str],
    store: Store,
    execution: Execution,
    preload: Sequence[str] = (),
) -> list[Outcome[SubjectTask, Result]]:
    """Do the work of every subject whose key the store does not hold intact, in the order of `keys`."""
    tasks = [SubjectTask(subject, key) for subject, key in keys.items()]
    # reading is what takes time here, and hashing lets other threads run
    with ThreadPoolExecutor() as pool:
        intact = list(pool.map(lambda task: store.is_intact(task.key), tasks))
    missing = [task for task, there in zip(tasks, intact, strict=True) if not there]
    logger.info("%s: %d of %d subjects are in the store", what, len(tasks) - len(missing), len(tasks))
    return run_tasks(
        work,
        missing,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        what,
        gpus_per_worker=execution.gpus_per_worker,
        preload=preload,
    )


def _into_store(store: Store, make: Callable[[str, Path], None], task: SubjectTask) -> None:
    store.get(task.key, functools.partial(make, task.subject))
