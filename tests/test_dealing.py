"""Subjects stay where they are as a cohort grows or is corrected, and folds stay balanced."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
from collections import Counter
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest

from ricenet.cohort.checked import CHECKED_COHORT_FILE, CheckedCohort, CheckedSubject
from ricenet.cohort.dealing import deal_folds, draw_test, share_of_labels
from ricenet.cohort.settled_places import PLACES_FILE, Changes, SettledPlaces, read_places
from ricenet.cohort.splits import Splits, make_splits
from ricenet.runtime.errors import SplitError
from ricenet.vocabulary import LABELS, Label

PROJECT = Path(__file__).parents[1]
OTHER: dict[Label, Label] = {"rice": "recurrence", "recurrence": "rice"}
Labelled = dict[str, Label]


def subjects_of(labels: Labelled) -> list[CheckedSubject]:
    return [CheckedSubject(participant_id=name, label=label) for name, label in labels.items()]


def drawn(rng: np.random.Generator, subjects: int) -> Labelled:
    return {f"sub-{i:03d}": LABELS[int(rng.random() < 0.4)] for i in range(subjects)}


def settled(splits: Splits, seed: int, fraction: float) -> SettledPlaces:
    return SettledPlaces(
        cohort="data/mine", seed=seed, test_fraction=fraction, folds=splits.folds, test=splits.test
    )


def moved(former: dict[str, int], now: dict[str, int]) -> int:
    return sum(former[s] != fold for s, fold in now.items() if s in former)


def spread(numbers: list[int]) -> int:
    return max(numbers) - min(numbers)


def require_balance(dealt: dict[str, int], labels: Labelled, folds: int) -> None:
    assert dealt.keys() == labels.keys()
    for label in LABELS:
        counts = Counter(fold for s, fold in dealt.items() if labels[s] == label)
        assert spread([counts[k] for k in range(folds)]) <= 1
    sizes = Counter(dealt.values())
    assert spread([sizes[k] for k in range(folds)]) <= 1


def changed(labels: Labelled, how: str, rng: np.random.Generator, number: int) -> Labelled:
    """One subject more, one corrected label, or one subject less."""
    who = str(rng.choice(sorted(labels)))
    if how == "joins":
        return {**labels, f"sub-{rng.integers(10**9)}-{number}": LABELS[int(rng.random() < 0.4)]}
    if how == "corrected":
        return {**labels, who: OTHER[labels[who]]}
    return {s: label for s, label in labels.items() if s != who}


MOST_MOVED = {"joins": 0, "corrected": 2, "leaves": 1}


@pytest.mark.parametrize("seed", range(60))
def test_folds_stay_balanced_and_few_move_through_a_cohorts_history(seed: int) -> None:
    rng = np.random.default_rng(seed)
    folds = int(rng.integers(2, 8))
    labels = drawn(rng, int(rng.integers(20, 70)))
    dealt = deal_folds(labels, folds, seed)
    require_balance(dealt, labels, folds)
    for number in range(12):
        how = str(rng.choice(sorted(MOST_MOVED)))
        labels = changed(labels, how, rng, number)
        after = deal_folds(labels, folds, seed, dealt)
        require_balance(after, labels, folds)
        assert moved(dealt, after) <= MOST_MOVED[how]
        dealt = after


@pytest.mark.parametrize("seed", range(40))
def test_with_a_drawn_test_set_none_moves_for_a_newcomer_and_three_for_a_corrected_label(seed: int) -> None:
    rng = np.random.default_rng([7, seed])
    fraction, labels = float(rng.choice([0.1, 0.2, 0.25])), drawn(rng, int(rng.integers(50, 90)))
    former = settled(make_splits(subjects_of(labels), 5, fraction, seed), seed, fraction)
    for how, most in (("joins", 0), ("corrected", 3)) * 4:
        labels = changed(labels, how, rng, len(labels))
        splits = make_splits(subjects_of(labels), 5, fraction, seed, former)
        now = settled(splits, seed, fraction)
        assert len(Changes.between(former, now).moved) <= most
        for label in LABELS:
            share = round(sum(found == label for found in labels.values()) * fraction, 9)
            inside = sum(labels[s] == label for s in splits.test)
            assert floor(share) - 1 <= inside <= ceil(share) + 1
        former = now


def test_a_cohort_that_doubles_moves_nobody_and_fills_the_test_set() -> None:
    labels: Labelled = {f"sub-{i:03d}": LABELS[i % 2] for i in range(40)}
    former = settled(make_splits(subjects_of(labels), 5, 0.2, 7), 7, 0.2)
    labels |= {f"sub-{i:03d}": LABELS[i % 2] for i in range(40, 80)}
    splits = make_splits(subjects_of(labels), 5, 0.2, 7, former)
    changes = Changes.between(former, settled(splits, 7, 0.2))
    assert (len(changes.joined), changes.moved, changes.left) == (40, (), ())
    assert [len(fold) for fold in splits.folds] == [13, 13, 13, 13, 12]
    assert Counter(labels[s] for s in splits.test) == {"rice": 8, "recurrence": 8}


def test_a_label_is_restored_by_moving_one_from_the_fullest_fold() -> None:
    # fold 0 lost its rice, folds 1 and 2 have two each
    labels: Labelled = {"a": "recurrence", "b": "recurrence", "c": "recurrence"}
    labels |= dict.fromkeys(("p", "q", "r", "s"), "rice")
    former = {"a": 0, "b": 1, "c": 2, "p": 1, "q": 1, "r": 2, "s": 2}
    after = deal_folds(labels, 3, 7, former)
    assert moved(former, after) == 1
    require_balance(after, labels, 3)


def test_a_test_sets_share_is_rounded_by_largest_remainders_and_holds_both_labels() -> None:
    def cohort(recurrence: int, rice: int) -> Labelled:
        names = iter(range(recurrence + rice))
        return {f"s{next(names)}": "recurrence" for _ in range(recurrence)} | {
            f"s{next(names)}": "rice" for _ in range(rice)
        }

    # 4.6 and 2.4 of 7 in all: 5 and 2
    assert share_of_labels(cohort(23, 12), 0.2) == {"recurrence": 5, "rice": 2}
    # 35 * 0.2 is a little above 7 in floating point
    assert sum(share_of_labels(cohort(20, 15), 0.2).values()) == 7
    # 6.4 and 0.4 of 7: no rice by its remainder, one all the same
    assert share_of_labels(cohort(64, 4), 0.1) == {"recurrence": 6, "rice": 1}


def test_a_test_set_that_lost_a_label_gets_one_of_it_again() -> None:
    labels: Labelled = {f"s{i}": LABELS[i % 2] for i in range(20)}
    # every odd one has rice
    drawn_again = draw_test(labels, 0.1, 7, former={"s0"}, settled=labels.keys() - {"s0"})
    assert {labels[s] for s in drawn_again} == set(LABELS)


def test_another_number_of_folds_leaves_the_test_set_and_another_seed_leaves_nothing() -> None:
    labels: Labelled = {f"sub-{i:03d}": LABELS[i % 2] for i in range(40)}
    grown = {**labels, "sub-a": LABELS[0], "sub-b": LABELS[1]}
    former = settled(make_splits(subjects_of(labels), 5, 0.2, 7), 7, 0.2)
    four = make_splits(subjects_of(grown), 4, 0.2, 7, former)
    assert set(former.test) <= set(four.test)
    assert make_splits(subjects_of(grown), 5, 0.2, 8, former) == make_splits(subjects_of(grown), 5, 0.2, 8)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def split(labels: Labelled, root: str = "data/demo") -> None:
    cohort = CheckedCohort(root=root, digest="d", subjects=tuple(subjects_of(labels)))
    CHECKED_COHORT_FILE.parent.mkdir(parents=True, exist_ok=True)
    CHECKED_COHORT_FILE.write_text(cohort.model_dump_json(), encoding="utf-8")
    (CHECKED_COHORT_FILE.parent / "excluded.json").write_text('{"subjects": []}', encoding="utf-8")
    runpy.run_path(str(PROJECT / "src/stages/split.py"), run_name="stage")["main"]()


def test_the_stage_starts_from_its_record_and_says_who_moved(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    labels: Labelled = {f"sub-{i:03d}": LABELS[i % 2] for i in range(30)}
    split(labels)
    assert "since the former division" not in caplog.text
    first = PLACES_FILE.read_bytes()
    assert not any(label.encode() in first for label in LABELS)
    split(labels)
    assert PLACES_FILE.read_bytes() == first
    assert "0 joined, 0 left, 0 moved" in caplog.text
    split({**labels, "sub-900": "rice"})
    assert "1 joined, 0 left, 0 moved" in caplog.text
    # what is committed decides, not what work/ holds
    shutil.rmtree("work")
    split({**labels, "sub-900": "rice"})
    assert json.loads(Path("work/splits/splits.json").read_text())["folds"] == [
        list(fold)
        for fold in read_places().folds  # type: ignore[union-attr]
    ]
    assert [path.name for path in Path("models").iterdir()] == ["folds.json"]


def test_whoever_moved_is_named_with_both_places() -> None:
    former = SettledPlaces(
        cohort="data/mine", seed=7, test_fraction=0.0, folds=(("a",), ("b", "c")), test=("d",)
    )
    now = SettledPlaces(
        cohort="data/mine", seed=7, test_fraction=0.0, folds=(("a", "c"), ("b",)), test=("e",)
    )
    assert Changes.between(former, now).text == "1 joined, 1 left, 1 moved: c from fold 1 to fold 0"


def test_a_record_whose_link_leads_nowhere_is_not_taken_for_none(project: Path) -> None:
    PLACES_FILE.parent.mkdir()
    PLACES_FILE.symlink_to("elsewhere.json")
    with pytest.raises(SplitError, match="not a record"):
        read_places()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"models/folds.json is not a record of who is in which fold.*git checkout"),
        ('{"seed": 7}', "not a record"),
        (
            '{"cohort": "data/mine", "seed": 7, "test_fraction": 0.2, '
            '"folds": [["sub-1"], ["sub-2"]], "test": ["sub-1"]}',
            "subject sub-1 is in 2 places",
        ),
    ],
)
def test_a_damaged_record_is_refused(project: Path, content: str, message: str) -> None:
    PLACES_FILE.parent.mkdir()
    PLACES_FILE.write_text(content, encoding="utf-8")
    with pytest.raises(SplitError, match=message):
        read_places()


def test_another_cohort_with_the_same_names_is_dealt_anew(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other: Labelled = {f"sub-{i:03d}": LABELS[i % 3 == 0] for i in range(30)}
    split(other, "data/mine")
    alone = read_places()
    PLACES_FILE.unlink()
    split({f"sub-{i:03d}": LABELS[i % 2] for i in range(25)})
    split(other, "data/mine")
    assert read_places() == alone
    assert "models/folds.json is of data/demo; data/mine is dealt anew" in caplog.text
