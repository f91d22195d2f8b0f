"""Does the service predict for hours without failing, growing or wasting time? Goals: 0 failures, 5 %, 2 s.

    python benchmarks/service.py PROJECT [--cases 100] [--clients 8]

PROJECT is a project with a champion and a cohort, such as that of `make repro`; it is used as it is, and only
`work/service` is written. A real `ricenet serve` is started there. Cases are sent one after the other, then
by several clients at once, who wait as they are told where the queue is full. The subjects take turns.
Beyond preprocessing is what a client waits for from its request to the answer in the first part, where it
waits for nobody else, without the steps between the checks and the vote. Memory is what server and worker
hold together (resident, psutil), from the 10th case to the last of the first part.
Agreement: a subject that comes again gets the same prediction, from whichever client.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import requests
from figure import report

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.service.settings import TOKEN

GROWTH_GOAL, SECONDS_GOAL = 0.05, 2.0
SETTLED_AFTER = 10
POLL_SECONDS = 0.05
BESIDE_PREPROCESSING = {"checks of the files", "vote of the folds"}


@dataclass(frozen=True)
class Answered:
    """A case and its answer.

    seconds: of the client, from sending to reading. refusals: how often it was told to wait.
    """

    subject: str
    prediction: Any
    seconds: float
    preprocessing_seconds: float
    state: str
    refusals: int


@dataclass(frozen=True)
class Client:
    """Of a running service."""

    address: str
    token: str

    def ask(self, method: str, path: str, **content: Any) -> requests.Response:
        """One request, with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, self.address + path, headers=headers, timeout=120, **content)

    def predict(self, raw: RawSubject) -> Answered:
        """Send a subject until it is taken, and wait for the answer."""
        refusals, began, sent = 0, time.monotonic(), self._send(raw)
        while sent.status_code == 429:
            time.sleep(float(sent.headers["Retry-After"]))
            refusals, began, sent = refusals + 1, time.monotonic(), self._send(raw)
        sent.raise_for_status()
        path = sent.json()["url"]
        while (answer := self.ask("GET", path).json())["state"] in ("queued", "running"):
            time.sleep(POLL_SECONDS)
        steps = answer["seconds"].items()
        preprocessing = sum(seconds for step, seconds in steps if step not in BESIDE_PREPROCESSING)
        prediction, waited = answer["prediction"], time.monotonic() - began
        return Answered(raw.subject, prediction, waited, preprocessing, answer["state"], refusals)

    def _send(self, raw: RawSubject) -> requests.Response:
        course = read_dose_sidecar(raw.dose_sidecar)
        fields = {
            "dose_of": "fraction" if course.summation_type == "FRACTION" else "course",
            "fractions": course.fractions,
            "prescription": course.prescription_gy,
        }
        with ExitStack() as opened:
            files = {n: opened.enter_context(raw.scan(n).open("rb")) for n in raw.volumes.names}
            known = {name: value for name, value in fields.items() if value is not None}
            return self.ask("POST", "/cases", files=files, data=known)


@contextmanager
def serving(project: Path, waiting: int) -> Iterator[tuple[Client, psutil.Process]]:
    """A service of the project's champion, with its client and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-c", "from ricenet.cli import app; app()", "serve", "--port", str(port)]
    command += ["--waiting", str(waiting)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=project, env=os.environ | {TOKEN: token}, stderr=log)
        client = Client(f"http://127.0.0.1:{port}", token)
        while process.poll() is None:
            try:
                client.ask("GET", "/health").raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.2)
        else:
            log.seek(0)
            raise SystemExit(log.read().decode())
        try:
            yield client, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def resident_mb(server: psutil.Process) -> float:
    """Of the server and all processes that it started."""
    return sum(p.memory_info().rss for p in (server, *server.children(recursive=True))) / 1e6


def agree(answered: list[Answered]) -> tuple[int, int]:
    """How many cases got another prediction than the first of their subject, of how many."""
    first: dict[str, str] = {}
    texts = [(one.subject, json.dumps(one.prediction, sort_keys=True)) for one in answered]
    others = sum(first.setdefault(subject, text) != text for subject, text in texts)
    return others, len(texts) - len(first)


def main() -> None:
    """Send all cases, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--subjects", type=int, default=10, help="that take turns")
    asked = parser.parse_args()
    params = read_params(asked.project / "params.yaml")
    root = asked.project / params.cohort.root
    names = sorted(p.name for p in root.iterdir() if re.fullmatch(r"sub-\w+", p.name))[: asked.subjects]
    raws = [RawSubject(root, name, params.volumes) for name in names]
    # fewer places than clients, so that some are told to wait
    with serving(asked.project, waiting=max(1, asked.clients // 2)) as (client, server):
        one_by_one, memory_mb = [], []
        for raw in itertools.islice(itertools.cycle(raws), asked.cases):
            one_by_one.append(client.predict(raw))
            memory_mb.append(resident_mb(server))
            last = one_by_one[-1]
            beyond = last.seconds - last.preprocessing_seconds
            told = f"{last.state}, {last.seconds:.1f} s, beyond {beyond:.2f} s, {memory_mb[-1]:.0f} MB"
            print(f"{len(memory_mb)}: {told}")
        with ThreadPoolExecutor(asked.clients) as pool:
            at_once = list(pool.map(client.predict, itertools.islice(itertools.cycle(raws), asked.clients)))
    answered = [*one_by_one, *at_once]
    failed = sum(one.state != "done" for one in answered)
    others, compared = agree(answered)
    agreement = f"{compared} repeated cases, {others} with another prediction"
    refusals = sum(one.refusals for one in at_once)
    said = (
        f"{len(answered)} cases, {asked.clients} of them at once, told to wait {refusals} times; {agreement}"
    )
    report("service: cases that failed", failed, "0", said, failed == others == 0)
    rest = [one.seconds - one.preprocessing_seconds for one in one_by_one]
    said = f"largest {max(rest):.2f} s; {agreement}"
    report("service: s a case beyond preprocessing", median(rest), "< 2", said, max(rest) < SECONDS_GOAL)
    settled = min(SETTLED_AFTER, len(memory_mb)) - 1
    growth = memory_mb[-1] / memory_mb[settled] - 1
    said = (
        f"{memory_mb[settled]:.0f} MB after case {settled + 1}, {memory_mb[-1]:.0f} MB after {len(memory_mb)}"
    )
    report("service: growth of resident memory", growth, "< 0.05", said, growth < GROWTH_GOAL)


if __name__ == "__main__":
    main()
