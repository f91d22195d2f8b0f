"""How probable it is that "A is better than B" is false."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from ricenet.evaluation.evidence.record import false_claim_probability


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (8, 4), (4, 8), (12, 5), (30, 1)])
def test_it_is_what_coin_tosses_say(a: int, b: int) -> None:
    """A Beta posterior below a half is a binomial tail (Laplace): at most `fewer` + 0 of n + 1 tosses."""
    more, fewer = max(a, b), min(a, b)
    n = more + fewer + 1
    tail = sum(comb(n, k) for k in range(fewer + 1)) / 2**n
    assert false_claim_probability(a, b) == pytest.approx(tail)


def test_nobody_alone_right_leaves_both_alike() -> None:
    assert false_claim_probability(0, 0) == pytest.approx(0.5)
    assert false_claim_probability(7, 7) == pytest.approx(0.5)


def test_of_claims_made_at_one_in_ten_one_in_ten_is_false() -> None:
    """Truths drawn as the prior has them: what is stated is what happens, within three standard errors."""
    rng = np.random.default_rng(11)
    truth = rng.random(40_000)
    a = rng.binomial(20, truth)
    stated = np.array([false_claim_probability(k, 20 - k) for k in range(21)])[a]
    false = np.where(a >= 10, truth < 0.5, truth > 0.5)
    some = (stated > 0.05) & (stated < 0.2)
    error = np.sqrt(0.1 * 0.9 / some.sum())
    assert false[some].mean() == pytest.approx(stated[some].mean(), abs=3 * error)
