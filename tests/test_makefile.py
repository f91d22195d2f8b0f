"""`make` finds a Python that is supported, and says what to install where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TOOLS = ("make", "bash", "sh", "grep", "sed", "expand", "test", "echo", "touch")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile with what it depends on, in a folder whose bin/ is the whole path."""
    for name in ("Makefile", "pipeline.mk", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def add_python(project: Path, version: str, status: int = 0) -> None:
    """A stand-in that runs or, as a version manager's shim of a missing version, does not."""
    script = project / "bin" / f"python{version}"
    script.write_text(f"#!/bin/sh\nexit {status}\n")
    script.chmod(0o755)


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=project,
        env={"PATH": str(project / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["3.11", "3.12", "3.13"], "python3.11"),
        (["3.13", "3.12"], "python3.12"),
        (["3.13"], "python3.13"),
        (["3.10", "3.13", "3.14"], "python3.13"),
    ],
)
def test_the_first_supported_python_makes_the_environment(
    project: Path, there: list[str], chosen: str
) -> None:
    for version in there:
        add_python(project, version)
    assert f"{chosen} -m venv .venv" in make(project, "--dry-run", "setup").stdout


def test_a_python_that_does_not_run_is_passed_over(project: Path) -> None:
    add_python(project, "3.11", status=127)
    add_python(project, "3.12")
    assert "python3.12 -m venv .venv" in make(project, "--dry-run", "setup").stdout


def test_without_a_supported_python_make_says_what_to_install(project: Path) -> None:
    add_python(project, "3.10")
    done = make(project, "setup")
    assert done.returncode != 0
    assert "No Python 3.11 3.12 3.13 found" in done.stderr
    assert "python3-venv" in done.stderr


def test_a_python_of_the_users_choice_is_taken(project: Path) -> None:
    add_python(project, "3.12")
    assert "/opt/py/bin/python -m venv" in make(project, "-n", "setup", "PYTHON=/opt/py/bin/python").stdout
