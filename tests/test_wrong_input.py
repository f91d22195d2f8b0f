"""Wrong input of every kind to every command: a message that says what to do, and no traceback."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_command_line import commands
from typer.testing import CliRunner, Result

from ricenet.cli import app

PARAMS = Path(__file__).parents[1] / "params.yaml"
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "check": ("THERE",),
    "cohort add": ("THERE",),
    "cohort summary": ("THERE",),
    "compare": ("dose", "post_op+dose"),
    "doctor": (),
    "explain": ("sub-001",),
    "export bundle": ("dose", "THERE"),
    "export results": ("results.xlsx",),
    "export study": ("dose", "--plan", "THERE", "--out", "study.zip"),
    "import burdenko": ("THERE", "THERE", "out"),
    "import cfb-gbm": ("THERE", "THERE", "out"),
    "import dicom": ("THERE", "out", "--map", "map.csv", "--clinical", "THERE"),
    "import dicomweb": ("http://127.0.0.1:9/dicom-web", "--patients", "THERE"),
    "init": ("THERE",),
    "open": ("report",),
    "params show": ("--params", "THERE"),
    "params use": ("demo", "--params", "THERE"),
    "phantom": ("THERE", "--params", "THERE"),
    "predict": ("--volume", "dose=THERE"),
    "predict-cohort": ("THERE", "--output", "table.tsv"),
    "promote": ("dose",),
    "send": ("THERE", "http://127.0.0.1:9/dicom-web"),
    "serve": (),
    "status": (),
    "store gc": (),
    "store share": (),
    "store times": (),
    "tracking backup": ("out", "--folder", "THERE"),
    "tracking migrate": ("--params", "THERE"),
    "tracking restore": ("THERE", "--folder", "restored"),
    "tracking start": ("--folder", "THERE"),
    "upgrade": (),
    "ui": ("--params", "THERE"),
    "validate": ("THERE", "THERE"),
    "validation add": ("THERE",),
}
"""Of each command, with THERE in the place of what is wrong."""

ANSWERS = {"doctor", "store times"}
"""Commands that answer whatever is wrong, with status 0 or 1."""


def absent(folder: Path) -> Path:
    return folder / "absent"


def empty_file(folder: Path) -> Path:
    path = folder / "empty"
    path.touch()
    return path


def bytes_of_an_image(folder: Path) -> Path:
    path = folder / "image"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe" * 40)
    return path


def folder_of_others(folder: Path) -> Path:
    path = folder / "holiday"
    path.mkdir()
    (path / "beach.jpg").write_bytes(b"\xff\xd8\xff")
    return path


def dangling_link(folder: Path) -> Path:
    path = folder / "link"
    path.symlink_to(folder / "gone")
    return path


def socket_of_a_program(folder: Path) -> Path:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return path


WRONG = [absent, empty_file, bytes_of_an_image, folder_of_others, dangling_link, socket_of_a_program]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without any file."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RICENET_SERVE_TOKEN", "a token of tests, long enough")
    monkeypatch.setenv("RICENET_SERVER_PASSWORD", "a password of tests")
    return folder


@pytest.fixture
def project(outside: Path) -> Path:
    """A working folder with parameters alone, nothing of results."""
    text = PARAMS.read_text().replace("backend: processes", "backend: serial")
    (outside / "params.yaml").write_text(text)
    return outside


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No page and no server is started, should a command come so far."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("os.execve", started)
    monkeypatch.setattr("webbrowser.open", lambda *_: False)
    yield


def test_every_command_is_in_the_table() -> None:
    assert set(ARGUMENTS) == {" ".join(command) for command in commands()}


def said_of(command: str, there: Path) -> Result:
    words = (word.replace("THERE", str(there)) for word in ARGUMENTS[command])
    return CliRunner().invoke(app, [*command.split(), *words])


@pytest.mark.parametrize("command", ARGUMENTS)
@pytest.mark.usefixtures("outside")
def test_outside_a_project_no_command_fails_without_a_word(tmp_path: Path, command: str) -> None:
    require_told(said_of(command, tmp_path / "absent"), command)


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", [name for name, words in ARGUMENTS.items() if "THERE" in "".join(words)])
@pytest.mark.usefixtures("project")
def test_a_wrong_file_or_folder_is_told_without_a_traceback(
    tmp_path: Path, command: str, make: Callable[[Path], Path]
) -> None:
    require_told(said_of(command, make(tmp_path)), command)


@pytest.mark.parametrize("command", ["compare", "explain", "export results", "open", "promote", "store gc"])
@pytest.mark.usefixtures("project")
def test_a_project_without_results_is_told_what_makes_them(tmp_path: Path, command: str) -> None:
    result = said_of(command, tmp_path)

    require_told(result, command)
    assert "dvc repro" in result.output


def require_told(result: Result, command: str) -> None:
    """Status 1 or 2 with a message, or an answer of the few commands that always have one."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in ((0, 1) if command in ANSWERS else (1, 2)), result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip()) > 20


VALUES = [
    ("phantom out --subjects -3", "--subjects"),
    ("phantom out --subjects two", "--subjects"),
    ("phantom out --seed -1", "--seed"),
    ("compare dose nothing", "splits.json"),
    ("compare dose event --resamples -1", "--resamples"),
    ("compare dose event --plot x.pdf", "neither a .png nor a .svg"),
    ("promote nothing", "no model is registered for nothing"),
    ("promote dose --version -1", "--version"),
    ("promote dose --force", "--force and --reason TEXT belong together"),
    ("explain", "name subjects, or give --cohort"),
    ("explain sub-001 --cohort", "one of the two"),
    ("explain sub-001 --set nothing", "nothing"),
    ("explain ../sub-001 --set dose", "dose"),
    ("serve --port 0", "--port"),
    ("serve --waiting -1", "--waiting"),
    ("serve --allowed-host a/b", "expected a name such as rice.example.org"),
    ("ui --port 99999", "--port"),
    ("open nothing", "nothing"),
    ("params use huge", "expected one of demo, paper, small_cohort"),
    ("store gc --older-than-days -1", "--older-than-days"),
    ("import burdenko a b c --follow-up 0", "--follow-up"),
    ("import burdenko a b c --date-tolerance -1", "--date-tolerance"),
    ("import cfb-gbm a b c --follow-up 3", "--follow-up"),
    ("predict --volume dose", "expected NAME=..."),
    ("predict --dose", "--dose needs a path"),
    ("predict scan.nii.gz", "--volume NAME=PATH"),
    ("predict --volume dose=x --volume dose=y", "dose is given twice"),
    ("predict --volume dose=x --fractions -1", "--fractions"),
    ("predict --volume dose=x --prescription -60", "--prescription"),
    ("predict --volume dose=x --model nothing", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
    ("predict-cohort x --output .", "is a folder; name the table"),
    ("tracking start --port -1", "--port"),
    ("tracking start --workers 0", "--workers"),
    ("tracking start --database oracle", "--database"),
    ("export results x.docx", "splits.json is missing"),
    ("cohort add . --name a/b", "a/b"),
    ("nothing", "No such command"),
    ("compare dose event --nothing", "--nothing"),
]
"""What is typed, and what the message names."""


@pytest.mark.parametrize(("typed", "named"), VALUES, ids=[typed for typed, _ in VALUES])
@pytest.mark.usefixtures("project")
def test_a_wrong_value_is_named(typed: str, named: str) -> None:
    result = CliRunner().invoke(app, shlex.split(typed))

    require_told(result, typed)
    assert named in " ".join(result.output.replace("│", " ").split())
    assert not Path("out").exists()
