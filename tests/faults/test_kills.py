"""A project that is killed in every stage comes to what an undisturbed one comes to, and leaves nothing over.

The tests follow each other in one project. A kill takes the whole group of processes (DVC, stage, workers),
before a change of a file that a seed chooses among all those of the undisturbed run, or in a window that is
named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dicom_trees import write_tiny_export
from outcomes import assert_same, leftovers, tracked
from project_runs import Fault, Project, ended, kill_group
from small_project import PASSES, SMALL, Step
from tally import KILLS
from tracking_servers import wait_until
from undisturbed import Reference

from ricenet.runtime.randomness import generator_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 20261130
STEPS = {step.name: step for step in PASSES}

WINDOWS: dict[str, tuple[Mapping[str, object], ...]] = {
    "train": ({"program": "dvc repro", "kill_name": "dvc.lock"},),
    "vote again": (
        # its row is in the ledger, and not yet what says how the ledger ends
        {"program": "stages/vote.py", "kill_name": "models/test_ledger.json"},
        # in the ledger, and not yet in work/
        {"program": "stages/vote.py", "kill_name": "work/vote"},
        {"program": "dvc repro", "kill_name": "dvc.lock"},
    ),
    # a version is there, and the project has not noted yet that it is its own
    "register": ({"program": "stages/register.py", "kill_name": "models/registered.json"},),
}


def draw(name: str, number: int, changes: int) -> int:
    """Which change of so many; the first ones only start the program."""
    return int(generator_for("faults", SEED, name, number).integers(1, changes))


@pytest.fixture(scope="module")
def project(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return reference.copy(reference.begun, tmp_path_factory.mktemp("kills") / "of stages")


def faults_of(step: Step, reference: Reference) -> list[Fault]:
    """The windows first: what is killed there begins with all its work, as the undisturbed step did."""
    changes = reference.changes(step)
    windows = [*WINDOWS.get(step.name, ())]
    if step.name == "register":
        # the model is all but logged: its version would come next
        last = [change for change in changes if "mlflow/artifacts/models" in change][-1]
        windows.insert(0, {"program": step.program, "kill_name": last.rpartition("/")[2]})
        # what is left to do then is as much as in a project that is registered
        changes = reference.changes(STEPS["register again"])
    # a training that was killed before goes on at its checkpoint, with fewer changes
    count = len(changes) * 6 // 10 if step.name == "train" else len(changes)
    at_random = {"promote": 2, "vote again": 0}.get(step.name, 0 if step.name.endswith("again") else 1)
    drawn: list[Fault] = [
        {"program": step.program, "kill_at": draw(step.name, k, count)} for k in range(at_random)
    ]
    return [*drawn, *windows] if step.name == "train" else [*windows, *drawn]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_killed_can_be_repeated(
    project: Project, reference: Reference, name: str, record_property: Callable[[str, object], None]
) -> None:
    step = STEPS[name]
    if name == "train":
        kill_workers(project, step)
        record_property(KILLS, "train, with its workers")
    for fault in faults_of(step, reference):
        project.killed(*step.command, fault=fault)
        record_property(KILLS, name)
    project.ok(*step.command)
    assert leftovers(project.folder) == []


def kill_workers(project: Project, step: Step) -> None:
    """Two processes train; the group goes once the first checkpoint is there."""
    params = (project.folder / "params.yaml").read_text()
    project.set({"execution": {"backend": "processes", "workers": 2}})
    running = project.start(*step.command)
    folds = project.folder / "work/store/folds"
    before = set(folds.rglob("*checkpoint*"))
    wait_until(lambda: running.poll() is not None or set(folds.rglob("*checkpoint*")) - before, 120)
    assert running.poll() is None, ended(running).said
    assert kill_group(running).is_killed
    (project.folder / "params.yaml").write_text(params)


def test_all_came_to_what_it_comes_to_without_kills(project: Project, reference: Reference) -> None:
    assert_same(project.folder, reference.outcome)
    assert {status for _, status, _ in tracked(project.folder)["runs"]} == {"FINISHED"}


def test_dvc_finds_nothing_left_to_do(project: Project) -> None:
    said = project.ok("dvc", "repro")
    assert said.count("Running stage") == 3, said


# --- commands that are no stages ---


@pytest.fixture(scope="module")
def empty(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("adding") / "project", {**SMALL, "cohort": {"root": "data/demo"}})


def changes_of(project: Project, log: Path, program: str, *command: str) -> int:
    project.ok(*command, fault={"program": program, "log": str(log)})
    return len(log.read_text().splitlines())


def test_a_cohort_is_added_once_however_often_adding_it_is_killed(
    empty: Project, reference: Reference, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    program, add = "ricenet cohort add", ("ricenet", "cohort", "add", str(reference.cohort))
    count = changes_of(empty, tmp_path / "log", program, *add, "--name", "other")
    faults = [{"program": program, "kill_at": draw(program, k, count)} for k in range(2)]
    faults.append({"program": "dvc add", "kill_name": "mine.dvc"})
    for fault in faults:
        empty.killed(*add, fault=fault)
        record_property(KILLS, program)
    empty.ok(*add)
    assert leftovers(empty.folder) == []
    assert (empty.folder / "data/mine.dvc").read_bytes() == (reference.begun / "data/mine.dvc").read_bytes()
    assert "root: data/mine" in (empty.folder / "params.yaml").read_text()


def test_an_import_that_is_killed_goes_on(
    empty: Project, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for patient in ("ANON-17", "ANON-18"):
        write_tiny_export(tmp_path / "export", patient)

    def into(name: str) -> tuple[str, ...]:
        words = ("ricenet", "import", "dicom", str(tmp_path / "export"), str(tmp_path / name))
        return (*words, "--map", str(tmp_path / f"{name}.map.csv"))

    empty.ok(*into("whole"))
    count = changes_of_place(empty, tmp_path, tmp_path / "log", into("whole"))
    for number in range(4):
        name = f"killed {number}"
        empty.ok(*into(name))
        fault = {"program": "ricenet import", "kill_at": draw("import", number, count)}
        done = empty.done(*into(name), fault=fault, RICENET_FAULT_HOME=str(tmp_path))
        assert done.is_killed, done.said
        record_property(KILLS, "ricenet import dicom")
        empty.ok(*into(name))
        assert cohort_of(tmp_path / name) == cohort_of(tmp_path / "whole")
    assert leftovers(tmp_path) == []


def changes_of_place(project: Project, place: Path, log: Path, command: tuple[str, ...]) -> int:
    project.ok(*command, fault={"program": "ricenet import", "log": str(log)}, RICENET_FAULT_HOME=str(place))
    return len(log.read_text().splitlines())


def cohort_of(folder: Path) -> dict[str, bytes]:
    """All files but the subjects' records, which hold salted digests, and the cohort's name."""
    left_out = ("_import.json", "dataset_description.json", ".import.lock")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(left_out)
    }
