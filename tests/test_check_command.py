"""`ricenet check` and the stage: what they print, write and exit with."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from cohorts import (
    SIDECAR_FILE,
    change_cell,
    change_voxels,
    read_table,
    write_participants,
    write_tiny_cohort,
)
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.config.preset import change_settings

REPOSITORY = Path(__file__).parents[1]


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    change_settings(tmp_path / "params.yaml", {"execution": {"backend": "serial"}, "split": {"folds": 3}})
    # three of each label to train on, one of each to test
    write_tiny_cohort(tmp_path / "data/demo", subjects=8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage() -> None:
    runpy.run_path(str(REPOSITORY / "src/stages/check_cohort.py"), run_name="__main__")


def test_the_stage_writes_the_checked_cohort_and_one_line_of_summary(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage()
    assert capsys.readouterr().err.splitlines()[-1].startswith("8 subjects: 4 recurrence, 4 rice")
    checked = json.loads((project / "work/cohort/cohort.json").read_text())
    assert checked["root"] == "data/demo"
    assert checked["subjects"][0]["scans"].keys() == {"post_op", "event", "dose", "dose_sidecar"}
    written = json.loads((project / "work/cohort/problems.json").read_text())
    assert written["problems"] == written["notes"] == []


def test_the_stage_leaves_problems_and_no_earlier_cohort_where_it_fails(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage()
    (project / "data/demo" / SIDECAR_FILE).unlink()
    with pytest.raises(SystemExit, match="1"):
        run_stage()
    assert f"sub-002\n  - {SIDECAR_FILE}: file is missing" in capsys.readouterr().err
    assert not (project / "work/cohort/cohort.json").exists()
    assert len(json.loads((project / "work/cohort/problems.json").read_text())["problems"]) == 1


def test_the_stage_says_nothing_of_a_patient(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_cell(project / "data/demo", "sub-001", label="Hans Mueller")
    (project / "data/demo/sub-003").rename(project / "data/demo/sub-Hans_Mueller_1951")
    with pytest.raises(SystemExit, match="1"):
        run_stage()
    shown = capsys.readouterr()
    assert "label is none of recurrence, rice, n/a (line 2)" in shown.err
    assert "1 folder whose name is not sub-<letters and digits>" in shown.err
    written = (project / "work/cohort/problems.json").read_text()
    assert not re.search("Hans|Mueller|1951", shown.out + shown.err + written)


def test_the_command_reports_on_stdout_and_fails_only_with_problems(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # outside a project, too
    monkeypatch.chdir(tmp_path)
    sound = check(str(tiny))
    assert (sound.exit_code, sound.stdout.split(":")[0]) == (0, "no problem found in 4 subjects")
    faulty = shutil.copytree(tiny, tmp_path / "faulty")
    (faulty / SIDECAR_FILE).unlink()
    result = check(str(faulty))
    assert result.exit_code == 1
    assert f"sub-002\n  - {SIDECAR_FILE}: file is missing" in result.stdout


def test_the_command_checks_the_cohort_and_the_volumes_of_the_parameters(project: Path) -> None:
    params = project / "params.yaml"
    flair = "  - {name: flair, kind: mri, session: event, suffix: FLAIR, title: FLAIR, required: false}\n"
    params.write_text(params.read_text().replace("  - {name: dose, kind", f"{flair}  - {{name: dose, kind"))
    source = project / "data/demo/sub-001/ses-event/anat/sub-001_ses-event_ce-gadolinium_T1w.nii.gz"
    flair_file = source.with_name("sub-001_ses-event_FLAIR.nii.gz")
    shutil.copy(source, flair_file)
    # another contrast of the same head
    change_voxels(flair_file, lambda values: np.where(values > 1, 100 - values[::-1], values))
    result = check()
    assert result.exit_code == 0, result.output
    assert "; 7 without flair\n" in result.stdout
    assert "  sub-002: no FLAIR: excluded from modality sets with flair" in result.stdout
    shutil.rmtree(project / "data/demo/sub-003")
    result = check()
    assert (result.exit_code, "demo: 1 problem(s)\nsub-003" in result.stdout) == (1, True)


TOO_FEW = "too few subjects for what params.yaml asks:\n  - 5 folds need at least 5 subjects of each label"


def test_too_few_subjects_for_the_folds_are_said_by_command_and_stage(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_settings(project / "params.yaml", {"split": {"folds": 5}})
    result = check()
    assert result.exit_code == 1 and "no problem found in 8 subjects" in result.stdout
    assert TOO_FEW in result.stdout and "found 3 recurrence and 3 rice" in result.stdout
    with pytest.raises(SystemExit, match="1"):
        run_stage()
    assert f"error: {TOO_FEW}" in capsys.readouterr().err
    assert not (project / "work/cohort/cohort.json").exists()


def test_a_test_set_of_one_label_is_said_and_no_fault(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_cell(project / "data/demo", "sub-008", label="n/a")
    result = check()
    assert result.exit_code == 0
    assert "  the test set holds 1 subject(s), none of them rice: macro-F1" in result.stdout
    run_stage()
    assert "warning: the test set holds 1 subject(s), none of them rice" in capsys.readouterr().err


def test_a_folder_of_cases_to_predict_needs_no_numbers(project: Path) -> None:
    unlabelled = [row | {"label": "n/a", "subset": "n/a"} for row in read_table(project / "data/demo")]
    write_participants(project / "data/demo", unlabelled)
    assert check("data/demo").exit_code == 0
    # the project's own cohort is trained on
    assert check().exit_code == 1
