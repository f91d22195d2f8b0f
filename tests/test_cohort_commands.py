"""`ricenet cohort`: a cohort taken into a scratch project by DVC, and hand-computed summaries."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohorts import (
    FILES,
    SIDECAR,
    SIDECAR_FILE,
    change_cell,
    read_table,
    write_participants,
    write_tiny_cohort,
)
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.summary import Spread, summarise_cohort
from ricenet.config.params import read_params
from ricenet.config.preset import change_settings
from ricenet.runtime.errors import CohortError
from ricenet.runtime.last_failure import LAST_FAILURE
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

REPOSITORY = Path(__file__).parents[1]
PROJECT_FILES = (".gitignore", ".dvcignore", "params.yaml", "dvc.yaml", "data.dvc", "src/stages/dvc.yaml")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cohort", *arguments])


def run(*arguments: str) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project of git and DVC, with the real one's pipeline and parameters; to be copied."""
    folder = tmp_path_factory.mktemp("template") / "project"
    for name in PROJECT_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    with contextlib.chdir(folder):
        run("git", "init", "--quiet")
        run(sys.executable, "-m", "dvc", "init", "--quiet", "--force")
    shutil.copy(REPOSITORY / ".dvcignore", folder / ".dvcignore")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(template, tmp_path / "project"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc-site-cache"))
    return folder


@pytest.fixture
def mine(tiny: Path, tmp_path: Path) -> Path:
    """A cohort outside the project."""
    return Path(shutil.copytree(tiny, tmp_path / "elsewhere" / "mine"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def own_files(project: Path) -> dict[str, bytes]:
    """The project's files, without what DVC, git and `ricenet doctor` keep for themselves."""
    others = (".dvc/", ".git/", LAST_FAILURE.as_posix())
    return {name: b for name, b in contents(project).items() if not name.startswith(others)}


def test_a_cohort_from_elsewhere_is_copied_versioned_and_set(project: Path, mine: Path) -> None:
    before, original = (project / "params.yaml").read_text(), contents(mine)
    result = command("add", str(mine))
    assert result.exit_code == 0, result.output
    assert contents(project / "data/mine") == original == contents(mine)
    assert (project / "params.yaml").read_text() == before.replace("root: data/demo", "root: data/mine")
    assert "path: mine" in (project / "data/mine.dvc").read_text()
    assert "4 subjects: 2 recurrence, 2 rice, 0 unlabelled" in result.stdout
    assert "warning: 5 folds need at least 5 subjects of each label" in result.stderr
    assert "Next:\n  correct what the warnings name\n" in result.stdout
    assert "data/mine: copied, versioned by DVC\nparams.yaml: cohort.root is data/mine\n" in result.stdout
    assert not list((project / "data").glob(".partial*"))
    # the command for git that is printed adds no volume
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  git add ")]
    run("git", "rm", "-r", "--cached", "--quiet", ".dvc", ".dvcignore")  # staged by `dvc init`
    run(*line.split())
    staged = run("git", "diff", "--cached", "--name-only").split()
    assert {"data/mine.dvc", "params.yaml"} <= set(staged) <= {*line.split()}
    untracked = run("git", "ls-files", "--others", "--exclude-standard").split()
    assert not [name for name in untracked if "sub-" in name or "participants" in name]


def test_a_cohort_in_its_place_is_not_copied_and_added_again_after_a_change(
    project: Path, mine: Path
) -> None:
    folder = shutil.copytree(mine, project / "data/mine")
    first = command("add", "data/mine")
    assert first.exit_code == 0 and "data/mine: already there, versioned by DVC" in first.stdout
    version, params = (project / "data/mine.dvc").read_text(), (project / "params.yaml").read_text()
    change_cell(folder, "sub-001", site="centre B")
    assert command("add", "data/mine").exit_code == 0
    assert (project / "data/mine.dvc").read_text() != version
    assert (project / "params.yaml").read_text() == params


def test_the_same_call_goes_on_where_a_killed_one_had_copied(project: Path, mine: Path) -> None:
    shutil.copytree(mine, project / "data/mine")
    shutil.copytree(mine, project / "data/.partial-mine-killed")
    first = command("add", str(mine))
    assert not (project / "data/.partial-mine-killed").exists()
    assert first.exit_code == 0 and "data/mine: already there, versioned by DVC" in first.stdout
    change_cell(mine, "sub-001", site="centre B")
    assert "data/mine exists and is another folder" in command("add", str(mine)).stderr


def test_a_project_with_a_cohort_of_its_own_keeps_copies_that_can_be_corrected(
    project: Path, mine: Path
) -> None:
    shutil.copy(REPOSITORY / ".dvc/config", project / ".dvc/config")
    assert command("add", str(mine)).exit_code == 0
    table = project / "data/mine/participants.tsv"
    assert table.stat().st_nlink == 1 and os.access(table, os.W_OK) and table.stat().st_mode & 0o200
    assert "hardlink" not in (project / ".dvc/config").read_text().split("type")[1]
    assert (project / ".dvc/config").read_text().startswith("[core]\n    analytics = false")


def faulty(project: Path, mine: Path) -> None:
    (mine / SIDECAR_FILE).unlink()
    change_cell(mine, "sub-003", label="Hans Mueller")


def without_geometry(project: Path, mine: Path) -> None:
    dose = load_nifti(mine / FILES["dose"])
    save_nifti(Volume(dose.data, Grid(dose.grid.shape, np.eye(4))), mine / FILES["dose"])


def elsewhere(project: Path, mine: Path) -> None:
    dose = load_nifti(mine / FILES["dose"])
    far = dose.grid.affine.copy()
    far[2, 3] -= 700
    save_nifti(Volume(dose.data, Grid(dose.grid.shape, far)), mine / FILES["dose"])


def event_twice(project: Path, mine: Path) -> None:
    shutil.copy(mine / FILES["post_op"], mine / FILES["event"])


def dangling_link(project: Path, mine: Path) -> None:
    (mine / "Hans_Mueller.pdf").symlink_to("nowhere")


def taken(project: Path, mine: Path) -> None:
    (project / "data/mine").mkdir(parents=True)


def version_alone(project: Path, mine: Path) -> None:
    (project / "data").mkdir()
    (project / "data/mine.dvc").write_text("outs: []\n")


def no_dvc(project: Path, mine: Path) -> None:
    shutil.rmtree(project / ".dvc")


Spoil = Callable[[Path, Path], None]
REFUSALS: list[tuple[Spoil | None, list[str], str]] = [
    (faulty, [], f"mine: 2 problem(s)\nsub-002\n  - {SIDECAR_FILE}: file is missing"),
    (faulty, [], "sub-003\n  - participants.tsv: label is none of recurrence, rice, n/a"),
    (without_geometry, [], f"sub-002\n  - {FILES['dose']}: written without its geometry"),
    (elsewhere, [], f"sub-002\n  - {FILES['dose']}: the dose lies"),
    (event_twice, [], f"sub-002\n  - {FILES['event']}: has the same voxels as {FILES['post_op']}"),
    (dangling_link, [], "data/mine: the cohort could not be copied"),
    (taken, [], "data/mine exists and is another folder; give another --name, or use what lies there"),
    (version_alone, [], "data/mine.dvc exists, its folder does not; give another --name, or fetch it"),
    (no_dvc, [], "no folder .dvc here; run the command in the project's folder"),
    *(
        (None, ["--name", name], f"the name {name!r} is not made of letters, digits, _ and -")
        for name in ("../mine", "my cohort", "mine.v2", ".")
    ),
    *((None, ["--name", name], "data/demo is the synthetic cohort") for name in ("demo", "Demo")),
]


@pytest.mark.parametrize(("spoil", "options", "words"), REFUSALS)
def test_what_is_refused_changes_nothing(
    project: Path, mine: Path, spoil: Spoil | None, options: list[str], words: str
) -> None:
    if spoil is not None:
        spoil(project, mine)
    before = own_files(project)
    result = command("add", str(mine), *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert own_files(project) == before and not list(project.glob("data/.partial*"))
    assert not re.search("Hans|Mueller|Traceback", result.output)


def test_a_folder_that_holds_its_own_target_is_refused(project: Path, mine: Path) -> None:
    shutil.copytree(mine, project / "data")
    result = command("add", "data", "--name", "mine")
    assert (result.exit_code, "data/mine lies inside the folder to be" in result.stderr) == (1, True)


def test_faulty_subjects_are_excluded_where_the_parameters_say_so(project: Path, mine: Path) -> None:
    change_settings(project / "params.yaml", {"cohort": {"exclude_faulty": True}})
    (mine / SIDECAR_FILE).unlink()
    result = command("add", str(mine))
    assert result.exit_code == 0
    assert "cohort.exclude_faulty is true: faulty subjects are excluded, 1 for now" in result.stdout
    assert "sub-002 is excluded" in result.stderr
    assert read_params(project / "params.yaml").cohort.root == "data/mine"


def test_where_dvc_fails_its_reason_is_shown_and_the_command_goes_on_once_corrected(
    project: Path, mine: Path
) -> None:
    params = (project / "params.yaml").read_bytes()
    (project / "dvc.yaml").write_text("stages: [broken")
    result = command("add", str(mine))
    assert result.exit_code == 1
    assert "params.yaml is unchanged and the cohort lies in data/mine" in result.stderr
    assert "dvc.yaml' is invalid" in result.stderr
    assert (project / "params.yaml").read_bytes() == params
    shutil.copy(REPOSITORY / "dvc.yaml", project)
    assert command("add", "data/mine").exit_code == 0
    assert read_params(project / "params.yaml").cohort.root == "data/mine"


def test_a_protected_source_and_its_repository_give_a_plain_folder_to_add_to(
    project: Path, mine: Path
) -> None:
    (mine / ".git").mkdir()
    (mine / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for path in (mine / "sub-001", mine):
        path.chmod(0o555)
    result = command("add", str(mine))
    mine.chmod(0o755)
    assert result.exit_code == 0, result.output
    assert not (project / "data/mine/.git").exists()
    assert all((project / "data" / name).stat().st_mode & 0o200 for name in ("mine", "mine/sub-001"))


def test_a_copy_that_lost_a_file_is_refused(
    project: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody cleans up below data/ meanwhile."""
    copied, before = shutil.copytree, own_files(project)

    def losing(source: str | Path, target: str, *rest: Any, **options: Any) -> str:
        copied(source, target, *rest, **options)
        # it calls itself for the folders within
        if Path(source) == mine:
            next(Path(target).rglob("*.nii.gz")).unlink()
            next(Path(target).rglob("*.json")).write_text("")
        return target

    monkeypatch.setattr(shutil, "copytree", losing)
    result = command("add", str(mine))
    assert result.exit_code == 1
    assert re.search(r"could not be copied \(2 of \d+ files of the copy are not those of the", result.stderr)
    assert own_files(project) == before


def test_a_cohort_that_is_being_copied_is_not_swept(
    project: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ricenet store gc` in another process clears what nobody is making, and leaves this alone."""
    copied = shutil.copytree
    (project / "work/store").mkdir(parents=True)
    (project / "data/.partial-old").mkdir(parents=True)
    sweeping = [sys.executable, "-c", "from ricenet.cli import app; app(['store', 'gc'])"]

    def interrupted(source: str | Path, target: str, *rest: Any, **options: Any) -> str:
        copied(source, target, *rest, **options)
        if Path(source) == mine:
            subprocess.run(sweeping, check=True)
        return target

    monkeypatch.setattr(shutil, "copytree", interrupted)
    result = command("add", str(mine))
    assert result.exit_code == 0, result.output
    files = {path.relative_to(mine) for path in mine.rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(project / "data/mine")
        for path in (project / "data/mine").rglob("*")
        if path.is_file()
    }
    assert not (project / "data/.partial-old").exists()


def test_a_cohort_that_is_taken_in_is_its_owners_alone_unless_that_is_chosen(
    project: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in mine.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert command("add", str(mine)).exit_code == 0
    assert modes_below(project / "data/mine") == {0o600, 0o700}
    monkeypatch.setenv("RICENET_UMASK", "027")
    assert command("add", str(mine), "--name", "shared").exit_code == 0
    assert modes_below(project / "data/shared") == {0o640, 0o750}


def modes_below(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}


# summary


def write_described_cohort(folder: Path) -> Path:
    """Five subjects: two recurrences, two RICE, one unlabelled; sub-005 without a sidecar."""
    write_tiny_cohort(folder, subjects=5)
    columns = {
        "label": ("recurrence", "rice", "recurrence", "rice", "n/a"),
        "label_source": ("biopsy", "follow_up", "biopsy", "biopsy", "n/a"),
        "subset": ("train", "train", "train", "test", "n/a"),
        "site": ("A", "B", "A", "n/a", "A"),
        "age_years": ("61", "n/a", "58.5", "70", "n/a"),
        "rt_end_date": ("2020-01-01", "n/a", "n/a", "2020-03-01", "2020-01-01"),
        "event_date": ("2020-01-31", "n/a", "n/a", "n/a", "2020-01-01"),
        "days_rt_end_to_event": ("n/a", "200", "100", "401", "n/a"),
    }
    rows = [
        row | {column: values[index] for column, values in columns.items()}
        for index, row in enumerate(read_table(folder))
    ]
    write_participants(folder, rows)
    sidecars = [
        SIDECAR | {"PrescriptionGy": 40.05, "NumberOfFractions": 15},
        SIDECAR | {"DoseSummationType": "FRACTION"},
        {"DoseUnits": "GY", "DoseSummationType": "PLAN"},
        SIDECAR | {"PrescriptionGy": 54.0},
    ]
    for row, sidecar in zip(rows, sidecars, strict=False):
        RawSubject(folder, row["participant_id"]).dose_sidecar.write_text(json.dumps(sidecar))
    RawSubject(folder, "sub-005").dose_sidecar.unlink()
    return folder


def test_a_summary_counts_by_label(tmp_path: Path) -> None:
    groups = summarise_cohort(write_described_cohort(tmp_path / "mine")).groups
    assert {name: group.subjects for name, group in groups.items()} == {
        "recurrence": 2,
        "rice": 2,
        "unlabelled": 1,
        "all": 5,
    }
    assert groups["all"].subsets == {"train": 3, "test": 1, "n/a": 1}
    assert groups["rice"].subsets == {"train": 1, "test": 1, "n/a": 0}
    assert groups["all"].label_sources == {"biopsy": 3, "follow_up": 1, "synthetic": 0, "n/a": 1}
    assert groups["all"].sites == {"A": 3, "B": 1, "n/a": 1}
    assert groups["rice"].sites == {"B": 1, "n/a": 1}
    # sub-003's sidecar prescribes nothing, and sub-005 has none
    assert groups["all"].missing == {
        **{"age_years": 2, "sex": 5, "mgmt": 5, "idh": 5, "rt_modality": 5, "reirradiation": 5},
        **{"days_rt_end_to_event": 0, "PrescriptionGy": 2},
    }
    assert (groups["all"].single_fraction, groups["rice"].single_fraction) == (1, 1)
    assert (groups["all"].faulty_sidecars, groups["unlabelled"].faulty_sidecars) == (1, 1)


def test_a_summary_gives_median_and_range_of_prescription_and_interval(tmp_path: Path) -> None:
    groups = summarise_cohort(write_described_cohort(tmp_path / "mine")).groups
    assert groups["all"].prescription_gy == Spread(3, 40.05, 54.0, 60.0)
    assert groups["recurrence"].prescription_gy == Spread(1, 40.05, 40.05, 40.05)
    assert groups["unlabelled"].prescription_gy is None
    # by the column, or 30 and 0 days by the dates: 0, 30, 100, 200, 401
    assert groups["all"].days_rt_end_to_event == Spread(5, 0, 100, 401)
    assert groups["recurrence"].days_rt_end_to_event == Spread(2, 30, 65, 100)
    assert groups["rice"].days_rt_end_to_event == Spread(2, 200, 300.5, 401)


def test_the_summary_is_a_table_and_reads_no_volume(tmp_path: Path) -> None:
    folder = write_described_cohort(tmp_path / "mine")
    for volume in folder.rglob("*.nii.gz"):
        volume.unlink()
    result = command("summary", str(folder))
    assert result.exit_code == 0
    rows = [re.split(r"  +", line.strip()) for line in result.stdout.splitlines()]
    assert rows[0] == ["mine: 5 subjects"]
    assert rows[1] == ["recurrence", "rice", "unlabelled", "all"]
    for row in (
        ["subjects", "2", "2", "1", "5"],
        ["subset test", "0", "1", "0", "1"],
        ["label by biopsy", "2", "1", "0", "3"],
        ["site n/a", "0", "1", "0", "1"],
        ["without age_years", "0", "1", "1", "2"],
        ["dose of one fraction", "0", "1", "0", "1"],
        ["dose sidecar faulty", "0", "0", "1", "1"],
        ["prescription, Gy", "40.05 (40.05 to 40.05)", "57 (54 to 60)", "-", "54 (40.05 to 60)"],
        ["days from RT to event", "65 (30 to 100)", "300.5 (200 to 401)", "0 (0 to 0)", "100 (0 to 401)"],
    ):
        assert row in rows
    assert not any(row[0].startswith("label by synthetic") for row in rows)


def test_json_holds_the_same_numbers_of_the_cohort_of_the_parameters(project: Path) -> None:
    write_described_cohort(project / "data/demo")
    result = command("summary", "--json")
    content = json.loads(result.stdout)
    assert (content["cohort"], content["faulty_rows"]) == ("demo", 0)
    assert content["groups"]["rice"]["days_rt_end_to_event"] == {
        **{"n": 2, "minimum": 200, "median": 300.5, "maximum": 401}
    }
    assert content["groups"]["unlabelled"]["prescription_gy"] is None


def test_faulty_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    folder = write_described_cohort(tmp_path / "mine")
    change_cell(folder, "sub-001", label="Hans Mueller")
    change_cell(folder, "sub-002", participant_id="Hans Mueller")
    assert summarise_cohort(folder).groups["all"].subjects == 3
    result = command("summary", str(folder))
    assert "2 faulty row(s) are excluded; ricenet check says why." in result.stdout
    assert "Mueller" not in result.output


def test_a_table_that_cannot_be_read_is_refused_with_its_problems(tmp_path: Path) -> None:
    folder = write_described_cohort(tmp_path / "mine")
    write_participants(folder, [{"participant_id": "sub-001", "label": "rice"}])
    with pytest.raises(CohortError, match=r"mine: 2 problem\(s\)\n.*\n.*column label_source is missing"):
        summarise_cohort(folder)
    result = command("summary", str(tmp_path / "nowhere"))
    assert result.exit_code == 1 and "participants.tsv: not found" in result.stderr
