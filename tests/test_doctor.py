"""`ricenet doctor`: what is installed and how the project is, also where it is broken, without a name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cohorts import write_tiny_cohort
from registered_project import DOSE, Registered
from test_command_line import HEAVY
from typer.testing import CliRunner, Result

from ricenet.cli import app, run_stage
from ricenet.cli.running import mendable_errors
from ricenet.config.preset import change_settings
from ricenet.runtime import installation, project_health
from ricenet.runtime.errors import CohortError, TrainingError
from ricenet.runtime.files import locked, read_json, write_json
from ricenet.runtime.last_failure import LAST_FAILURE
from ricenet.runtime.store import STAGE_LOCK, STORE, Store
from ricenet.tracking.tracking_health import tracking

REPOSITORY = Path(__file__).parents[1]
KEY = "a" * 64


def doctor(*options: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *options])


def answers() -> dict[str, dict[str, str]]:
    """By name of the probe."""
    return {probe["name"]: probe for probe in json.loads(doctor("--json").stdout)["probes"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a cohort, before its first run."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    (folder / ".dvc").mkdir()
    write_tiny_cohort(folder / "data/demo")
    monkeypatch.chdir(folder)
    return folder


def test_in_an_empty_folder_the_installation_alone_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctor()
    assert result.exit_code == 0, result.output
    names = [line.split("] ")[1].partition(":")[0] for line in result.stdout.splitlines()[1:-1]]
    assert names == ["packages", "extras", "system", "GPU", "parameters", "commit", "disk"]
    assert "torch 2." in result.stdout and result.stdout.endswith("nothing of 7 need(s) attention\n")
    assert list(tmp_path.iterdir()) == []


def test_a_new_project_needs_no_attention_and_is_not_changed(project: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    result = doctor()
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    assert "[ok] cohort: data/demo, mode 07" in result.stdout
    assert "[ok] pipeline: 0 of 18 stages have run, the next is check_cohort" in result.stdout
    assert "[--] tracking: mlflow/mlflow.db is not there: the first training makes it" in result.stdout


def damaged_store(project: Path) -> None:
    entry = Store(project / STORE / "folds").get(KEY, lambda folder: write_json(folder / "fold.json", {}))
    (entry / "fold.json").unlink()
    (project / STORE / "folds" / "aa" / ".partial-x").mkdir()


def invalid_parameters(project: Path) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("epochs: 30", "epohs: 30"))


def dangling(name: str) -> Callable[[Path], object]:
    return lambda project: (project / name).symlink_to("/nowhere/Hans-Mueller")


def unfetched_cohort(project: Path) -> None:
    shutil.rmtree(project / "data/demo")
    dangling("data/demo")(project)


def damaged_database(project: Path) -> None:
    (project / "mlflow").mkdir()
    (project / "mlflow/mlflow.db").write_bytes(b"no database" * 100)


def unreadable_record(project: Path) -> None:
    (project / "work").mkdir()
    (project / LAST_FAILURE).write_text("{")


def server_that_is_down(project: Path) -> None:
    change_settings(project / "params.yaml", {"tracking": {"uri": "http://127.0.0.1:9"}})


FAULTS: list[tuple[Callable[[Path], object], str, str]] = [
    (damaged_store, "store", "work/store: 1 result(s), 0.0 MB, 1 left behind by killed runs (ricenet store "
     "gc), 1 of them damaged"),
    (invalid_parameters, "parameters", "1 problem(s): ricenet params show names them"),
    (unfetched_cohort, "cohort", "data/demo is no folder, or a link that leads nowhere"),
    (dangling("work"), "work", "work is no folder, or a link that leads nowhere"),
    (lambda p: (p / "models").write_text(""), "models", "models is no folder"),
    (damaged_database, "tracking", "mlflow/mlflow.db cannot be read (DatabaseError)"),
    (unreadable_record, "last failure", "could not be looked at: ResultError at ricenet/runtime/records.py:"),
    (lambda p: (p / ".dvc").rmdir(), "pipeline", "dvc.yaml, but no folder .dvc"),
    (server_that_is_down, "tracking", "http://127.0.0.1:9 cannot be reached (URLError)"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "name", "text"), FAULTS)
def test_what_is_broken_is_a_line_and_exit_status_1(
    project: Path, spoil: Callable[[Path], object], name: str, text: str
) -> None:
    spoil(project)
    result = doctor()
    assert result.exit_code == 1
    assert f"[!!] {name}: {text}" in result.stdout
    assert "Mueller" not in result.output and "Traceback" not in result.output


def test_a_missing_own_cohort_needs_attention_and_the_demos_does_not(project: Path) -> None:
    shutil.rmtree(project / "data")
    assert answers()["cohort"]["text"] == "data/demo is not there: dvc repro makes it"
    change_settings(project / "params.yaml", {"cohort": {"root": "data/mine"}})
    assert "[!!] cohort: data/mine is not there" in doctor().stdout


def test_a_folder_that_is_not_yours_and_a_full_disk_need_attention(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "work").mkdir()
    (project / "work").chmod(0o555)
    # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, needed: Path(path).name != "work")
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    found = answers()
    assert found["work"]["text"] == "work is not writable for you (mode 0555): give it to your user"
    assert found["disk"]["text"] == "1.0 MB free: make room (ricenet store gc)"
    assert found["work"]["status"] == found["disk"]["status"] == "attention"


def test_packages_that_differ_from_their_pins_and_needed_extras_are_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = installation.version

    def version(name: str) -> str:
        if name in ("psycopg", "monai"):
            raise installation.PackageNotFoundError(name)
        return "1.0+cpu" if name == "torch" else real(name)

    monkeypatch.setattr(installation, "version", version)
    change_settings(project / "params.yaml", {"tuning": {"storage": "postgresql://127.0.0.1/trials"}})
    found = answers()
    assert "torch 1.0+cpu, 2." in found["packages"]["text"] and found["packages"]["status"] == "attention"
    assert "monai is not installed, 1." in found["packages"]["text"]
    assert found["extras"]["text"].endswith("params.yaml needs postgres: pip install -e '.[postgres]'")


def test_the_tracking_database_is_counted(registered: Registered) -> None:
    registered.move_alias(version=1)
    client = registered.store.client()
    deleted = client.create_model_version(DOSE, client.get_model_version(DOSE, "1").source)
    client.delete_model_version(DOSE, deleted.version)
    answer = tracking(registered.project, None, "rice-net")
    assert answer.status == "ok"
    # three trainings of two folds each and their sets, and a version each; a deleted one does not count
    assert "2 model(s), 3 version(s), 1 champion(s)" in answer.text
    copy = registered.project.with_name("doctors-copy")
    shutil.copytree(registered.project, copy)
    assert "was moved from another folder: the next command mends it" in tracking(copy, None, "rice-net").text
    shutil.rmtree(copy)


def test_addresses_are_shown_without_passwords(project: Path) -> None:
    text = tracking(project, "postgresql://ann:secret@db/runs", "rice-net").text
    assert text == "postgresql database, not asked (it needs MLflow)"
    assert "secret" not in tracking(project, "http://ann:secret@127.0.0.1:9", "rice-net").text


def test_a_running_stage_is_seen(project: Path) -> None:
    with locked(project / STORE / STAGE_LOCK, shared=True):
        assert answers()["stages"]["text"] == "a stage is running now"
    assert answers()["stages"]["text"] == "no stage is running"


def test_a_large_store_is_looked_at_in_part(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged_store(project)
    monkeypatch.setattr(project_health, "STORE_SECONDS", -1.0)
    assert answers()["store"]["text"] == "work/store: more than 0 result(s), 0.0 MB"


def test_neither_home_nor_user_is_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project.parent))
    monkeypatch.setenv("LOGNAME", "hmueller")
    (project / "mlflow").symlink_to(project.parent)
    for text in (doctor().stdout, doctor("--json").stdout):
        assert str(project.parent) not in text and "hmueller" not in text


def test_the_doctor_loads_no_heavy_library(project: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom ricenet.cli import app\n"
        "assert CliRunner().invoke(app, ['doctor']).exit_code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the last failure ---


def failing(error: Exception) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()


@pytest.mark.usefixtures("quiet")
def test_a_failed_stage_leaves_kind_and_place_and_no_message(project: Path) -> None:
    with pytest.raises(SystemExit):
        run_stage(failing(TrainingError("Hans Mueller: loss is NaN")))
    record = read_json(project / LAST_FAILURE)
    assert (record["program"], record["kind"]) == ("stage test_doctor", "TrainingError")
    assert record["place"].startswith("ricenet/cli/running.py:")
    assert "Mueller" not in (project / LAST_FAILURE).read_text()
    text = answers()["last failure"]["text"]
    assert text == f"{record['utc']}, stage test_doctor: TrainingError at {record['place']}"
    # a fault of the program is noted too, and shows its traceback as before
    with pytest.raises(KeyError):
        run_stage(failing(KeyError("Hans")))
    assert read_json(project / LAST_FAILURE)["kind"] == "KeyError"


def test_a_failed_command_leaves_its_name_without_arguments(project: Path) -> None:
    assert CliRunner().invoke(app, ["cohort", "summary", "Hans-Mueller"]).exit_code == 1
    record = read_json(project / LAST_FAILURE)
    assert (record["program"], record["kind"]) == ("command summary", "CohortError")
    assert record["place"].startswith("ricenet/cohort/summary.py:")
    assert "Mueller" not in (project / LAST_FAILURE).read_text()


def test_what_a_command_refuses_by_itself_is_no_failure(project: Path) -> None:
    (project / "data/demo/participants.tsv").unlink()
    assert CliRunner().invoke(app, ["check"]).exit_code == 1  # it reports problems, as it should
    assert not (project / LAST_FAILURE).exists()


@pytest.mark.usefixtures("quiet")
def test_nothing_is_noted_outside_a_project_or_where_nothing_can_be_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "work").write_text("in the way")
    with pytest.raises(SystemExit, match="1"), mendable_errors():
        raise CohortError("refused")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"), mendable_errors():
        raise CohortError("refused")
    assert not (tmp_path / LAST_FAILURE).exists()


@pytest.mark.parametrize(
    ("shared", "own", "status", "words"),
    [
        ("", "", "absent", "no remote"),
        ("url = /srv/rice-net\nverify = true", "", "ok", "1 of DVC, files are verified"),
        ("url = /srv/rice-net", "", "attention", "damage is not noticed"),
        ("url = s3://b/p\nverify = true", "secret_access_key = abc", "ok", "verified"),
        (
            "url = s3://b/p\nverify = true\nsecret_access_key = abc",
            "",
            "attention",
            "config holds a password",
        ),
    ],
)
def test_a_remote_that_hides_damage_or_shows_a_secret_needs_attention(
    shared: str, own: str, status: str, words: str, project: Path
) -> None:
    for name, options in (("config", shared), ("config.local", own)):
        section = "['remote \"lab\"']\n" if options else ""
        (project / ".dvc" / name).write_text("[core]\n    analytics = false\n" + section + options + "\n")
    found = answers()["remote"]
    assert found["status"] == status and words in found["text"] and "abc" not in found["text"]
