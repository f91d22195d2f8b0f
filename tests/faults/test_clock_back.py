"""A clock that is set back: files lie in the future, and whatever is new has an older time than what was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import assert_same, contents, ledger, leftovers, tracked
from project_runs import Project
from tally import OTHERS
from undisturbed import Reference

from ricenet.runtime.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

YEAR_S = 365 * 86_400
BACK = {"program": "", "clock_s": -YEAR_S}
"""For every process, DVC included."""


@pytest.fixture(scope="module")
def project(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project whose files are of next year."""
    project = reference.copy(reference.ended, tmp_path_factory.mktemp("clock") / "copy")
    put_into_the_future(project.folder)
    return project


def put_into_the_future(project: Path) -> None:
    future = time.time() + YEAR_S
    for name in ("work", "models", "mlflow", ".dvc", "data"):
        for path in (project / name).rglob("*"):
            if not path.is_symlink():
                os.utime(path, (future, future))


def test_nothing_is_done_again_for_that(project: Project, reference: Reference) -> None:
    said = project.ok("dvc", "repro", fault=BACK)
    assert said.count("Running stage") == 3, said
    assert_same(project.folder, reference.outcome)


def test_a_promotion_is_heard_although_it_is_older_than_the_last_answer(
    project: Project, reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    project.ok("ricenet", "promote", "event+dose", "--force", "--reason", "the clock", fault=BACK)
    said = project.ok("dvc", "repro", fault=BACK)
    assert "Running stage 'vote'" in said and "Running stage 'report'" in said
    assert set(read_json(project.folder / "work/champions.json")) == {"dose", "event+dose"}
    assert [(row[0], row[5]) for row in ledger(project.folder)] == [("dose", 1), ("event+dose", 2)]
    before, now = reference.outcome.contents, contents(project.folder)
    assert now["work/vote/dose.tsv"] == before["work/vote/dose.tsv"]
    assert tracked(project.folder)["runs"] == reference.outcome.tracked["runs"]
    record_property(OTHERS, "clock set back: promote and vote")


def test_a_changed_input_is_seen_although_it_is_older_than_its_results(
    project: Project, record_property: Callable[[str, object], None]
) -> None:
    table = project.folder / "data/mine/participants.tsv"
    before = read_json(project.folder / "work/cohort/cohort.json")["digest"]
    # as many bytes as before
    table.write_text(
        table.read_text()
        .replace("sub-005\trice", "sub-005\tRICE")
        .replace("sub-005\trecurrence", "sub-005\tRecurrence")
    )
    old = time.time() - YEAR_S
    os.utime(table, (old, old))
    said = project.done("dvc", "repro", "check_cohort", fault=BACK).said
    assert "Running stage 'check_cohort'" in said, said
    assert before != _digest_or_none(project)
    record_property(OTHERS, "clock set back: a changed table")


def _digest_or_none(project: Project) -> str | None:
    cohort = project.folder / "work/cohort/cohort.json"
    return str(read_json(cohort)["digest"]) if cohort.is_file() else None


def test_nothing_half_written_stays(project: Project) -> None:
    assert leftovers(project.folder) == []
