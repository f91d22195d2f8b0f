"""The three tutorials, command by command, at a smaller scale. Each goes on where the one before it ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cloned_project import Clone
from tutorials import SCALE, Tutorial

from ricenet.runtime.tables import read_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("tutorials") / "project", SCALE)
    clone.run("git", "config", "user.name", "a reader")
    clone.run("git", "config", "user.email", "reader@example.org")
    return clone


@pytest.fixture(scope="module")
def first(clone: Clone) -> Tutorial:
    return Tutorial("tutorial-first-result.md", clone).follow()


@pytest.fixture(scope="module")
def second(first: Tutorial, clone: Clone) -> Tutorial:
    return Tutorial("tutorial-tuning.md", clone).follow()


def test_an_export_becomes_a_report(first: Tutorial, clone: Clone) -> None:
    said = "\n".join(first.said)
    assert "6 complete" in said and "6 imported, 0 excluded, 0 failed" in said
    assert (clone.folder / "work/report/index.html").is_file()
    assert set(clone.json("work/evaluation/metrics.json")) == {
        "dose@small_cohort",
        "post_op+event+dose@small_cohort",
    }
    # nothing that names a patient is committed
    assert "map" not in clone.run("git", "ls-files", "--", "*.csv").stdout


def test_a_tuned_set_is_promoted_and_votes_once(second: Tutorial, clone: Clone) -> None:
    assert len(read_rows(clone.folder / "models/test_ledger.tsv")) == 1
    assert list(clone.json("work/vote/vote.json")) == ["dose@small_cohort"]
    assert '"p_rice_calibrated"' in "\n".join(second.said)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the path")
def test_a_department_shares_runs_volumes_and_a_service(second: Tutorial, clone: Clone) -> None:
    Tutorial("tutorial-department.md", clone).follow()
    beside: Path = clone.folder.parent
    answer = json.loads((beside / "answer.json").read_text())
    assert answer["state"] == "done" and answer["prediction"]["label"] in {"rice", "recurrence"}
    # Ann has it all, and the restored server its database
    assert (beside / "ann/work/report/index.html").is_file()
    assert (beside / "ann/data/mine/participants.tsv").is_file()
    assert (beside / "restored/mlflow.db").is_file()
