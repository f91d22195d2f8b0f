"""Laying out the pages of all subjects, the group's page and its tables, as one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import read_participants
from ricenet.cohort.quarantine import REASONS
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import read_visits, with_row
from ricenet.config.params import QualityParams
from ricenet.display.templates import render, template_text
from ricenet.runtime.files import atomic_folder, content_digest, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.screening.quality.measures import (
    MEASURES,
    NOTHING,
    Limit,
    Mark,
    SubjectQuality,
    limits_of,
    marks_of,
)
from ricenet.screening.quality.strips import STRIP_FRAME, strip
from ricenet.screening.quality.subject_page import PACKAGE, Neighbours, read_examination, subject_page

GROUP_PAGE, TABLE, MARKED, SUMMARY = "index.html", "measures.tsv", "marked.json", "summary.json"

Marks = Mapping[str, Sequence[Mark]]
"""Why each subject is marked; an empty sequence where it is not."""


def write_pages(
    examined: Mapping[str, Path],
    cohort: CheckedCohort,
    params: QualityParams,
    preprocessing_digest: str,
    output: Path,
) -> dict[str, tuple[Mark, ...]]:
    """Write a page a subject, index.html, measures.tsv, marked.json and summary.json; returns the marks.

    examined: each subject's folder in the store.
    """
    limits = limits_of(params)
    subjects = _with_days(examined, Path(cohort.root))
    marks = {subject.participant_id: marks_of(subject, limits) for subject in subjects}
    summary = _summary(subjects, marks, cohort, params, preprocessing_digest)
    synthetic = is_synthetic(Path(cohort.root))
    names = [None, *(subject.participant_id for subject in subjects), None]
    with atomic_folder(output) as folder:
        for subject, previous, following in zip(subjects, names, names[2:], strict=False):
            name, neighbours = subject.participant_id, Neighbours(previous, following)
            page = subject_page(
                subject, examined[name], limits, marks[name], neighbours, cohort.root, synthetic
            )
            write_text(folder / f"{name}.html", page)
        write_text(folder / GROUP_PAGE, _group_page(subjects, marks, limits, cohort, synthetic, summary))
        write_text(folder / TABLE, _measures_table(subjects, marks))
        write_json(folder / MARKED, {s: [asdict(m) for m in found] for s, found in marks.items() if found})
        write_json(folder / SUMMARY, summary)
    return marks


def _with_days(examined: Mapping[str, Path], root: Path) -> list[SubjectQuality]:
    """Every subject's measures, with what only the tables of participants and visits know."""
    participants = read_participants(root / PARTICIPANTS_TABLE, None).participants
    visits = read_visits(root, participants, list(participants), None)
    days_of = {name: row.interval_days for name, row in participants.items()} | {
        sample_name(patient, visit.number): visit.days
        for patient, row in participants.items()
        if patient in visits.of_patients
        for visit in with_row(visits.of(patient), row)
    }
    subjects = []
    for name, folder in examined.items():
        days = days_of.get(name)
        known = read_examination(folder)["measures"] | {"days_rt_end_to_event": days}
        subjects.append(SubjectQuality(participant_id=name, measures=known))
    return subjects


def _summary(
    subjects: Sequence[SubjectQuality],
    marks: Marks,
    cohort: CheckedCohort,
    params: QualityParams,
    preprocessing_digest: str,
) -> dict[str, object]:
    """The group in numbers. digest: of everything that is measured and of the limits."""
    medians = {}
    for measure in MEASURES:
        values = [value for subject in subjects if (value := subject.value(measure.name)) is not None]
        if values:
            medians[measure.name] = median(values)
    limits = params.model_dump(mode="json")
    measured = [subject.model_dump(mode="json") for subject in subjects]
    return {
        "digest": content_digest({"measures": measured, "limits": limits}),
        "cohort_digest": cohort.digest,
        "preprocessing_digest": preprocessing_digest,
        "limits": limits,
        "subjects": len(subjects),
        "marked": sum(bool(found) for found in marks.values()),
        "excluded": len(cohort.excluded),
        "medians": medians,
    }


def _group_page(
    subjects: Sequence[SubjectQuality],
    marks: Marks,
    limits: Mapping[str, Limit],
    cohort: CheckedCohort,
    synthetic: bool,
    summary: Mapping[str, object],
) -> str:
    """The group's page as HTML text: a sortable table of all subjects, and a strip for each measure."""
    strips = [
        strip(measure, subjects, limits.get(measure.name), _marked_by(measure.name, marks))
        for measure in MEASURES
    ]
    return render(
        PACKAGE,
        "group.html",
        "quality.css",
        script=template_text(PACKAGE, "table.js"),
        cohort=cohort.root,
        synthetic=synthetic,
        subjects=[_row(subject, marks[subject.participant_id]) for subject in subjects],
        excluded=cohort.excluded,
        strips=[found for found in strips if found is not None],
        measures=MEASURES,
        reasons=REASONS,
        frame=STRIP_FRAME,
        summary=summary,
    )


def _measures_table(subjects: Sequence[SubjectQuality], marks: Marks) -> str:
    """A row a subject, tab-separated; marks joined by semicolons, n/a where there is nothing to say."""
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
    cells = []
    for measure in MEASURES:
        value = subject.value(measure.name)
        cells.append(
            {
                "text": measure.text(value),
                "value": "" if value is None else repr(float(value)),
                "marked": measure.name in beyond,
            }
        )
    return {"subject": subject.participant_id, "marks": len(marks), "cells": cells}
