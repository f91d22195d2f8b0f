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
from ricenet.evaluation.labels.metrics import confusion_counts
from ricenet.evaluation.metrics import LabelConfusion, confusion_matrix, macro_f1
from ricenet.inference.label_answers import LabelDecision, LabelVote, count_label_votes, label_vote_table
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
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.ensemble_record import read_record
from ricenet.training.label_predictions import macro_f1_of_classes, positions
from ricenet.training.predictions import THRESHOLD
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import LABELS, LabelNames, is_rice_task

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
    threshold: DecisionThreshold | LabelDecision | None = None


@dataclass(frozen=True)
class VoteResult:
    """What the test set says of one ensemble; confusion is ((tn, fp), (fn, tp)), or (K, K) of K labels.

    evaluation: the count of evaluations on this test set, this one included. label_sets: how many of the
    version's sets of labels hold the true one, or why it has none.
    """

    macro_f1: float
    confusion: LabelConfusion
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
    Raises RegistryError: files of an ensemble that are damaged, or one of other labels. ScanError: volumes
    that cannot be read.
    """
    work = project / "work"
    splits = read_splits(work / "splits" / "splits.json")
    labels = {subject: splits.labels[subject] for subject in splits.test}
    results, tables = dict[str, VoteResult](), dict[str, str]()
    for voter in voters:
        _require_labels(voter, splits.label_names)
    for voter in voters:
        votes = _votes(work, voter, labels, splits.label_names)
        truth, predicted = list(labels.values()), [vote.predicted for vote in votes]
        score, confusion = _judged(truth, predicted, splits.label_names)
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
        tables[voter.modality_set] = _table(votes)
        two = [vote.decision for vote in votes if isinstance(vote, SubjectVote)]
        # of other labels than the paper's two they are not judged on the test set yet
        sets = sets_on_test(truth, two) if is_rice_task(splits.label_names) else None
        found = VoteResult(score, confusion, len(votes), voter.digest, row.evaluation, sets)
        results[voter.modality_set] = found
        said = "%s version %s: test macro-F1 %.3f (n=%d), test-set evaluation %d"
        logger.info(said, voter.model, voter.version, score, found.n, found.evaluation)
        for sentence in coverage_sentences(sets) if sets is not None else ():
            logger.info("%s version %s: %s", voter.model, voter.version, sentence)
    with atomic_folder(work / "vote") as folder:
        # whole: DVC leaves in it what former champions said
        for name, table in tables.items():
            write_text(folder / f"{name}.tsv", table)
        write_json(folder / "vote.json", {name: asdict(result) for name, result in results.items()})
    return results


def _require_labels(voter: Voter, label_names: LabelNames) -> None:
    """Make sure that an ensemble tells the labels of the splits apart. Raises RegistryError."""
    trained = read_record(voter.files).label_names
    if trained != label_names:
        raise RegistryError(
            f"{voter.model} version {voter.version} was trained to tell {', '.join(trained)} apart, but "
            f"params.yaml and the splits declare {', '.join(label_names)}, so that it cannot be judged on "
            "their test set. Train with these labels and promote that version, or set labels back"
        )


def _judged(
    truth: Sequence[str], predicted: Sequence[str], label_names: LabelNames
) -> tuple[float, LabelConfusion]:
    """Macro-F1 and confusion."""
    if is_rice_task(label_names):
        return macro_f1(truth, predicted), confusion_matrix(truth, predicted)
    known, said = positions(truth, label_names), positions(predicted, label_names)
    classes = len(label_names)
    return macro_f1_of_classes(known, said, classes), confusion_counts(known, said, classes)


def _table(votes: Sequence[SubjectVote] | Sequence[LabelVote]) -> str:
    of_labels = [vote for vote in votes if isinstance(vote, LabelVote)]
    return label_vote_table(of_labels) if of_labels else vote_table(votes)  # type: ignore[arg-type]


def user_at_host() -> str:
    """Whoever evaluates, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # in a container a user may have a number alone
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _votes(
    work: Path, voter: Voter, labels: Mapping[str, str], label_names: LabelNames
) -> list[SubjectVote] | list[LabelVote]:
    ensemble = Ensemble.load(voter.files)
    names = [spec.name for spec in ensemble.members]
    grid = ensemble.record.grid
    known = _variables(work, ensemble)
    # one at a time: a cohort's volumes at the paper's scale do not fit into memory together
    two = is_rice_task(label_names)
    folds = [
        (ensemble.predict if two else ensemble.probabilities)(
            read_volumes(work / "preprocessed" / subject, subject, names, grid)[np.newaxis],
            {subject: known.get(subject, {})},
        )
        for subject in labels
    ]
    subjects, truth, said = list(labels), list(labels.values()), np.concatenate(folds)
    return voted(subjects, truth, said, label_names, voter.threshold)


def voted(
    subjects: Sequence[str],
    labels: Sequence[str],
    folds: NDArray[np.float64],
    label_names: LabelNames,
    threshold: DecisionThreshold | LabelDecision | None,
) -> list[SubjectVote] | list[LabelVote]:
    """The vote on every subject. folds: (N, folds) of the paper's two labels, else (N, folds, K)."""
    if isinstance(threshold, LabelDecision) or folds.ndim > 2:
        decision = threshold if isinstance(threshold, LabelDecision) else None
        return count_label_votes(subjects, labels, folds, label_names, decision)
    return count_votes(subjects, labels, folds, threshold)


def _variables(work: Path, ensemble: Ensemble) -> Mapping[str, SubjectVariables]:
    """The cohort's variables by subject, where the networks use them."""
    if not ensemble.record.network.uses_variables:
        return {}
    cohort = read_usable_cohort(work.parent / CHECKED_COHORT_FILE, work.parent / EXCLUDED_FILE)
    return variables_of(cohort, work / "preprocessed")
