"""Exact tests by swapping, against all swaps done one by one, and hand-computed numbers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import f1_score, roc_auc_score

from ricenet.evaluation.evidence.swap_tests import LEVEL, swapped_macro_f1, swapped_ranks


def slow_mid_p(differences: list[float]) -> float:
    """The first is that of the answers as given."""
    sizes = np.abs(differences)
    more, as_much = sizes > sizes[0] + 1e-9, np.abs(sizes - sizes[0]) <= 1e-9
    return 1.0 if sizes[0] < 1e-9 else float((more.sum() + as_much.sum() / 2) / len(sizes))


@pytest.mark.parametrize("seed", range(4))
def test_both_tests_are_those_of_every_swap_done_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    is_rice = np.arange(7) < rng.integers(2, 6)
    # with ties within a classification and between both
    a, b = rng.random(7).round(1), rng.random(7).round(1)
    of_f1, of_area = [], []
    for swaps in product((False, True), repeat=7):
        says_a, says_b = np.where(swaps, b, a) >= 0.5, np.where(swaps, a, b) >= 0.5
        of_f1.append(f1_score(is_rice, says_a, average="macro") - f1_score(is_rice, says_b, average="macro"))
        ranks = rankdata(a), rankdata(b)
        rank_a, rank_b = np.where(swaps, *ranks[::-1]), np.where(swaps, *ranks)
        of_area.append(roc_auc_score(is_rice, rank_a) - roc_auc_score(is_rice, rank_b))
    found = swapped_macro_f1((a >= 0.5) == is_rice, (b >= 0.5) == is_rice, is_rice)
    assert found.p == pytest.approx(slow_mid_p(of_f1))
    assert swapped_ranks(a, b, is_rice).p == pytest.approx(slow_mid_p(of_area))


def test_only_subjects_that_one_alone_gets_right_count_and_five_are_the_fewest_that_can_tell() -> None:
    is_rice = np.arange(40) < 17
    everyone = np.ones(40, dtype=np.bool_)
    for alone in range(1, 8):
        # all of them on one side: half of twice 1 / 2^alone
        found = swapped_macro_f1(everyone, np.arange(40) >= alone, is_rice)
        assert found.p == found.least == pytest.approx(0.5**alone)
        assert found.can_tell == (alone >= 5)


def test_faultless_rankings_cannot_be_told_apart() -> None:
    is_rice = np.arange(12) < 6
    a, b = np.where(is_rice, 0.9, 0.1), is_rice + np.linspace(0, 0.5, 12)
    found = swapped_ranks(a, b, is_rice)
    assert (found.p, found.can_tell) == (1.0, False)


def test_opposite_rankings_are_told_apart_and_the_order_of_the_two_is_indifferent() -> None:
    is_rice = np.arange(20) < 10
    a = is_rice + np.linspace(0, 0.9, 20)
    found = swapped_ranks(a, -a, is_rice)
    assert found.p < 1e-4
    assert swapped_ranks(-a, a, is_rice).p == pytest.approx(found.p)
    # a rising transformation leaves ranks as they are
    assert swapped_ranks(a, a**3, is_rice).p == 1


def test_the_level_holds_where_nothing_differs() -> None:
    # 23 and 17 subjects, correlated classifications: of 600 cohorts 3 to 6 % are called different
    called = np.zeros(2)
    for seed in range(600):
        rng = np.random.default_rng([17, seed])
        is_rice = np.arange(40) < 17
        common = rng.normal(size=40)
        a, b = ((common + rng.normal(size=40)) / 2**0.5 + is_rice - 0.5 for _ in range(2))
        p_values = (
            swapped_macro_f1((a >= 0) == is_rice, (b >= 0) == is_rice, is_rice).p,
            swapped_ranks(a, b, is_rice).p,
        )
        called += np.array(p_values) <= LEVEL
    assert (called / 600 >= 0.03).all() and (called / 600 <= 0.06).all()
