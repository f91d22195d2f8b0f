"""Samples of one patient: which of them is the first event, and which visits follow it.

Statistics take one sample a patient, the first event; further labelled visits are trained on beside it, and
judged by visit (`ricenet.evaluation.evidence.visits`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ricenet.cohort.checked import CheckedSubject

LaterVisits = Mapping[str, Mapping[str, str]]
"""Labelled visits after the first event, by the first event's sample."""


def first_events(subjects: Iterable[CheckedSubject]) -> dict[str, CheckedSubject]:
    """Each patient's first labelled visit, or the first where none has a label; by patient."""
    found: dict[str, CheckedSubject] = {}
    for subject in sorted(subjects, key=lambda one: one.visit):
        known = found.setdefault(subject.patient, subject)
        if known.label is None and subject.label is not None:
            found[subject.patient] = subject
    return found


def later_visits(subjects: Iterable[CheckedSubject]) -> dict[str, dict[str, str]]:
    """What follows each first event, in time order; without patients of whom nothing follows."""
    everyone = sorted(subjects, key=lambda one: one.visit)
    events = first_events(everyone)
    found: dict[str, dict[str, str]] = {}
    for subject in everyone:
        event = events[subject.patient]
        if subject.label is not None and subject.visit > event.visit:
            found.setdefault(event.participant_id, {})[subject.participant_id] = subject.label
    return found
