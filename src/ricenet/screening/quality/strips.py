"""A measure of all subjects on one axis, as numbers that a template draws as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ricenet.display.charts import Axis, Tick, ticks_between
from ricenet.runtime.randomness import generator_for
from ricenet.screening.quality.measures import Limit, Measure, SubjectQuality

STRIP_WIDTH, STRIP_HEIGHT, STRIP_SIDE = 300.0, 62.0, 10.0
STRIP_FLOOR = 40.0
STRIP_MIDDLE, STRIP_SPREAD = 21.0, 12.0
STRIP_FRAME = {"width": STRIP_WIDTH, "height": STRIP_HEIGHT, "side": STRIP_SIDE, "floor": STRIP_FLOOR}
"""What a template has to know of the positions."""


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
    axis = Axis(ticks[0], ticks[-1], STRIP_SIDE, STRIP_WIDTH - STRIP_SIDE)
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
        ticks=axis.ticks(ticks),
        allowed=_allowed(limit, axis, factor),
        limit=limit.text(measure) if limit else "",
        missing=len(subjects) - len(values),
        median=measure.with_unit(median(list(values.values()))),
    )


def _near(bounds: Sequence[float], values: Mapping[str, float]) -> list[float]:
    """Limits close enough to the values to be shown without pressing these together."""
    low, high = min(values.values()), max(values.values())
    reach = max(high - low, 0.1 * abs(high), 1e-9)
    return [bound for bound in bounds if low - reach <= bound <= high + reach]


def _allowed(limit: Limit | None, axis: Axis, factor: float) -> tuple[float, float] | None:
    if limit is None:
        return None
    low = axis.low if limit.low is None else limit.low * factor
    high = axis.high if limit.high is None else limit.high * factor
    left, right = (axis(min(max(value, axis.low), axis.high)) for value in (low, high))
    return (left, right) if right > left else None


def _height(subject: str, measure: Measure) -> float:
    draw = generator_for("strip", subject, measure.name).uniform(-1.0, 1.0)
    return round(STRIP_MIDDLE + STRIP_SPREAD * draw, 2)
