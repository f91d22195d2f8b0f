"""The folds' majority vote: on one subject, and of champions on the independent test set.

Source: RICE-NET section 2 (majority vote of the five folds on the test set).
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import CHECKED_COHORT_FILE, EXCLUDED_FILE, read_usable_cohort
from ricenet.cohort.splits import read_splits
from ricenet.evaluation.metrics import Confusion, confusion_matrix, macro_f1
from ricenet.inference.test_label_sets import SetsOnTest, coverage_sentences, set_text, sets_on_test
from ricenet.inference.test_ledger import (
    UNKNOWN,
    LedgerRow,
    identify_test_set,
    ledger_path,
    record_evaluation,
)
from ricenet.inference.three_way import NO_EVIDENCE, DecisionThreshold, ThreeWayAnswer, three_way_answer
from ricenet.preprocessing.network_input import read_volumes
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.predictions import THRESHOLD
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import LABELS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubjectVote:
    """One subject: every fold's p_rice, how many folds say rice, and what they decide.

    decision: the same, or indeterminate where confidence is too low, with the reason.
    """

    participant_id: str
    label: str
    p_rice_folds: tuple[float, ...]
    votes_rice: int
    p_rice: float
    predicted: str
    decision: ThreeWayAnswer = NO_EVIDENCE

    @property
    def three_way(self) -> str:
        """rice, recurrence or indeterminate; n/a where no threshold is known."""
        return self.decision.answer

    @property
    def p_rice_calibrated(self) -> float | None:
        """The mean of the folds' recalibrated probabilities."""
        return self.decision.p_rice

    @property
    def calibrated_text(self) -> str:
        """The calibrated p_rice for a table."""
        return UNKNOWN if self.p_rice_calibrated is None else f"{self.p_rice_calibrated:.6f}"


@dataclass(frozen=True)
class Voter:
    """A champion that may vote on the test set.

    files: a folder that `Ensemble.load` takes. gate: how it passed the gate, in a word of the ledger.
    """

    modality_set: str
    model: str
    version: str
    digest: str
    files: Path
    gate: str
    threshold: DecisionThreshold | None = None


@dataclass(frozen=True)
class VoteResult:
    """What the test set says of one ensemble; confusion is ((tn, fp), (fn, tp)).

    evaluation: the count of evaluations on this test set, this one included. label_sets: how many of the
    version's sets of labels hold the true one, or why it has none.
    """

    macro_f1: float
    confusion: Confusion
    n: int
    digest: str
    evaluation: int
    label_sets: SetsOnTest | None = None


def votes_for_rice(p_rice_folds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many folds say rice. p_rice_folds: (N, folds), each fold's p_rice. Returns (N,)."""
    votes: NDArray[np.int64] = np.count_nonzero(p_rice_folds >= THRESHOLD, axis=1)
    return votes


def count_votes(
    subjects: Sequence[str],
    labels: Sequence[str],
    p_rice_folds: NDArray[np.float64],
    threshold: DecisionThreshold | None = None,
) -> list[SubjectVote]:
    """The vote on every subject. p_rice_folds: (N, folds), rows in the order of `subjects`.

    threshold: of the three-way vote; None where it is not known.
    """
    votes, are_rice = votes_for_rice(p_rice_folds), majority_vote(p_rice_folds)
    return [
        SubjectVote(
            participant_id=subject,
            label=label,
            p_rice_folds=tuple(float(p) for p in p_rice_folds[i]),
            votes_rice=int(votes[i]),
            p_rice=float(p_rice_folds[i].mean()),
            predicted=LABELS[int(are_rice[i])],
            decision=three_way_answer(p_rice_folds[i].tolist(), threshold),
        )
        for i, (subject, label) in enumerate(zip(subjects, labels, strict=True))
    ]


def vote_table(votes: Sequence[SubjectVote]) -> str:
    """The votes as a tab-separated table, a row per subject."""
    folds = [f"fold_{k}" for k in range(len(votes[0].p_rice_folds))] if votes else []
    header = [
        "participant_id",
        "label",
        *folds,
        "votes_rice",
        "p_rice",
        "p_rice_calibrated",
        "predicted",
        "three_way",
        "label_set",
    ]
    rows = [
        [
            *(v.participant_id, v.label, *(f"{p:.6f}" for p in v.p_rice_folds)),
            *(v.votes_rice, f"{v.p_rice:.6f}", v.calibrated_text, v.predicted, v.three_way),
            set_text(v.decision.labels, UNKNOWN),
        ]
        for v in votes
    ]
    return table_text(header, rows)


def vote_on_test_set(project: Path, voters: Sequence[Voter], who: str | None = None) -> dict[str, VoteResult]:
    """Let champions vote on the test set of the splits at hand; writes work/vote/ and the ledger.

    who: is written into the ledger; None for nobody. Returns the results by modality set.
    Raises RegistryError: files of an ensemble that are damaged. ScanError: volumes that cannot be read.
    """
    work = project / "work"
    splits = read_splits(work / "splits" / "splits.json")
    labels = {subject: splits.labels[subject] for subject in splits.test}
    results, tables = dict[str, VoteResult](), dict[str, str]()
    for voter in voters:
        votes = _votes(work, voter, labels)
        truth, predicted = list(labels.values()), [vote.predicted for vote in votes]
        score = macro_f1(truth, predicted)
        row = record_evaluation(
            ledger_path(project),
            LedgerRow(
                utc="",
                modality_set=voter.modality_set,
                model=voter.model,
                version=voter.version,
                digest12=voter.digest[:12],
                n=len(votes),
                macro_f1=f"{score:.6f}",
                evaluation=0,
                test_set=identify_test_set(labels),
                gate=voter.gate,
                who=who or UNKNOWN,
            ),
        )
        tables[voter.modality_set] = vote_table(votes)
        confusion = confusion_matrix(truth, predicted)
        sets = sets_on_test(truth, [vote.decision for vote in votes])
        found = VoteResult(score, confusion, len(votes), voter.digest, row.evaluation, sets)
        results[voter.modality_set] = found
        said = "%s version %s: test macro-F1 %.3f (n=%d), test-set evaluation %d"
        logger.info(said, voter.model, voter.version, score, found.n, found.evaluation)
        for sentence in coverage_sentences(sets):
            logger.info("%s version %s: %s", voter.model, voter.version, sentence)
    with atomic_folder(work / "vote") as folder:
        # whole: DVC leaves in it what former champions said
        for name, table in tables.items():
            write_text(folder / f"{name}.tsv", table)
        write_json(folder / "vote.json", {name: asdict(result) for name, result in results.items()})
    return results


def user_at_host() -> str:
    """Whoever evaluates, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # in a container a user may have a number alone
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _votes(work: Path, voter: Voter, labels: Mapping[str, str]) -> list[SubjectVote]:
    ensemble = Ensemble.load(voter.files)
    names = [spec.name for spec in ensemble.members]
    grid = ensemble.record.grid
    known = _variables(work, ensemble)
    # one at a time: a cohort's volumes at the paper's scale do not fit into memory together
    p_rice_folds = [
        ensemble.predict(
            read_volumes(work / "preprocessed" / subject, subject, names, grid)[np.newaxis],
            {subject: known.get(subject, {})},
        )
        for subject in labels
    ]
    return count_votes(list(labels), list(labels.values()), np.concatenate(p_rice_folds), voter.threshold)


def _variables(work: Path, ensemble: Ensemble) -> Mapping[str, SubjectVariables]:
    """The cohort's variables by subject, where the networks use them."""
    if not ensemble.record.network.uses_variables:
        return {}
    cohort = read_usable_cohort(work.parent / CHECKED_COHORT_FILE, work.parent / EXCLUDED_FILE)
    return variables_of(cohort, work / "preprocessed")
