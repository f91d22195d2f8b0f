"""The group's page: a sortable table of all subjects, and a strip for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ricenet.cohort.checked import ExcludedSubject
from ricenet.cohort.quarantine import REASONS
from ricenet.runtime.tables import table_text
from ricenet.screening.quality import charts
from ricenet.screening.quality.limits import Limit, Mark
from ricenet.screening.quality.measures import MEASURES, NOTHING, SubjectQuality
from ricenet.screening.quality.templating import render

Marks = Mapping[str, Sequence[Mark]]
"""Why each subject is marked; an empty sequence where it is not."""


def group_page(
    subjects: Sequence[SubjectQuality],
    marks: Marks,
    limits: Mapping[str, Limit],
    excluded: Sequence[ExcludedSubject],
    cohort: str,
    synthetic: bool,
    digests: Mapping[str, str],
) -> str:
    """The page as HTML text. digests: of cohort, preprocessed and quality, by these names."""
    strips = [
        charts.strip(measure, subjects, limits.get(measure.name), _marked_by(measure.name, marks))
        for measure in MEASURES
    ]
    return render(
        "group.html",
        "table.js",
        cohort=cohort,
        synthetic=synthetic,
        subjects=[_row(subject, marks[subject.participant_id]) for subject in subjects],
        marked=sum(bool(of_subject) for of_subject in marks.values()),
        excluded=excluded,
        strips=[strip for strip in strips if strip is not None],
        measures=MEASURES,
        reasons=REASONS,
        frame=charts.STRIP_FRAME,
        digests=digests,
    )


def measures_table(subjects: Sequence[SubjectQuality], marks: Marks) -> str:
    """A row a subject, tab-separated; marks joined by semicolons, n/a where there is nothing to tell."""
    rows = []
    for subject in subjects:
        values = (subject.value(measure.name) for measure in MEASURES)
        cells = [NOTHING if value is None else f"{value:.6g}" for value in values]
        reasons = "; ".join(mark.reason for mark in marks[subject.participant_id]) or NOTHING
        rows.append([subject.participant_id, *cells, reasons])
    return table_text(["participant_id", *(measure.name for measure in MEASURES), "marks"], rows)


def _marked_by(measure: str, marks: Marks) -> list[str]:
    return [subject for subject, found in marks.items() if any(mark.measure == measure for mark in found)]


def _row(subject: SubjectQuality, marks: Sequence[Mark]) -> dict[str, object]:
    beyond = {mark.measure for mark in marks}
    cells = [
        {
            "text": measure.text(value),
            "value": "" if value is None else repr(float(value)),
            "marked": measure.name in beyond,
        }
        for measure in MEASURES
        for value in (subject.value(measure.name),)
    ]
    return {"subject": subject.participant_id, "marks": len(marks), "cells": cells}
