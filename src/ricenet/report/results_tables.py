"""A project's results as tables for spreadsheets and statistics programs: subjects, predictions, votes, and
a data dictionary.

Names of columns begin with a letter and hold letters, digits and underscores, as R and SPSS want them; what
is not known is an empty cell, a missing value in both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ricenet.cohort.checked import (
    CHECKED_COHORT_FILE,
    EXCLUDED_FILE,
    CheckedCohort,
    read_checked_cohort,
    read_usable_cohort,
)
from ricenet.cohort.splits import Splits, read_splits
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, Evidence, read_evidence
from ricenet.report.label_tables import label_results
from ricenet.report.results_columns import (
    DIGITS,
    RECIPE,
    SET,
    SUBJECT,
    Column,
    ResultsTable,
    known_text,
    label_column,
    number_in,
)
from ricenet.runtime.tables import read_rows, require
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import LABELS, is_rice_task, volumes_and_recipe

EXPLANATION = "work/explain/{modality_set}/{subject}/index.html"
QUALITY = "work/quality/{subject}.html"

LABEL = label_column(LABELS)
CALIBRATED = Column("p_rice_calibrated", "recalibrated probability of RICE", "number", values="0 to 1")
PREDICTED = Column("predicted", "label by the network", values="recurrence; rice")


def results_tables(project: Path) -> tuple[ResultsTable, ...]:
    """Subjects, cross-validated predictions, votes on the test set where there are any, and the dictionary.

    Raises ResultError: a result is missing, with the stage that makes it.
    """
    work = project / "work"
    splits = read_splits(require(work / "splits" / "splits.json", "split"))
    cohort = read_checked_cohort(require(project / CHECKED_COHORT_FILE, "check_cohort"))
    tables = [_subjects(project, cohort, splits)]
    if is_rice_task(splits.label_names):
        tables += [_predictions(project, read_evidence(project / EVIDENCE_FILE)), *_votes(work / "vote")]
    else:
        tables += label_results(project, splits.label_names)
    return (*tables, _dictionary(tables))


def link_from(folder: Path, project: Path, link: str) -> str:
    """A page's place as seen from the folder that holds the table."""
    return Path(os.path.relpath(project / link, folder)).as_posix()


def _subjects(project: Path, cohort: CheckedCohort, splits: Splits) -> ResultsTable:
    marks = {
        row["participant_id"]: row["marks"]
        for row in _rows_if_there(project / "work" / "quality" / "measures.tsv")
    }
    usable = read_usable_cohort(project / CHECKED_COHORT_FILE, project / EXCLUDED_FILE)
    excluded = {one.participant_id: "; ".join(one.problems) for one in usable.excluded}
    fold_of = {subject: k for k, fold in enumerate(splits.folds) for subject in splits.visits_of(fold)}
    parts = {"train": splits.development, "test": splits.test}
    part_of = {subject: part for part, events in parts.items() for subject in splits.visits_of(events)}
    declared = [spec for spec in cohort.variables if not spec.measured]
    rows = [
        (
            one.participant_id,
            one.label,
            part_of.get(one.participant_id),
            fold_of.get(one.participant_id),
            one.site,
            *(one.variables.get(spec.name) for spec in declared),
            known_text(marks.get(one.participant_id)),
            _page(project, QUALITY.format(subject=one.participant_id)),
            excluded.get(one.participant_id),
        )
        for one in cohort.subjects
    ]
    # those whom the check itself excluded; nothing else of them is known to be right
    rows += [
        (one.participant_id, *[None] * (len(declared) + 6), excluded[one.participant_id])
        for one in cohort.excluded
    ]
    columns = (
        SUBJECT,
        label_column(splits.label_names),
        Column("subset", "part of the study", values="train: cross-validation; test: independent test set"),
        Column("fold", "fold that holds the subject out, from 0", "number"),
        Column("site", "where the subject was imaged"),
        *(
            Column(
                spec.name,
                spec.title or spec.name,
                "number" if spec.kind == "number" else "text",
                spec.unit or "",
                "; ".join(spec.categories or ()),
            )
            for spec in declared
        ),
        Column("quality_marks", "what quality control marked; empty: nothing"),
        Column("quality_page", "page of quality control", "link"),
        Column("excluded", "why the subject was excluded; empty: it was not"),
    )
    return ResultsTable("subjects", columns, tuple(rows))


def _predictions(project: Path, evidence: Evidence) -> ResultsTable:
    path = require(project / "work" / "evaluation" / "out_of_fold.tsv", "evaluate")
    columns = (
        SUBJECT,
        SET,
        RECIPE,
        Column("fold", "fold that held the subject out, from 0", "number"),
        LABEL,
        Column(
            "p_rice",
            "probability of RICE by the network that did not see the subject",
            "number",
            "",
            "0 to 1",
        ),
        CALIBRATED,
        PREDICTED,
        Column("correct", "whether predicted and label agree", "number", values="1: yes; 0: no"),
        Column("explanation_page", "page of the case with its occlusion map", "link"),
    )
    rows = []
    for row in read_rows(path):
        name, fold, p_rice = row["modality_set"], int(row["fold"]), float(row["p_rice"])
        volumes, recipe = volumes_and_recipe(name)
        rows.append(
            (
                row["participant_id"],
                volumes,
                recipe or None,
                fold,
                row["label"],
                round(p_rice, DIGITS),
                _calibrated(evidence, name, fold, p_rice),
                "rice" if p_rice >= THRESHOLD else "recurrence",
                int(row["predicted"] == row["label"]),
                _page(project, EXPLANATION.format(modality_set=name, subject=row["participant_id"])),
            )
        )
    return ResultsTable("predictions", columns, tuple(rows))


def _calibrated(evidence: Evidence, name: str, fold: int, p_rice: float) -> float | None:
    """By the recalibration that the other folds' subjects gave."""
    if (found := evidence.calibration.get(name)) is None:
        return None
    return round(float(recalibrated(np.array(p_rice), found.recalibrations[fold])), DIGITS)


def _votes(folder: Path) -> Iterator[ResultsTable]:
    """One table of all champions that voted; none where nobody did."""
    rows = []
    for path in sorted(folder.glob("*.tsv")):
        volumes, recipe = volumes_and_recipe(path.stem)
        for row in read_rows(path):
            numbers = (number_in(row[name]) for name in ("votes_rice", "p_rice", "p_rice_calibrated"))
            # votes of before there were sets of labels have no such column
            words = (known_text(row.get(name)) for name in ("predicted", "three_way", "label_set"))
            rows.append(
                (row["participant_id"], volumes, recipe or None, known_text(row["label"]), *numbers, *words)
            )
    if rows:
        columns = (
            SUBJECT,
            SET,
            RECIPE,
            LABEL,
            Column("votes_rice", "folds that vote for RICE", "number"),
            Column("p_rice", "mean of the folds' probabilities of RICE", "number"),
            CALIBRATED,
            PREDICTED,
            Column(
                "three_way", "answer where the confidence suffices", values="recurrence; rice; indeterminate"
            ),
            Column(
                "label_set",
                "labels that the case could have, so that the set holds the true one as often as registered",
                values="recurrence; rice; recurrence+rice; none",
            ),
        )
        yield ResultsTable("votes", columns, tuple(rows))


def _dictionary(tables: Sequence[ResultsTable]) -> ResultsTable:
    columns = (
        Column("table", "table"),
        Column("column", "name of the column"),
        Column("title", "what it holds"),
        Column("kind", "kind of value", values="text; number; link"),
        Column("unit", "unit of a number"),
        Column("values", "permitted values"),
    )
    rows = tuple(
        (table.name, column.name, column.title, column.kind, column.unit or None, column.values or None)
        for table in tables
        for column in table.columns
    )
    return ResultsTable("dictionary", columns, rows)


def _rows_if_there(path: Path) -> list[dict[str, str]]:
    return read_rows(path) if path.is_file() else []


def _page(project: Path, link: str) -> str | None:
    return link if (project / link).is_file() else None
