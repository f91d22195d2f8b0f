"""The rough start of a registration, from wherever the headers put the heads."""

from __future__ import annotations

import numpy as np
import pytest
from moved_heads import displaced, errors_mm, head, placed, with_header_turned
from scipy.spatial.transform import Rotation

from ricenet.preprocessing.registration import alignment
from ricenet.preprocessing.registration.alignment import align

ROUGH_MM = 5.0
"""ANTs finds the way from further off."""


@pytest.mark.parametrize("size", [0.2, 1.0])
def test_tilted_and_shifted_heads_need_no_search(size: float) -> None:
    true = displaced((25 * size, 10 * size, -15 * size), (25 * size, -25 * size, 20 * size))
    start = align(head(), placed(head(), true, tilt_deg=(5, -8, 3)))
    assert not start.searched
    assert errors_mm(start.moving_from_fixed, true).max() < ROUGH_MM


def test_heads_whose_headers_put_them_a_metre_apart_meet_by_their_centres() -> None:
    true = displaced((5, 0, 5), (700, -600, 400))
    start = align(head(), placed(head(), true))
    assert not start.searched
    assert errors_mm(start.moving_from_fixed, true).max() < ROUGH_MM


@pytest.mark.parametrize(("axis", "degrees"), [("x", 180), ("y", 180), ("x", 90), ("z", -90)])
def test_a_header_that_turns_the_head_is_found_out(axis: str, degrees: float) -> None:
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    true = np.eye(4)
    true[:3, :3] = turn
    little = displaced((6, -4, 5), (8, 5, -8))
    start = align(head(), with_header_turned(placed(head(), little), turn))
    assert start.searched
    assert errors_mm(start.moving_from_fixed, true @ little).max() < ROUGH_MM


def test_an_arbitrary_turn_is_found() -> None:
    true = displaced((120, 40, -75), (0, 0, 0))
    start = align(head(), placed(head(), true))
    assert start.searched
    assert errors_mm(start.moving_from_fixed, true).max() < ROUGH_MM


def test_nothing_is_ever_mirrored() -> None:
    mirrored = with_header_turned(placed(head(), np.eye(4)), np.diag([-1.0, 1.0, 1.0]))
    found = align(head(), mirrored).moving_from_fixed[:3, :3]
    assert np.linalg.det(found) == pytest.approx(1.0)
    assert all(np.linalg.det(turn) == pytest.approx(1.0) for turn in alignment._turns())


def test_the_turns_leave_no_rotation_further_than_half_a_step_and_some() -> None:
    turns = np.array(alignment._turns())
    anywhere = Rotation.random(300, random_state=1).as_matrix()
    traces = np.einsum("nij,mij->nm", anywhere, turns).max(axis=1)
    assert np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1))).max() < 32


def test_the_start_is_the_same_to_the_last_bit() -> None:
    moving = placed(head(), displaced((5, -8, 6), (10, 10, -5)))
    first, second = align(head(), moving), align(head(), moving)
    np.testing.assert_array_equal(first.moving_from_fixed, second.moving_from_fixed)
    assert first.similarity == second.similarity
