"""Who is left once preprocessing had to leave subjects out."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from cohorts import write_tiny_cohort

from ricenet.cohort.checked import (
    CheckedCohort,
    ExcludedSubject,
    read_usable_cohort,
    write_checked_cohort,
    write_excluded,
)
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.splits import read_splits
from ricenet.runtime.errors import ResultError

UPSIDE_DOWN = ExcludedSubject(participant_id="sub-002", problems=("event T1ce: registration failed. Look.",))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The checked cohort of three, and where the list of those left out belongs."""
    cohort = admit(check_cohort(write_tiny_cohort(tmp_path / "raw", subjects=3)), exclude_faulty=False)
    write_checked_cohort(cohort, tmp_path / "cohort.json")
    return tmp_path / "cohort.json", tmp_path / "excluded.json"


def names(cohort: CheckedCohort) -> list[str]:
    return [subject.participant_id for subject in cohort.subjects]


def test_where_nobody_is_left_out_the_cohort_is_the_checked_one(files: tuple[Path, Path]) -> None:
    write_excluded([], files[1])
    usable = read_usable_cohort(*files)
    assert names(usable) == ["sub-001", "sub-002", "sub-003"] and usable.excluded == ()


def test_who_is_left_out_is_listed_and_changes_the_digest(files: tuple[Path, Path]) -> None:
    write_excluded([], files[1])
    whole = read_usable_cohort(*files)
    write_excluded([UPSIDE_DOWN], files[1])
    usable = read_usable_cohort(*files)
    assert names(usable) == ["sub-001", "sub-003"] and usable.excluded == (UPSIDE_DOWN,)
    assert usable.digest != whole.digest
    # as if the subject had never been there
    assert usable.digest == CheckedCohort.of(whole.root, [whole.subjects[0], whole.subjects[2]]).digest


def test_without_preprocessing_nobody_knows_who_is_usable(files: tuple[Path, Path]) -> None:
    with pytest.raises(ResultError, match=r"excluded\.json is missing\. The stage `preprocess`"):
        read_usable_cohort(*files)


@pytest.mark.parametrize("content", ["", "{}", '[{"participant_id": 5}]', '["sub-002"]'])
def test_a_file_that_is_no_list_of_subjects_is_refused(content: str, files: tuple[Path, Path]) -> None:
    files[1].write_text(content)
    with pytest.raises(ResultError, match=r"excluded\.json is not of this version\. .*-f preprocess"):
        read_usable_cohort(*files)


def test_who_is_left_out_is_in_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Path(__file__).parents[1]
    root = write_tiny_cohort(tmp_path / "raw", subjects=10)
    write_checked_cohort(
        admit(check_cohort(root), exclude_faulty=False), tmp_path / "work/cohort/cohort.json"
    )
    write_excluded([UPSIDE_DOWN], tmp_path / "work/cohort/excluded.json")
    (tmp_path / "params.yaml").write_text(
        (project / "params.yaml")
        .read_text()
        .replace("folds: 5 ", "folds: 2 ")
        .replace("folds: 5\n", "folds: 2\n")
    )
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(project / "src/stages/split.py"), run_name="__main__")
    assert "7 subjects in 2 folds, 2 in the test set" in capsys.readouterr().err
    splits = read_splits(tmp_path / "work/splits/splits.json")
    assert "sub-002" not in {*splits.development, *splits.test}
