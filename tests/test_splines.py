"""Cubic splines axis after axis are scipy's own, to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ricenet.splines import along_axis, spline_matrix

VALUES = np.random.default_rng(5).normal(size=(6, 9, 4))


def test_at_its_own_places_a_spline_has_the_values_it_goes_through() -> None:
    np.testing.assert_allclose(spline_matrix(np.arange(7.0), 7), np.eye(7), atol=1e-12)


def test_between_values_of_a_straight_line_a_spline_goes_straight() -> None:
    line = 2.0 * np.arange(40.0) + 1.0
    found = along_axis(line, 0, np.array([18.25, 19.5, 20.75]))
    np.testing.assert_allclose(found, [37.5, 40.0, 42.5], rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_each_axis_values_are_those_of_scipy_also_beyond_the_ends(axis: int) -> None:
    positions = np.linspace(-0.45, VALUES.shape[axis] - 0.55, 23)
    coordinates = np.array(np.meshgrid(*(np.arange(float(n)) for n in VALUES.shape), indexing="ij"))
    coordinates = np.take(coordinates, np.zeros(23, int), axis=axis + 1)
    coordinates[axis] = positions.reshape([-1 if k == axis else 1 for k in range(3)])
    slow = ndimage.map_coordinates(VALUES, coordinates, order=3, mode="nearest")
    np.testing.assert_allclose(along_axis(VALUES, axis, positions), slow, atol=1e-10)
