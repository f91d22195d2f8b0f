"""What the package's networks answer about a cohort; each subject's answer is kept in the private folder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.inference.predict_subject import Predictor
from ricenet.inference.test_vote import SubjectVote, count_votes, vote_table
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.records import Record
from ricenet.runtime.store import Store
from ricenet.study.cohort import StudyCohort
from ricenet.study.open_package import StudyPackage
from ricenet.training.ensemble import majority_vote
from ricenet.vocabulary import VariableValue

_FILE = "answer.json"


class _Answer(Record):
    """p_rice_folds: each fold's. outside: whether a measurement is beyond the training subjects'."""

    p_rice_folds: tuple[float, ...]
    outside: bool


@dataclass(frozen=True)
class CohortAnswers:
    """Of the judged subjects, in order. p_rice, calibrated: (N,); the latter None where it is not known.

    says_rice: the majority's answer. outside: how many lie outside the training ranges; None: not compared.
    """

    is_rice: NDArray[np.bool_]
    p_rice: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None
    says_rice: NDArray[np.bool_]
    votes: Sequence[SubjectVote]
    outside: int | None

    @property
    def table(self) -> str:
        """A row a subject; it never leaves the private folder."""
        return vote_table(self.votes)


def cohort_answers(
    package: StudyPackage, cohort: StudyCohort, private: Path, execution: ExecutionParams
) -> CohortAnswers:
    """Preprocess every subject by the package's settings and let the folds vote.

    private: a folder that keeps each finished subject, so that a stopped run goes on.
    Raises CohortError: subjects that cannot be preprocessed, named; the others are kept.
    """
    store, subjects = Store(private / "store"), list(cohort.labels)
    checked = {subject.participant_id: subject for subject in cohort.checked.subjects}
    settings = [
        package.record.ensemble,
        package.record.seed,
        tool_versions(package.ensemble.known_preprocessing().brain),
        code_digest("ricenet.inference.predict_subject"),
    ]
    ranges = package.ranges.model_dump(mode="json")
    keys = {
        name: content_digest([name, checked[name].scans, checked[name].variables, ranges, *settings])
        for name in subjects
    }
    variables = {name: checked[name].variables for name in subjects}
    root = Path(cohort.checked.root).absolute()
    make = functools.partial(_answer_into, root, package.predictor, variables)
    remedy = "Correct their files, or list them in exclude.tsv, and run again"
    folders = per_subject("validation", make, keys, store, execution, remedy)
    answers = [_Answer.read(folders[name] / _FILE, "validate") for name in subjects]
    folds = np.array([answer.p_rice_folds for answer in answers], np.float64)
    decision = package.decision
    return CohortAnswers(
        is_rice=np.array([label == "rice" for label in cohort.labels.values()]),
        p_rice=folds.mean(axis=1),
        calibrated=None if decision is None else recalibrated(folds, decision.recalibration).mean(axis=1),
        says_rice=majority_vote(folds),
        votes=count_votes(subjects, list(cohort.labels.values()), folds, decision),
        outside=sum(answer.outside for answer in answers) if package.ranges.limits else None,
    )


def _answer_into(
    root: Path,
    predictor: Predictor,
    variables: dict[str, dict[str, VariableValue]],
    subject: str,
    folder: Path,
) -> None:
    record = predictor.ensemble.record
    prediction = predictor.subject(RawSubject(root, subject, record.volumes), variables[subject])
    # no package holds a model of other labels
    assert isinstance(prediction.vote, SubjectVote)
    outside = set(prediction.warnings) - set(predictor.ranges.not_compared)
    answer = _Answer(p_rice_folds=prediction.vote.p_rice_folds, outside=bool(outside))
    write_json(folder / _FILE, answer.model_dump(mode="json"))
