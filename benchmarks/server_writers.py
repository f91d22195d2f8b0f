"""Whether `ricenet tracking start` with PostgreSQL and sign-in keeps every metric of many writers once.

    python benchmarks/server_writers.py [--writers 8] [--metrics 1000] [--folder FOLDER]

Each writer is a process with a run of its own, and logs its metrics one request each, as MLflow's log_metric
does. Afterwards every run's history is read back, by another client, and compared point by point.
folder: for the server; as root one that every user can enter, since PostgreSQL does not run as root.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from figure import report

from ricenet.tracking.connection import open_store


def value_of(writer: int, step: int) -> float:
    """What a writer logs at a step."""
    return writer + step / 4096


def write(project: Path, uri: str, writer: int, metrics: int) -> str:
    """Log a writer's metrics; the id of its run."""
    store = open_store(project, uri, "writers")
    client = store.client()
    run_id = str(client.create_run(store.experiment_id, run_name=f"writer {writer}").info.run_id)
    for step in range(metrics):
        client.log_metric(run_id, "metric", value_of(writer, step), step=step)
    client.set_terminated(run_id)
    return run_id


def lost_and_doubled(project: Path, uri: str, runs: list[str], metrics: int) -> tuple[int, int]:
    """How many points are missing, and how many are there beyond one."""
    client = open_store(project, uri, "writers").client()
    lost = doubled = 0
    for writer, run_id in enumerate(runs):
        found = Counter((point.step, point.value) for point in client.get_metric_history(run_id, "metric"))
        expected = {(step, value_of(writer, step)) for step in range(metrics)}
        lost += len(expected - found.keys())
        doubled += sum(found.values()) - len(expected & found.keys())
    return lost, doubled


def main() -> None:
    """Start a server, let them write, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--metrics", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ricenet-writers-"))
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        folder.chmod(0o711)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    uri, password = f"http://127.0.0.1:{port}", secrets.token_urlsafe(24)
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    os.environ["RICENET_SERVER_PASSWORD"] = password
    command = [sys.executable, "-c", "from ricenet.cli import app; app()", "tracking", "start"]
    command += ["--database", "postgresql", "--folder", str(folder / "server"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert any(line.startswith("MLflow: http") for line in server.stdout), "the server does not start"
        begin = time.monotonic()
        with ProcessPoolExecutor(options.writers, mp_context=get_context("spawn")) as pool:
            tasks = [pool.submit(write, folder, uri, k, options.metrics) for k in range(options.writers)]
            runs = [task.result() for task in tasks]
        seconds = time.monotonic() - begin
        lost, doubled = lost_and_doubled(folder, uri, runs, options.metrics)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        if options.folder is None:
            shutil.rmtree(folder)
    total = options.writers * options.metrics
    report(
        f"server_writers_{options.writers}x{options.metrics}",
        lost + doubled,
        "0 metrics lost or doubled",
        f"{total} points read back one by one: {lost} lost, {doubled} doubled; "
        f"{total / seconds:.0f} a second, {seconds:.0f} s in all",
        lost + doubled == 0,
    )


if __name__ == "__main__":
    main()
