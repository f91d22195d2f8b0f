"""Pooled random convolutions: against loops in NumPy, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from ricenet.training.random_convolutions import (
    FILTER_VOXELS,
    POOLS,
    STRIDE,
    random_convolutions,
    random_filters,
)


def volumes(n: int, voxels: int = 11, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, voxels, voxels, voxels + 2)).astype(np.float32)


def test_it_is_what_loops_find() -> None:
    given, count = volumes(3), 4
    found = random_convolutions(given, "post_op", count, seed=5)
    expected = np.empty((3, len(POOLS), count))
    for n, volume in enumerate(given.astype(np.float64)):
        for i, kernel in enumerate(random_filters(count, 5).astype(np.float64)):
            places = [range(0, size - FILTER_VOXELS + 1, STRIDE) for size in volume.shape]
            answers = np.array(
                [
                    (volume[x : x + 5, y : y + 5, z : z + 5] * kernel).sum()
                    for x in places[0]
                    for y in places[1]
                    for z in places[2]
                ]
            )
            expected[n, :, i] = answers.mean(), answers.std(), answers.max(), (answers > 0).mean()
    assert found.values == pytest.approx(expected.reshape(3, -1), abs=1e-5)
    assert found.name == "post_op" and len(found.features) == 16
    assert found.features[0] == "post_op_filter0_mean" and found.features[-1] == "post_op_filter3_positive"


def test_filters_have_mean_0_and_norm_1_and_keep_when_more_are_drawn() -> None:
    filters = random_filters(6, 1)
    assert filters.mean(axis=(1, 2, 3)) == pytest.approx(np.zeros(6), abs=1e-7)
    assert (filters**2).sum(axis=(1, 2, 3)) == pytest.approx(np.ones(6), abs=1e-5)
    assert np.array_equal(filters[:3], random_filters(3, 1))
    assert not np.array_equal(filters, random_filters(6, 2))


def test_a_subject_has_the_same_features_in_every_company() -> None:
    # 19 subjects: two whole batches and a part
    given = volumes(19)
    together = random_convolutions(given, "dose", 5).values
    alone = np.concatenate([random_convolutions(given[i : i + 1], "dose", 5).values for i in range(19)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.array_equal(together, random_convolutions(given, "dose", 5).values)


def test_a_constant_has_no_answer_and_adds_none() -> None:
    found = random_convolutions(np.full((1, 9, 9, 9), 3, np.float32), "dose", 5).values[0]
    assert found[:15] == pytest.approx(np.zeros(15), abs=1e-5)
    given = volumes(2)
    before, after = (random_convolutions(v, "dose", 5).values[:, :15] for v in (given, given + 2))
    assert after == pytest.approx(before, abs=1e-4)


def test_what_cannot_be_convolved_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dose: expected .* 5 voxels or more"):
        random_convolutions(np.zeros((2, 4, 9, 9), np.float32), "dose")
    with pytest.raises(ValueError, match="dose: volumes with values that are not finite"):
        random_convolutions(np.full((2, 9, 9, 9), np.nan, np.float32), "dose")
