"""How well time alone predicts the label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ricenet.importing.collections.time_baseline import rank_auc, time_baseline


def rows(recurrence: list[int], rice: list[int], column: str = "follow_up") -> list[dict[str, str]]:
    labelled = [("recurrence", value) for value in recurrence] + [("rice", value) for value in rice]
    return [{"label": label, column: str(value)} for label, value in labelled]


def test_the_auc_is_the_share_of_pairs_in_order_with_ties_half() -> None:
    # pairs of (1, 2) with (2, 3): 2 > 1, 2 = 2, 3 > 1, 3 > 2
    assert rank_auc([1, 2], [2, 3]) == 3.5 / 4


def test_the_auc_agrees_with_scikit_learn_on_many_ties() -> None:
    rng = np.random.default_rng(5)
    labels, values = rng.integers(0, 2, 200), rng.integers(1, 6, 200)
    ours = rank_auc(values[labels == 0], values[labels == 1])
    assert ours == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_pseudoprogression_at_the_first_visit_is_found_as_earlier() -> None:
    baseline = time_baseline(rows(recurrence=[2, 3, 3, 1], rice=[1, 1]), "follow_up")
    assert baseline is not None
    # eight pairs: six in which RICE is earlier, two ties
    assert baseline.auc == 7 / 8
    assert (baseline.rice_is, baseline.rice, baseline.recurrence) == ("earlier", 2, 4)
    assert "AUC 0.88" in str(baseline) and "RICE is earlier" in str(baseline)


def test_the_direction_may_be_later_or_neither() -> None:
    later = time_baseline(rows(recurrence=[10, 20], rice=[30, 40]), "follow_up")
    neither = time_baseline(rows(recurrence=[1, 1], rice=[1, 1, 1]), "follow_up")
    assert later is not None and (later.auc, later.rice_is) == (1.0, "later")
    assert neither is not None and (neither.auc, neither.rice_is) == (0.5, "neither")
    assert (neither.ci_low, neither.ci_high) == (0.5, 0.5)
    assert "no earlier or later" in str(neither)


def test_the_interval_holds_the_value_and_repeats() -> None:
    many = rows(recurrence=[1, 2, 3, 4, 2, 5, 3], rice=[1, 1, 2, 3, 1])
    one, again = time_baseline(many, "follow_up"), time_baseline(many, "follow_up")
    assert one == again and one is not None
    assert one.ci_low < one.auc < one.ci_high <= 1.0


@pytest.mark.parametrize(
    "table",
    [rows([1, 2], []), rows([], [1]), [], [{"label": "rice", "follow_up": "n/a"}, *rows([1], [])]],
    ids=["no RICE", "no recurrence", "nobody", "no time"],
)
def test_without_both_labels_there_is_no_auc(table: list[dict[str, str]]) -> None:
    assert time_baseline(table, "follow_up") is None


def test_unlabelled_subjects_do_not_count() -> None:
    labelled = rows([2], [1])
    assert time_baseline([*labelled, {"label": "n/a", "follow_up": "9"}], "follow_up") == time_baseline(
        labelled, "follow_up"
    )


def test_weak_labels_have_their_own_column_and_words() -> None:
    weak = [{"weak_label": "recurrence", "w": "9"}, {"weak_label": "rice_candidate", "w": "12"}]
    baseline = time_baseline(weak, "w", "weak_label", ("recurrence", "rice_candidate"))
    assert baseline is not None and baseline.as_json()["AUC"] == 1.0
    assert baseline.as_json()["RiceIs"] == "later"
