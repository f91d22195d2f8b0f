"""Which dates of a file can be true; what anonymisers and templates write instead counts as no date."""

from __future__ import annotations

from datetime import date

from ricenet.importing.dicom.datasets import Elements

EARLIEST = date(1980, 1, 1)
"""Before it there was no clinical MRI, and no planning on CT."""

PLACEHOLDERS = frozenset(date(year, 1, 1) for year in (1980, 1990, 2000))
"""First days that stand for no date at all; 1900 and 1970 are too early anyway, 9999 lies ahead."""

SAME_EXAMINATION_DAYS = 1
"""Series taken past midnight are of the day after their study's."""


def can_be_true(day: date, today: date | None = None) -> bool:
    """Whether something can have happened to a patient on a day. today: the present day if None.

    >>> [can_be_true(date(year, 1, 1), date(2026, 1, 1)) for year in (1900, 1980, 2000, 2020, 2027)]
    [False, False, False, True, False]
    """
    return EARLIEST <= day <= (today or date.today()) and day not in PLACEHOLDERS


def day_of(file: Elements, *keywords: str) -> date | None:
    """The first of some dates that can be true; None where none can."""
    stated = (file.day(keyword) for keyword in keywords)
    return next((day for day in stated if day is not None and can_be_true(day)), None)


def date_notes(file: Elements) -> tuple[str, ...]:
    """What people should know of the dates of an image's file, without the dates themselves."""
    study, series = day_of(file, "StudyDate"), day_of(file, "AcquisitionDate", "SeriesDate")
    if file.has("StudyDate") and study is None:
        return ("its study date cannot be true",)
    if study is None or series is None or abs((series - study).days) <= SAME_EXAMINATION_DAYS:
        return ()
    days = (series - study).days
    return (f"its series date lies {abs(days)} day(s) {'after' if days > 0 else 'before'} its study date",)
