"""What every run has, whatever labels it tells apart, read into what its page shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ricenet.cohort.checked import CheckedCohort, read_checked_cohort, read_usable_cohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import Participant, read_participants
from ricenet.cohort.problems import report_text
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.tuned import Values
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Robustness, read_robustness
from ricenet.inference.test_ledger import LedgerRow, ledger_path, read_ledger
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.report.promoted_votes import PromotedVote, name_of_test_set, no_vote_text
from ricenet.runtime.errors import CohortError
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require
from ricenet.vocabulary import Volumes

if TYPE_CHECKING:
    from ricenet.evaluation.evidence.record import Evidence
    from ricenet.evaluation.labels.record import LabelEvidence


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """Everything that the page of any run reports.

    checked_out: how many of the excluded subjects, who come first, the check of the cohort took out;
    preprocessing excluded the others. measures: of quality control by subject, empty where it has not run.
    votes: of promoted models, by modality set. tuned: settings of each fold, of sets that were searched for.
    """

    cohort: CheckedCohort
    synthetic: bool
    checked_out: int
    splits: Splits
    participants: Mapping[str, Participant]
    measures: Mapping[str, Mapping[str, float | None]]
    preprocessing_digest: str
    metrics: Mapping[str, SetMetrics]
    figures: Path
    evidence: Evidence | LabelEvidence
    robustness: Robustness
    ledger: tuple[LedgerRow, ...]
    votes: Mapping[str, PromotedVote]
    tuned: Mapping[str, Sequence[Values]]

    @property
    def volumes(self) -> Volumes:
        """As declared for this run."""
        return self.evidence.volumes

    def ordered(self, sets: Iterable[str]) -> list[str]:
        """The modality sets among some, small ones first."""
        return self.volumes.in_order(sets)

    def titles(self, sets: Iterable[str], separator: str = " + ") -> dict[str, str]:
        """Modality sets with their titles."""
        return {name: self.volumes.set_title(name, separator) for name in sets}

    @property
    def cohort_name(self) -> str:
        """The name of the cohort's folder; not where it lies, since that may name a person."""
        return PurePath(self.cohort.root).name

    @property
    def evaluations(self) -> int:
        """How often this test set was evaluated, by the ledger."""
        return sum(row.test_set == name_of_test_set(self.splits) for row in self.ledger)

    @property
    def no_vote(self) -> str:
        """What to say of the test set; empty where a model has voted."""
        return no_vote_text(bool(self.votes), self.splits, self.evaluations)


def read_run(project: Path, volumes: Volumes) -> dict[str, Any]:
    """The fields of `RunResults` but for evidence, votes and tuned settings. volumes: of the evidence.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    metrics = read_result(work / "evaluation" / "metrics.json", "evaluate")
    checked = work / "cohort" / "cohort.json"
    cohort = read_usable_cohort(checked, work / "cohort" / "excluded.json")
    return {
        "cohort": cohort,
        "synthetic": is_synthetic(project / cohort.root),
        "checked_out": len(read_checked_cohort(checked).excluded),
        "splits": read_splits(work / "splits" / "splits.json"),
        "participants": read_participants_of(project / cohort.root / PARTICIPANTS_TABLE, cohort.patients),
        "measures": read_measures(work / "quality" / "measures.tsv"),
        "preprocessing_digest": read_summary(work / "preprocessed")["digest"],
        "metrics": {name: SetMetrics.model_validate(metrics[name]) for name in volumes.in_order(metrics)},
        "figures": require(work / "evaluation" / "figures", "evaluate"),
        "robustness": read_robustness(project / ROBUSTNESS_FILE),
        "ledger": tuple(read_ledger(ledger_path(project))),
    }


def read_participants_of(path: Path, patients: Mapping[str, str]) -> Mapping[str, Participant]:
    """The faultless rows of a participants table, by subject.

    patients: of later visits; each has its patient's row, since it may be the first event.
    Raises CohortError: the table cannot be read.
    """
    table = read_participants(path, None)
    if not table.columns:
        raise CohortError(report_text(path.parent.name, table.problems))
    rows = table.participants
    return {**rows, **{visit: rows[patient] for visit, patient in patients.items() if patient in rows}}


def read_measures(path: Path) -> dict[str, dict[str, float | None]]:
    """Of quality control by subject; empty where it has not run."""
    rows = read_rows(path) if path.is_file() else []
    return {row.pop("participant_id"): {k: _number(v) for k, v in row.items()} for row in rows}


def _number(text: str) -> float | None:
    # a column of words (marks) and a missing value alike have no number
    try:
        return float(text)
    except ValueError:
        return None
