"""The command `ricenet`: quick help on everything, switching scales, errors without a traceback."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ricenet.cli import app, run_stage
from ricenet.cli.help_texts import EXAMPLES, PANELS
from ricenet.cli.options import complete_sets
from ricenet.config.params import read_params

PROJECT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "monai",
    "ants",
    "mlflow",
    "optuna",
    "ray",
    "nibabel",
    "scipy",
    "pandas",
    "sklearn",
    "matplotlib",
)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    copy = tmp_path / "params.yaml"
    copy.write_text((PROJECT / "params.yaml").read_text())
    return copy


def commands() -> list[list[str]]:
    root = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found += [[name, sub] for sub in getattr(command, "commands", {})] or [[name]]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_and_is_documented(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output
    docs = "".join(path.read_text() for path in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
    assert f"ricenet {' '.join(command)}" in docs


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom ricenet.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_committed_parameters_are_the_demo_scale(params: Path) -> None:
    before = params.read_text()
    result = CliRunner().invoke(app, ["params", "use", "demo", "--params", str(params)])
    assert result.exit_code == 0 and "0 setting(s) changed" in result.output
    assert params.read_text() == before


def test_the_paper_scale_is_the_papers_protocol_and_changes_nothing_but_scale(params: Path) -> None:
    demo = read_params(params)
    assert CliRunner().invoke(app, ["params", "use", "paper", "--params", str(params)]).exit_code == 0
    paper = read_params(params)
    assert (paper.preprocessing.cube_voxels, paper.training.epochs, paper.split.folds) == (224, 800, 5)
    assert paper.network.widen_factor == 1.0
    for section in ("seed", "cohort", "phantom", "split", "modality_sets", "augmentation", "tracking"):
        assert getattr(paper, section) == getattr(demo, section)
    assert "# of the finest copies on which the transform is estimated" in params.read_text()


def test_going_to_the_paper_scale_and_back_restores_the_file(params: Path) -> None:
    before = params.read_text()
    for scale in ("paper", "demo"):
        assert CliRunner().invoke(app, ["params", "use", scale, "--params", str(params)]).exit_code == 0
    assert params.read_text() == before


def test_settings_that_are_not_scale_survive_a_change_of_scale(params: Path) -> None:
    params.write_text(params.read_text().replace("root: data/demo", "root: data/mine"))
    CliRunner().invoke(app, ["params", "use", "paper", "--params", str(params)])
    assert read_params(params).cohort.root == "data/mine"


def test_an_unknown_scale_is_refused(params: Path) -> None:
    result = CliRunner().invoke(app, ["params", "use", "huge", "--params", str(params)])
    assert result.exit_code == 1
    assert "unknown preset 'huge'; expected one of demo, paper, small_cohort" in result.output


def test_a_misspelt_key_ends_a_command_with_its_path_and_no_traceback(params: Path) -> None:
    params.write_text(params.read_text().replace("epochs: 30", "epohs: 30"))
    result = CliRunner().invoke(app, ["params", "show", "--params", str(params)])
    assert result.exit_code == 1
    assert "training.epohs: unknown key" in result.output
    assert "Traceback" not in result.output


def test_shown_parameters_are_a_valid_parameter_file(params: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["params", "show", "--params", str(params)])
    (tmp_path / "shown.yaml").write_text(result.stdout)
    assert read_params(tmp_path / "shown.yaml") == read_params(params)


def test_a_phantom_is_not_written_over_existing_files(params: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scan.nii.gz").write_text("precious")
    result = CliRunner().invoke(app, ["phantom", str(tmp_path / "mine"), "--params", str(params)])
    assert result.exit_code == 1
    assert "exists and is not empty" in result.output


def test_a_stage_that_ctrl_c_ends_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_stage(interrupted)
    assert ended.value.code == 130
    assert "stopped; what is done is kept, and `dvc repro` goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_examples_that_can_be_typed_as_they_stand(command: list[str]) -> None:
    examples = EXAMPLES[" ".join(command)]
    shown = " ".join(CliRunner().invoke(app, [*command, "--help"]).output.split())
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "ricenet" and words[: len(command)] == command
        assert example in shown
        parsed(words)


def parsed(words: list[str]) -> None:
    """Let the command line take words without running what they say; raises where it refuses them."""
    at: Any = typer.main.get_command(app)
    while hasattr(at, "commands"):
        at = at.commands[words.pop(0)]
    at.make_context("ricenet", words)


def test_no_example_is_left_of_a_command_that_is_gone() -> None:
    assert set(EXAMPLES) == {" ".join(command) for command in commands()}


def options() -> dict[str, dict[str, Any]]:
    """Option -> command -> what declares it, hidden ones left out."""
    found: dict[str, dict[str, Any]] = {}
    for words in commands():
        at: Any = typer.main.get_command(app)
        for word in words:
            at = at.commands[word]
        for param in at.params:
            if param.param_type_name == "option" and not param.hidden:
                found.setdefault(param.opts[0], {})[" ".join(words)] = param
    return found


@pytest.mark.parametrize("option", ["--params", "--json", "--dry-run", "--host", "--port", "--allowed-host"])
def test_an_option_of_several_commands_says_the_same_in_each(option: str) -> None:
    of_commands = options()[option].values()
    assert len(of_commands) > 1
    assert len({(param.help, param.metavar) for param in of_commands}) == 1


def test_every_argument_has_a_name_in_capitals_and_says_what_it_is() -> None:
    for words in commands():
        at: Any = typer.main.get_command(app)
        for word in words:
            at = at.commands[word]
        for param in at.params:
            if param.param_type_name == "argument":
                assert param.help and param.metavar and param.metavar.upper() == param.metavar, words


def test_the_list_of_commands_is_sorted_by_what_they_are_for() -> None:
    names = [command[0] for command in commands()]
    placed = [name for panel in PANELS.values() for name in panel]
    assert sorted(placed) == sorted(set(names))
    said = CliRunner().invoke(app, ["--help"]).output
    assert all(panel in said for panel in PANELS)
    assert "Further commands" not in said


def test_every_option_says_what_it_is() -> None:
    silent = [(name, words) for name, of in options().items() for words, one in of.items() if not one.help]
    assert silent == []


def test_the_parameter_file_has_one_name_and_its_former_one_still_works(params: Path) -> None:
    assert "--file" not in options()
    for name in ("--params", "--file"):
        result = CliRunner().invoke(app, ["params", "use", "paper", name, str(params)])
        assert result.exit_code == 0, result.output


def test_all_that_is_missing_is_told_at_once_with_its_meaning() -> None:
    result = CliRunner().invoke(app, ["import", "dicom"])
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "SRC The folder of the DICOM export." in said
    assert "OUT The cohort's folder" in said
    assert "--map FILE Which series are used for what" in said
    assert "Invalid value" not in said


def test_sets_of_the_project_complete(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(params.parent)
    assert complete_sets("post_op+d")[0] == "post_op+dose"
    assert complete_sets("be", "best") == ["best"]
    params.write_text("epohs: 1")
    assert complete_sets("post") == []
