"""Curves and strips as numbers that a template draws as SVG: positions in the units of a viewBox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ricenet.runtime.randomness import generator_for
from ricenet.screening.quality.measures import Limit, Measure, SubjectQuality

LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 10.0, 40.0
WIDTH, HEIGHT = 520.0, 240.0
STRIP_WIDTH, STRIP_HEIGHT, STRIP_SIDE = 300.0, 62.0, 10.0
STRIP_FLOOR = 40.0
STRIP_MIDDLE, STRIP_SPREAD = 21.0, 12.0
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
STRIP_FRAME = {"width": STRIP_WIDTH, "height": STRIP_HEIGHT, "side": STRIP_SIDE, "floor": STRIP_FLOOR}
"""What a template has to know of the positions."""


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
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
class Dot:
    """A subject on a strip."""

    subject: str
    x: float
    y: float
    text: str
    marked: bool


@dataclass(frozen=True)
class Strip:
    """A measure of all subjects on one axis. allowed: left and right end of what is not remarkable."""

    measure: Measure
    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    allowed: tuple[float, float] | None
    limit: str
    missing: int
    median: str


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
    across = _Axis(x_values[0], x_values[-1], LEFT, WIDTH - RIGHT)
    up = _Axis(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        x_title=x_title,
        y_title=y_title,
        lines=tuple(
            Line(name, style, " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in rows))
            for name, style, rows in curves
        ),
        x_ticks=tuple(Tick(across(x), f"{x:g}") for x in x_values),
        y_ticks=tuple(Tick(up(y), f"{y:g}") for y in y_values),
        rules=tuple(Tick(across(x), text) for text, x in rules.items() if x_values[0] <= x <= x_values[-1]),
    )


def strip(
    measure: Measure, subjects: Sequence[SubjectQuality], limit: Limit | None, marked: Sequence[str]
) -> Strip | None:
    """A strip of a measure over all subjects that have it; None where nobody has it.

    marked: subjects that this measure marks. Dots are moved up and down, so that they hide each other less.
    """
    values = {s.participant_id: value for s in subjects if (value := s.value(measure.name)) is not None}
    if not values:
        return None
    bounds = [b for b in (limit.low, limit.high) if b is not None] if limit else []
    shown = [v * (100 if measure.percent else 1) for v in (*values.values(), *_near(bounds, values))]
    ticks = ticks_between(min(shown), max(shown), 5)
    axis = _Axis(ticks[0], ticks[-1], STRIP_SIDE, STRIP_WIDTH - STRIP_SIDE)
    factor = 100 if measure.percent else 1
    dots = [
        Dot(
            subject,
            axis(factor * value),
            _height(subject, measure),
            measure.with_unit(value),
            subject in marked,
        )
        for subject, value in values.items()
    ]
    return Strip(
        measure=measure,
        # marked ones last, so that they lie on top
        dots=tuple(sorted(dots, key=lambda dot: (dot.marked, dot.subject))),
        ticks=tuple(Tick(axis(tick), f"{tick:g}") for tick in ticks),
        allowed=_allowed(limit, axis, factor),
        limit=limit.text(measure) if limit else "",
        missing=len(subjects) - len(values),
        median=measure.with_unit(median(list(values.values()))),
    )


@dataclass(frozen=True)
class _Axis:
    """Positions of values between two ends."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 2)


def _near(bounds: Sequence[float], values: Mapping[str, float]) -> list[float]:
    """Limits close enough to the values to be shown without pressing these together."""
    low, high = min(values.values()), max(values.values())
    reach = max(high - low, 0.1 * abs(high), 1e-9)
    return [bound for bound in bounds if low - reach <= bound <= high + reach]


def _allowed(limit: Limit | None, axis: _Axis, factor: float) -> tuple[float, float] | None:
    if limit is None:
        return None
    low = axis.low if limit.low is None else limit.low * factor
    high = axis.high if limit.high is None else limit.high * factor
    left, right = (axis(min(max(value, axis.low), axis.high)) for value in (low, high))
    return (left, right) if right > left else None


def _height(subject: str, measure: Measure) -> float:
    draw = generator_for("strip", subject, measure.name).uniform(-1.0, 1.0)
    return round(STRIP_MIDDLE + STRIP_SPREAD * draw, 2)
