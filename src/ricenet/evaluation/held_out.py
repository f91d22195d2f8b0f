"""Out-of-fold predictions: read and checked against the splits, and as columns of the subjects in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import CheckedCohort, having
from ricenet.cohort.splits import Splits
from ricenet.cohort.visit_names import later_sample
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.intervals import Probabilities, Truth
from ricenet.evaluation.metrics import chance_level
from ricenet.runtime.errors import ResultError
from ricenet.runtime.tables import require
from ricenet.training.label_predictions import LabelPrediction
from ricenet.training.predictions import THRESHOLD, Prediction, predictions_file, read_predictions
from ricenet.training.task import PREDICTIONS
from ricenet.vocabulary import Volumes

_NAMED = 5


def read_out_of_fold(
    training: Path,
    modality_set: str,
    splits: Splits,
    excluded: Collection[str] = (),
    file: str = PREDICTIONS,
) -> list[Prediction]:
    """Every training subject's prediction by the fold that held it out, alphabetically by subject.

    Of a patient with several visits, that of the first event. training: the folder with
    `<modality_set>/fold-<k>/predictions.tsv`. excluded: subjects that lack a volume of the set. file: another
    one than that of all volumes, of networks that may lack some.
    Raises ResultError: a missing file; a subject that is missing, predicted twice, in another fold
    than in the splits, with another label, or with a p_rice that is no probability.
    """
    found = read_visits_out_of_fold(training, modality_set, splits, excluded, file)
    return [p for p in found if p.participant_id in splits.labels]


def read_visits_out_of_fold(
    training: Path,
    modality_set: str,
    splits: Splits,
    excluded: Collection[str] = (),
    file: str = PREDICTIONS,
) -> list[Prediction]:
    """The same of every labelled visit. Raises ResultError: as `read_out_of_fold`."""
    predictions: list[Prediction] = []
    labels = splits.labels_of_visits
    for k in range(len(splits.folds)):
        found = read_predictions(require(training / modality_set / f"fold-{k}" / file, "train"))
        expected = set(splits.validation_subjects(k)) - set(excluded)
        for problem in _problems(found, expected, labels):
            remedy = "Train this fold again with the current splits"
            raise ResultError(f"{modality_set}, fold {k}: {problem}. {remedy}")
        predictions += found
    return sorted(predictions, key=lambda p: p.participant_id)


def first_visits(predictions: Sequence[Prediction]) -> list[Prediction]:
    """One prediction a patient, that of the first labelled visit, where no division is at hand to say so."""
    names = {p.participant_id for p in predictions}
    of_visits = {name: found for name in names if (found := later_sample(name)) is not None}
    first = {
        patient: min(visit for one, visit in of_visits.values() if one == patient)
        for patient, _ in of_visits.values()
    }
    return [
        p
        for p in predictions
        if (named := of_visits.get(p.participant_id)) is None
        or (named[0] not in names and named[1] == first[named[0]])
    ]


def read_by_subset(
    training: Path, modality_set: str, splits: Splits, excluded: Collection[str], volumes: Volumes
) -> dict[str, list[Prediction]]:
    """The predictions of networks that may lack volumes, by the volumes that were there, small subsets first.

    Raises ResultError: as `read_out_of_fold`.
    """
    *subsets, everything = volumes.subsets(modality_set)
    files = {**{subset: predictions_file(subset) for subset in subsets}, everything: PREDICTIONS}
    return {
        subset: read_out_of_fold(training, modality_set, splits, excluded, file)
        for subset, file in files.items()
    }


def lacking(cohort: CheckedCohort, splits: Splits, modality_set: str) -> set[str]:
    """The subjects outside the test set that lack a volume of a modality set, and are excluded from it."""
    return set(splits.visits_of(splits.development)) - set(having(cohort, modality_set))


def misplaced(found: Sequence[Prediction | LabelPrediction], expected: set[str]) -> Iterator[str]:
    """Subjects that a fold predicts twice, or not, or that it does not hold out."""
    times = Counter(p.participant_id for p in found)
    for subject in sorted(times):
        if times[subject] > 1:
            yield f"{subject} is predicted {times[subject]} times"
        if subject not in expected:
            yield f"{subject} is predicted, but splits.json holds it out elsewhere"
    yield from (f"{subject} has no prediction" for subject in sorted(expected - times.keys()))


def _problems(found: Sequence[Prediction], expected: set[str], labels: Mapping[str, str]) -> Iterator[str]:
    yield from misplaced(found, expected)
    for p in found:
        subject, truth = p.participant_id, labels[p.participant_id]
        if not 0 <= p.p_rice <= 1:
            yield f"{subject} has p_rice {p.p_rice}, which is no probability"
        if p.label != truth:
            yield f"{subject} is {p.label} in the predictions and {truth} in splits.json"


@dataclass(frozen=True)
class HeldOut:
    """Subjects in alphabetical order. is_rice, fold: (N,). p_rice: by name of the classification, (N,)."""

    subjects: tuple[str, ...]
    is_rice: Truth
    fold: NDArray[np.int64]
    p_rice: Mapping[str, Probabilities]

    @classmethod
    def of(cls, predictions: Mapping[str, Sequence[Prediction]]) -> Self:
        """The subjects that all classifications predict; folds are those of the first.

        Raises ResultError: a subject that is predicted twice, or has two labels.
        """
        by_subject = {name: _by_subject(name, rows) for name, rows in predictions.items()}
        (first, known), *others = by_subject.items()
        subjects = sorted(set(known).intersection(*by_subject.values()))
        for name, other in others:
            if unlike := [s for s in subjects if other[s].label != known[s].label]:
                raise ResultError(
                    f"{first} and {name} call {_listed(unlike)} by different labels. Labels were changed in "
                    "between: train the older one again (`dvc repro`), so that both are judged by one truth"
                )
        return cls(
            subjects=tuple(subjects),
            is_rice=np.array([known[s].label == "rice" for s in subjects], dtype=np.bool_),
            fold=np.array([known[s].fold for s in subjects], dtype=np.int64),
            p_rice={
                name: np.array([of_name[s].p_rice for s in subjects], dtype=np.float64)
                for name, of_name in by_subject.items()
            },
        )

    @property
    def folds(self) -> list[int]:
        """The folds that occur, rising."""
        return sorted({int(fold) for fold in self.fold})

    @property
    def least(self) -> int:
        """Subjects of the rarer label; intervals and tests need two."""
        return int(min(self.is_rice.sum(), (~self.is_rice).sum()))

    @property
    def chance_macro_f1(self) -> float:
        """The chance level among these subjects."""
        rice = int(self.is_rice.sum())
        return chance_level(len(self.is_rice) - rice, rice)

    def of_subjects(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """Some of the subjects. chosen: (N,)."""
        subjects = tuple(s for s, is_chosen in zip(self.subjects, chosen, strict=True) if is_chosen)
        p_rice = {name: values[chosen] for name, values in self.p_rice.items()}
        return HeldOut(subjects, self.is_rice[chosen], self.fold[chosen], p_rice)

    def with_folds(self, fold: NDArray[np.int64]) -> HeldOut:
        """The same subjects in other folds (N,), for what is yet to answer: without any p_rice."""
        return HeldOut(self.subjects, self.is_rice, fold, {})

    def resampling(self, seed: int, resamples: int) -> Resampling:
        """Draws of these subjects, the same ones for whatever is estimated with them."""
        return Resampling.of(self.is_rice, seed, resamples)

    def right(self, name: str) -> NDArray[np.bool_]:
        """Which subjects a classification gets right (N,)."""
        right: NDArray[np.bool_] = (self.p_rice[name] >= THRESHOLD) == self.is_rice
        return right


def _by_subject(name: str, rows: Sequence[Prediction]) -> dict[str, Prediction]:
    found = {p.participant_id: p for p in rows}
    if len(found) < len(rows):
        raise ResultError(
            f"{name} predicts a subject in two folds, so that it is not held out. Train it again "
            "(`dvc repro`)"
        )
    return found


def _listed(subjects: Sequence[str]) -> str:
    more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    return ", ".join(subjects[:_NAMED]) + more
