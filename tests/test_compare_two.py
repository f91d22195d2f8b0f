"""Two trainings on the subjects that both held out: hand-computed numbers, words, and the figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ricenet.cli.comparison_text import aligned, parts, plain
from ricenet.display.drawing import save_figure
from ricenet.evaluation.evidence.comparison_figure import comparison_figure
from ricenet.evaluation.evidence.paired import Side, compare_two
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.verdict import caution, verdict
from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction

LABELS = {f"sub-{i}": ("rice" if i % 2 else "recurrence") for i in range(1, 9)}
FOLDS = {subject: 0 if subject < "sub-5" else 1 for subject in LABELS}


def side(name: str, wrong: tuple[int, ...] = (), labels: Mapping[str, str] = LABELS, **changes) -> Side:
    """Sure of the truth (0.9 or 0.2) but for the wrong subjects, where it is as sure of the other label."""
    rows = tuple(
        Prediction(s, label, FOLDS.get(s, 0), 0.9 if (label == "rice") != (int(s[4:]) in wrong) else 0.2)
        for s, label in labels.items()
    )
    made = Side(name, "dose", training=name, predictions=rows, digests={}, parameters={})
    return replace(made, **changes)


def compare(a: Side, b: Side):
    return compare_two(a, b, seed=7, resamples=400)[0]


def moved(given: Side, folds: Mapping[str, int]) -> Side:
    rows = tuple(replace(p, fold=folds[p.participant_id]) for p in given.predictions)
    return replace(given, predictions=rows)


def test_scores_and_right_answers_are_those_counted_by_hand():
    found = compare(side("first", wrong=(2,)), side("second", wrong=(1, 2, 3)))

    # of 4 and 4: first 3 recurrence and 4 rice right, second 3 and 2
    assert found.a.scores.macro_f1.value == pytest.approx((6 / 7 + 8 / 9) / 2)
    assert found.b.scores.macro_f1.value == pytest.approx((6 / 9 + 4 / 7) / 2)
    assert found.differences["macro_f1"].value == pytest.approx((6 / 7 + 8 / 9 - 6 / 9 - 4 / 7) / 2)
    assert found.differences["balanced_accuracy"].value == pytest.approx(7 / 8 - 5 / 8)
    # the two rice that second alone calls recurrence cost it 0.8^2 each instead of 0.1^2
    assert found.differences["brier"].value == pytest.approx(-2 * (0.64 - 0.01) / 8)
    assert found.common == {"recurrence": 4, "rice": 4}
    assert found.right["rice"].model_dump() == {"both": 2, "only_a": 2, "only_b": 0, "neither": 0}
    assert found.right["recurrence"].model_dump() == {"both": 3, "only_a": 0, "only_b": 0, "neither": 1}
    # both discordant subjects on one side: 2 / 2^2
    assert found.p_values["mcnemar"] == pytest.approx(0.5)


def test_the_other_way_round_says_the_same():
    a, b = side("first", wrong=(2, 4)), side("second", wrong=(1, 3, 5, 7, 6))
    there, back = compare(a, b), compare(b, a)
    for name, difference in there.differences.items():
        assert difference.value == pytest.approx(-back.differences[name].value)
    assert there.p_values == pytest.approx(back.p_values)
    assert [r.only_a for r in there.right.values()] == [r.only_b for r in back.right.values()]


def test_only_subjects_that_both_held_out_count():
    fewer = {s: label for s, label in LABELS.items() if s not in ("sub-7", "sub-8")}
    more = {**fewer, "sub-9": "rice"}
    found = compare(side("first", labels=LABELS), side("second", wrong=(9,), labels=more))
    assert (found.n, found.only_a_held_out, found.only_b_held_out) == (6, 2, 1)
    assert (found.a.held_out, found.b.held_out, found.b.scores.n) == (8, 7, 6)
    assert found.b.scores.macro_f1.value == 1


def test_folds_are_the_same_by_their_subjects_whatever_their_numbers():
    first, second = side("first"), side("second", wrong=(1,))
    renumbered = moved(second, {s: 1 - k for s, k in FOLDS.items()})
    divided = moved(second, {**FOLDS, "sub-1": 1})
    assert compare(first, renumbered).same_folds
    assert not compare(first, divided).same_folds
    assert "Their folds differ" in plain(compare(first, divided))
    assert "Their folds differ" not in plain(compare(first, second))


MANY = {f"sub-{i}": ("rice" if i % 2 else "recurrence") for i in range(1, 41)}
HALF = tuple(range(1, 21))


@pytest.mark.parametrize(
    ("wrong_a", "wrong_b", "said"),
    [
        ((1,), HALF, "A is better than B on these 40 subjects: its macro-F1 is higher by 0.4"),
        (HALF, (1,), "B is better than A on these 40 subjects: its macro-F1 is higher by 0.4"),
        ((1, 2), (3, 4, 5), "No difference is shown: A's macro-F1 minus B's is +0.03 ("),
        ((), (2, 3, 4), "Which is better cannot be told here: A's macro-F1 minus B's is +0.08 ("),
        # all five to one side: p = 2 / 2^5 / 2
        ((), (2, 3, 4, 5, 6), "A is better than B on these 40 subjects: its macro-F1 is higher by 0.1"),
        ((1, 2), (1, 2), "A and B are right on the same of the 40 subjects."),
    ],
)
def test_the_verdict_follows_the_swap_test(wrong_a, wrong_b, said):
    found = compare(side("first", wrong_a, MANY), side("second", wrong_b, MANY))
    assert found.verdict.startswith(said)


def test_the_verdict_gives_a_gain_of_b_its_own_interval_and_reports_the_other_tests():
    better = compare(side("first", HALF, MANY), side("second", (1,), MANY))
    lost = better.differences["macro_f1"]
    ends = f"{-lost.value:.2f} ({-lost.high:.2f} to {-lost.low:.2f})"
    assert f"its macro-F1 is higher by {ends}, p < 0.001." in better.verdict
    # 19 against none: 2 / 2^19
    assert "McNemar's exact test separates them in favour of B (p < 0.001)" in better.verdict
    equal = compare(side("first", (1, 2, 5), MANY), side("second", (3, 4, 7), MANY)).verdict
    assert "McNemar's exact test does not separate them (p = 1.00)" in equal
    assert "the test of swapped ranks does not separate them (p = 1.00)." in equal


def test_the_test_decides_where_the_interval_leaves_out_0():
    difference = Estimate(value=0.2, low=0.02, high=0.4, method="bca")
    undecided = Comparison(
        a="a", b="b", n=40, macro_f1=difference, auc=difference, only_a_right=12, only_b_right=5,
        p_macro_f1=0.07, p_macro_f1_holm=0.07, p_mcnemar=0.14, p_mcnemar_holm=0.14, p_auc=1.0, p_auc_holm=1.0,
        macro_f1_can_tell=True, auc_can_tell=False,
    )  # fmt: skip
    assert not undecided.differs
    said = verdict(undecided, 20)
    assert said.startswith(
        "No difference is shown: A's macro-F1 minus B's is +0.20 (+0.02 to +0.40), but swapping their "
        "answers gives as much by chance (p = 0.070)."
    )
    assert said.endswith("the test of swapped ranks cannot tell their areas apart, so alike do they rank "
                         "these subjects.")  # fmt: skip
    shown = undecided.model_copy(update={"p_macro_f1": 0.04})
    assert verdict(shown, 20).startswith("A is better than B on these 40 subjects")


def test_six_subjects_get_a_caution_and_no_winner_and_thirty_of_each_label_get_none():
    six = {s: LABELS[s] for s in list(LABELS)[:6]}
    found = compare(side("first", labels=six), side("second", wrong=(1, 2, 3, 4), labels=six))
    assert found.verdict.startswith("Which is better cannot be told here")
    assert found.caution.startswith("Caution: 3 subjects have r")
    assert found.caution in plain(found)
    assert caution({"recurrence": 30, "rice": 30}) == ""


def test_six_subjects_have_no_winner_even_where_the_test_sees_one():
    six = {s: LABELS[s] for s in list(LABELS)[:6]}
    found = compare(side("first", labels=six), side("second", wrong=(1, 2, 3, 4, 5, 6), labels=six))
    # all six to one side: p = 2 / 2^6 / 2
    assert found.p_values["macro_f1"] == pytest.approx(1 / 64)
    assert found.verdict.startswith("No side is called better from so few: A's macro-F1 minus B's is +1.00 (")
    assert "only 3 of the 6 subjects have the rarer label, and 10 of each are asked for" in found.verdict
    assert "A is better" not in plain(found)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("not searched", "nested", []),
        ("same folds", "not searched", ["the settings of A were searched for on these very subjects",
                                        "its scores are optimistic. The difference favours A."]),
        ("same folds", "same folds", ["the settings of A and B were", "their scores are optimistic."]),
        (None, "nested", ["Whether the settings of A were chosen on these very subjects is not recorded."]),
    ],
)  # fmt: skip
def test_settings_chosen_on_these_subjects_are_told(a, b, said):
    many = {f"sub-{i}": ("rice" if i % 2 else "recurrence") for i in range(1, 61)}
    found = compare(side("first", (1,), many, searched=a), side("second", (2, 3), many, searched=b))
    assert all(text in found.caution for text in said)
    assert bool(found.caution) == bool(said)


def test_what_differs_is_named_with_both_values():
    a = side("first", digests={"splits_digest": "a" * 64, "data_digest": "d"}, parameters={"seed": "7"})
    b = side("second", (1,), digests={"splits_digest": "b" * 64, "data_digest": "d"}, parameters={})
    found = compare(a, b)
    assert [(d.name, d.a, d.b) for d in found.digests] == [("splits_digest", "a" * 64, "b" * 64)]
    assert [(d.name, d.a, d.b) for d in found.parameters] == [("seed", "7", None)]
    assert plain(found).endswith(
        "what differs  A             B\n"
        "splits        aaaaaaaaaaaa  bbbbbbbbbbbb\n"
        "seed          7             not recorded"
    )
    assert "Nothing that is recorded" in plain(compare(side("first"), side("second", (1,))))


def test_the_tables_hold_every_score_count_and_test():
    found = compare(side("first", wrong=(2,)), side("second", wrong=(1, 2, 3)))
    subjects, scores, right, tests, verdict, *_ = parts(found)
    assert subjects.splitlines()[:2] == ["A: first", "B: second"]
    assert "8 subjects that both held out: 4 recurrence, 4 rice. Excluded: 0" in subjects
    assert [row[0] for row in scores[1:]] == [
        "macro-F1", "balanced accuracy", "AUC", "sensitivity for RICE", "specificity",
        "Brier (less is better)",
    ]  # fmt: skip
    assert scores[4][1] == "1.00 (0.40 to 1.00)"
    assert list(right[3]) == ["all", "5", "2", "0", "1"]
    assert list(tests[2]) == ["McNemar, exact", "0.50"]
    assert verdict == found.verdict
    assert aligned([["a", "b"], ["long", "c"]]) == "a     b\nlong  c"


CHANGED = {**LABELS, "sub-1": "recurrence", "sub-2": "rice"}
ALL_CHANGED = {s: "rice" if label == "recurrence" else "recurrence" for s, label in LABELS.items()}
FEW = {"sub-1": "rice", "sub-2": "recurrence", "sub-3": "rice"}
ONCE, WRONG = side("first", training="key"), side("second", wrong=(1,))


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (side("again", training="key"), "first and again are one and the same training of dose"),
        (side("second", labels=CHANGED), "call sub-1, sub-2 by different labels.*train the older one"),
        (side("second", labels=ALL_CHANGED), "sub-5 and 3 more by different labels"),
        (side("second", labels=FEW), "1 recurrence and 2 rice in common; a comparison needs 2 of each"),
        (replace(WRONG, predictions=(*WRONG.predictions, WRONG.predictions[0])), "second predicts a subject"),
    ],
)
def test_what_cannot_be_compared_is_refused(b, message):
    with pytest.raises(ResultError, match=message):
        compare(ONCE, b)


def test_a_training_is_compared_with_its_repetition():
    assert compare(ONCE, side("again", wrong=(1,), training="key")).n == 8


def test_the_figure_shows_both_intervals_and_every_subject(tmp_path):
    found, held_out = compare_two(
        side("first", wrong=(2,)), side("second", wrong=(1, 2, 3)), seed=7, resamples=400
    )
    figure = comparison_figure(found, held_out)
    left, right = figure.axes
    spans = [sorted(line.get_xdata()) for line in left.lines if len(line.get_xdata()) == 2]
    for compared in (found.a, found.b):
        for name in ("macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier"):
            estimate = getattr(compared.scores, name)
            assert [estimate.low, estimate.high] in spans
    dots = {line.get_label(): line.get_xydata().tolist() for line in right.lines}
    assert sorted(dots["RICE (4)"]) == [[0.9, 0.2], [0.9, 0.2], [0.9, 0.9], [0.9, 0.9]]
    assert sorted(dots["recurrence (4)"]) == [[0.2, 0.2], [0.2, 0.2], [0.2, 0.2], [0.9, 0.9]]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["A: first", "B: second"]
    for suffix in ("png", "svg"):
        twice = [tmp_path / f"{k}.{suffix}" for k in "ab"]
        for path in twice:
            save_figure(comparison_figure(found, held_out), path)
        assert twice[0].read_bytes() == twice[1].read_bytes()
