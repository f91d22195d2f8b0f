"""What the tests of faults share: a project that nothing disturbed, and their summary."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from tally import GOALS, SPOILED
from undisturbed import Reference

from ricenet.runtime.files import locked


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    base = tmp_path_factory.getbasetemp()
    kept = os.environ.get("RICENET_FAULTS_REFERENCE")
    folder = Path(kept or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reference")
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            # where the places of files stand in a database, so under the final name
            found = Reference(folder)
            folder.mkdir()
            found.make()
    return Reference(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table by kind, and lines of JSON as benchmarks print them."""
    passed = Counter[str]()
    kinds: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, kind in report.user_properties:
            passed[name] += 1
            kinds.setdefault(name, Counter())[kind] += 1
    for name, of_kind in kinds.items():
        for kind, count in sorted(of_kind.items()):
            terminalreporter.write_line(f"{name}\t{kind}\t{count}")
    failed = terminalreporter.stats.get("failed", []) + terminalreporter.stats.get("error", [])
    for name, count in passed.items():
        goal = GOALS.get(name)
        agreement = "errors name subject and file; what is accepted is read as another program reads it"
        line = {
            "name": name,
            "value": count,
            "goal": f">= {goal}" if goal else "all",
            "met": count >= (goal or 0) and not failed,
            "agreement": agreement if name == SPOILED else "results, votes, runs and versions as undisturbed",
        }
        terminalreporter.write_line(json.dumps(line))
