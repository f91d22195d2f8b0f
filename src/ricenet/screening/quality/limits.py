"""Who is marked: a subject with a measure beyond a limit, or without one that it should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.config.params import QualityParams
from ricenet.screening.quality.measures import MEASURES, Measure, SubjectQuality

NEEDED = ("brain_overlap",)
"""Measures whose absence is itself remarkable."""

QUARANTINE_REASONS = {
    "mutual_information": "registration",
    "rotation_deg": "registration",
    "shift_mm": "registration",
    "brain_overlap": "brain_mask",
    "brain_ml": "brain_mask",
    "coverage": "image_quality",
    "dose_max_gy": "dose",
    "dose_of_prescription": "dose",
    "dose_outside_brain": "dose",
}
"""For each limited measure, the reason that exclude.tsv would give, were the mark to be right."""


@dataclass(frozen=True)
class Limit:
    """The least and the largest value that is not remarkable; None where there is none of the two."""

    low: float | None = None
    high: float | None = None

    def allows(self, value: float) -> bool:
        """Whether a value lies within, the limits included."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def text(self, measure: Measure) -> str:
        """For people.

        >>> Limit(low=0.98).text(Measure("coverage", "Coverage", "%", 0, "", percent=True))
        'at least 98 %'
        """
        ends = [measure.limit_text(end) for end in (self.low, self.high) if end is not None]
        if len(ends) == 2:
            return f"{ends[0].removesuffix(measure.unit).rstrip()} to {ends[1]}"
        return f"{'at most' if self.low is None else 'at least'} {ends[0]}"


@dataclass(frozen=True)
class Mark:
    """Why a subject is marked. reason: for people, without the subject."""

    measure: str
    value: float | None
    reason: str


def limits_of(params: QualityParams) -> dict[str, Limit]:
    """The limits by the name of the measure that they concern."""
    return {
        "mutual_information": Limit(low=params.least_mutual_information),
        "rotation_deg": Limit(high=params.most_rotation_deg),
        "shift_mm": Limit(high=params.most_shift_mm),
        "brain_ml": Limit(*params.brain_ml),
        "brain_overlap": Limit(low=params.least_brain_overlap),
        "coverage": Limit(low=params.least_coverage),
        "dose_max_gy": Limit(*params.dose_max_gy),
        "dose_of_prescription": Limit(*params.dose_of_prescription),
        "dose_outside_brain": Limit(high=params.most_dose_outside_brain),
    }


def marks_of(quality: SubjectQuality, limits: Mapping[str, Limit]) -> tuple[Mark, ...]:
    """Everything that is remarkable about a subject, in the order of MEASURES; empty where nothing is.

    The largest dose is judged in Gy only where its share of the prescription is not known.
    """
    marks = []
    for measure in MEASURES:
        limit, value = limits.get(measure.name), quality.value(measure.name)
        if limit is None or (measure.name == "dose_max_gy" and quality.dose_of_prescription is not None):
            continue
        if value is None and measure.name in NEEDED:
            marks.append(Mark(measure.name, None, f"{measure.title} could not be measured"))
        elif value is not None and not limit.allows(value):
            told = f"{measure.title} {measure.with_unit(value)}, expected {limit.text(measure)}"
            marks.append(Mark(measure.name, value, told))
    return tuple(marks)
