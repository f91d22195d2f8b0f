"""Independent tasks, spread over this process, several, or a Ray cluster. The only importer of ray.

A failing task neither stops the others nor vanishes: its error is in its outcome.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from ricenet.errors import RicenetError
from ricenet.machine import Backend, Share, shares
from ricenet.task_progress import task_progress

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Numerical libraries read them when they load, so they are set before a worker starts."""

UNFORESEEN = "an unforeseen "
"""What the outcome of a private task starts with that ended by an error of the program."""

_DIED = "its worker process ended without a word (killed, or out of memory)"


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


_Attempts = Iterator[tuple[int, _Attempt]]
"""Positions of tasks with what became of them, as they end."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    backend: Backend,
    workers: Share,
    threads_per_worker: Share,
    description: str,
    private: bool = False,
) -> list[Outcome[Task, Result]]:
    """Apply a function to every task, with a progress bar and the time left on stderr.

    function and tasks have to be picklable, except for `serial`, which works in this process alone.
    workers, threads_per_worker: numbers, or "auto" (`shares`).
    private: tasks handle what identifies patients, so of an unforeseen error outcome and log tell the kind
    and the frames, not the message. A task whose worker dies is tried once more, alone.
    Returns the outcomes in the order of tasks.
    Raises RicenetError: `ray` is asked for and not installed.
    """
    run = {"serial": _serial, "processes": _processes, "ray": _ray}[backend]
    done: dict[int, _Attempt] = {}
    side_by_side, threads = shares(backend, workers, threads_per_worker)
    with _thread_limits(threads) as limits, task_progress(description, len(tasks)) as advance:
        for position, attempt in run(_Call(function, private), tasks, side_by_side, limits):
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


def _attempt(call: _Call, task: Any) -> _Attempt:
    return call(task)


def _serial(call: _Call, tasks: Sequence[Any], workers: int, limits: Mapping[str, str]) -> _Attempts:
    with _torch_threads(int(limits["OMP_NUM_THREADS"])):
        for position, task in enumerate(tasks):
            yield position, call(task)


def _processes(call: _Call, tasks: Sequence[Any], workers: int, limits: Mapping[str, str]) -> _Attempts:
    waiting, suspects = deque(range(len(tasks))), list[int]()
    while waiting:
        suspects += yield from _pool(call, tasks, waiting, workers)
    # one of these killed its worker and took the others along; alone, each answers for itself
    for position in suspects:
        logger.warning("a task is tried once more: %s", _DIED)
        if (yield from _pool(call, tasks, deque([position]), 1)):
            yield position, _Attempt(error=f"{_DIED}, twice")


def _pool(
    call: _Call, tasks: Sequence[Any], waiting: deque[int], workers: int
) -> Generator[tuple[int, _Attempt], None, list[int]]:
    """Work off `waiting` with one pool; returns the tasks in hand when a worker died, which ends it."""
    lost: list[int] = []
    with _process_pool(min(workers, len(waiting))) as pool:
        running: dict[Future[_Attempt], int] = {}
        while (waiting and not lost) or running:
            # no more in hand than workers, so that a death points at few tasks
            while waiting and not lost and len(running) < workers:
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


@contextlib.contextmanager
def _process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    before = set(multiprocessing.active_children())
    # spawn: a fork of a process with running threads (torch, rich) may hang
    context = multiprocessing.get_context("spawn")
    level = logging.getLogger("ricenet").getEffectiveLevel()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker, initargs=(level,))
    try:
        yield pool
    except BaseException:
        # interrupted: nobody waits for what is half done
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _prepare_worker(level: int) -> None:
    """In a new worker: log as the parent does, leave Ctrl-C to it, and do not outlive it."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ricenet").setLevel(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _ray(call: _Call, tasks: Sequence[Any], workers: int, limits: Mapping[str, str]) -> _Attempts:
    try:
        import ray
    except ImportError:
        raise RicenetError(
            "execution.backend is ray, which is not installed: "
            "pip install 'ricenet[ray]', or set execution.backend to processes"
        ) from None
    threads = int(limits["OMP_NUM_THREADS"])
    with _ray_session(ray, workers * threads, limits):
        # a card is shared by the workers; without this Ray hides it from them
        cards = min(1.0, ray.cluster_resources().get("GPU", 0.0) / workers)
        remote = ray.remote(num_cpus=threads, num_gpus=cards)(_attempt)
        waiting, running = deque(range(len(tasks))), dict[Any, int]()
        while waiting or running:
            while waiting and len(running) < workers:
                position = waiting.popleft()
                running[remote.remote(call, tasks[position])] = position
            (reference, *_), _ = ray.wait(list(running), num_returns=1)
            position = running.pop(reference)
            try:
                yield position, ray.get(reference)
            except ray.exceptions.RayError as error:
                yield position, _Attempt(error=f"{_DIED}: {type(error).__name__}")


@contextlib.contextmanager
def _ray_session(ray: Any, cpus: int, limits: Mapping[str, str]) -> Iterator[None]:
    """Join the cluster at RAY_ADDRESS, or start one on this machine; one that is joined stays up."""
    if ray.is_initialized():
        yield
        return
    place = {"address": "auto"} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": cpus}
    ray.init(**place, runtime_env={"env_vars": dict(limits)}, log_to_driver=False, include_dashboard=None)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _thread_limits(threads: int) -> Iterator[dict[str, str]]:
    """Environment variables that child processes inherit; this process gets its own back afterwards."""
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield limits
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """The same for torch in this process, where it is loaded already and past reading variables."""
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
