"""What does it cost a training to be shown in MLflow while it runs? Goal: below 2 % of its time.

    python benchmarks/tracking_cost.py [--quick]

As many folds as cores train side by side on random volumes, as in the demo: 48 subjects of 32 cubed in five
folds, the settings of params.yaml, one thread each. The same folds are trained without tracking, into sqlite,
and into an MLflow server on this machine, in turn. What tracking takes from training is added up: how long
training waits in its observer, the CPU time of the thread that sends, and that of the server, which
shares the cores; all of it over the time that the folds train. Whole rounds differ by more than that from one
to the next: their times are printed, and the median of the rounds' ratios is printed beside the figure.
Agreement: equal weights, bit for bit, and every epoch exactly once in MLflow.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from figure import report

from ricenet.cohort.splits import Splits
from ricenet.config.params import Params, read_params
from ricenet.config.recipes import Recipe
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.machine import THREAD_VARIABLES
from ricenet.tracking.connection import TrackingStore, open_store
from ricenet.tracking.live import THREAD, LiveObserver
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import WEIGHTS, FoldTask
from ricenet.vocabulary import PAPER_VOLUMES

GOAL = 0.02
CUBE_VOXELS, FOLDS = 32, 5
MODALITY_SET = "post_op+event+dose"
METRICS = ("train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1")


def write_volumes(folder: Path, folds: int, subjects: int) -> Splits:
    """Noise, in which RICE has the higher dose."""
    noise = np.random.default_rng(0)
    names = [f"sub-{number:03d}" for number in range(subjects)]
    for number, name in enumerate(names):
        volumes = noise.normal(size=(3, *[CUBE_VOXELS] * 3)).astype(np.float16)
        volumes[2] += number % 2
        (folder / name).mkdir(parents=True)
        for volume, values in zip(PAPER_VOLUMES.names, volumes, strict=True):
            np.save(folder / name / volume_file(volume), values)
    labels = {name: ("rice" if number % 2 else "recurrence") for number, name in enumerate(names)}
    # pairs, so that every fold has both labels
    members = [[n for i, n in enumerate(names) if i // 2 % folds == fold] for fold in range(folds)]
    return Splits(labels, tuple(map(tuple, members)), ())


def plan(params: Params, folder: Path, splits: Splits, epochs: int, name: str) -> list[FoldTask]:
    """The folds of one round, of which one a worker is trained: always the same, in a folder of their own."""
    setup = TrainingSetup(
        splits,
        {subject: f"noise {subject}" for subject in splits.development},
        params.seed,
        params.preprocessing.model_copy(update={"cube_voxels": CUBE_VOXELS}),
        {
            "": Recipe(
                "head",
                params.network,
                params.training.model_copy(update={"epochs": epochs, "overrides": {}}),
                params.augmentation,
            )
        },
        folder / "preprocessed",
        folder / "rounds" / name,
    )
    return plan_folds(setup, [MODALITY_SET])


class Accounted:
    """An observer, and how long training waits in it."""

    def __init__(self, observer: LiveObserver) -> None:
        self._observer, self.waited_s = observer, 0.0

    def on_epoch(self, *epoch: Any) -> None:
        """Pass an epoch on."""
        start = time.perf_counter()
        self._observer.on_epoch(*epoch)
        self.waited_s += time.perf_counter() - start

    def on_finished(self, *epoch: Any) -> None:
        """Pass the end on."""
        start = time.perf_counter()
        self._observer.on_finished(*epoch)
        self.waited_s += time.perf_counter() - start


def sender_cpu_s() -> float:
    """CPU time of this process's thread that sends, so far."""
    senders = [thread.ident for thread in threading.enumerate() if thread.name.startswith(THREAD)]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in senders if ident)


def train(task: FoldTask, observer: LiveObserver | None) -> tuple[float, float]:
    """What a worker does with a fold; returns how long it took, and how much of that tracking took."""
    from ricenet.training.fold import train_fold

    accounted = None if observer is None else Accounted(observer)
    start, sent_s = time.perf_counter(), sender_cpu_s()
    train_fold(task, accounted)
    trained_s = time.perf_counter() - start
    if accounted is None:
        return trained_s, 0.0
    return trained_s, accounted.waited_s + sender_cpu_s() - sent_s


@dataclass(frozen=True)
class Round:
    """wall_s: from the first to the last of what the stage `train` does; share: of training's time."""

    wall_s: float
    share: float


def one_round(
    pool: ProcessPoolExecutor,
    tasks: list[FoldTask],
    store: TrackingStore | None,
    server: psutil.Process | None,
) -> Round:
    """Train all folds side by side."""
    start, served_s = time.perf_counter(), _cpu_s(server)
    observer = None if store is None else LiveObserver(store, [task.record for task in tasks])
    if observer is not None:
        observer.start()
    began_s = time.perf_counter() - start
    folds = [future.result() for future in [pool.submit(train, task, observer) for task in tasks]]
    trained_s = sum(trained for trained, _ in folds)
    taken_s = began_s + sum(taken for _, taken in folds) + _cpu_s(server) - served_s
    return Round(time.perf_counter() - start, taken_s / trained_s)


def _cpu_s(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    times = [p.cpu_times() for p in (server, *server.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def wrong_counts(store: TrackingStore, tasks: list[FoldTask], epochs: int) -> int:
    """Metrics of folds that MLflow does not hold once an epoch, and runs too many or too few."""
    runs = store.client().search_runs([store.experiment_id], max_results=1000)
    wrong = abs(len(runs) - len(tasks) - 1)
    for run in (run for run in runs if run.data.tags["ricenet.kind"] == "fold"):
        for metric in METRICS:
            logged = store.client().get_metric_history(run.info.run_id, metric)
            wrong += sorted(point.step for point in logged) != list(range(1, epochs + 1))
    return wrong


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server with one worker and a database of its own; yields its address and its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--default-artifact-root", (folder / "artifacts").as_uri()]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address):
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")


def measure(folder: Path, workers: int, epochs: int, subjects: int, rounds: int) -> None:
    """Train without and with tracking in turn, and print the figures."""
    params = read_params()
    splits = write_volumes(folder / "preprocessed", max(FOLDS, workers), subjects)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    spawn = get_context("spawn")
    with mlflow_server(folder) as (address, server), ProcessPoolExecutor(workers, spawn) as pool:
        uris = {"sqlite": f"sqlite:///{folder}/local.db", "server": address}
        done: dict[str, list[Round]] = {"none": [], **{kind: [] for kind in uris}}
        wrong, same = dict.fromkeys(uris, 0), dict.fromkeys(uris, True)
        # the first round pays for imports and connections, once a process, and does not count
        for number in range(rounds + 1):
            plain = plan(params, folder, splits, epochs, f"{number}, none")[:workers]
            done["none"].append(one_round(pool, plain, None, None))
            for kind, uri in uris.items():
                tasks = plan(params, folder, splits, epochs, f"{number}, {kind}")[:workers]
                store = open_store(folder, uri, f"round {number}")
                done[kind].append(one_round(pool, tasks, store, server if kind == "server" else None))
                wrong[kind] += wrong_counts(store, tasks, epochs)
                same[kind] &= [_weights(task) for task in tasks] == [_weights(task) for task in plain]
            print(
                ", ".join(f"{k} {r[-1].wall_s:.2f} s ({r[-1].share:.4f})" for k, r in done.items()),
                flush=True,
            )
    for kind in uris:
        share = median(of_kind.share for of_kind in done[kind][1:])
        pairs = zip(done[kind][1:], done["none"][1:], strict=True)
        walls = median(with_it.wall_s / without.wall_s - 1 for with_it, without in pairs)
        text = f"weights equal: {same[kind]}; {wrong[kind]} metrics not exactly once an epoch; "
        text += f"whole rounds {walls:+.3f}"
        met = share < GOAL and same[kind] and not wrong[kind]
        report(f"tracking_cost_{kind}", share, f"below {GOAL} of the time of training", text, met)


def _weights(task: FoldTask) -> bytes:
    return (task.folder / WEIGHTS).read_bytes()


def main() -> None:
    """Measure; --quick is a check of the script, too short for a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few subjects, epochs and rounds")
    parser.add_argument("--rounds", type=int, default=5)
    quick, rounds = (arguments := parser.parse_args()).quick, arguments.rounds
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            measure(Path(folder), workers, epochs=12, subjects=max(20, 4 * workers), rounds=1)
        else:
            measure(Path(folder), workers, epochs=60, subjects=48, rounds=rounds)


if __name__ == "__main__":
    main()
