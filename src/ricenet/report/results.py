"""The results of all stages, read from a project folder into what the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.cohort.checked import CheckedCohort, read_usable_cohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.metrics import Confusion, SetMetrics, bootstrap_interval
from ricenet.evaluation.predictions import read_rows, require
from ricenet.files import read_json
from ricenet.modalities import LABELS
from ricenet.splits import Splits, read_splits
from ricenet.voting import LedgerRow, ledger_path, read_ledger


@dataclass(frozen=True)
class PromotedVote:
    """A promoted model's majority vote on the test set; ci_* is the 95 % bootstrap interval."""

    macro_f1: float
    ci_low: float
    ci_high: float
    confusion: Confusion
    n: int
    digest: str


@dataclass(frozen=True)
class Explanation:
    """One explained prediction: its summary.json and where its figure lies."""

    summary: Mapping[str, Any]
    figure: Path


@dataclass(frozen=True)
class Results:
    """Everything that the page tells of a run. truth_known: the cohort holds its maker's ground truth."""

    cohort: CheckedCohort
    synthetic: bool
    truth_known: bool
    splits: Splits
    preprocessing_digest: str
    metrics: Mapping[str, SetMetrics]
    figures: Path
    explanations: tuple[Explanation, ...]
    votes: Mapping[str, PromotedVote]
    ledger: tuple[LedgerRow, ...]


def read_results(project: Path, seed: int) -> Results:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    metrics = read_json(require(work / "evaluation" / "metrics.json", "evaluate"))
    cohort = read_usable_cohort(work / "cohort" / "cohort.json", work / "cohort" / "left_out.json")
    preprocessed = read_json(require(work / "preprocessed" / "summary.json", "preprocess"))
    return Results(
        cohort=cohort,
        synthetic=is_synthetic(project / cohort.root),
        truth_known=(project / cohort.root / GROUND_TRUTH).is_dir(),
        splits=read_splits(work / "splits" / "splits.json"),
        preprocessing_digest=preprocessed["digest"],
        metrics={name: SetMetrics.from_json(metrics[name]) for name in in_paper_order(metrics)},
        figures=require(work / "evaluation" / "figures", "evaluate"),
        explanations=_explanations(require(work / "explain", "explain")),
        votes=_votes(work / "vote", seed),
        ledger=tuple(read_ledger(ledger_path(project))),
    )


def count_subjects(results: Results) -> list[tuple[str, int, int]]:
    """Rows (label, in the cross-validation, in the test set), and their sum as the last row."""
    labels, test = results.splits.labels, set(results.splits.test)
    counts = Counter((label, subject in test) for subject, label in labels.items())
    rows = [(label, counts[label, False], counts[label, True]) for label in LABELS]
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def count_sites(results: Results) -> list[tuple[str, int]]:
    """Subjects used of each site, by its name."""
    return sorted(Counter(subject.site or "not stated" for subject in results.cohort.subjects).items())


def _explanations(folder: Path) -> tuple[Explanation, ...]:
    found = [
        Explanation(read_json(path), require(path.with_name("figure.png"), "explain"))
        for path in sorted(folder.glob("*/*/summary.json"))
    ]
    order = in_paper_order({e.summary["modality_set"] for e in found})
    return tuple(sorted(found, key=lambda e: order.index(e.summary["modality_set"])))


def _votes(folder: Path, seed: int) -> dict[str, PromotedVote]:
    content = read_json(require(folder / "vote.json", "vote"))
    votes = {}
    for name in in_paper_order(content):
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
        low, high = bootstrap_interval(labels, predicted, seed)
        (tn, fp), (fn, tp) = content[name]["confusion"]
        votes[name] = PromotedVote(
            macro_f1=content[name]["macro_f1"],
            ci_low=low,
            ci_high=high,
            confusion=((tn, fp), (fn, tp)),
            n=content[name]["n"],
            digest=content[name]["digest"],
        )
    return votes
