"""Paired comparisons, by hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn, held_out, predictions_of

from ricenet.evaluation.evidence.comparison import (
    compare,
    compare_pairs,
    holm,
    mcnemar_p_value,
)
from ricenet.evaluation.held_out import HeldOut
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction


def test_the_difference_of_two_faultless_opposites_is_not_certain():
    is_rice = np.arange(16) < 8
    case = held_out(is_rice, {"a": np.where(is_rice, 0.9, 0.1), "b": np.where(is_rice, 0.1, 0.9)})
    found = compare(case, "a", "b", seed=7, resamples=300)
    assert (found.macro_f1.value, found.macro_f1.method) == (1, "exact bound")
    assert 0 < found.macro_f1.low < 0.7
    assert (found.auc.value, found.auc.method) == (1, "exact bound")


def test_mcnemar_is_the_binomial_of_the_discordant():
    # 1 of 8: 2 (1 + 8) / 256
    assert mcnemar_p_value(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_p_value(4, 4) == 1
    assert mcnemar_p_value(0, 0) == 1


def test_holm_corrects_step_by_step():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, and never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_better_set_is_found_and_pairs_are_corrected():
    good, is_rice = drawn(4.0)
    columns = {"dose": good, "event": drawn(0.0, seed=9)[0], "post_op": good}
    found = compare_pairs(predictions_of(is_rice, columns), 7, 500)
    assert [(c.a, c.b) for c in found] == [("dose", "event"), ("dose", "post_op"), ("event", "post_op")]
    better, equal, worse = found
    assert better.macro_f1.low > 0.1
    assert worse.macro_f1.high < -0.1
    assert better.macro_f1.value == pytest.approx(-worse.macro_f1.value)
    assert better.p_macro_f1_holm == pytest.approx(min(1, 3 * better.p_macro_f1))
    assert (equal.macro_f1.low, equal.macro_f1.high) == (0, 0)
    assert (equal.p_macro_f1, equal.p_mcnemar, equal.p_auc) == (1, 1, 1)
    right = {name: (p >= 0.5) == is_rice for name, p in columns.items()}
    assert better.only_a_right == (right["dose"] & ~right["event"]).sum()
    assert better.n == 80
    (only,) = compare_pairs(predictions_of(is_rice, columns), 7, 200, [("post_op", "dose")])
    assert (only.a, only.b) == ("post_op", "dose")


def test_a_pair_is_compared_on_its_common_subjects_alone():
    p_rice, is_rice = drawn(1.0)
    sets = predictions_of(is_rice, {"dose": p_rice, "event": p_rice, "flair": drawn(0.0, seed=9)[0]})
    sets["flair"] = sets["flair"][10:]
    found = {(c.a, c.b): c for c in compare_pairs(sets, 7, 200)}
    assert {pair: c.n for pair, c in found.items()} == {
        ("dose", "event"): 80, ("dose", "flair"): 70, ("event", "flair"): 70
    }  # fmt: skip
    fewer = {name: rows[10:] for name, rows in sets.items() if name != "flair"} | {"flair": sets["flair"]}
    (alone,) = compare_pairs(fewer, 7, 200, [("dose", "flair")])
    assert alone.macro_f1 == found["dose", "flair"].macro_f1
    # with one subject of a label in common nothing can be said
    sets["flair"] = [p for p in sets["flair"] if p.label == "recurrence"]
    assert [(c.a, c.b) for c in compare_pairs(sets, 7, 200)] == [("dose", "event")]
    assert compare_pairs({"dose": sets["dose"]}, 7, 200) == ()


def test_predictions_that_contradict_each_other_are_not_joined():
    one, other = Prediction("sub-1", "rice", 0, 0.2), Prediction("sub-1", "recurrence", 0, 0.2)
    with pytest.raises(ResultError, match="dose and event call sub-1 by different labels"):
        HeldOut.of({"dose": [one], "event": [other]})
    with pytest.raises(ResultError, match="dose predicts a subject in two folds"):
        HeldOut.of({"dose": [one, one]})
