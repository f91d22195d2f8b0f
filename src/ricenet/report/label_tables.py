"""Predictions and votes of a run with other labels than the paper's two, as tables for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ricenet.evaluation.evidence.record import EVIDENCE_FILE
from ricenet.evaluation.labels.calibration import LabelCalibration, label_recalibrated_by_fold
from ricenet.evaluation.labels.held_out import LabelProbabilities
from ricenet.evaluation.labels.record import read_label_evidence
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
from ricenet.training.label_predictions import columns_of
from ricenet.vocabulary import LabelNames, volumes_and_recipe

Row = dict[str, str]


def label_results(project: Path, label_names: LabelNames) -> list[ResultsTable]:
    """Cross-validated predictions, and votes on the test set where there are any.

    Raises ResultError: a result is missing, with the stage that makes it.
    """
    path = require(project / "work" / "evaluation" / "out_of_fold.tsv", "evaluate")
    calibration = read_label_evidence(project / EVIDENCE_FILE).calibration
    by_set: dict[str, list[Row]] = {}
    for row in read_rows(path):
        by_set.setdefault(row["modality_set"], []).append(row)
    cells = [
        cells
        for name, rows in by_set.items()
        for cells in zip(rows, _calibrated(rows, calibration[name], label_names), strict=True)
    ]
    predictions = ResultsTable(
        "predictions",
        (
            SUBJECT,
            SET,
            RECIPE,
            Column("fold", "fold that held the subject out, from 0", "number"),
            label_column(label_names),
            *_probabilities(label_names, "by the network that did not see the subject"),
            *_recalibrated(label_names),
            _predicted(label_names),
            Column("correct", "whether predicted and label agree", "number", values="1: yes; 0: no"),
        ),
        tuple(
            (
                row["participant_id"],
                *_set_and_recipe(row["modality_set"]),
                int(row["fold"]),
                row["label"],
                *(round(float(row[column]), DIGITS) for column in columns_of(label_names)),
                *(round(p, DIGITS) for p in calibrated.tolist()),
                row["predicted"],
                int(row["predicted"] == row["label"]),
            )
            for row, calibrated in cells
        ),
    )
    return [predictions, *_votes(project / "work" / "vote", label_names)]


def _calibrated(rows: list[Row], by: LabelCalibration, label_names: LabelNames) -> LabelProbabilities:
    """By the recalibration that the other folds' subjects gave (N, K)."""
    p = np.array([[float(row[column]) for column in columns_of(label_names)] for row in rows])
    fold = np.array([int(row["fold"]) for row in rows])
    return label_recalibrated_by_fold(p, fold, by.by_fold(sorted(set(fold.tolist()))))


def _votes(folder: Path, label_names: LabelNames) -> Iterator[ResultsTable]:
    """One table of all champions that voted; none where nobody did."""
    votes, p = [f"votes_{name}" for name in label_names], columns_of(label_names)
    numbers = [*votes, *p, *(f"{column}_calibrated" for column in p)]
    rows = [
        (
            row["participant_id"],
            *_set_and_recipe(path.stem),
            known_text(row["label"]),
            *(number_in(row[name]) for name in numbers),
            row["predicted"],
            row["answer"],
        )
        for path in sorted(folder.glob("*.tsv"))
        for row in read_rows(path)
    ]
    if rows:
        columns = (
            SUBJECT,
            SET,
            RECIPE,
            label_column(label_names),
            *(
                Column(c, f"folds that vote for {n}", "number")
                for c, n in zip(votes, label_names, strict=True)
            ),
            *_probabilities(label_names, "as the mean of the folds"),
            *_recalibrated(label_names),
            _predicted(label_names),
            Column(
                "answer",
                "answer where the confidence suffices",
                values="; ".join((*label_names, "indeterminate")),
            ),
        )
        yield ResultsTable("votes", columns, tuple(rows))


def _set_and_recipe(modality_set: str) -> tuple[str, str | None]:
    volumes, recipe = volumes_and_recipe(modality_set)
    return volumes, recipe or None


def _probabilities(label_names: LabelNames, whose: str) -> list[Column]:
    return [
        Column(column, f"probability of {name} {whose}", "number", values="0 to 1")
        for column, name in zip(columns_of(label_names), label_names, strict=True)
    ]


def _recalibrated(label_names: LabelNames) -> list[Column]:
    return [
        Column(f"{column}_calibrated", f"recalibrated probability of {name}", "number", values="0 to 1")
        for column, name in zip(columns_of(label_names), label_names, strict=True)
    ]


def _predicted(label_names: LabelNames) -> Column:
    return Column("predicted", "label by the network", values="; ".join(label_names))
