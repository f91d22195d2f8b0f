"""Roughly laying one head over another, from wherever their headers put them.

ANTs finds the way from some 20 degrees and as many millimetres. Scans come turned upside down, or by 90 or
180 degrees, through a wrong header; so the start is searched for, on copies so coarse that an estimate
takes a millisecond.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import averaged, head_mask
from ricenet.preprocessing.registration.image_comparison import SimilarityAtPoints
from ricenet.volume import Affine, Volume

SPACING_MM = 8.0
RIM_MM = 12.0
"""Air around the head that is compared as well, so that its outline counts."""

CLEAR_SIMILARITY = 1.15
"""Of heads laid over each other, on these copies: 1.16 to 1.25, and by half a turn 1.04 to 1.08; below it
all turns are tried. A plain head reached 1.18 by half a turn, so these are tried always."""

HALF_TURNS = (np.diag([1.0, -1.0, -1.0]), np.diag([-1.0, 1.0, -1.0]), np.diag([-1.0, -1.0, 1.0]))

STEP_DEG = 30.0
THINNED = 3
"""One in so many points shows which starts are worth refining."""

REFINED = 6
"""Starts that are refined, out of all that are tried."""

SIMPLEX_DEG, SIMPLEX_MM = 8.0, 8.0
"""First step of a refinement."""


@dataclass(frozen=True)
class Alignment:
    """`moving_from_fixed`: rigid, world (RAS, mm). `similarity`: at the fixed head, on coarse copies.

    centre_mm: (3,) of the fixed head. searched: whether turned starts had to be tried.
    """

    moving_from_fixed: Affine
    similarity: float
    centre_mm: NDArray[np.float64]
    searched: bool


def align(fixed: Volume, moving: Volume) -> Alignment:
    """The rough rigid transform from the fixed to the moving head, any turn between them.

    First from where the headers put the heads and from their centres. Where that does not get clear, or
    half a turn about an axis gets further (an outline nearly repeats itself there), from turns over all
    rotations, STEP_DEG apart. Deterministic. fixed, moving: on any grids.
    """
    fixed_copy, moving_copy = averaged(fixed, SPACING_MM), averaged(moving, SPACING_MM)
    similarity = SimilarityAtPoints.of(fixed_copy, head_mask(fixed_copy, RIM_MM), moving_copy)
    centre, target = _centre_mm(fixed_copy), _centre_mm(moving_copy)
    upright = [np.eye(4), _turned(np.eye(3), centre, target)]
    found, value = _best(_refined(start, centre, similarity) for start in upright)
    thinned = similarity.thinned(THINNED)
    halves = [found @ _turned(turn, centre, centre) for turn in HALF_TURNS]
    rivals = [_refined(start, centre, thinned)[0] for start in halves]
    searched = value < CLEAR_SIMILARITY or max(map(similarity, rivals)) > value
    if searched:
        starts = [_turned(turn, centre, target) for turn in _turns()]
        starts.sort(key=thinned, reverse=True)
        others = [_refined(start, centre, similarity) for start in [*rivals, *starts[:REFINED]]]
        found, value = _best([(found, value), *others])
    return Alignment(found, value, centre, searched)


def _best(candidates: Iterable[tuple[Affine, float]]) -> tuple[Affine, float]:
    return max(candidates, key=lambda candidate: candidate[1])


def _refined(
    start: Affine, centre: NDArray[np.float64], similarity: Callable[[Affine], float]
) -> tuple[Affine, float]:
    """The nearest better transform and its similarity, by the simplex method of Nelder and Mead."""
    from scipy.optimize import minimize

    steps = np.vstack([np.zeros(6), np.diag([SIMPLEX_DEG] * 3 + [SIMPLEX_MM] * 3)])
    result = minimize(
        lambda six: -similarity(start @ _small(six, centre)),
        np.zeros(6),
        method="Nelder-Mead",
        options={"initial_simplex": steps, "maxfev": 250, "xatol": 0.1, "fatol": 1e-5},
    )
    return start @ _small(result.x, centre), -float(result.fun)


def _small(six: NDArray[np.float64], centre: NDArray[np.float64]) -> Affine:
    """A turn about the centre by a rotation vector in degrees, then a shift in mm."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(six[:3], degrees=True).as_matrix()
    return _turned(turn, centre, centre + six[3:])


def _turned(turn: NDArray[np.float64], centre: NDArray[np.float64], target: NDArray[np.float64]) -> Affine:
    """Takes one centre to the other."""
    transform = np.eye(4)
    transform[:3, :3] = turn
    transform[:3, 3] = target - turn @ centre
    return transform


def _turns() -> list[NDArray[np.float64]]:
    """Rotations in all directions: the cube's 24, each with its neighbours STEP_DEG away about each axis."""
    from scipy.spatial.transform import Rotation

    cube = Rotation.create_group("O").as_matrix()
    steps = itertools.product((-STEP_DEG, 0.0, STEP_DEG), repeat=3)
    near = Rotation.from_rotvec(np.array(list(steps)), degrees=True).as_matrix()
    return [turn @ step for turn in cube for step in near]


def _centre_mm(copy: Volume) -> NDArray[np.float64]:
    """The middle of the head, world."""
    inside = np.argwhere(head_mask(copy)).astype(np.float64)
    return np.asarray(copy.grid.world_mm(inside.mean(axis=0)), dtype=np.float64)
