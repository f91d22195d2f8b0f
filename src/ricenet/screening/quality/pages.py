"""Laying out the pages of all subjects, the group's page and its tables, as one folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import read_participants
from ricenet.config.params import QualityParams
from ricenet.runtime.files import atomic_folder, content_digest, write_json, write_text
from ricenet.screening.quality.group_page import Marks, group_page, measures_table
from ricenet.screening.quality.limits import Mark, limits_of, marks_of
from ricenet.screening.quality.measures import MEASURES, SubjectQuality
from ricenet.screening.quality.subject_page import Neighbours, read_examination, subject_page

logger = logging.getLogger(__name__)

GROUP_PAGE, TABLE, MARKED, SUMMARY = "index.html", "measures.tsv", "marked.json", "summary.json"


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
    digests = {
        "cohort": cohort.digest,
        "preprocessed": preprocessing_digest,
        "quality": str(summary["digest"]),
    }
    synthetic = is_synthetic(Path(cohort.root))
    names = [subject.participant_id for subject in subjects]
    with atomic_folder(output) as folder:
        for position, quality in enumerate(subjects):
            name = quality.participant_id
            page = subject_page(
                quality,
                examined[name],
                limits,
                marks[name],
                _neighbours(names, position),
                cohort.root,
                synthetic,
            )
            write_text(folder / f"{name}.html", page)
        group = group_page(subjects, marks, limits, cohort.excluded, cohort.root, synthetic, digests)
        write_text(folder / GROUP_PAGE, group)
        write_text(folder / TABLE, measures_table(subjects, marks))
        write_json(folder / MARKED, {s: [asdict(m) for m in found] for s, found in marks.items() if found})
        write_json(folder / SUMMARY, summary)
    return marks


def _with_days(examined: Mapping[str, Path], root: Path) -> list[SubjectQuality]:
    """Every subject's measures, with what only the participants table knows."""
    participants = read_participants(root / PARTICIPANTS_TABLE).participants
    return [
        replace(
            read_examination(folder)[0],
            days_rt_end_to_event=participants[name].interval_days if name in participants else None,
        )
        for name, folder in examined.items()
    ]


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
    measured = [subject.as_json() for subject in subjects]
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


def _neighbours(names: Sequence[str], position: int) -> Neighbours:
    following = position + 1
    return Neighbours(
        names[position - 1] if position else None, names[following] if following < len(names) else None
    )
