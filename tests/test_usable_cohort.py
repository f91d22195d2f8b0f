"""Who is left once preprocessing had to exclude subjects."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from ricenet.cohort.checked import (
    CheckedCohort,
    CheckedSubject,
    ExcludedSubject,
    read_usable_cohort,
    write_checked_cohort,
    write_excluded,
)
from ricenet.cohort.splits import read_splits
from ricenet.config.preset import change_settings
from ricenet.runtime.errors import ResultError

UPSIDE_DOWN = ExcludedSubject(participant_id="sub-002", problems=("event T1ce: registration failed. Look.",))


def cohort(subjects: int) -> CheckedCohort:
    return CheckedCohort.of(
        "data",
        [
            CheckedSubject(participant_id=f"sub-{i:03d}", label="rice" if i % 2 else "recurrence")
            for i in range(1, subjects + 1)
        ],
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The checked cohort of three, and where the list of those excluded belongs."""
    write_checked_cohort(cohort(3), tmp_path / "cohort.json")
    return tmp_path / "cohort.json", tmp_path / "excluded.json"


def test_where_nobody_is_excluded_the_cohort_is_the_checked_one(files: tuple[Path, Path]) -> None:
    write_excluded([], files[1])
    assert read_usable_cohort(*files) == cohort(3)


def test_who_is_excluded_is_listed_and_changes_the_digest(files: tuple[Path, Path]) -> None:
    write_excluded([UPSIDE_DOWN], files[1])
    usable, whole = read_usable_cohort(*files), cohort(3)
    assert [s.participant_id for s in usable.subjects] == ["sub-001", "sub-003"]
    assert usable.excluded == (UPSIDE_DOWN,) and usable.digest != whole.digest
    # as if the subject had never been there
    assert usable.digest == CheckedCohort.of(whole.root, [whole.subjects[0], whole.subjects[2]]).digest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing. The stage `preprocess`"),
        *((text, "is not of this version") for text in ("", "{}", '{"subjects": [5]}', '["sub-002"]')),
    ],
)
def test_a_missing_or_foreign_list_is_refused(
    content: str | None, words: str, files: tuple[Path, Path]
) -> None:
    if content is not None:
        files[1].write_text(content)
    with pytest.raises(ResultError, match=rf"excluded\.json {words}.*"):
        read_usable_cohort(*files)


def test_who_is_excluded_is_in_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Path(__file__).parents[1]
    write_checked_cohort(cohort(10), tmp_path / "work/cohort/cohort.json")
    write_excluded([UPSIDE_DOWN], tmp_path / "work/cohort/excluded.json")
    shutil.copy(project / "params.yaml", tmp_path)
    change_settings(tmp_path / "params.yaml", {"split": {"folds": 2, "test_fraction": 0.2}})
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(project / "src/stages/split.py"), run_name="__main__")
    assert "7 subjects in 2 folds, 2 in the test set" in capsys.readouterr().err
    splits = read_splits(tmp_path / "work/splits/splits.json")
    assert "sub-002" not in {*splits.development, *splits.test}
