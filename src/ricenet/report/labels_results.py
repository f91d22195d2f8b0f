"""The results of a run with other labels than the paper's two, read into what its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.record import EVIDENCE_FILE
from ricenet.evaluation.labels.held_out import LabelHeldOut
from ricenet.evaluation.labels.metrics import confusion_counts, macro_f1_interval
from ricenet.evaluation.labels.record import LabelEvidence, read_label_evidence
from ricenet.evaluation.labels.scores import one_hot
from ricenet.inference.test_ledger import LedgerRow
from ricenet.report.promoted_votes import PromotedVote, evaluated_so_far
from ricenet.report.run_results import RunResults, read_run
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require
from ricenet.training.label_predictions import positions


@dataclass(frozen=True, kw_only=True)
class LabelResults(RunResults):
    """What the page reports beyond what every run has."""

    evidence: LabelEvidence


def read_label_results(project: Path, seed: int) -> LabelResults:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    evidence = read_label_evidence(project / EVIDENCE_FILE)
    run = read_run(project, evidence.volumes)
    votes = read_label_votes(project / "work" / "vote", run["splits"], run["ledger"], seed, evidence)
    return LabelResults(**run, evidence=evidence, votes=votes, tuned={})


def read_label_votes(
    folder: Path, splits: Splits, ledger: Sequence[LedgerRow], seed: int, evidence: LabelEvidence
) -> dict[str, PromotedVote]:
    """The votes that a stage `vote` wrote, by modality set.

    Raises ResultError: a file is missing.
    """
    content, votes = read_result(folder / "vote.json", "vote"), {}
    names = splits.label_names
    for name in evidence.volumes.in_order(content):
        rows = read_rows(require(folder / f"{name}.tsv", "vote"))
        truth, said = (positions([row[column] for row in rows], names) for column in ("label", "predicted"))
        subjects, digest = tuple(row["participant_id"] for row in rows), content[name]["digest"]
        hot = {name: one_hot(said, len(names))}
        voted = LabelHeldOut(subjects, names, truth, np.zeros(len(rows), np.int64), hot)
        evaluations, gate = evaluated_so_far(ledger, splits, digest)
        votes[name] = PromotedVote(
            macro_f1=macro_f1_interval(truth, said, voted, seed, evidence.resamples),
            confusion=confusion_counts(truth, said, len(names)),
            n=len(rows),
            digest=digest,
            evaluations=evaluations,
            gate=gate,
        )
    return votes
