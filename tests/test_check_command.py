from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from cohorts import SIDECAR_FILE, change_cell, write_tiny_cohort
from typer.testing import CliRunner

from ricenet.cli.check import check

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_tiny_cohort(tmp_path / "tiny")


def run_in_project(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    write_tiny_cohort(tmp_path / "data" / "demo")
    return tmp_path


STAGE = str(REPOSITORY / "src" / "stages" / "check_cohort.py")


def test_the_stage_writes_the_checked_cohort_and_one_line_of_summary(project: Path) -> None:
    done = run_in_project(project, STAGE)
    assert done.returncode == 0
    assert done.stderr.strip().splitlines()[-1].startswith("4 subjects: 2 recurrence, 2 rice")
    checked = json.loads((project / "work/cohort/cohort.json").read_text())
    assert checked["root"] == "data/demo"
    assert checked["subjects"][0]["scans"].keys() == {"post_op", "event", "dose", "dose_sidecar"}
    assert json.loads((project / "work/cohort/problems.json").read_text())["problems"] == []


def test_the_stage_leaves_problems_and_no_earlier_cohort_where_it_fails(project: Path) -> None:
    run_in_project(project, STAGE)
    (project / "data/demo" / SIDECAR_FILE).unlink()
    done = run_in_project(project, STAGE)
    assert done.returncode == 1
    assert f"sub-002\n  - {SIDECAR_FILE}: file is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "work/cohort/cohort.json").exists()
    assert len(json.loads((project / "work/cohort/problems.json").read_text())["problems"]) == 1


def test_the_stage_tells_nothing_of_a_patient(project: Path) -> None:
    cohort = project / "data/demo"
    change_cell(cohort, "sub-001", label="Hans Mueller")
    (cohort / "sub-003").rename(cohort / "sub-Hans_Mueller_1951")
    done = run_in_project(project, STAGE)
    assert done.returncode == 1
    assert "sub-001\n  - participants.tsv: label is none of recurrence, rice, n/a (line 2)" in done.stderr
    assert "1 folder whose name is not sub-<letters and digits>" in done.stderr
    told = done.stdout + done.stderr + (project / "work/cohort/problems.json").read_text()
    assert not re.search("Hans|Mueller|1951", told)


def command_app() -> typer.Typer:
    app = typer.Typer()
    app.command()(check)
    return app


def test_the_command_reports_on_stdout_and_fails_only_with_problems(cohort: Path) -> None:
    sound = CliRunner().invoke(command_app(), [str(cohort)])
    assert (sound.exit_code, sound.stdout.split(":")[0]) == (0, "no problem found in 4 subjects")
    (cohort / SIDECAR_FILE).unlink()
    faulty = CliRunner().invoke(command_app(), [str(cohort)])
    assert faulty.exit_code == 1
    assert f"sub-002\n  - {SIDECAR_FILE}: file is missing" in faulty.stdout


def test_the_command_checks_the_cohort_of_the_parameters_by_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    shutil.rmtree(project / "data/demo/sub-003")
    result = CliRunner().invoke(command_app(), [])
    assert result.exit_code == 1
    assert "demo: 1 problem(s)\nsub-003" in result.stdout
