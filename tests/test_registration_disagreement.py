"""What differs between two heads is left out of their registration."""

from __future__ import annotations

import numpy as np
import pytest
from moved_heads import displaced, errors_mm, head, placed
from numpy.typing import NDArray
from scipy import ndimage

from ricenet.preprocessing.registration import ants as registration
from ricenet.preprocessing.registration.ants import register_rigid
from ricenet.preprocessing.registration.coarse import averaged, head_mask
from ricenet.preprocessing.registration.disagreement import MOST_OF_HEAD, disagreement
from ricenet.volume import Volume

TRUE = displaced((8, -5, 6), (10, -8, 5))
RADIUS_MM = 19.3
"""Of 30 ml."""

CAVITY_MM, LESION_MM = np.array([25.0, 20.0, 20.0]), np.array([15.0, -15.0, 5.0])


def offsets(volume: Volume, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    points = volume.grid.world_mm(np.moveaxis(np.indices(volume.grid.shape), 0, -1).astype(np.float64))
    return np.asarray(points - point_mm)


def after_surgery() -> Volume:
    """The head with a dark cavity of 30 ml."""
    cavity = np.linalg.norm(offsets(head(), CAVITY_MM), axis=-1) < RADIUS_MM
    return Volume(np.where(cavity, 150, head().data).astype(np.float32), head().grid)


def at_event(swollen_mm: float = 0.0) -> Volume:
    """The head with a bright lesion of 30 ml that pushes the tissue around it aside, and a swollen scalp."""
    grid, offset = head().grid, offsets(head(), LESION_MM)
    distance = np.linalg.norm(offset, axis=-1)
    fading = np.exp(-(np.maximum(distance - RADIUS_MM, 0) ** 2) / 2 / 20**2)
    inside = ndimage.distance_transform_edt(head_mask(head()), sampling=grid.spacing_mm)
    held = np.clip((inside - 10) / 12, 0, 1)  # the skull stays
    push = 8 * np.minimum(distance / RADIUS_MM, 1) * fading * held / np.maximum(distance, 1e-3)
    field = push[..., None] * offset
    if swollen_mm:
        out = np.array([0.8, 0.0, 0.6])
        there = np.exp(-(offsets(head(), 85 * out) ** 2).sum(axis=-1) / 2 / 40**2)
        field += (swollen_mm * there * np.clip((16 - inside) / 8, 0, 1))[..., None] * out
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1) - field / grid.spacing_mm[0]
    pushed = ndimage.map_coordinates(np.asarray(head().data, np.float32), np.moveaxis(voxels, -1, 0), order=1)
    return Volume(np.where(distance < RADIUS_MM, 1200, pushed).astype(np.float32), grid)


def found_with_and_without(
    fixed: Volume, moving: Volume, monkeypatch: pytest.MonkeyPatch
) -> tuple[float, float]:
    """Mean errors with what differs left out, and with the head's mask alone."""
    left_out = register_rigid(fixed, moving, "mattes", 3).moving_from_fixed
    monkeypatch.setattr(registration, "disagreement", lambda f, *_: np.zeros(f.grid.shape, dtype=np.bool_))
    alone = register_rigid(fixed, moving, "mattes", 3).moving_from_fixed
    return float(errors_mm(left_out, TRUE).mean()), float(errors_mm(alone, TRUE).mean())


def test_cavity_lesion_and_what_it_pushes_do_not_pull_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = placed(at_event(), TRUE, tilt_deg=(5, 7, -4))
    left_out, alone = found_with_and_without(after_surgery(), moving, monkeypatch)
    assert left_out < 0.15
    assert left_out < alone + 0.02


def test_a_swollen_scalp_pulls_less_when_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = placed(at_event(swollen_mm=10.0), TRUE, tilt_deg=(5, 7, -4))
    left_out, alone = found_with_and_without(after_surgery(), moving, monkeypatch)
    assert left_out < 0.9 * alone


def marked(fixed: Volume, moving: Volume) -> tuple[NDArray[np.bool_], Volume, NDArray[np.bool_]]:
    fixed, moving = averaged(fixed, 4.0), averaged(moving, 4.0)
    inside = head_mask(fixed)
    return disagreement(fixed, moving, TRUE, inside), fixed, inside


def test_cavity_and_lesion_are_marked_and_far_from_them_hardly_anything() -> None:
    differs, fixed, inside = marked(after_surgery(), placed(at_event(), TRUE))
    for centre in (CAVITY_MM, LESION_MM):
        core = np.linalg.norm(offsets(fixed, centre), axis=-1) < 0.6 * RADIUS_MM
        assert differs[core].mean() > 0.9
    far = inside.copy()
    for centre in (CAVITY_MM, LESION_MM):
        far &= np.linalg.norm(offsets(fixed, centre), axis=-1) > 3 * RADIUS_MM
    assert far.sum() > 2000
    assert differs[far].mean() < 0.1


def test_never_more_than_a_fifth_of_the_head_is_marked() -> None:
    fixed, moving = head(), placed(head(), TRUE)
    lower = moving.grid.shape[2] * 2 // 5
    spots = np.random.default_rng(3).uniform(0, 4, (*moving.grid.shape[:2], lower))
    changed = moving.data.copy()
    changed[:, :, :lower] *= ndimage.gaussian_filter(spots, 1.0).astype(np.float32)
    differs, _, inside = marked(fixed, Volume(changed, moving.grid))
    assert 0.19 < differs.sum() / inside.sum() <= MOST_OF_HEAD


def test_nothing_is_marked_where_the_moving_image_shows_nothing() -> None:
    fixed, moving = averaged(head(), 4.0), averaged(placed(head(), TRUE), 4.0)
    inside = head_mask(fixed)
    away = displaced((0, 0, 0), (1000, 0, 0))
    assert not disagreement(fixed, moving, away, inside).any()
    assert not (disagreement(fixed, moving, TRUE, inside) & ~inside).any()


def test_another_contrast_is_no_disagreement() -> None:
    inverted = Volume(np.where(head().data > 40, 900 - head().data, 0).astype(np.float32), head().grid)
    differs, _, inside = marked(head(), placed(inverted, TRUE))
    assert differs.sum() < 0.15 * inside.sum()
