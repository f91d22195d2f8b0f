"""What the numbers of subjects forbid is found before anything is preprocessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.counts import Demands, doubtful_by_counts, forbidden_by_counts
from ricenet.cohort.participants import Subset
from ricenet.config.params import parse_params, read_yaml
from ricenet.vocabulary import Label

PARAMS = Path(__file__).parents[1] / "params.yaml"
ALL = frozenset({"post_op", "event", "dose"})


def subjects(
    recurrence: int, rice: int, subset: Subset | None = "train", scans: frozenset[str] = ALL
) -> list[CheckedSubject]:
    labels: list[Label] = ["recurrence"] * recurrence + ["rice"] * rice
    return [
        CheckedSubject(
            participant_id=f"sub-{subset}{len(scans)}{label}{i}",
            label=label,
            subset=subset,
            scans=dict.fromkeys(scans, "0"),
        )
        for i, label in enumerate(labels)
    ]


def demands(folds: int = 5, fitted: Sequence[str] = (), nested: Sequence[str] = ()) -> Demands:
    sets = {"dose": frozenset({"dose"}), "post_op+event+dose": ALL}
    return Demands(folds, 0.2, 1, sets, fitted, nested)


FORBIDDEN: list[tuple[list[CheckedSubject], Demands, list[str]]] = [
    (subjects(3, 3), demands(5), ["5 folds need at least 5 subjects of each label"]),
    (subjects(6, 4), demands(5), ["found 6 recurrence and 4 rice"]),
    (subjects(5, 5), demands(5), []),
    # 2 of 12 are drawn for the test set, one of each label, and 5 + 5 are left
    (subjects(6, 6, None), Demands(5, 0.15, 1, {}), []),
    (subjects(6, 6, None), Demands(5, 0.5, 1, {}), ["5 folds need"]),
    (
        subjects(4, 4, None),
        Demands(2, 0.1, 1, {}),
        [
            "a test set of 1",
        ],
    ),
    # of two folds, holding both out leaves nobody
    (subjects(4, 4), demands(2, fitted=["dose"]), ["dose: fusion: fitted holds folds 0 and 1 out at once"]),
    (subjects(3, 3), demands(3, fitted=["dose"]), []),
    # 5 + 5 in five folds leave 4 + 4 to train on, which five inner folds need 5 of
    (
        subjects(5, 5),
        demands(5, nested=["dose"]),
        ["tuning.nested .* 5 inner folds, and one label has 4"],
    ),
    (subjects(7, 7), demands(5, nested=["dose"]), []),
    # ten have a dose, and two of them all volumes: some fold has nobody left
    (
        subjects(4, 4, scans=frozenset({"dose"})) + subjects(1, 1),
        demands(5),
        [r"post_op\+event\+dose, fold \d: of the subjects who have all its volumes"],
    ),
]


@pytest.mark.parametrize(("cohort", "asked", "words"), FORBIDDEN)
def test_what_the_counts_forbid_is_said_with_the_remedy(
    cohort: list[CheckedSubject], asked: Demands, words: list[str]
) -> None:
    found = forbidden_by_counts(cohort, asked)
    assert len(found) == len(words)
    for text, expected in zip(found, words, strict=True):
        assert re.search(expected, text)
        assert re.search("add subjects|raise|lower|set ", text)


def test_that_sets_are_judged_by_first_events_is_said_where_there_are_later_ones() -> None:
    """Eight patients all have the scan of the visit before at the second visit, and nobody can be judged."""
    first = subjects(4, 4)
    seen = {"visit": 2, "scans": dict.fromkeys([*ALL, "before"], "0")}
    later = [s.model_copy(update={"participant_id": f"{s.participant_id}v2"} | seen) for s in first]
    asked = Demands(2, 0.2, 1, {"dose": frozenset({"dose"}), "before+event": frozenset({"before", "event"})})
    (text,) = forbidden_by_counts([*first, *later], asked)
    assert text.startswith("before+event, fold 0: ")
    assert "judged by first events, and 0 of 8 have all its volumes" in text


def test_a_test_set_without_a_label_is_allowed_and_said() -> None:
    cohort = subjects(5, 5) + subjects(2, 0, "test")
    assert forbidden_by_counts(cohort, demands()) == []
    (text,) = doubtful_by_counts(cohort)
    assert text.startswith("the test set holds 2 subject(s), none of them rice")
    assert doubtful_by_counts(subjects(5, 5) + subjects(1, 1, "test")) == doubtful_by_counts([]) == []


def test_the_demands_are_those_of_the_project() -> None:
    content = read_yaml(PARAMS)
    content["training"]["fusion"] = "fitted"
    content["training"]["overrides"] = {"dose": {"fusion": "none"}}
    content["modality_sets"] = ["dose", "event", "dose@small_cohort"]
    content["explain"]["modality_sets"] = []
    content["tuning"]["modality_sets"] = ["event"]
    content["tuning"]["nested"] = True
    asked = Demands.of(parse_params(content, "params.yaml"))
    assert (asked.folds, list(asked.fitted), list(asked.nested)) == (5, ["event"], ["event"])
    assert asked.volumes == {"dose": {"dose"}, "event": {"event"}, "dose@small_cohort": {"dose"}}
