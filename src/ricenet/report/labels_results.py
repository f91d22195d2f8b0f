"""The results of a run with other labels than the paper's two, read into what its page shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from ricenet.cohort.checked import CheckedCohort, read_checked_cohort, read_usable_cohort
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import Participant
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.tuned import Values
from ricenet.evaluation.evidence.record import EVIDENCE_FILE
from ricenet.evaluation.labels.held_out import LabelHeldOut
from ricenet.evaluation.labels.metrics import confusion_counts, macro_f1_interval
from ricenet.evaluation.labels.record import LabelEvidence, read_label_evidence
from ricenet.evaluation.labels.scores import one_hot
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Robustness, read_robustness
from ricenet.inference.test_ledger import UNKNOWN, LedgerRow, ledger_path, read_ledger
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.report.promoted_votes import PromotedVote, name_of_test_set, no_vote_text
from ricenet.report.results import read_measures, read_participants_of
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require
from ricenet.training.label_predictions import positions
from ricenet.vocabulary import Volumes


@dataclass(frozen=True)
class LabelResults:
    """Everything that the page reports; fields as of `ricenet.report.results.Results`."""

    cohort: CheckedCohort
    synthetic: bool
    checked_out: int
    splits: Splits
    participants: Mapping[str, Participant]
    measures: Mapping[str, Mapping[str, float | None]]
    preprocessing_digest: str
    metrics: Mapping[str, SetMetrics]
    figures: Path
    evidence: LabelEvidence
    robustness: Robustness
    votes: Mapping[str, PromotedVote]
    ledger: tuple[LedgerRow, ...]
    tuned: Mapping[str, Sequence[Values]]

    @property
    def volumes(self) -> Volumes:
        """As declared for this run."""
        return self.evidence.volumes

    @property
    def cohort_name(self) -> str:
        """The name of the cohort's folder; not where it lies, since that may name a person."""
        return PurePath(self.cohort.root).name

    def ordered(self, sets: Iterable[str]) -> list[str]:
        """The modality sets among some, small ones first."""
        return self.volumes.in_order(sets)

    def titles(self, sets: Iterable[str], separator: str = " + ") -> dict[str, str]:
        """Modality sets with their titles."""
        return {name: self.volumes.set_title(name, separator) for name in sets}

    @property
    def evaluations(self) -> int:
        """How often this test set was evaluated, by the ledger."""
        return sum(row.test_set == name_of_test_set(self.splits) for row in self.ledger)

    @property
    def no_vote(self) -> str:
        """What to say of the test set; empty where a model has voted."""
        return no_vote_text(bool(self.votes), self.splits, self.evaluations)


def read_label_results(project: Path, seed: int) -> LabelResults:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    metrics = read_result(work / "evaluation" / "metrics.json", "evaluate")
    checked = work / "cohort" / "cohort.json"
    cohort = read_usable_cohort(checked, work / "cohort" / "excluded.json")
    splits = read_splits(work / "splits" / "splits.json")
    ledger = tuple(read_ledger(ledger_path(project)))
    evidence = read_label_evidence(project / EVIDENCE_FILE)
    return LabelResults(
        cohort=cohort,
        synthetic=is_synthetic(project / cohort.root),
        checked_out=len(read_checked_cohort(checked).excluded),
        splits=splits,
        participants=read_participants_of(project / cohort.root / PARTICIPANTS_TABLE, cohort.patients),
        measures=read_measures(work / "quality" / "measures.tsv"),
        preprocessing_digest=read_summary(work / "preprocessed")["digest"],
        metrics={
            name: SetMetrics.model_validate(metrics[name]) for name in evidence.volumes.in_order(metrics)
        },
        figures=require(work / "evaluation" / "figures", "evaluate"),
        evidence=evidence,
        robustness=read_robustness(project / ROBUSTNESS_FILE),
        votes=read_label_votes(work / "vote", splits, ledger, seed, evidence),
        ledger=ledger,
        tuned={},
    )


def read_label_votes(
    folder: Path, splits: Splits, ledger: Sequence[LedgerRow], seed: int, evidence: LabelEvidence
) -> dict[str, PromotedVote]:
    """The votes that a stage `vote` wrote, by modality set.

    Raises ResultError: a file is missing.
    """
    content, votes = read_result(folder / "vote.json", "vote"), {}
    names = splits.label_names
    evaluations = [row for row in ledger if row.test_set == name_of_test_set(splits)]
    gates = {row.digest12: row.gate for row in evaluations}
    for name in evidence.volumes.in_order(content):
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        truth, said = (positions([row[column] for row in rows], names) for column in ("label", "predicted"))
        subjects, digest = tuple(row["participant_id"] for row in rows), content[name]["digest"]
        hot = {name: one_hot(said, len(names))}
        voted = LabelHeldOut(subjects, names, truth, np.zeros(len(rows), np.int64), hot)
        votes[name] = PromotedVote(
            macro_f1=macro_f1_interval(truth, said, voted, seed, evidence.resamples),
            confusion=confusion_counts(truth, said, len(names)),
            n=len(rows),
            digest=digest,
            # the vote itself is an evaluation, also where its row is kept elsewhere
            evaluations=max(len(evaluations), 1),
            gate=gates.get(digest[:12], UNKNOWN),
        )
    return votes
