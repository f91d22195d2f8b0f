"""Curves as numbers that a template draws as SVG (charts.html): positions in the units of a viewBox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 18.0, 40.0
WIDTH, HEIGHT = 520.0, 250.0
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
"""What a template has to know of the positions."""


class Tick(NamedTuple):
    """A place on an axis and what is written there."""

    at: float
    text: str


class Line(NamedTuple):
    """A curve: its name, its colour's class in the style sheet, and the points of a polyline."""

    name: str
    style: str
    points: str


@dataclass(frozen=True)
class Chart:
    """Curves over common axes. rules: vertical lines at values of x, with their text."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rules: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Axis:
    """Positions of values between two ends."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, values: Sequence[float]) -> tuple[Tick, ...]:
        """Places of values, with their numbers."""
        return tuple(Tick(self(value), f"{value:g}") for value in values)


def ticks_between(low: float, high: float, count: int) -> list[float]:
    """Round numbers that span an interval, about as many as asked for.

    >>> ticks_between(0.3, 9.7, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def chart(
    title: str,
    x_title: str,
    y_title: str,
    curves: Sequence[tuple[str, str, Sequence[Sequence[float]]]],
    rules: Mapping[str, float],
) -> Chart:
    """A chart of curves (name, style, rows of x and y), its y axis from 0."""
    points = [point for _, _, rows in curves for point in rows]
    x_values = ticks_between(min(x for x, _ in points), max(x for x, _ in points), 8)
    y_values = ticks_between(0.0, max([y for _, y in points] + [1e-9]), 4)
    across = Axis(x_values[0], x_values[-1], LEFT, WIDTH - RIGHT)
    up = Axis(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        x_title=x_title,
        y_title=y_title,
        lines=tuple(
            Line(name, style, " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in rows))
            for name, style, rows in curves
        ),
        x_ticks=across.ticks(x_values),
        y_ticks=up.ticks(y_values),
        rules=tuple(Tick(across(x), text) for text, x in rules.items() if x_values[0] <= x <= x_values[-1]),
    )
