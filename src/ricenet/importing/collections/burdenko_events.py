"""From a clinical row to its first event and what it is taken to be.

Source: the collection's documentation; its `pseudo progression` is a proxy of RICE: early pseudoprogression.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from ricenet.importing.collections.burdenko_table import ClinicalRow, FollowUp
from ricenet.importing.collections.collection import Exclusion, require_order
from ricenet.vocabulary import Label

Confidence = Literal["high", "low"]

_WORDS = {"response", "stable", "progression", "pseudo progression", "distant progression"}
_NO_EVENT: tuple[frozenset[str], ...] = (frozenset(), frozenset({"response"}), frozenset({"stable"}))


@dataclass(frozen=True)
class Meaning:
    """What a response is taken to be. distant: away from the irradiated tumour."""

    label: Label
    confidence: Confidence = "high"
    distant: bool = False


_MEANINGS = {
    frozenset({"pseudo progression"}): Meaning("rice"),
    frozenset({"progression"}): Meaning("recurrence"),
    frozenset({"distant progression"}): Meaning("recurrence", distant=True),
    frozenset({"response", "pseudo progression"}): Meaning("rice", confidence="low"),
}


@dataclass(frozen=True)
class LabelRules:
    """Which first events are taken.

    include_distant: recurrences away from the tumour, which the dose alone gives away.
    include_low_confidence: `response, pseudo progression`. follow_up: events at that visit alone.
    """

    include_distant: bool = False
    include_low_confidence: bool = False
    follow_up: int | None = None


@dataclass(frozen=True)
class FirstEvent:
    """The first event of a patient. on: the visit's date. rt_start, rt_end: of the course before it."""

    meaning: Meaning
    follow_up: int
    on: date
    rt_start: date
    rt_end: date


def first_event(row: ClinicalRow, rules: LabelRules) -> FirstEvent:
    """The patient's first event.

    `response`, `stable` and blanks are no event. Dates that contradict each other exclude the patient,
    since either of them may be wrong.
    Raises Exclusion: the first reason why the event cannot be used.
    """
    if row.malformed:
        columns = ", ".join(row.malformed)
        raise Exclusion(f"not a date (M/D/YY) in the clinical table: {columns}")
    visit = next((visit for visit in row.follow_ups if _is_event(visit)), None)
    if visit is None:
        count = sum(1 for visit in row.follow_ups if visit.responses)
        found = f"no event in {count} follow-up visit(s)" if count else "no follow-up"
        raise Exclusion(f"{found} with a response")
    meaning = _meaning(visit, rules)
    if rules.follow_up is not None and visit.number != rules.follow_up:
        raise Exclusion(f"the first event is at follow-up {visit.number}, not {rules.follow_up}")
    return _dated(meaning, visit, row)


def visit_label(visit: FollowUp, rules: LabelRules) -> Label | None:
    """What a follow-up's response is taken to be; None for no event, or for one that the rules exclude."""
    meaning = _MEANINGS.get(visit.responses)
    if meaning is None or (meaning.distant and not rules.include_distant):
        return None
    return meaning.label if meaning.confidence == "high" or rules.include_low_confidence else None


def _is_event(visit: FollowUp) -> bool:
    return visit.responses not in _NO_EVENT


def _meaning(visit: FollowUp, rules: LabelRules) -> Meaning:
    first = f"the first event (follow-up {visit.number})"
    if not visit.responses <= _WORDS:
        raise Exclusion(f"{first} has a response that is not of the known words")
    words = ", ".join(sorted(visit.responses))
    meaning = _MEANINGS.get(visit.responses)
    if meaning is None:
        raise Exclusion(f"{first} is a combination without a label: {words}")
    if meaning.distant and not rules.include_distant:
        raise Exclusion(f"{first} is a distant progression; --include-distant takes it as recurrence")
    if meaning.confidence == "low" and not rules.include_low_confidence:
        raise Exclusion(f"{first} is {words}; --include-low-confidence takes it as {meaning.label}")
    return meaning


def _dated(meaning: Meaning, visit: FollowUp, row: ClinicalRow) -> FirstEvent:
    """The event with its dates, once these are there and do not contradict each other."""
    if visit.on is None:
        raise Exclusion(f"the first event (follow-up {visit.number}) has no date")
    if row.rt_start is None or row.rt_end is None:
        raise Exclusion("no date for the start or the end of radiotherapy")
    others = [other.on for other in row.follow_ups if _is_event(other) and other.on is not None]
    days_that_may_not_be_negative = {
        "radiotherapy ends {} day(s) before it starts": (row.rt_start, row.rt_end),
        "the topometric MRI is dated {} day(s) before the surgery": (row.surgery, row.topometric_mri),
        "the topometric MRI is dated {} day(s) after the start of radiotherapy": (
            row.topometric_mri,
            row.rt_start,
        ),
        "the first event is dated {} day(s) before the end of radiotherapy": (row.rt_end, visit.on),
        "a later follow-up's event is dated {} day(s) before the first one": (visit.on, min(others)),
    }
    require_order(days_that_may_not_be_negative)
    return FirstEvent(meaning, visit.number, visit.on, row.rt_start, row.rt_end)
