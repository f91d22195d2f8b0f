"""The results of all stages, read from a project folder into what the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from ricenet.cohort.checked import CheckedCohort, read_checked_cohort, read_usable_cohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import GROUND_TRUTH, PARTICIPANTS_TABLE
from ricenet.cohort.participants import Participant, read_participants
from ricenet.cohort.problems import report_text
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.tuned import Values, read_tuned
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, Evidence, read_evidence
from ricenet.evaluation.evidence.visits import VISITS_FILE, VisitEvidence, read_visit_evidence
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Explanation
from ricenet.evaluation.occlusion.map_summary import MapSummary
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Robustness, read_robustness
from ricenet.inference.test_ledger import LedgerRow, ledger_path, read_ledger
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.report.missing_volumes_table import training_seconds
from ricenet.report.promoted_votes import PromotedVote, name_of_test_set, no_vote_text, read_votes
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import read_json
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require
from ricenet.study.accepted import SealedStudy, Validation, accepted_validations, sealed_studies
from ricenet.vocabulary import Volumes

GALLERY = "index.html"


class Scored(NamedTuple):
    """Of every subject outside the test set: whether it has RICE, its p_rice, and who it is."""

    is_rice: tuple[bool, ...]
    p_rice: tuple[float, ...]
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedSubject:
    """One explained prediction, and where its figure lies."""

    explanation: Explanation
    figure: Path

    @property
    def together(self) -> MapSummary:
        """Of the map of hiding all volumes at once."""
        return self.explanation.maps[TOGETHER]


@dataclass(frozen=True)
class Results:
    """Everything that the page reports of a run.

    truth_known: the cohort holds its maker's ground truth. checked_out: how many of the excluded subjects,
    who come first, the check of the cohort took out; preprocessing excluded the others. measures: of quality
    control by subject, empty where it has not run. galleries: modality sets with a gallery of occlusion
    maps; case_pages: subjects with a page, by modality set. quality_pages: subjects with one.
    tuned: the settings of each fold, of sets that were searched for. marks: of quality control, in words.
    scalars: of the subjects outside the test set, as the evidence measured them (lesion_ml, lesion_dose_gy).
    studies: packages that were sealed here, by seal; validations: what other hospitals found of them.
    training_seconds: by modality set, where networks that may lack volumes are compared with others.
    visits: where a patient has several.
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
    explanations: tuple[ExplainedSubject, ...]
    galleries: tuple[str, ...]
    case_pages: Mapping[str, frozenset[str]]
    quality_pages: frozenset[str]
    tuned: Mapping[str, Sequence[Values]]
    votes: Mapping[str, PromotedVote]
    ledger: tuple[LedgerRow, ...]
    studies: Mapping[str, SealedStudy] = field(default_factory=dict)
    validations: tuple[Validation, ...] = ()
    training_seconds: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scalars: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    visits: VisitEvidence | None = None

    def calibrated_text(self, of: Explanation) -> str:
        """The calibrated p_rice of an explained subject, by its folds' recalibrations, or nothing."""
        if (found := self.evidence.calibration.get(of.modality_set)) is None:
            return ""
        votes = [vote for vote in of.votes if vote.held_out]
        p_rice = [recalibrated(np.array(v.p_rice), found.recalibrations[v.fold]) for v in votes]
        return f"{np.mean(p_rice):.3f} calibrated, "

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

    def counts(self) -> list[tuple[str, int, int]]:
        """Rows (label, subjects in the cross-validation, in the test set), and their sum as the last row."""
        places = (self.splits.development, self.splits.test)
        development, test = (Counter(self.splits.labels[s] for s in subjects) for subjects in places)
        rows = [(label, development[label], test[label]) for label in self.splits.label_names]
        return [*rows, ("all", development.total(), test.total())]


def read_results(project: Path, seed: int) -> Results:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    metrics = read_result(work / "evaluation" / "metrics.json", "evaluate")
    checked = work / "cohort" / "cohort.json"
    cohort = read_usable_cohort(checked, work / "cohort" / "excluded.json")
    splits = read_splits(work / "splits" / "splits.json")
    ledger = tuple(read_ledger(ledger_path(project)))
    explain = require(work / "explain", "explain")
    evidence = read_evidence(project / EVIDENCE_FILE)
    volumes = evidence.volumes
    tuned = read_tuned(require(work / "tuning" / "best.json", "tune")).folds_of
    preprocessed = read_summary(work / "preprocessed")
    return Results(
        cohort=cohort,
        synthetic=is_synthetic(project / cohort.root),
        truth_known=(project / cohort.root / GROUND_TRUTH).is_dir(),
        checked_out=len(read_checked_cohort(checked).excluded),
        splits=splits,
        participants=read_participants_of(project / cohort.root / PARTICIPANTS_TABLE, cohort.patients),
        measures=read_measures(work / "quality" / "measures.tsv"),
        preprocessing_digest=preprocessed["digest"],
        metrics={name: SetMetrics(**metrics[name]) for name in volumes.in_order(metrics)},
        out_of_fold=_out_of_fold(require(work / "evaluation" / "out_of_fold.tsv", "evaluate"), volumes),
        figures=require(work / "evaluation" / "figures", "evaluate"),
        evidence=evidence,
        robustness=read_robustness(project / ROBUSTNESS_FILE),
        explanations=_explanations(explain, volumes),
        galleries=tuple(volumes.in_order({path.parent.name for path in explain.glob(f"*/{GALLERY}")})),
        case_pages={
            name: frozenset(path.parent.name for path in explain.glob(f"{name}/*/{GALLERY}"))
            for name in volumes.in_order({path.name for path in explain.iterdir() if path.is_dir()})
        },
        quality_pages=frozenset(path.stem for path in (work / "quality").glob("*.html")) - {"index"},
        tuned={name: tuned[name] for name in volumes.in_order(tuned)},
        votes=read_votes(work / "vote", splits, ledger, seed, evidence),
        ledger=ledger,
        studies=sealed_studies(project),
        validations=accepted_validations(project),
        training_seconds=training_seconds(work / "training", work / "store/folds", volumes.in_order(metrics))
        if evidence.missing_volumes
        else {},
        marks=_marks(work / "quality" / "marked.json"),
        scalars=read_measures(work / "evidence" / "scalars.tsv"),
        visits=read_visit_evidence(project / VISITS_FILE),
    )


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


def _marks(path: Path) -> dict[str, tuple[str, ...]]:
    found = read_json(path) if path.is_file() else {}
    return {subject: tuple(mark["reason"] for mark in marks) for subject, marks in found.items()}


def _number(text: str) -> float | None:
    # a column of words (marks) and a missing value alike have no number
    try:
        return float(text)
    except ValueError:
        return None


def _out_of_fold(path: Path, volumes: Volumes) -> dict[str, Scored]:
    by_set: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(path):
        by_set.setdefault(row["modality_set"], []).append(row)
    return {
        name: Scored(
            tuple(row["label"] == "rice" for row in by_set[name]),
            tuple(float(row["p_rice"]) for row in by_set[name]),
            tuple(row["participant_id"] for row in by_set[name]),
        )
        for name in volumes.in_order(by_set)
    }


def _explanations(folder: Path, volumes: Volumes) -> tuple[ExplainedSubject, ...]:
    return tuple(
        ExplainedSubject(Explanation.read(path, "explain"), require(path.with_name("figure.png"), "explain"))
        for name in volumes.in_order({path.name for path in folder.iterdir()})
        for path in sorted(folder.glob(f"{name}/*/summary.json"))
    )
