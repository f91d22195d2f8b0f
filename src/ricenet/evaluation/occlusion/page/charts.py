"""Votes and dose-volume histogram as numbers that the template draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.case import Case

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480.0, 256.0, 54.0, 14.0, 18.0, 44.0
ROW = 26.0
"""Height of a row of the votes."""
POINTS = 161


@dataclass(frozen=True)
class Mark:
    """A place along an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A structure's histogram: its style class, what its legend says, and the points of a polyline."""

    style: str
    text: str
    points: str


@dataclass(frozen=True)
class DoseVolume:
    """A cumulative dose-volume histogram, in the units of its drawing."""

    curves: tuple[Curve, ...]
    doses: tuple[Mark, ...]
    volumes: tuple[Mark, ...]
    isodoses: tuple[Mark, ...]


@dataclass(frozen=True)
class Vote:
    """A fold's probability on its row."""

    fold: int
    held_out: bool
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Votes:
    """All folds below each other, then the mean of the held-out ones with its interval."""

    votes: tuple[Vote, ...]
    mean: Vote
    interval: tuple[float, float] | None
    middle: float
    ticks: tuple[Mark, ...]
    height: float


def dose_volume(anatomy: Anatomy, isodoses_gy: Sequence[float]) -> DoseVolume:
    """Share of the brain, and of each known mask, that gets a dose or more."""
    structures = {"brain": anatomy.brain.astype(np.float32), **anatomy.known_masks}
    highest = max(float(anatomy.dose_gy.max()), 1.0)
    spacing = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, np.inf) if highest / s <= 8)
    end = float(np.ceil(highest / spacing) * spacing)
    levels = np.linspace(0.0, end, POINTS)
    curves = []
    for position, (name, weights) in enumerate(structures.items()):
        volume_ml = float(weights.sum()) * anatomy.grid.voxel_ml
        if volume_ml > 0:
            shares = _share_at_or_above(anatomy.dose_gy, weights, levels)
            points = " ".join(
                f"{_x(d / end):.1f},{_y(s):.1f}" for d, s in zip(levels.tolist(), shares, strict=True)
            )
            curves.append(Curve(f"structure-{position}", f"{name}, {volume_ml:.0f} ml", points))
    return DoseVolume(
        curves=tuple(curves),
        doses=tuple(Mark(_x(d / end), f"{d:g}") for d in np.arange(0.0, end + spacing / 2, spacing).tolist()),
        volumes=tuple(Mark(_y(share), f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        isodoses=tuple(Mark(_x(gy / end), f"{gy:g}") for gy in isodoses_gy if gy < end),
    )


def _share_at_or_above(
    dose_gy: NDArray[np.float32], weights: NDArray[np.float32], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    inside = weights > 0
    order = np.argsort(dose_gy[inside])
    doses, shares = dose_gy[inside][order], weights[inside][order].astype(np.float64)
    from_here_on = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
    result: NDArray[np.float64] = from_here_on[np.searchsorted(doses, levels, side="left")] / shares.sum()
    return result


def votes(case: Case) -> Votes:
    """The folds' probabilities on one axis from 0 (recurrence) to 1 (rice)."""
    rows = tuple(
        Vote(vote.fold, vote.held_out, _x(vote.p_rice), TOP + ROW * (row + 0.5), f"{vote.p_rice:.3f}")
        for row, vote in enumerate(case.votes)
    )
    y = TOP + ROW * (len(rows) + 0.7)
    return Votes(
        votes=rows,
        mean=Vote(-1, True, _x(case.p_rice), y, f"{case.p_rice:.3f}"),
        interval=(_x(case.interval[0]), _x(case.interval[1])) if case.interval else None,
        middle=_x(0.5),
        ticks=tuple(Mark(_x(share), f"{share:g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        height=y + ROW / 2 + BOTTOM,
    )


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)
