"""Slices on a sheet: where a point of the patient appears, and what outlines enclose."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from ricenet.screening.quality.mosaic import (
    GAP_MM,
    Sheet,
    around,
    box_outline,
    draw,
    encode,
    lay_out,
    outlines,
    simplified,
    spread,
)
from ricenet.volume import Grid, Volume

LOW, HIGH = np.array([-20.0, -30.0, -10.0]), np.array([20.0, 30.0, 10.0])
SHEET = lay_out(LOW, HIGH, {"axial": [0.0, 4.0], "coronal": [0.0], "sagittal": [0.0]})
"""Rows of 2 x (40 wide, 60 high), 40 x 20 and 60 x 20; the widest is 84 mm."""


def voxels(*marked_mm: tuple[float, float, float]) -> Volume:
    """A volume of 1 mm around the box, 0 but for 100 at some world positions."""
    affine = np.eye(4)
    affine[:3, 3] = [-30.5, -40.5, -20.5]
    grid = Grid((62, 82, 42), affine)
    data = np.zeros(grid.shape, dtype=np.float32)
    for point in marked_mm:
        x, y, z = np.rint(np.array(point) - affine[:3, 3]).astype(int)
        data[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 100
    return Volume(data, grid)


def brightest(sheet: Sheet, volume: Volume, rows: slice, columns: slice) -> tuple[float, float]:
    """Centre of what is bright within a part of the sheet: from its left and from its top, in mm."""
    part = np.nan_to_num(draw(volume, sheet)[rows, columns]) > 50
    y, x = np.argwhere(part).mean(axis=0)
    return x + 0.5, y + 0.5


def points(path: str) -> np.ndarray:
    return np.array([[float(x), float(y)] for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)])


def test_rows_lie_below_each_other_and_in_the_middle() -> None:
    assert (SHEET.width, SHEET.height) == (40 * 2 + GAP_MM, 60 + 20 + 20 + 2 * GAP_MM)
    assert [(panel.left, panel.top) for panel in SHEET.panels] == [(0, 0), (44, 0), (22, 64), (12, 88)]
    assert [panel.label for panel in SHEET.panels] == ["z +0", "z +4", "y +0", "x +0"]


def test_a_slice_is_shown_radiologically() -> None:
    # the patient's right (+x) is on the page's left, the front (+y) is up
    x, y = brightest(SHEET, voxels((10.0, 20.0, 0.0)), slice(0, 60), slice(0, 40))
    assert (x, y) == pytest.approx((20 - 10, 30 - 20), abs=1)
    # coronal: the right on the left, the top (+z) up
    x, y = brightest(SHEET, voxels((-10.0, 0.0, 6.0)), slice(64, 84), slice(22, 62))
    assert (x, y) == pytest.approx((20 + 10, 10 - 6), abs=1)
    # sagittal: the front on the right
    x, y = brightest(SHEET, voxels((0.0, 20.0, -5.0)), slice(88, 108), slice(12, 72))
    assert (x, y) == pytest.approx((30 + 20, 10 + 5), abs=1)


def test_each_panel_shows_its_own_slice() -> None:
    canvas = draw(voxels((0.0, 0.0, 4.0)), SHEET)
    assert canvas[0:60, 0:40].max() < 1 and canvas[0:60, 44:84].max() > 99


def test_between_the_panels_there_is_nothing() -> None:
    canvas = draw(voxels(), SHEET)
    assert np.isnan(canvas[0:60, 40:44]).all() and np.isnan(canvas[60:64]).all()
    assert not np.isnan(canvas[0:60, 0:40]).any()


def test_a_picture_follows_the_transform() -> None:
    source_from_sheet = np.eye(4)
    source_from_sheet[1, 3] = 12.0
    volume = voxels((0.0, 20.0, 0.0))
    still, moved = draw(volume, SHEET), draw(volume, SHEET, source_from_sheet)
    np.testing.assert_allclose(moved[12:60, 0:40], still[0:48, 0:40])


def test_an_outline_lies_on_the_edge_of_what_it_encloses() -> None:
    # a box from x -4.5 to 5.5, y -9.5 to 10.5, in every slice
    volume = voxels()
    data = np.zeros(volume.grid.shape, dtype=bool)
    data[26:36, 31:51, :] = True
    (path,) = outlines(draw(Volume(data, volume.grid), SHEET), [0.5], SHEET)
    subpaths = path.split("M")[1:]
    assert len(subpaths) == 4 and all(part.endswith("Z") for part in subpaths)
    low, high = points(subpaths[0]).min(axis=0), points(subpaths[0]).max(axis=0)
    np.testing.assert_allclose(low, [20 - 5, 30 - 10], atol=0.51)
    np.testing.assert_allclose(high, [20 + 5, 30 + 10], atol=0.51)


def test_an_outline_that_leaves_the_slice_is_closed_along_its_border() -> None:
    everywhere = Volume(np.ones((62, 82, 42), dtype=bool), voxels().grid)
    first = outlines(draw(everywhere, SHEET), [0.5], SHEET)[0].split("M")[1]
    assert first.endswith("Z")
    corners = points(first)
    assert corners.min() >= -0.51 and tuple(corners.max(axis=0)) <= (40.51, 60.51)


def test_a_box_is_outlined_where_a_slice_meets_it() -> None:
    # from x -4 to 6, y -10 to 30, z 2 to 40: beyond the sheet to the front and above
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-3.0, -9.0, 3.0]
    parts = [points(part) for part in box_outline(Grid((5, 25, 19), affine), SHEET).split("M")[1:]]
    # the axial slice at 4, not that at 0; the coronal and the sagittal one
    expected = [
        [[44 + 14, 0], [44 + 24, 40]],
        [[22 + 14, 64], [22 + 24, 64 + 8]],
        [[12 + 20, 88], [12 + 60, 88 + 8]],
    ]
    for part, (low, high) in zip(parts, expected, strict=True):
        np.testing.assert_allclose((part.min(axis=0), part.max(axis=0)), (low, high))


def test_an_outline_of_fewer_points_is_what_splitting_one_part_after_the_other_gives() -> None:
    from skimage.measure import approximate_polygon

    rng = np.random.default_rng(3)
    steps = [rng.normal(size=(n, 2)).cumsum(axis=0) for n in (2, 3, 40, 400)]
    lines = [*steps, np.vstack([steps[2], steps[2][:1]]), np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])]
    for tolerance in (0.1, 1.5, 30.0):
        for line, kept in zip(lines, simplified(lines, tolerance), strict=True):
            np.testing.assert_array_equal(kept, approximate_polygon(line, tolerance))
    assert len(simplified(lines, 0.1)[-1]) == 2 and simplified([], 1.0) == []


def test_a_level_that_is_never_reached_has_no_outline() -> None:
    reached, unreached = outlines(draw(voxels((0.0, 0.0, 0.0)), SHEET), [50.0, 101.0], SHEET)
    assert reached and unreached == ""


def test_a_picture_is_black_below_its_window_and_white_above() -> None:
    from matplotlib.image import imread

    values = np.full((32, 96), np.nan, dtype=np.float32)
    values[:, 32:64], values[:, 64:] = 150.0, 900.0
    picture = imread(io.BytesIO(encode(values, 100.0, 200.0)), format="webp")
    assert picture.shape == (32, 96, 3)
    assert [int(picture[16, x, 0]) for x in (10, 48, 86)] == pytest.approx([0, 127, 255], abs=3)


def test_the_same_values_give_the_same_bytes() -> None:
    values = np.random.default_rng(1).normal(size=(40, 40)).astype(np.float32)
    assert encode(values, -2.0, 2.0) == encode(values.copy(), -2.0, 2.0)


@pytest.mark.parametrize(
    ("centre", "expected"),
    [
        (50.0, [26.0, 38.0, 50.0, 62.0, 74.0]),
        (15.0, [3.0, 15.0, 27.0, 39.0, 51.0]),
        (99.0, [51.0, 63.0, 75.0, 87.0, 99.0]),
        (-5.0, [-5.0, 7.0, 19.0, 31.0, 43.0]),
    ],
)
def test_slices_around_a_point_stay_in_the_brain_where_they_can(centre: float, expected: list[float]) -> None:
    assert around(centre, 0.0, 100.0, 12.0, 5) == expected


def test_slices_through_all_are_evenly_spread() -> None:
    assert spread(-50.0, 50.0, 5, 0.1) == [-40.0, -20.0, 0.0, 20.0, 40.0]
