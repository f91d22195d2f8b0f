"""A registration that failed is told from one that did not, as far as that can be."""

from __future__ import annotations

import re

import numpy as np
import pytest
from moved_heads import displaced, errors_mm, head, placed, with_header_turned
from numpy.typing import NDArray
from scipy import ndimage

from ricenet.preprocessing.registration.ants import RigidResult, failure_of, register_rigid
from ricenet.preprocessing.registration.coarse import head_mask
from ricenet.volume import Grid, Volume

TRUE = displaced((8, -5, 6), (10, -8, 5))
GRID = head().grid


def noise(sd: float = 15.0) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(0, sd, GRID.shape)


def radius_mm() -> NDArray[np.float64]:
    points = GRID.world_mm(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(np.float64))
    return np.asarray(np.linalg.norm(points, axis=-1))


def texture() -> NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(noise(1.0), 2.0)
    return np.asarray(500 + 120 * smooth / smooth.std())


def failed_scan(what: str) -> Volume:
    """Something that no transform lays over the head."""
    outline = head_mask(head())
    inside = np.abs(np.indices(GRID.shape) - (np.array(GRID.shape)[:, None, None, None] - 1) / 2).max(axis=0)
    data = {
        "noise": 300 + noise(100.0),
        "a textured ball": np.where(radius_mm() < 80, texture(), 0.0) + noise(),
        "a textured box": np.where(inside < 24, texture(), 0.0) + noise(),
        "a head without content": np.where(outline, 500.0, 0.0) + noise(),
        "noise in a head's outline": np.where(outline, 500 + noise(120.0), 0.0) + noise(),
    }[what]
    return Volume(np.abs(data).astype(np.float32), GRID)


@pytest.mark.parametrize(
    "what",
    ["noise", "a textured ball", "a textured box", "a head without content", "noise in a head's outline"],
)
def test_what_is_no_head_is_told(what: str) -> None:
    result = register_rigid(head(), failed_scan(what), "mattes", 3)
    assert failure_of(result) is not None


def test_half_a_head_is_told_by_the_outline() -> None:
    whole = placed(head(), TRUE)
    half = whole.data.copy()
    half[: half.shape[0] // 2] = 0
    result = register_rigid(head(), Volume(half, whole.grid), "mattes", 3)
    failure = failure_of(result)
    assert failure is not None and "overlap (Dice) is 0.6" in failure


def test_a_scan_that_shows_a_third_of_the_head_is_told() -> None:
    whole = placed(head(), TRUE)
    z = whole.grid.shape[2]
    start = np.eye(4)
    start[2, 3] = z - z // 4
    grid = Grid((*whole.grid.shape[:2], z // 4), whole.grid.affine @ start)
    result = register_rigid(head(), Volume(whole.data[:, :, z - z // 4 :], grid), "mattes", 3)
    assert failure_of(result) is not None


def test_a_head_in_much_noise_is_no_failure() -> None:
    clean = placed(head(), TRUE)
    sd = 0.1 * float(np.percentile(clean.data, 99))
    draw = np.random.default_rng(4).normal(0, sd, (2, *clean.grid.shape))
    noisy = Volume(np.hypot(clean.data + draw[0], draw[1]).astype(np.float32), clean.grid)
    result = register_rigid(head(), noisy, "mattes", 3)
    assert failure_of(result) is None
    assert errors_mm(result.moving_from_fixed, TRUE).max() < 0.5


def test_a_mirrored_head_is_never_mirrored_back() -> None:
    # nor told: its similarity lies between that of other objects and of its own
    mirrored = with_header_turned(placed(head(), TRUE), np.diag([-1.0, 1.0, 1.0]))
    found = register_rigid(head(), mirrored, "mattes", 3)
    assert np.linalg.det(found.moving_from_fixed[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("after", "before", "overlap", "told"),
    [
        (1.04, 1.0, 0.98, "1.040, 1.000 before it, expected at least 1.05"),
        (1.20, 1.23, 0.98, "1.200, 1.230 before it"),
        (1.20, 1.0, 0.68, r"overlap \(Dice\) is 0.68, expected at least 0.7$"),
        (1.22, 1.23, 0.98, None),
        (1.06, 1.0, 0.72, None),
    ],
)
def test_a_failure_says_what_was_found_and_expected(
    after: float, before: float, overlap: float, told: str | None
) -> None:
    failure = failure_of(RigidResult(np.eye(4), after, before, overlap=overlap))
    if told is None:
        assert failure is None
    else:
        assert failure is not None and re.search(told, failure)
