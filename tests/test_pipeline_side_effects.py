"""Stages that do more than write their outputs run when DVC could take the outputs from its cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ricenet.inference.test_ledger import (
    LedgerRow,
    ledger_path,
    ledger_text,
    read_ledger,
    record_evaluation,
    require_rows_of_votes,
)
from ricenet.runtime.errors import ResultError

PROJECT = Path(__file__).parents[1]
LEDGER, VALIDATIONS = "work/ledger.tsv", "work/validations.json"


def stages() -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, dict[str, Any]]] = YAML(typ="safe").load(PROJECT / "dvc.yaml")
    return content["stages"]


def outputs(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by path."""
    return {
        path: how
        for out in stage["outs"]
        for path, how in ({out: {}} if isinstance(out, str) else out).items()
    }


@pytest.mark.parametrize("name", ["resolve", "vote", "ledger", "register"])
def test_a_stage_with_a_side_effect_is_never_taken_from_the_run_cache(name: str) -> None:
    stage = stages()[name]
    # DVC keeps runs of neither
    assert stage.get("always_changed") or any(how.get("persist") for how in outputs(stage).values())


def test_what_tells_of_the_ledger_depends_on_it() -> None:
    assert outputs(stages()["ledger"]).keys() == {LEDGER, VALIDATIONS}
    assert stages()["ledger"]["deps"] == ["work/vote"]  # so that a vote comes first
    assert {LEDGER, VALIDATIONS} <= set(stages()["report"]["deps"])


VOTE, LEDGER_STAGE, REPORT = (
    "echo row >> ledger && mkdir -p work/vote && cp champion work/vote/champion",
    "cp ledger work/ledger.tsv && cp validations work/validations.json",
    "cat work/ledger.tsv work/validations.json > work/report",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The real settings of the three stages, around commands that only count."""
    real, commands = stages(), {"vote": VOTE, "ledger": LEDGER_STAGE, "report": REPORT}
    kept = ("outs", "always_changed")
    small = {
        name: {"cmd": cmd, **{key: real[name][key] for key in kept if key in real[name]}}
        for name, cmd in commands.items()
    }
    small["vote"]["deps"], small["ledger"]["deps"] = ["champion"], real["ledger"]["deps"]
    small["report"]["deps"] = [
        dep for dep in real["report"]["deps"] if dep in (LEDGER, VALIDATIONS, "work/vote")
    ]
    YAML().dump({"stages": small}, tmp_path / "dvc.yaml")
    (tmp_path / "validations").touch()
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    return tmp_path


def dvc(project: Path, *arguments: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(project / "site")}
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_champion_who_returns_votes_again_and_the_report_reads_the_ledger_of_now(project: Path) -> None:
    for number, champion in enumerate(("a", "b", "a"), start=1):
        (project / "champion").write_text(champion)
        output = dvc(project, "repro")
        assert "Running stage 'vote'" in output
        assert (project / "work/report").read_text() == number * "row\n"
    assert "Running stage 'vote'" not in dvc(project, "repro")
    # a row from elsewhere, such as that of a copy of the project
    (project / "ledger").write_text(4 * "row\n")
    dvc(project, "repro")
    assert (project / "work/report").read_text() == 4 * "row\n"
    # a result of another hospital
    (project / "validations").write_text("site B\n")
    dvc(project, "repro")
    assert (project / "work/report").read_text() == 4 * "row\n" + "site B\n"


# --- the stage ---


def test_the_ledger_has_to_hold_what_the_votes_show(tmp_path: Path) -> None:
    assert read_ledger(ledger_path(tmp_path)) == [] and ledger_text(tmp_path).startswith("utc\tmodality_set")
    row = LedgerRow("", "dose", "rice-net-dose", "1", "d" * 12, 6, "0.5", 0, "t" * 12)
    record_evaluation(ledger_path(tmp_path), row)
    require_rows_of_votes(tmp_path, {"dose": "d" * 64})
    assert len(ledger_text(tmp_path).splitlines()) == 2
    with pytest.raises(ResultError, match=r"lacks the evaluation\(s\) of event .* restore it from git"):
        require_rows_of_votes(tmp_path, {"dose": "d" * 64, "event": "e" * 64})
    ledger_path(tmp_path).unlink()
    with pytest.raises(ResultError, match=r"has 0 row\(s\), but 1 evaluation\(s\) were recorded"):
        require_rows_of_votes(tmp_path, {"dose": "d" * 64})
    # also where both files went, which so fit each other
    ledger_path(tmp_path).with_suffix(".json").unlink()
    with pytest.raises(ResultError, match=r"lacks the evaluation\(s\) of dose"):
        require_rows_of_votes(tmp_path, {"dose": "d" * 64})


# --- the python of a stage ---


def launch(folder: Path, path: str, *, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A stage's command, as DVC starts it in a shell. home: with .venv; by default there is none."""
    (folder / "src/stages").mkdir(parents=True)
    shutil.copy(PROJECT / "src/stages/python.sh", folder / "src/stages")
    (folder / "stage.py").write_text("import ricenet, sys\nprint(sys.executable)\n")
    if home is not None:
        (home / ".venv/bin").mkdir(parents=True)
        add_python(home / ".venv/bin")
    return subprocess.run(
        ["/bin/sh", "src/stages/python.sh", "stage.py"],
        cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def add_python(folder: Path, *, has_ricenet: bool = True) -> str:
    """A python of this environment, or one that knows the standard library alone; the folder, for a path."""
    folder.mkdir(parents=True, exist_ok=True)
    how = (
        f"PYTHONPATH={PROJECT / 'src'} exec {sys.executable}"
        if has_ricenet
        else f"exec {sys.executable} -S -E"
    )
    (folder / "python").write_text(f'#!/bin/sh\n{how} "$@"\n')
    (folder / "python").chmod(0o755)
    return str(folder)


def test_a_stage_starts_with_the_python_of_the_path_that_has_ricenet(tmp_path: Path) -> None:
    done = launch(tmp_path / "project", add_python(tmp_path / "bin"))
    assert done.returncode == 0 and done.stdout.strip() == sys.executable


@pytest.mark.parametrize("copy", ["", ".dvc/tmp/exps/tmp1"])
def test_without_one_it_starts_with_that_of_the_projects_environment(tmp_path: Path, copy: str) -> None:
    home = tmp_path / "project"
    done = launch(home / copy, add_python(tmp_path / "bin", has_ricenet=False), home=home)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("copy", ["", ".dvc/tmp/exps/tmp1"])
def test_or_with_the_one_that_made_the_project(tmp_path: Path, copy: str) -> None:
    home = tmp_path / "project"
    (home / ".ricenet").mkdir(parents=True)
    (home / ".ricenet/python").write_text(f"{add_python(tmp_path / 'its environment')}/python\n")
    done = launch(home / copy, add_python(tmp_path / "bin", has_ricenet=False))
    assert done.returncode == 0, done.stderr


def test_without_any_it_says_which_to_use_and_shows_no_traceback(tmp_path: Path) -> None:
    done = launch(tmp_path / "project", add_python(tmp_path / "bin", has_ricenet=False))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: no python here has ricenet") and "make setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_stage_starts_that_way() -> None:
    content = YAML(typ="safe").load(PROJECT / "dvc.yaml")
    assert content["vars"] == [{"python": "sh src/stages/python.sh"}]
    assert {stage["cmd"].split()[0] for stage in content["stages"].values()} == {"${python}"}
    demo = YAML(typ="safe").load(PROJECT / "src/stages/dvc.yaml")["stages"]["phantom"]
    assert demo["cmd"].startswith("sh src/stages/python.sh ")
