"""Subjects are in one place only, and the same subjects always get the same places."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.participants import Subset
from ricenet.cohort.splits import Splits, check_splits, make_splits, read_splits, write_splits
from ricenet.runtime.errors import SplitError
from ricenet.vocabulary import Label


def Candidate(name: str, label: Label | None, subset: Subset | None) -> CheckedSubject:
    return CheckedSubject(participant_id=name, label=label, subset=subset)


def cohort(recurrence: int, rice: int, subset: Subset | None = None) -> list[CheckedSubject]:
    first_rice = recurrence + 1
    return [
        Candidate(f"sub-{i:03d}", "rice" if i >= first_rice else "recurrence", subset)
        for i in range(1, recurrence + rice + 1)
    ]


def share_of_rice(splits: Splits, subjects: tuple[str, ...]) -> int:
    return sum(splits.labels[subject] == "rice" for subject in subjects)


def test_the_papers_cohort_is_divided_as_in_the_paper() -> None:
    named = cohort(48, 32, "train") + [
        Candidate(f"sub-{i}", "recurrence" if i < 107 else "rice", "test") for i in range(100, 112)
    ]
    splits = make_splits(named, folds=5, test_fraction=0.5, seed=7)
    assert splits.test == tuple(f"sub-{i}" for i in range(100, 112))
    assert [len(fold) for fold in splits.folds] == [16] * 5
    assert all(share_of_rice(splits, fold) in (6, 7) for fold in splits.folds)


def test_every_subject_is_validated_on_once_and_never_trained_on_in_that_fold() -> None:
    splits = make_splits(cohort(11, 9), folds=3, test_fraction=0.2, seed=1)
    assert sorted(s for fold in splits.folds for s in fold) == list(splits.development)
    for fold in range(3):
        training = set(splits.training_subjects(fold))
        assert training | set(splits.validation_subjects(fold)) == set(splits.development)
        assert not training & set(splits.validation_subjects(fold))
        assert not training & set(splits.test)


def test_a_drawn_test_set_holds_the_fraction_of_both_labels() -> None:
    splits = make_splits(cohort(20, 10), folds=2, test_fraction=0.2, seed=1)
    assert len(splits.test) == 6
    assert share_of_rice(splits, splits.test) == 2


def test_the_order_of_subjects_has_no_influence_and_the_seed_has() -> None:
    subjects = cohort(15, 15)
    splits = make_splits(subjects, 5, 0.2, seed=0)
    assert make_splits(subjects[::-1], 5, 0.2, seed=0) == splits
    assert make_splits(subjects, 5, 0.2, seed=1) != splits


def test_where_a_test_subject_is_named_no_subset_means_train() -> None:
    subjects = cohort(6, 6)
    subjects[0] = subjects[0].model_copy(update={"subset": "test"})
    subjects[1] = subjects[1].model_copy(update={"subset": "train"})
    splits = make_splits(subjects, 2, 0.5, seed=1)
    assert splits.test == ("sub-001",)
    assert len(splits.development) == 11


def test_subjects_marked_train_are_never_drawn_into_the_test_set() -> None:
    kept = cohort(10, 10, "train")
    free = [Candidate(f"sub-{i}", "rice" if i % 2 else "recurrence", None) for i in range(200, 220)]
    splits = make_splits(kept + free, 2, 0.5, seed=1)
    assert len(splits.test) == 10
    assert all(subject >= "sub-200" for subject in splits.test)


def test_without_a_test_set_everyone_is_in_a_fold(caplog: pytest.LogCaptureFixture) -> None:
    splits = make_splits(cohort(4, 4), 2, 0.0, seed=1)
    assert splits.test == ()
    assert len(splits.development) == 8
    assert "the independent test set is empty" in caplog.text


def test_unlabelled_subjects_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    splits = make_splits([*cohort(4, 4), Candidate("sub-098", None, None)], 2, 0.25, seed=1)
    assert "sub-098" not in {*splits.labels, *splits.development, *splits.test}
    assert "excluded: sub-098" in caplog.text


def test_a_test_set_without_labels_is_refused() -> None:
    with pytest.raises(SplitError, match=r"only unlabelled subjects in the test set \(sub-099\)"):
        make_splits([*cohort(4, 4), Candidate("sub-099", None, "test")], 2, 0.25, seed=1)


def test_too_few_subjects_of_a_label_are_counted() -> None:
    with pytest.raises(SplitError, match=r"5 folds need at least 5 .* found 9 recurrence and 3 rice"):
        make_splits(cohort(9, 3), 5, 0.0, seed=1)


def test_a_test_set_too_small_for_both_labels_is_refused() -> None:
    with pytest.raises(SplitError, match=r"a test set of 1 .* 6 recurrence and 4 rice"):
        make_splits(cohort(6, 4), 2, 0.1, seed=1)


def test_a_subject_twice_in_the_cohort_is_refused() -> None:
    with pytest.raises(SplitError, match="subject sub-001 is in the cohort 2 times"):
        make_splits([*cohort(4, 4), cohort(1, 0)[0]], 2, 0.0, seed=1)


A: Label = "rice"


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            Splits({"sub-003": A}, (("sub-003",), ("sub-003",)), ()),
            "subject sub-003 is in several places: fold 0, fold 1",
        ),
        (
            Splits({"sub-003": A}, ((), (), ("sub-003",)), ("sub-003",)),
            "subject sub-003 is in several places: the test set, fold 2",
        ),
        (
            Splits({"sub-003": A}, ((), ()), ("sub-003", "sub-003")),
            "sub-003 is in several places: the test",
        ),
        (Splits({}, (("sub-003",), ()), ()), "subject sub-003 is in fold 0 but has no label"),
        (Splits({"sub-003": A}, ((), ()), ()), "sub-003 has a label but is in no fold"),
    ],
)
def test_a_subject_in_the_wrong_places_is_named_with_them(
    splits: Splits, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match=message):
        check_splits(splits)
    with pytest.raises(SplitError, match=message):
        write_splits(splits, tmp_path / "splits.json")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    splits = make_splits(cohort(8, 8), 3, 0.2, seed=1)
    write_splits(splits, tmp_path / "splits.json")
    assert read_splits(tmp_path / "splits.json") == splits
    assert json.loads((tmp_path / "splits.json").read_text())["digest"] == splits.digest


def test_a_leak_written_by_hand_is_found_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_splits(make_splits(cohort(8, 8), 2, 0.25, seed=1), path)
    content = json.loads(path.read_text())
    leaked = content["folds"][1][0]
    content["folds"][0].append(leaked)
    path.write_text(json.dumps(content))
    with pytest.raises(SplitError, match=f"subject {leaked} is in several places: fold 0, fold 1"):
        read_splits(path)


def test_a_changed_division_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_splits(make_splits(cohort(8, 8), 2, 0.25, seed=1), path)
    content = json.loads(path.read_text())
    content["folds"][0].append(content["test"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(SplitError, match=r"splits.json was changed after it was made"):
        read_splits(path)


def test_missing_splits_say_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="`dvc repro split` makes it"):
        read_splits(tmp_path / "splits.json")
