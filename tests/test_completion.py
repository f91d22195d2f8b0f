"""What the shell offers: commands, and the project's modality sets and subjects; nothing elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_command_line import HEAVY
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.config.params import read_params

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings and a cohort of two, entered; beside them a folder and a file that are no subjects."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    for name in ("sub-001", "sub-002", "sub-Doe_Jane", "ground_truth"):
        (tmp_path / "data/demo" / name).mkdir(parents=True)
    (tmp_path / "data/demo/participants.tsv").write_text("participant_id\nsub-003\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(words: str, shell: str = "fish") -> list[str]:
    """The values for the last word of a line, "" where it ends with a space, by a shell's own protocol."""
    typed = words.split(" ")
    by_shell = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(typed) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
        "fish": {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    environment = {"_RICENET_COMPLETE": f"complete_{shell}", **by_shell[shell]}
    answer = CliRunner().invoke(app, [], prog_name="ricenet", env=environment)
    assert answer.exit_code == 0 and answer.stderr == ""
    if shell == "zsh":
        return re.findall(r'"([^"]*)"(?=[\n)])', answer.stdout)
    return [line.split("\t")[0] for line in answer.stdout.splitlines() if line]


SETS = read_params(PROJECT / "params.yaml").modality_sets


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_offered_the_sets(project: Path, shell: str) -> None:
    assert offered("ricenet export bundle ", shell) == SETS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ricenet promote ", [*SETS, "best"]),
        ("ricenet promote be", ["best"]),
        ("ricenet compare dose event", ["event", "event+dose"]),
        ("ricenet explain --set dose@", ["dose@small_cohort"]),
        ("ricenet explain ", ["sub-001", "sub-002"]),
        ("ricenet explain sub-001 sub", ["sub-002"]),
        ("ricenet export ", ["results", "bundle", "study"]),
    ],
)
def test_sets_subjects_and_commands_are_offered(project: Path, words: str, expected: list[str]) -> None:
    assert offered(words) == expected


def test_sets_that_were_declared_here_are_offered(project: Path) -> None:
    (project / "params.yaml").write_text("modality_sets: [flair, 7, flair+dose]\n")
    assert offered("ricenet promote fl") == ["flair", "flair+dose"]


@pytest.mark.parametrize(
    "content", [None, "modality_sets: [", "modality_sets: 7", "- dose", "cohort: {root: nowhere}", ""]
)
def test_without_a_project_nothing_is_offered_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    assert offered("ricenet export bundle ") == []
    assert offered("ricenet explain ") == []
    # not even what `ricenet doctor` tells
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"] * (content is not None)


def test_completing_loads_no_heavy_library(project: Path) -> None:
    code = (
        "import sys\nfrom ricenet.cli import app\nfrom ricenet.cli.completion import modality_sets\n"
        "assert modality_sets('')\n"
        f"print([name for name in (*{HEAVY}, 'ricenet.config.params') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("bash", ".bash_completions/ricenet.sh"),
        ("zsh", ".zfunc/_ricenet"),
        ("fish", ".config/fish/completions/ricenet.fish"),
    ],
)
def test_completion_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, script: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, shell))
    answer = CliRunner().invoke(app, ["--install-completion"], prog_name="ricenet")
    assert answer.exit_code == 0, answer.output
    assert f"_RICENET_COMPLETE=complete_{shell}" in (tmp_path / script).read_text()


def test_bash_itself_completes_by_the_script(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bash, ricenet = shutil.which("bash"), Path(sys.executable).with_name("ricenet")
    if bash is None or not ricenet.exists():
        pytest.skip("no bash, or no command ricenet")
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "bash"))
    shown = CliRunner().invoke(app, ["--show-completion"], prog_name="ricenet").stdout
    typed = f"COMP_WORDS=(ricenet explain sub-0); COMP_CWORD=2\n_ricenet_completion {ricenet}\n"
    line = f'{shown}\n{typed}printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([bash, "--norc", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sub-001", "sub-002"]
