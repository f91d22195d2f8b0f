"""Independent tasks, spread over this process, several, or a Ray cluster.

A failing task neither stops the others nor vanishes: its error is in its outcome.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import Backend, GpuShare, Share, shares
from ricenet.runtime.progress import task_progress
from ricenet.runtime.ray.attempt import work_on_node
from ricenet.runtime.ray.run import DIED, Died, work_on_cluster
from ricenet.runtime.ray.staging import StagedTask
from ricenet.runtime.workers import process_pool, thread_variables

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
UNFORESEEN = "an unforeseen "
"""What the outcome of a private task starts with that ended by an error of the program."""


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of one task: a result, or the text of an error."""

    task: Task
    result: Result | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Attempt:
    """What a worker sends back; errors as text, since not every exception can be pickled."""

    result: Any = None
    error: str | None = None
    trace: str | None = None


_Attempts = Generator[tuple[int, _Attempt], None, None]
"""Positions of tasks with what became of them, as they end."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    backend: Backend,
    workers: Share,
    threads_per_worker: Share,
    description: str,
    private: bool = False,
    gpus_per_worker: GpuShare = 0,
    staging: Callable[[Task], StagedTask[Task]] | None = None,
    preload: Sequence[str] = (),
) -> list[Outcome[Task, Result]]:
    """Apply a function to every task, with a progress bar and the time left on stderr.

    function and tasks have to be picklable, except for `serial`, which works in this process alone.
    workers, threads_per_worker: numbers, or "auto" (`shares`).
    private: tasks handle what identifies patients, so of an unforeseen error outcome and log tell the kind
    and the frames, not the message. A task whose worker dies is tried once more, alone.
    gpus_per_worker: what `ray` sets aside for each: a share of a GPU or several, 0 for tasks that use none.
    staging: how a task goes to machines of a Ray cluster that share no files with this one; without it, tasks
    go only to those that see this machine's files.
    preload: modules that `processes` imports once for all workers (`workers.process_pool`).
    Returns the outcomes in the order of tasks.
    Raises RicenetError: `ray` is asked for and not installed, or its cluster cannot do what is asked.
    """
    call, done = _Call(function, private), dict[int, _Attempt]()
    if backend == "ray":
        attempts = _ray(call, tasks, workers, threads_per_worker, gpus_per_worker, staging)
    else:
        attempts = _here(call, tasks, backend, workers, threads_per_worker, preload)
    with contextlib.closing(attempts), task_progress(description, len(tasks)) as advance:
        for position, attempt in attempts:
            done[position] = attempt
            if attempt.trace is not None:
                logger.error("%s: %s\n%s", description, attempt.error, attempt.trace)
            advance()
    return [Outcome(task, done[i].result, done[i].error) for i, task in enumerate(tasks)]


class _Capture:
    """Holds back an error of the task at hand, but not the end of the program."""

    error: Exception | None = None

    def __enter__(self) -> _Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None


@dataclass(frozen=True)
class _Call:
    """What is done with each task, and how its unforeseen errors are told."""

    function: Callable[[Any], Any]
    private: bool

    def __call__(self, task: Any) -> _Attempt:
        with _Capture() as capture:
            return _Attempt(self.function(task))
        assert capture.error is not None
        return self.failure(capture.error)

    def failure(self, error: BaseException) -> _Attempt:
        if isinstance(error, RicenetError):
            return _Attempt(error=str(error))
        kind = type(error).__name__
        if self.private:
            return _Attempt(error=f"{UNFORESEEN}{kind}", trace=trace_without_messages(error))
        return _Attempt(error=f"{kind}: {error}", trace="".join(traceback.format_exception(error)))


def trace_without_messages(error: BaseException) -> str:
    """Where an error came from, its causes first: frames and kinds, no message, for it may hold anything."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = "" if cause is None else f"{trace_without_messages(cause)}\nwhich led to\n"
    return f"{before}{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"


def _here(
    call: _Call,
    tasks: Sequence[Any],
    backend: Backend,
    workers: Share,
    threads_per_worker: Share,
    preload: Sequence[str],
) -> _Attempts:
    side_by_side, threads = shares(backend, workers, threads_per_worker)
    if backend == "serial":
        yield from _serial(call, tasks, threads)
    else:
        yield from _processes(call, tasks, _Pools(side_by_side, threads, tuple(preload)))


def _serial(call: _Call, tasks: Sequence[Any], threads: int) -> _Attempts:
    with thread_variables(threads), torch_threads(threads):
        for position, task in enumerate(tasks):
            yield position, call(task)


@dataclass(frozen=True)
class _Pools:
    """What all pools of one piece of work have in common."""

    workers: int
    threads: int
    preload: tuple[str, ...]

    def of(self, most: int) -> contextlib.AbstractContextManager[ProcessPoolExecutor]:
        return process_pool(min(self.workers, most), self.threads, self.preload)


def _processes(call: _Call, tasks: Sequence[Any], pools: _Pools) -> _Attempts:
    waiting, suspects = deque(range(len(tasks))), list[int]()
    while waiting:
        suspects += yield from _pool(call, tasks, waiting, pools)
    # one of these killed its worker and took the others along; alone, each answers for itself
    for position in suspects:
        logger.warning("a task is tried once more: %s", DIED)
        if (yield from _pool(call, tasks, deque([position]), pools)):
            yield position, _Attempt(error=f"{DIED}, twice")


def _pool(
    call: _Call, tasks: Sequence[Any], waiting: deque[int], pools: _Pools
) -> Generator[tuple[int, _Attempt], None, list[int]]:
    """Work off `waiting` with one pool; returns the tasks in hand when a worker died, which ends it."""
    lost: list[int] = []
    with pools.of(len(waiting)) as pool:
        running: dict[Future[_Attempt], int] = {}
        while (waiting and not lost) or running:
            # no more in hand than workers, so that a death points at few tasks
            while waiting and not lost and len(running) < pools.workers:
                position = waiting.popleft()
                try:
                    running[pool.submit(call, tasks[position])] = position
                except BrokenProcessPool:
                    lost.append(position)
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                position, error = running.pop(future), future.exception()
                if isinstance(error, BrokenProcessPool):
                    lost.append(position)
                else:
                    yield position, call.failure(error) if error else future.result()
    return lost


def _ray(
    call: _Call,
    tasks: Sequence[Any],
    workers: Share,
    threads: Share,
    gpus: GpuShare,
    staging: Callable[[Any], StagedTask[Any]] | None,
) -> _Attempts:
    there = _Call(functools.partial(work_on_node, call.function), call.private)
    for position, ended in work_on_cluster(there, tasks, workers, threads, gpus, staging):
        if isinstance(ended, Died):
            detail = f": {ended.detail}" if ended.detail and not call.private else ""
            yield position, _Attempt(error=ended.error + detail)
        else:
            yield position, ended


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads for torch in this process, where it is loaded already and past reading variables."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
