"""What is measured on a subject, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

NOTHING = "n/a"


@dataclass(frozen=True)
class Measure:
    """A column of the group's table. name: of the field in `SubjectQuality`. percent: a share, told in %."""

    name: str
    title: str
    unit: str
    digits: int
    meaning: str
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
        "normalised mutual information of the two scans where their headers put them (1 none, 2 identical)",
    ),
    Measure("mutual_information", "Similarity", "", 3, "the same once they are registered"),
    Measure("rotation_deg", "Rotation", "°", 1, "of the head between the two scans, as registered"),
    Measure("shift_mm", "Shift", "mm", 1, "of the brain's middle between the two scans, as registered"),
    Measure("brain_ml", "Brain", "ml", 0, "volume of the brain mask on the post-operative scan"),
    Measure(
        *("brain_overlap", "Overlap of brains", "", 3),
        "Dice coefficient of that mask and the event scan's own brain, once registered",
    ),
    Measure("coverage", "Coverage", "%", 1, "share of the brain that the event scan shows", percent=True),
    Measure(
        *("dose_max_gy", "Largest dose", "Gy", 1),
        "of the whole course, anywhere in the file; its limit counts where no PrescriptionGy is stated",
    ),
    Measure(
        *("dose_of_prescription", "Of prescription", "%", 0),
        "the largest dose as a share of PrescriptionGy",
        percent=True,
    ),
    Measure(
        *("dose_outside_brain", "Dose outside", "%", 0),
        "share of the dose's integral outside the brain",
        percent=True,
    ),
    Measure("v20_ml", "V20", "ml", 0, "brain that gets 20 Gy or more"),
    Measure("v40_ml", "V40", "ml", 0, "brain that gets 40 Gy or more"),
    Measure("v60_ml", "V60", "ml", 0, "brain that gets 60 Gy or more"),
    Measure("days_rt_end_to_event", "Days to event", "d", 0, "from the end of radiotherapy to the event"),
)
"""In the order in which they are shown."""


@dataclass(frozen=True)
class SubjectQuality:
    """One subject's measures; None where one cannot be had.

    Units as in MEASURES; shares from 0 to 1. brain_overlap: None where the event scan's own brain could not
    be found. dose_of_prescription: None without PrescriptionGy. days_rt_end_to_event: as the table says.
    """

    participant_id: str
    mutual_information_before: float
    mutual_information: float
    rotation_deg: float
    shift_mm: float
    brain_ml: float
    brain_overlap: float | None
    coverage: float
    dose_max_gy: float
    dose_of_prescription: float | None
    dose_outside_brain: float
    v20_ml: float
    v40_ml: float
    v60_ml: float
    days_rt_end_to_event: float | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        values: dict[str, Any] = {field.name: content[field.name] for field in fields(cls)}
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)

    def value(self, name: str) -> float | None:
        """A measure by its name."""
        value: float | None = getattr(self, name)
        return value
