"""The results of all stages, read from a project folder into what the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ricenet.cohort.checked import CheckedCohort, read_checked_cohort, read_usable_cohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import GROUND_TRUTH, PARTICIPANTS_TABLE
from ricenet.cohort.participants import Participant, read_participants
from ricenet.cohort.problems import report_text
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.tuned import Values, read_tuned
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, Evidence, read_evidence
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Robustness, read_robustness
from ricenet.inference.test_vote import LedgerRow, ledger_path, read_ledger
from ricenet.report.votes import PromotedVote, name_of_test_set, no_vote_sentence, read_votes
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import read_rows, require
from ricenet.vocabulary import LABELS

GALLERY = "index.html"

Scored = tuple[tuple[str, float], ...]
"""(label, p_rice) of every subject outside the test set."""


@dataclass(frozen=True)
class Explanation:
    """One explained prediction: its summary.json and where its figure lies."""

    summary: Mapping[str, Any]
    figure: Path


@dataclass(frozen=True)
class Results:
    """Everything that the page tells of a run.

    truth_known: the cohort holds its maker's ground truth. checked_out: how many of the excluded subjects,
    who come first, the check of the cohort took out; preprocessing left out the others. measures: of quality
    control by subject, empty where it has not run. galleries: modality sets with a gallery of occlusion
    maps. tuned: the settings of each fold, of sets that were searched for.
    """

    cohort: CheckedCohort
    synthetic: bool
    truth_known: bool
    checked_out: int
    splits: Splits
    participants: Mapping[str, Participant]
    measures: Mapping[str, Mapping[str, float | None]]
    preprocessing_digest: str
    metrics: Mapping[str, SetMetrics]
    out_of_fold: Mapping[str, Scored]
    figures: Path
    evidence: Evidence
    robustness: Robustness
    explanations: tuple[Explanation, ...]
    galleries: tuple[str, ...]
    tuned: Mapping[str, Sequence[Values]]
    votes: Mapping[str, PromotedVote]
    ledger: tuple[LedgerRow, ...]

    @property
    def cohort_name(self) -> str:
        """The name of the cohort's folder; where it lies is left out, since that may name a person."""
        return PurePath(self.cohort.root).name

    @property
    def looks(self) -> int:
        """How often the ledger says that this test set was looked at."""
        return sum(row.test_set == name_of_test_set(self.splits) for row in self.ledger)

    @property
    def no_vote(self) -> str:
        """What to say of the test set; empty where a model has voted."""
        return "" if self.votes else no_vote_sentence(len(self.splits.test), self.looks)


def read_results(project: Path, seed: int) -> Results:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    metrics = read_json(require(work / "evaluation" / "metrics.json", "evaluate"))
    checked = work / "cohort" / "cohort.json"
    cohort = read_usable_cohort(checked, work / "cohort" / "excluded.json")
    splits = read_splits(work / "splits" / "splits.json")
    ledger = tuple(read_ledger(ledger_path(project)))
    explain = require(work / "explain", "explain")
    evidence = read_evidence(project / EVIDENCE_FILE)
    return Results(
        cohort=cohort,
        synthetic=is_synthetic(project / cohort.root),
        truth_known=(project / cohort.root / GROUND_TRUTH).is_dir(),
        checked_out=len(read_checked_cohort(checked).excluded),
        splits=splits,
        participants=_participants(project / cohort.root / PARTICIPANTS_TABLE),
        measures=_measures(work / "quality" / "measures.tsv"),
        preprocessing_digest=read_json(require(work / "preprocessed" / "summary.json", "preprocess"))[
            "digest"
        ],
        metrics={name: SetMetrics(**metrics[name]) for name in in_paper_order(metrics)},
        out_of_fold=_out_of_fold(require(work / "evaluation" / "out_of_fold.tsv", "evaluate")),
        figures=require(work / "evaluation" / "figures", "evaluate"),
        evidence=evidence,
        robustness=read_robustness(project / ROBUSTNESS_FILE),
        explanations=_explanations(explain),
        galleries=tuple(in_paper_order({path.parent.name for path in explain.glob(f"*/{GALLERY}")})),
        tuned=_tuned(work / "tuning" / "best.json"),
        votes=read_votes(work / "vote", splits, ledger, seed, evidence.resamples),
        ledger=ledger,
    )


def count_subjects(results: Results) -> list[tuple[str, int, int]]:
    """Rows (label, in the cross-validation, in the test set), and their sum as the last row."""
    labels, test = results.splits.labels, set(results.splits.test)
    counts = Counter((label, subject in test) for subject, label in labels.items())
    rows = [(label, counts[label, False], counts[label, True]) for label in LABELS]
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def _participants(path: Path) -> Mapping[str, Participant]:
    table = read_participants(path)
    if not table.has_ids:
        raise CohortError(report_text(path.parent.name, table.problems))
    return table.participants


def _measures(path: Path) -> dict[str, dict[str, float | None]]:
    if not path.is_file():
        return {}
    return {row.pop("participant_id"): {k: _number(v) for k, v in row.items()} for row in read_rows(path)}


def _number(text: str) -> float | None:
    # a column of words (marks) and a missing value alike have no number
    try:
        return float(text)
    except ValueError:
        return None


def _out_of_fold(path: Path) -> dict[str, Scored]:
    rows = read_rows(path)
    return {
        name: tuple((row["label"], float(row["p_rice"])) for row in rows if row["modality_set"] == name)
        for name in in_paper_order({row["modality_set"] for row in rows})
    }


def _explanations(folder: Path) -> tuple[Explanation, ...]:
    found = [
        Explanation(read_json(path), require(path.with_name("figure.png"), "explain"))
        for path in sorted(folder.glob("*/*/summary.json"))
    ]
    order = in_paper_order({e.summary["modality_set"] for e in found})
    return tuple(sorted(found, key=lambda e: order.index(e.summary["modality_set"])))


def _tuned(path: Path) -> dict[str, Sequence[Values]]:
    found = read_tuned(require(path, "tune")).folds_of
    return {name: found[name] for name in in_paper_order(found)}
