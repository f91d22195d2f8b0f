"""Normalised mutual information: of paired values, over a grid, and at points quickly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from moved_heads import displaced, head, placed

from ricenet.preprocessing.registration.coarse import averaged, head_mask
from ricenet.preprocessing.registration.similarity import SimilarityAtPoints, shared_information
from ricenet.volume import Volume, resample


def test_values_that_tell_each_other_share_everything_and_independent_ones_nothing() -> None:
    first = np.repeat([0.0, 1.0], 8)
    assert shared_information(first, 5 - 3 * first) == pytest.approx(2.0)
    assert shared_information(first, np.tile([0.0, 1.0], 8)) == pytest.approx(1.0)


def test_half_told_values_share_what_is_computed_by_hand() -> None:
    # four values of 2 bits, two of 1 bit that follow from them: (2 + 1) / 2
    assert shared_information(np.array([0.0, 1, 2, 3]), np.array([0.0, 0, 1, 1])) == pytest.approx(1.5)


def test_two_constant_images_share_nothing() -> None:
    assert shared_information(np.zeros(9), np.ones(9)) == 1.0


def pair() -> tuple[Volume, Volume]:
    still = displaced((0, 0, 0), (0, 0, 0))
    return averaged(placed(head(), still, seed=1), 6.0), averaged(placed(head(), still, seed=2), 6.0)


def test_at_points_it_is_that_of_the_resampled_image_in_as_many_bins() -> None:
    """The slow twin: resample, cut outliers, histogram."""
    fixed, moving = pair()
    transform = displaced((4, -3, 2), (3, -5, 2))
    where = head_mask(fixed)
    quick = SimilarityAtPoints.of(fixed, where, moving)(transform)
    low, high = np.percentile(moving.data, (0.5, 99.5))
    clipped = Volume(np.clip(moving.data, low, high).astype(np.float32), moving.grid)
    mine = fixed.data[where]
    cut = np.clip(mine, *np.percentile(mine, (0.5, 99.5)))
    there = resample(clipped, fixed.grid, transform).data[where]
    counts, _, _ = np.histogram2d(
        np.rint((cut - cut.min()) / (cut.max() - cut.min()) * 31),
        np.rint((there - low) / (high - low) * 31),
        bins=32,
        range=((-0.5, 31.5), (-0.5, 31.5)),
    )
    p = counts / counts.sum()

    def entropy(q: np.ndarray) -> float:
        return float(-(q[q > 0] * np.log(q[q > 0])).sum())

    expected = (entropy(p.sum(axis=0)) + entropy(p.sum(axis=1))) / entropy(p)
    assert quick == pytest.approx(expected, abs=2e-3)


def test_it_falls_with_every_further_displacement() -> None:
    fixed, moving = pair()
    similarity = SimilarityAtPoints.of(fixed, head_mask(fixed), moving)
    values = [similarity(displaced((0, 0, 0), (mm, 0, 0))) for mm in (0.0, 4.0, 10.0, 20.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1] + 0.05


def test_where_the_moving_image_shows_too_little_nothing_is_told() -> None:
    fixed, moving = pair()
    similarity = SimilarityAtPoints.of(fixed, head_mask(fixed), moving)
    assert similarity(displaced((0, 0, 0), (250, 0, 0))) == 1.0
    assert similarity(displaced((0, 0, 0), (60, 0, 0))) > 1.0


def test_a_thinned_measure_takes_every_third_point() -> None:
    fixed, moving = pair()
    similarity = SimilarityAtPoints.of(fixed, head_mask(fixed), moving)
    thinned = similarity.thinned(3)
    np.testing.assert_array_equal(thinned.points_mm, similarity.points_mm[::3])
    by_hand = replace(similarity, points_mm=similarity.points_mm[::3], fixed_bins=similarity.fixed_bins[::3])
    assert thinned(np.eye(4)) == by_hand(np.eye(4))


def test_another_brightness_of_either_image_changes_nothing() -> None:
    fixed, moving = pair()
    brighter = Volume((3 * moving.data + 40).astype(np.float32), moving.grid)
    where = head_mask(fixed)
    one, other = (SimilarityAtPoints.of(fixed, where, m)(np.eye(4)) for m in (moving, brighter))
    assert one == pytest.approx(other, abs=1e-3)
