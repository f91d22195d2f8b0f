"""`ricenet status`, `ricenet open`, `ricenet --version`: where the project stands, and what comes next."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from registered_project import Registered
from small_report import write_ledger, write_project, write_vote
from typer.testing import CliRunner, Result

from ricenet import __version__
from ricenet.cli import app
from ricenet.cli import status as command
from ricenet.report.status import next_step, status_lines
from ricenet.runtime.files import write_json, write_text


def ricenet(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path)
    write_json(tmp_path / "work/stage_times.json", {"train": 61.0, "split": 0.2})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_empty_folder_is_sent_to_its_first_command(tmp_path: Path) -> None:
    told = dict(status_lines(tmp_path, {}))
    assert told["stages"] == "none has run yet"
    assert told["test set"] == "never evaluated"
    assert "dvc repro" in told["next"]


def test_a_project_tells_its_folds_times_and_best_set(project: Path) -> None:
    told = dict(status_lines(project, {}))
    assert told["stages"] == "2 have run, in 1 min 1 s; all are up to date"
    assert "macro-F1" in told["result"]


def test_what_dvc_would_run_again_is_named_with_its_reason(project: Path) -> None:
    told = dict(status_lines(project, {"train": ["params.yaml"]}))
    assert "out of date: train (params.yaml)" in told["stages"]
    assert told["next"].startswith("`dvc repro`")


def test_of_many_stages_that_are_out_of_date_the_first_has_its_reason(project: Path) -> None:
    told = dict(status_lines(project, {"check_cohort": ["data/mine"], "split": ["work"], "train": ["work"]}))
    assert "out of date: check_cohort (data/mine), and with it split, train" in told["stages"]


def test_nothing_is_called_up_to_date_that_was_not_asked(project: Path) -> None:
    said = ricenet("status", "--fast").output
    assert "up to date" not in said
    assert "not asked" in said


def test_without_a_champion_promotion_is_next_and_with_one_prediction(project: Path) -> None:
    write_json(project / "work/champions.json", {})
    assert "ricenet promote" in next_step(project, {})
    write_json(project / "work/champions.json", {"dose": "ab" * 32})
    assert "ricenet predict" in next_step(project, {})


def test_a_promotion_since_the_last_run_is_told(project: Path) -> None:
    write_json(project / "work/champions.json", {})
    told = dict(status_lines(project, {}, {"dose": "ab" * 32}))
    assert told["champion"] == "dose (digest abababababab)"
    assert told["next"].startswith("`dvc repro` lets the new champion vote")


def test_champions_are_those_of_the_store(registered: Registered) -> None:
    assert command.promoted_now() == {}
    registered.move_alias(2)
    assert command.promoted_now() == {"dose": registered.versions("dose")[1].digest}


def test_without_a_store_no_champion_is_known(project: Path) -> None:
    assert command.promoted_now() is None
    write_text(project / "params.yaml", (Path(__file__).parents[1] / "params.yaml").read_text())
    assert command.promoted_now() is None
    assert not (project / "mlflow").exists()


def test_the_last_look_at_the_test_set_is_told(project: Path) -> None:
    write_vote(project)
    write_ledger(project)
    assert "macro-F1" in dict(status_lines(project, {}))["test set"]


def test_a_damaged_ledger_is_an_error_not_a_missing_one(project: Path) -> None:
    write_text(project / "models/test_ledger.tsv", "")
    answer = ricenet("status", "--fast")
    assert answer.exit_code == 1
    assert "test_ledger.tsv" in answer.stderr


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"resolve": ["always changed"]}', {}),
        (
            '{"train": [{"changed deps": {"params.yaml": {"seed": "modified"}, "src/a": "modified"}}]}',
            {"train": ["params.yaml, src/a"]},
        ),
        (
            '{"ledger": ["always changed", {"changed outs": {"l": "deleted"}}]}',
            {"ledger": ["l"]},
        ),
    ],
)
def test_dvcs_answer_is_read_as_stages_and_places(
    answer: str, expected: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=answer, stderr="")
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: done)
    assert command.out_of_date(Path()) == expected


def test_stages_that_are_out_of_date_come_in_the_pipelines_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "dvc.yaml", "stages:\n  split:\n    cmd: a\n  train:\n    cmd: b\n")
    answer = '{"train": ["a"], "split": ["b"], "data.dvc": ["c"]}'
    done = subprocess.CompletedProcess([], 0, stdout=answer, stderr="")
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: done)
    assert list(command.out_of_date(tmp_path)) == ["data.dvc", "split", "train"]


def test_a_folder_that_dvc_does_not_know_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    answer = ricenet("status")
    assert answer.exit_code == 1
    assert "--fast" in answer.stderr


@pytest.mark.parametrize("words", [("status",), ("status", "--fast"), ("open", "report")])
def test_outside_a_project_it_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ricenet(*words)
    assert answer.exit_code == 1
    assert "no project here" in answer.stderr


def test_pages_are_found_or_said_to_be_missing(project: Path) -> None:
    (project / "work/report/index.html").unlink(missing_ok=True)
    assert "`dvc repro report` makes it" in ricenet("open", "report", "--print").stderr
    write_text(project / "work/report/index.html", "<p>")
    assert ricenet("open", "report", "--print").stdout == "work/report/index.html\n"
    write_text(project / "work/explain/dose/index.html", "<p>")
    assert ricenet("open", "explain", "--print").stdout == "work/explain/dose/index.html\n"


def test_the_version_is_told() -> None:
    assert ricenet("--version").stdout == f"ricenet {__version__}\n"
