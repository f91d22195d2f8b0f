"""Hundreds of spoiled inputs end with an error that names subject and file, or are read as they say.

A cohort goes through `ricenet check`, an export through both calls of `ricenet import dicom`. They run in one
process a kind, which is watched: 30 s and 2 GB a case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spoiled_cohorts
from cohorts import write_tiny_cohort
from tally import SPOILED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LIMIT_S, LIMIT_MB = 30, 2000
WORKER = Path(__file__).with_name("spoiled_worker.py")
Line = dict[str, Any]


class Worker:
    """The process that puts cases through; one that hangs is ended, and another goes on behind that case."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.results = folder / "results.jsonl"
        self.results.touch()

    def run(self) -> list[Line]:
        """Every case's result, in order."""
        first, count = 0, 1
        while first < count:
            self._run_from(first)
            lines = self.lines()
            count = next(line["cases"] for line in lines if "cases" in line)
            done = {line["number"] for line in lines if "number" in line}
            if hanging := [line for line in lines if "begun" in line and line["begun"] not in done]:
                self._note_hanging(hanging[-1])
                first = hanging[-1]["begun"] + 1
            else:
                first = max(done) + 1
        return [line for line in self.lines() if "number" in line]

    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.results.read_text().splitlines()]

    def _run_from(self, first: int) -> None:
        command = [sys.executable, str(WORKER), self.kind, str(self.folder), str(first)]
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        seen, at = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.5)
            size = self.results.stat().st_size
            seen, at = (size, time.monotonic()) if size != seen else (seen, at)
            # the worker's own alarm comes first, where Python still hears it
            if time.monotonic() - at > 3 * LIMIT_S:
                process.kill()
        assert self.lines(), (self.folder / "said").read_text()[-3000:]

    def _note_hanging(self, case: Line) -> None:
        found = {"number": case["begun"], "kind": case["kind"], "name": case["name"], "verdict": "failed"}
        with self.results.open("a") as results:
            results.write(
                json.dumps({**found, "why": "it hangs, or ends the process", "memory_mb": 0}) + "\n"
            )


@pytest.mark.parametrize("kind", ["cohort", "export"])
def test_a_spoiled_input_is_told_or_read_as_it_says(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    results = Worker(kind, tmp_path).run()
    failed = [
        f"{line['kind']}, {line['name']}: {line['why']}" for line in results if line["verdict"] == "failed"
    ]
    assert failed == []
    assert max(line["memory_mb"] for line in results) < LIMIT_MB
    names = Counter((line["kind"], line["name"]) for line in results)
    assert max(names.values()) == 1
    for line in results:
        record_property(SPOILED, f"{line['kind']}: {line['verdict']}{', ' * bool(line['why'])}{line['why']}")


SAMPLE = ("two dimensions", "a NUL", "nested", "a pipe", "noise")


def test_a_process_of_its_own_ends_alike(tmp_path: Path) -> None:
    valid = write_tiny_cohort(tmp_path / "valid")
    cases = [one for one in spoiled_cohorts.cases() if one.name.endswith(SAMPLE)]
    assert len(cases) >= len(SAMPLE)
    for number, case in enumerate(cases):
        cohort = tmp_path / f"case-{number}"
        subprocess.run(["cp", "-r", str(valid), str(cohort)], check=True)
        case.spoil(cohort)
        done = checked_alone(cohort)
        assert done.returncode == 1, f"{case.kind}, {case.name}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr and Path(case.file).name in done.stdout


def checked_alone(cohort: Path) -> subprocess.CompletedProcess[str]:
    """`ricenet check` in 30 s and 2 GB of memory."""
    code = "from ricenet.cli import app; app()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "check", str(cohort)],
        cwd=cohort.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    peak = threading.Thread(target=end_if_large, args=(process,))
    peak.start()
    try:
        said, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        peak.join()
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def end_if_large(process: subprocess.Popen[str]) -> None:
    """Kill a process whose resident memory grows beyond the limit."""
    page_mb = os.sysconf("SC_PAGE_SIZE") / 2**20
    while process.poll() is None:
        try:
            resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return
        if resident * page_mb > LIMIT_MB:
            process.kill()
        time.sleep(0.1)
