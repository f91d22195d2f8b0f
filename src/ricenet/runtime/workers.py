"""Pools of worker processes: forked from a server that has imported what they need, ended with their parent.

Imports are paid once for all workers of a program. The server only imports: it runs on one thread, so that a
fork of it is safe where one of this process (torch, rich) is not. What starts threads when it is imported,
such as pandas with pyarrow, may not be preloaded.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.queues import SimpleQueue

from ricenet.runtime.machine import gpu_names, thread_limits


@contextlib.contextmanager
def process_pool(workers: int, threads: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """Worker processes with so many threads each; interrupted, they end at once.

    preload: modules that the server imports before the first worker of this program starts; later ones have
    no effect. Workers have this process's environment and folder, and of several GPUs one each.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with thread_variables(1):
        forkserver.ensure_running()
    level = logging.getLogger("ricenet").getEffectiveLevel()
    names, gpus = gpu_names(), context.SimpleQueue()
    for number in range(workers if len(names) > 1 else 0):
        gpus.put(names[number % len(names)])
    environment = {**os.environ, **thread_limits(threads)}
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (level, environment, threads, gpus))
    try:
        yield pool
    except BaseException:
        # interrupted: nobody waits for what is half done
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _prepare_worker(level: int, environment: Mapping[str, str], threads: int, gpus: SimpleQueue[str]) -> None:
    """In a new worker: be as a process of the parent's own, leave Ctrl-C to it, and do not outlive it.

    gpus: one for each worker where there are several; it sees that one alone. None otherwise.
    """
    # the server's are those of the first pool
    os.environ.clear()
    os.environ.update(environment)
    if not gpus.empty():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()
    _limit_loaded(threads)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ricenet").setLevel(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _limit_loaded(threads: int) -> None:
    """Threads of libraries that the server has loaded, past reading variables; others read these."""
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let this process compute on one thread, with libraries that are loaded and those that will be.

    Many small products take a fraction of the time so: threads that wait for each other spin.
    """
    from threadpoolctl import threadpool_limits

    with thread_variables(1), threadpool_limits(1):
        yield


@contextlib.contextmanager
def thread_variables(threads: int) -> Iterator[None]:
    """Environment variables that child processes inherit; this process gets its own back afterwards."""
    limits = thread_limits(threads)
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
