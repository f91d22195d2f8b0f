"""`ricenet init` and `ricenet upgrade`: a project is the repository's files, and what a user edits stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from ricenet import __version__
from ricenet.cli import app, run_stage
from ricenet.project import create
from ricenet.project.carried import carried_files
from ricenet.project.installed_code import installed_digest
from ricenet.project.record import WRITTEN
from ricenet.project.settings_news import NEEDED
from ricenet.runtime.files import write_json
from ricenet.runtime.last_failure import LAST_FAILURE

REPOSITORY = Path(__file__).parents[1]
MOVED = {"src/stages/": "stages/", "src/ricenet/": ".ricenet/code/"}
IDENTITY = {
    f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def command(*words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, words, env=env)


def git(folder: Path, *words: str) -> str:
    asked = ["git", "-C", str(folder), *words]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `ricenet init` leaves it, to be read or copied."""
    parent = tmp_path_factory.mktemp("made")
    with contextlib.chdir(parent):
        result = command("init", "recurrence", env=IDENTITY)
    assert result.exit_code == 0, result.output
    assert "Next:\n  cd recurrence\n  dvc repro" in result.stdout
    return parent / "recurrence"


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "recurrence"))
    monkeypatch.chdir(folder)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def own_files(project: Path) -> dict[str, bytes]:
    """The files without what git, DVC and `ricenet doctor` keep for themselves."""
    others = (".git/", ".dvc/tmp/", LAST_FAILURE.as_posix())
    return {name: content for name, content in content_of(project).items() if not name.startswith(others)}


# --- one source ---


@pytest.mark.parametrize("folder", ["src/stages", "mlflow", "docs"])
def test_the_wheel_carries_what_git_has_of_a_folder_and_nothing_else(folder: str) -> None:
    tracked = git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "--", folder).splitlines()
    site = ("docs/assets/", "docs/site_hooks.py")  # of the website alone
    there = {path for path in tracked if (REPOSITORY / path).is_file() and not path.startswith(site)}
    there -= {path for path in there if path.endswith("dvc.lock")}
    assert {path for path in carried_files(REPOSITORY) if path.startswith(f"{folder}/")} == there


def test_a_project_holds_the_repositorys_files_byte_for_byte_but_for_paths_of_code(made: Path) -> None:
    for path in carried_files(REPOSITORY):
        text = (REPOSITORY / path).read_text(errors="surrogateescape")
        place = path.replace("src/stages/", "stages/") if path.startswith("src/") else path
        if path.endswith(("dvc.yaml", "python.sh")):
            for old, new in MOVED.items():
                text = text.replace(old, new)
            text = text.replace("wdir: ../..", "wdir: ..")
        assert (made / place).read_text(errors="surrogateescape") == text, path


def stages(folder: Path, of_demo: str) -> dict[str, Any]:
    yaml = YAML(typ="safe")
    return yaml.load(folder / "dvc.yaml")["stages"] | yaml.load(folder / of_demo)["stages"]


def test_every_stage_depends_on_what_it_depends_on_in_the_repository(made: Path) -> None:
    ours, theirs = stages(REPOSITORY, "src/stages/dvc.yaml"), stages(made, "stages/dvc.yaml")
    assert ours.keys() == theirs.keys()
    for name, stage in theirs.items():
        expected = [str(dep) for dep in ours[name]["deps"]]
        for old, new in MOVED.items():
            expected = [new + dep.removeprefix(old) if dep.startswith(old) else dep for dep in expected]
        assert stage["deps"] == expected
        assert {k: stage[k] for k in ("params", "outs") if k in stage} == {
            k: ours[name][k] for k in ("params", "outs") if k in stage
        }
        for dep in stage["deps"]:
            if dep.startswith((".ricenet/", "stages/")):
                assert (made / dep).is_file(), dep
    assert (made / "stages" / theirs["phantom"]["wdir"]).resolve() == made


def test_code_is_noted_by_the_digest_of_the_file_that_is_installed(made: Path) -> None:
    source = (REPOSITORY / "src/ricenet/vocabulary.py").read_bytes()
    assert (made / ".ricenet/code/vocabulary.py").read_text().strip() == hashlib.sha256(source).hexdigest()


def test_a_folders_digest_changes_with_names_and_contents_not_with_compiled_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ricenet.project.installed_code.SOURCE", tmp_path)
    (tmp_path / "part/__pycache__").mkdir(parents=True)
    (tmp_path / "part/a.py").write_text("a = 1\n")
    first = installed_digest("part")
    (tmp_path / "part/__pycache__/a.pyc").write_bytes(b"compiled")
    assert installed_digest("part") == first
    (tmp_path / "part/a.py").rename(tmp_path / "part/b.py")
    renamed = installed_digest("part")
    (tmp_path / "part/b.py").write_text("a = 2\n")
    assert len({first, renamed, installed_digest("part")}) == 3
    assert installed_digest("absent") is None


# --- init ---


def test_all_is_in_the_first_commit_but_what_is_of_this_machine(made: Path) -> None:
    assert git(made, "status", "--porcelain") == ""
    tracked = set(git(made, "ls-files").splitlines())
    assert {"dvc.yaml", "params.yaml", "stages/train.py", "Makefile", WRITTEN.as_posix()} <= tracked
    assert ".ricenet/python" not in tracked
    assert (made / ".ricenet/python").read_text() == f"{sys.executable}\n"
    assert str(made.parent).encode() not in b"".join(
        content for name, content in content_of(made).items() if name in tracked
    )
    assert not list(made.parent.glob(".partial-*"))


def test_dvc_reads_the_pipeline(project: Path) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(project.parent / "site")}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {name.rpartition(":")[2] for name in done.stdout.split()}
    assert names - {"data.dvc"} == stages(project, "stages/dvc.yaml").keys()


def test_without_a_name_of_the_user_git_has_all_but_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in IDENTITY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    result = command("init", "mine")
    assert result.exit_code == 0, result.output
    assert "no first commit: git does not know who you are" in result.stderr
    assert "  git commit -m" in result.stdout
    assert "A  dvc.yaml" in git(tmp_path / "mine", "status", "--porcelain")


def refused(folder: Path, *words: str) -> str:
    """What a command says that ends with status 1, without a traceback, and changes no file."""
    before = own_files(folder)
    result = command(*words)
    assert result.exit_code == 1, result.output
    assert own_files(folder) == before and "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    return result.stderr


@pytest.mark.parametrize(
    "name", ["a/b", "../a", "..", ".", "", "/tmp/a", "a b", "müller", "a\n", "-a", "a" * 65]
)
def test_a_name_that_is_no_folders_name_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "letters, digits, dots, _ and -" in refused(tmp_path, "init", "--", name)


def test_what_is_there_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/scan.nii.gz").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(made)
    assert "full exists and holds 1 file(s)" in refused(tmp_path, "init", "full")
    assert "file exists and is a file or a link" in refused(tmp_path, "init", "file")
    (tmp_path / "made").mkdir()
    shutil.copytree(made / ".ricenet", tmp_path / "made/.ricenet")
    assert "made is a project already" in refused(tmp_path, "init", "made")


def test_without_git_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git was not found. Install it" in refused(tmp_path, "init", "mine")


def test_where_dvc_fails_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.py").write_text("import sys\nsys.exit('dvc is broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "`-m dvc init --quiet` failed: dvc is broken" in refused(tmp_path, "init", "mine")


def test_what_appears_in_the_folder_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write = create.write_project

    def while_another_writes(folder: Path, name: str) -> None:
        write(folder, name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.nii.gz").write_text("precious")

    monkeypatch.setattr(create, "write_project", while_another_writes)
    result = command("init", "mine")
    assert result.exit_code == 1 and "mine exists and holds 1 file(s)" in result.stderr
    assert content_of(tmp_path) == {"mine/scan.nii.gz": b"precious"}


# --- upgrade ---


def at_earlier(project: Path, **earlier: str | None) -> None:
    """Let the project be as an earlier version wrote it. earlier: by file, its content then; None: none."""
    record = json.loads((project / WRITTEN).read_text())
    record["version"] = "0.0.9"
    for name, text in earlier.items():
        path = name.replace("__", "/").replace("_dot_", ".")
        if text is None:
            (project / path).unlink()
            del record["files"][path]
        else:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
            record["files"][path] = hashlib.sha256(text.encode()).hexdigest()
    write_json(project / WRITTEN, record)


def test_a_project_of_this_version_has_nothing_to_upgrade(project: Path) -> None:
    before = own_files(project)
    result = command("upgrade", "--yes")
    assert result.exit_code == 0 and "its files are those of the installed version" in result.stdout
    assert own_files(project) == before


def test_what_nobody_edited_is_shown_first_and_written_with_leave(project: Path) -> None:
    wanted = own_files(project)
    at_earlier(
        project,
        pipeline_dot_mk="repro:\n\tdvc repro --old\n",
        stages__train_dot_py=None,
        stages__gone_dot_py="x = 1\n",
    )
    earlier = own_files(project)
    shown = command("upgrade")
    assert shown.exit_code == 0, shown.output
    assert own_files(project) == earlier
    assert "this project is at ricenet 0.0.9" in shown.stdout
    assert "pipeline.mk changes\n" in shown.stdout and "-\tdvc repro --old\n" in shown.stdout
    assert "stages/train.py is new\n" in shown.stdout and "stages/gone.py is dropped\n" in shown.stdout
    assert "nothing is written yet" in shown.stdout
    assert command("upgrade", "--yes").exit_code == 0
    assert own_files(project) == wanted


def test_what_the_user_edited_stays_with_the_new_file_beside_it(project: Path) -> None:
    wanted = (project / "dvc.yaml").read_bytes()
    at_earlier(project, dvc_dot_yaml="stages: {}\n", stages__gone_dot_py="x = 1\n", stages__vote_dot_py=None)
    mine = {
        "dvc.yaml": "stages: {mine: {cmd: ls}}\n",
        "stages/gone.py": "x = 2\n",
        "stages/vote.py": "mine = 1\n",
    }
    for name, text in mine.items():
        (project / name).write_text(text)
    result = command("upgrade", "--yes")
    assert result.exit_code == 0, result.output
    assert {name: (project / name).read_text() for name in mine} == mine
    assert (project / "dvc.yaml.new").read_bytes() == wanted
    assert (project / "stages/vote.py.new").is_file() and not (project / "stages/gone.py.new").exists()
    assert "dvc.yaml changes, and you edited it: it stays, the new one is dvc.yaml.new" in result.stdout
    assert "-stages: {mine: {cmd: ls}}" in result.stdout
    assert "stages/gone.py is dropped, and you edited it: it stays" in result.stdout
    # told once: what the user made of it is the user's from then on
    (project / "dvc.yaml.new").unlink()
    assert "its files are those of" in command("upgrade", "--yes").stdout
    assert not (project / "dvc.yaml.new").exists()


@pytest.mark.parametrize(
    "edit", [lambda file: file.write_text("mine\n"), Path.unlink], ids=["edited", "deleted"]
)
def test_an_edit_of_what_both_versions_write_alike_is_nobodys_business(project: Path, edit: Any) -> None:
    at_earlier(project)
    edit(project / "README.md")
    result = command("upgrade", "--yes")
    assert result.exit_code == 0 and "README.md" not in result.stdout
    assert not (project / "README.md.new").exists()
    assert json.loads((project / WRITTEN).read_text())["version"] == __version__


def test_params_yaml_is_never_written_and_its_news_are_told(project: Path) -> None:
    file = project / "params.yaml"
    text = re.sub("  folds: 5 .*\n", "", file.read_text()).replace("  epochs: 30 ", "  epohs: 30 ", 1)
    file.write_text(text)
    result = command("upgrade", "--yes")
    assert result.exit_code == 0, result.output
    assert file.read_text() == text and not (project / "params.yaml.new").exists()
    assert f"params.yaml: new, not in yours: split.folds (as delivered: 5); {NEEDED}\n" in result.stdout
    assert "params.yaml: this version refuses it: training.epohs: unknown key" in result.stdout


def test_a_setting_that_a_stage_lists_is_needed_though_it_has_a_default(project: Path) -> None:
    """DVC stops at a listed parameter that the file lacks; a default of one that no stage lists will do."""
    file = project / "params.yaml"
    yaml = YAML()
    content = yaml.load(file)
    del content["labels"], content["split"]["by"], content["evidence"]["learning_curve"]
    yaml.dump(content, file)
    said = command("upgrade", "--yes").stdout
    curve = "{sets: [], shares: [0.25, 0.5, 0.75], draws: 3, growth: [1.5, 2]}"
    for needed in (
        "labels (as delivered: [recurrence, rice])",
        f"evidence.learning_curve (as delivered: {curve})",
    ):
        assert f"params.yaml: new, not in yours: {needed}; {NEEDED}\n" in said
    assert "params.yaml: new, not in yours: split.by (as delivered: subject)\n" in said
    assert "refuses" not in said and "; params.yaml lacks what it needs" in said


def test_settings_that_the_file_would_not_take_are_no_news(project: Path) -> None:
    assert command("params", "use", "small_cohort").exit_code == 0
    assert "network.widen_factor" not in command("upgrade").stdout


def test_a_later_versions_project_is_refused(project: Path) -> None:
    record = json.loads((project / WRITTEN).read_text())
    write_json(project / WRITTEN, record | {"version": "99.1"})
    said = refused(project, "upgrade", "--yes")
    assert "at ricenet 99.1" in said and f"the installed {__version__}" in said
    write_json(project / WRITTEN, record | {"format": 2})
    assert ".ricenet/written.json is of format 2" in refused(project, "upgrade", "--yes")


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"name": "a", "version": "new", "files": {}}',
                '{"name": "a", "version": "0.1", "files": {"../a": "00"}}'],
)  # fmt: skip
def test_a_damaged_record_is_told_as_one(content: str, project: Path) -> None:
    (project / WRITTEN).write_text(content)
    assert ".ricenet/written.json is damaged" in refused(project, "upgrade", "--yes")


def test_elsewhere_there_is_nothing_to_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no project of `ricenet init` here" in refused(tmp_path, "upgrade")


# --- the code that stages run with ---


def nothing() -> None:
    """Stands for a stage."""


def test_no_stage_runs_with_other_code_than_the_project_is_at(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(nothing)
    (project / ".ricenet/code/cohort").write_text("0" * 64)
    with pytest.raises(SystemExit) as ended:
        run_stage(nothing)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"ricenet {__version__} is installed, another build: cohort differs. See what `ricenet up" in said
    assert ".ricenet/code/cohort changes\n" in command("upgrade").stdout
    assert command("upgrade", "--yes").exit_code == 0
    run_stage(nothing)


def test_a_clone_elsewhere_notes_its_python_with_an_upgrade_that_changes_nothing(project: Path) -> None:
    (project / ".ricenet/python").unlink()
    assert command("upgrade").exit_code == 0
    assert (project / ".ricenet/python").read_text() == f"{sys.executable}\n"
    assert git(project, "status", "--porcelain") == ""


# --- make ---


def test_make_does_in_a_project_what_it_does_in_the_repository(project: Path) -> None:
    def recipes(folder: Path) -> list[str]:
        asked = ["make", "-n", "repro", "ui", "server"]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True)
        # setup, which comes first, is each one's own
        return [line for line in done.stdout.splitlines() if line.startswith(("dvc ", "ricenet "))]

    assert recipes(project) == recipes(REPOSITORY)
    assert recipes(project)[-1] == "ricenet tracking start --port 5000"


def test_make_setup_installs_only_where_no_python_has_ricenet(project: Path, tmp_path: Path) -> None:
    def setup(path: str) -> subprocess.CompletedProcess[str]:
        asked = ["make", "setup", "PYTHON=no-such-python"]
        return subprocess.run(asked, env={"PATH": path}, capture_output=True, text=True, check=False)

    assert setup("/usr/bin:/bin").returncode == 0
    (project / ".ricenet/python").write_text("/nowhere/python\n")
    done = setup("/usr/bin:/bin")
    assert done.returncode != 0 and "no-such-python" in done.stderr
