"""Coarse copies of heads, how much two of them say of each other, and where they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from moved_heads import (
    CAVITY_MM,
    LESION_MM,
    RADIUS_MM,
    after_surgery,
    at_event,
    displaced,
    head,
    offsets,
    placed,
)
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.preprocessing.registration.image_comparison import (
    MOST_OF_HEAD,
    SimilarityAtPoints,
    averaged,
    disagreement,
    head_mask,
    head_overlap,
    shared_information,
)
from ricenet.volume import Grid, Volume, dice, resample

STILL = displaced((0, 0, 0), (0, 0, 0))
MOVED = displaced((8, -5, 6), (10, -8, 5))


# coarse copies


def counting(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Volume:
    """Voxels numbered through, on a tilted grid."""
    affine = np.eye(4)
    tilt = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix()
    affine[:3, :3] = tilt * np.array(spacing_mm)
    affine[:3, 3] = [5.0, -7.0, 11.0]
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), Grid(shape, affine))


@pytest.mark.parametrize("spacing_mm", [1.0, 0.5])
@pytest.mark.parametrize("order", ["F", "C"])
def test_blocks_add_up_as_numpys_own_means_do_to_the_last_bit(
    spacing_mm: float, order: Literal["F", "C"]
) -> None:
    # 5 voxels a block, and 10, which NumPy adds up in another order
    values = np.random.default_rng(1).normal(900, 300, size=(41, 33, 20)).astype(np.float32, order=order)
    copy = averaged(Volume(values, Grid((41, 33, 20), np.diag([spacing_mm, spacing_mm, 5.0, 1.0]))), 5.0)
    size = round(5 / spacing_mm)
    expected = values[(41 % size) // 2 :][: 41 // size * size, (33 % size) // 2 :][:, : 33 // size * size]
    for axis in (0, 1):
        split = (*expected.shape[:axis], -1, size, *expected.shape[axis + 1 :])
        expected = expected.reshape(split).mean(axis=axis + 1, dtype=np.float32)
    assert np.array_equal(copy.data, expected)


def test_a_voxel_of_the_copy_is_the_mean_of_its_block_and_lies_in_its_middle() -> None:
    volume = counting((4, 6, 2), (1.0, 1.0, 2.0))
    copy = averaged(volume, 2.0)
    assert copy.grid.shape == (2, 3, 2)
    assert copy.data[0, 0, 0] == volume.data[:2, :2, 0].mean()
    assert copy.data[1, 2, 1] == volume.data[2:, 4:, 1].mean()
    middle = volume.grid.world_mm(np.array([2.5, 4.5, 1.0]))
    np.testing.assert_allclose(copy.grid.world_mm(np.array([1.0, 2.0, 1.0])), middle, atol=1e-12)
    np.testing.assert_allclose(copy.grid.spacing_mm, (2.0, 2.0, 2.0))


def test_voxels_that_fill_no_block_are_dropped_on_both_sides_but_an_only_slice_stays() -> None:
    volume = counting((7, 4, 4), (1.0, 1.0, 1.0))
    copy = averaged(volume, 4.0)
    assert copy.grid.shape == (1, 1, 1)
    assert copy.data[0, 0, 0] == volume.data[1:5].mean()
    assert averaged(counting((8, 8, 1), (1.0, 1.0, 1.0)), 4.0).grid.shape == (2, 2, 1)


@pytest.mark.parametrize("spacing_mm", [0.4, 0.78, 0.9, 1.0, 1.3, 1.34, 1.6, 2.0, 2.9, 6.5])
def test_a_copy_is_a_copy_of_itself(spacing_mm: float) -> None:
    copy = averaged(counting((9, 8, 7), (spacing_mm, 1.0, 2.5)), 2.0)
    again = averaged(copy, 2.0)
    np.testing.assert_array_equal(again.data, copy.data)
    np.testing.assert_array_equal(again.grid.affine, copy.grid.affine)


def test_the_head_is_found_in_noise_and_its_dark_bone_filled() -> None:
    scan = averaged(placed(head(), STILL), 6.0)
    true = resample(Volume(ndimage.binary_fill_holes(head().data > 50), head().grid), scan.grid).data > 0.5
    found = head_mask(scan)
    assert dice(found, true) > 0.95
    assert found.sum() * scan.grid.voxel_ml == pytest.approx(true.sum() * scan.grid.voxel_ml, rel=0.1)


def test_a_margin_is_millimetres_on_every_axis() -> None:
    data = np.zeros((21, 21, 9), dtype=np.float32)
    data[10, 10, 4] = 1.0
    grown = head_mask(Volume(data, Grid((21, 21, 9), np.diag([1.0, 2.0, 6.0, 1.0]))), 6.0)
    for axis, reach in enumerate((6, 3, 1)):
        extent = np.flatnonzero(np.moveaxis(grown, axis, 0).any(axis=(1, 2)))
        assert extent[-1] - extent[0] == 2 * reach


def test_an_image_of_nothing_is_a_head_everywhere() -> None:
    grid = Grid((3, 3, 3), np.eye(4))
    assert head_mask(Volume(np.full((3, 3, 3), 7.0, np.float32), grid)).all()


# similarity


def test_values_that_determine_each_other_share_everything_and_independent_ones_nothing() -> None:
    first = np.repeat([0.0, 1.0], 8)
    assert shared_information(first, 5 - 3 * first) == pytest.approx(2.0)
    assert shared_information(first, np.tile([0.0, 1.0], 8)) == pytest.approx(1.0)
    assert shared_information(np.zeros(9), np.ones(9)) == 1.0
    # four values of 2 bits, two of 1 bit that follow from them: (2 + 1) / 2
    assert shared_information(np.array([0.0, 1, 2, 3]), np.array([0.0, 0, 1, 1])) == pytest.approx(1.5)


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    return averaged(placed(head(), STILL, seed=1), 6.0), averaged(placed(head(), STILL, seed=2), 6.0)


@pytest.fixture(scope="module")
def similarity(pair: tuple[Volume, Volume]) -> SimilarityAtPoints:
    fixed, moving = pair
    return SimilarityAtPoints.of(fixed, head_mask(fixed), moving)


def test_at_points_it_is_that_of_the_resampled_image_in_as_many_bins(
    pair: tuple[Volume, Volume], similarity: SimilarityAtPoints
) -> None:
    """The slow twin: resample, cut outliers, histogram."""
    fixed, moving = pair
    transform = displaced((4, -3, 2), (3, -5, 2))
    where = head_mask(fixed)
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
    assert similarity(transform) == pytest.approx(expected, abs=2e-3)


def test_it_falls_with_every_further_displacement(similarity: SimilarityAtPoints) -> None:
    values = [similarity(displaced((0, 0, 0), (mm, 0, 0))) for mm in (0.0, 4.0, 10.0, 20.0, 60.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1] + 0.05 and values[-1] > 1.0
    # too little is shown
    assert similarity(displaced((0, 0, 0), (250, 0, 0))) == 1.0


def test_a_thinned_measure_takes_every_third_point(similarity: SimilarityAtPoints) -> None:
    thinned = similarity.thinned(3)
    np.testing.assert_array_equal(thinned.points_mm, similarity.points_mm[::3])
    by_hand = replace(similarity, points_mm=similarity.points_mm[::3], fixed_bins=similarity.fixed_bins[::3])
    assert thinned(np.eye(4)) == by_hand(np.eye(4))


def test_another_brightness_of_either_image_changes_nothing(
    pair: tuple[Volume, Volume], similarity: SimilarityAtPoints
) -> None:
    fixed, moving = pair
    brighter = Volume((3 * moving.data + 40).astype(np.float32), moving.grid)
    other = SimilarityAtPoints.of(fixed, head_mask(fixed), brighter)
    assert similarity(np.eye(4)) == pytest.approx(other(np.eye(4)), abs=1e-3)


def test_heads_overlap_over_what_both_show() -> None:
    moving = placed(head(), MOVED)
    assert head_overlap(head(), moving, MOVED) > 0.95
    lower = moving.grid.shape[2] // 2
    cut = Volume(moving.data[:, :, :lower], Grid((*moving.grid.shape[:2], lower), moving.grid.affine))
    assert head_overlap(head(), cut, MOVED) > 0.9
    assert head_overlap(head(), moving, displaced((0, 0, 0), (1000, 0, 0))) == 0.0


# disagreement


def marked(fixed: Volume, moving: Volume) -> tuple[NDArray[np.bool_], Volume, NDArray[np.bool_]]:
    fixed, moving = averaged(fixed, 4.0), averaged(moving, 4.0)
    inside = head_mask(fixed)
    return disagreement(fixed, moving, MOVED, inside), fixed, inside


def test_cavity_and_lesion_are_marked_and_far_from_them_hardly_anything() -> None:
    differs, fixed, inside = marked(after_surgery(), placed(at_event(), MOVED))
    far = inside.copy()
    for centre in (CAVITY_MM, LESION_MM):
        distance = np.linalg.norm(offsets(fixed, centre), axis=-1)
        assert differs[distance < 0.6 * RADIUS_MM].mean() > 0.9
        far &= distance > 3 * RADIUS_MM
    assert far.sum() > 2000
    assert differs[far].mean() < 0.1


def test_never_more_than_a_fifth_of_the_head_is_marked() -> None:
    fixed, moving = head(), placed(head(), MOVED)
    lower = moving.grid.shape[2] * 2 // 5
    spots = np.random.default_rng(3).uniform(0, 4, (*moving.grid.shape[:2], lower))
    changed = moving.data.copy()
    changed[:, :, :lower] *= ndimage.gaussian_filter(spots, 1.0).astype(np.float32)
    differs, _, inside = marked(fixed, Volume(changed, moving.grid))
    assert 0.19 < differs.sum() / inside.sum() <= MOST_OF_HEAD
    assert not (differs & ~inside).any()


def test_nothing_is_marked_where_the_moving_image_shows_nothing() -> None:
    fixed, moving = averaged(head(), 4.0), averaged(placed(head(), MOVED), 4.0)
    away = displaced((0, 0, 0), (1000, 0, 0))
    assert not disagreement(fixed, moving, away, head_mask(fixed)).any()


def test_another_contrast_is_no_disagreement() -> None:
    inverted = Volume(np.where(head().data > 40, 900 - head().data, 0).astype(np.float32), head().grid)
    differs, _, inside = marked(head(), placed(inverted, MOVED))
    assert differs.sum() < 0.15 * inside.sum()
