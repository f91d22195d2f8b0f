"""Courses of radiotherapy as they are prescribed: fractions, simultaneous boosts and second courses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Course:
    """Fractions of `fraction_gy` to the target; boost_fraction_gy: at the same time to the cavity's wall."""

    fractions: int
    fraction_gy: float
    boost_fraction_gy: float | None = None

    @property
    def prescription_gy(self) -> float:
        """To the target, without its boost.

        >>> Course(33, 1.8).prescription_gy
        59.4
        """
        return round(self.fractions * self.fraction_gy, 1)

    @property
    def boost_gy(self) -> float | None:
        """To the boosted volume, None without a boost."""
        return None if self.boost_fraction_gy is None else round(self.fractions * self.boost_fraction_gy, 1)

    @property
    def as_json(self) -> dict[str, float]:
        """As a dose's sidecar states it."""
        stated = {"PrescriptionGy": self.prescription_gy, "NumberOfFractions": self.fractions}
        return stated if self.boost_gy is None else {**stated, "SimultaneousBoostGy": self.boost_gy}


_STANDARD = Course(30, 2.0)
_LADDER: tuple[tuple[float, tuple[Course, ...]], ...] = (
    (-np.inf, (Course(27, 2.0),)),
    (-1.1, (Course(27, 2.0, 2.2),)),
    (-0.7, (Course(33, 1.8),)),
    (-0.2, (_STANDARD,)),
    (0.3, (Course(30, 2.0, 2.2),)),
    (0.7, (Course(33, 2.0),)),
    (1.2, (_STANDARD, Course(10, 3.0))),
    (1.6, (_STANDARD, Course(10, 3.5))),
)
"""Courses by their least x_dose. 35 Gy in 10 fractions: RTOG 1205 (Tsien et al., J Clin Oncol 41, 2023)."""


def courses_of(x_dose: float) -> tuple[Course, ...]:
    """One course, or two of the 12 % whose x_dose is largest.

    >>> [course.prescription_gy for course in courses_of(1.3)]
    [60.0, 30.0]
    """
    return next(courses for least, courses in reversed(_LADDER) if x_dose >= least)


def target_margin_mm(x_dose: float) -> float:
    """From the cavity to the edge of the target: 15 mm, 3 mm a SD, within 8 to 22 mm."""
    return float(np.clip(15.0 + 3.0 * x_dose, 8.0, 22.0))
