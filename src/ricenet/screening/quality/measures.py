"""What quality control knows of a subject, in words and numbers, and which values mark it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.config.params import QualityParams
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.records import Record
from ricenet.vocabulary import Volumes

NOTHING = "n/a"


@dataclass(frozen=True)
class Measure:
    """A column of the group's table.

    percent: a share, shown in %. limit: the parameter of `quality` that holds its limit. quarantine_reason:
    what exclude.tsv would give, were a mark to be right.
    """

    name: str
    title: str
    unit: str
    digits: int
    meaning: str
    limit: str | None = None
    quarantine_reason: str | None = None
    percent: bool = False

    def text(self, value: float | None) -> str:
        """A value for people, without its unit.

        >>> Measure("coverage", "Coverage", "%", 1, "", percent=True).text(0.9876)
        '98.8'
        """
        if value is None:
            return NOTHING
        return f"{value * 100 if self.percent else value:.{self.digits}f}"

    def with_unit(self, value: float | None) -> str:
        """A value for people; nothing but n/a where it is missing."""
        return self.text(value) if value is None else self._followed(self.text(value))

    def limit_text(self, value: float) -> str:
        """A limit for people, with no more digits than it has."""
        return self._followed(f"{value * 100 if self.percent else value:g}")

    def _followed(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text


MEASURES: tuple[Measure, ...] = (
    Measure(
        *("mutual_information_before", "Similarity before", "", 3),
        "normalised mutual information of the last session's scan and the reference, where their headers put "
        "them (1 none, 2 identical)",
    ),
    Measure(
        *("mutual_information", "Similarity", "", 3, "the same once they are registered"),
        *("least_mutual_information", "registration"),
    ),
    Measure(
        *("rotation_deg", "Rotation", "°", 1, "of the head between the two scans, as registered"),
        *("most_rotation_deg", "registration"),
    ),
    Measure(
        *("shift_mm", "Shift", "mm", 1, "of the brain's middle between the two scans, as registered"),
        *("most_shift_mm", "registration"),
    ),
    Measure(
        *("brain_ml", "Brain", "ml", 0, "volume of the brain mask on the reference scan"),
        *("brain_ml", "brain_mask"),
    ),
    Measure(
        *("brain_overlap", "Overlap of brains", "", 3),
        "Dice coefficient of that mask and the last session's own brain, once registered",
        *("least_brain_overlap", "brain_mask"),
    ),
    Measure(
        *("coverage", "Coverage", "%", 1, "share of the brain that a scan shows, of the scan with the least"),
        *("least_coverage", "image_quality"),
        percent=True,
    ),
    Measure(
        *("dose_max_gy", "Largest dose", "Gy", 1),
        "of the whole course, anywhere in the file; its limit counts where no PrescriptionGy is stated",
        *("dose_max_gy", "dose"),
    ),
    Measure(
        *("dose_of_prescription", "Of prescription", "%", 0),
        "the largest dose as a share of PrescriptionGy",
        *("dose_of_prescription", "dose"),
        percent=True,
    ),
    Measure(
        *("dose_outside_brain", "Dose outside", "%", 0, "share of the dose's integral outside the brain"),
        *("most_dose_outside_brain", "dose"),
        percent=True,
    ),
    Measure("v20_ml", "V20", "ml", 0, "brain that gets 20 Gy or more"),
    Measure("v40_ml", "V40", "ml", 0, "brain that gets 40 Gy or more"),
    Measure("v60_ml", "V60", "ml", 0, "brain that gets 60 Gy or more"),
    Measure("days_rt_end_to_event", "Days to event", "d", 0, "from the end of radiotherapy to the event"),
)
"""In the order in which they are shown."""

NEEDED = ("brain_overlap",)
"""Measures whose absence is itself remarkable, where there is a second session."""


class SubjectQuality(Record):
    """One subject's measures by name, None where one cannot be had; units as in MEASURES, shares 0 to 1."""

    participant_id: str
    measures: dict[str, float | None]

    def value(self, name: str) -> float | None:
        """A measure by its name."""
        return self.measures.get(name)


def measures_of(
    measured: Measurements, volumes: Volumes, brain_overlap: float | None
) -> dict[str, float | None]:
    """The measures of a subject from what preprocessing measured.

    brain_overlap: None where the last session's own brain could not be found.
    """
    registered = [m.registration for m in measured.mris.values() if m.registration is not None]
    last, dose = measured.mris[volumes.last_session_reference.name].registration, measured.dose
    known: dict[str, float | None] = {"brain_ml": measured.brain_ml}
    if last is not None:
        known |= {
            "mutual_information_before": last.similarity_before,
            "mutual_information": last.similarity,
            "rotation_deg": last.rotation_deg,
            "shift_mm": last.shift_mm,
            "brain_overlap": brain_overlap,
        }
    if registered:
        known["coverage"] = min(registration.coverage for registration in registered)
    if dose is not None:
        known |= {
            "dose_max_gy": dose.given_max_gy,
            "dose_of_prescription": dose.of_prescription,
            "dose_outside_brain": dose.outside_brain,
            "v20_ml": dose.given_v20_ml,
            "v40_ml": dose.given_v40_ml,
            "v60_ml": dose.given_v60_ml,
        }
    return known


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
    limits = {}
    for measure in MEASURES:
        if measure.limit is not None:
            value = getattr(params, measure.limit)
            least, most = measure.limit.startswith("least_"), measure.limit.startswith("most_")
            limits[measure.name] = Limit(low=value) if least else Limit(high=value) if most else Limit(*value)
    return limits


def marks_of(quality: SubjectQuality, limits: Mapping[str, Limit]) -> tuple[Mark, ...]:
    """Everything that is remarkable about a subject, in the order of MEASURES; empty where nothing is.

    The largest dose is judged in Gy only where its share of the prescription is not known.
    """
    marks = []
    for measure in MEASURES:
        limit, value = limits.get(measure.name), quality.value(measure.name)
        if limit is None or (
            measure.name == "dose_max_gy" and quality.value("dose_of_prescription") is not None
        ):
            continue
        if value is not None and not limit.allows(value):
            found = f"{measure.title} {measure.with_unit(value)}, expected {limit.text(measure)}"
            marks.append(Mark(measure.name, value, found))
        elif value is None and measure.name in NEEDED and measure.name in quality.measures:
            marks.append(Mark(measure.name, None, f"{measure.title} could not be measured"))
    return tuple(marks)
