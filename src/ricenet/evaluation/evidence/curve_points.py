"""What the stage `learning_curve` trained, as it is kept in work/learning_curve, and its held-out answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ricenet.cohort.splits import Splits
from ricenet.evaluation.held_out import HeldOut, read_out_of_fold
from ricenet.evaluation.intervals import Probabilities, Truth
from ricenet.runtime.records import Record
from ricenet.training.predictions import Prediction

TRAININGS_FILE = "learning_curve.json"


class CurveTraining(Record):
    """All folds of a modality set, trained on one draw of a share of its subjects; subjects: how many."""

    modality_set: str
    share: float
    draw: int
    subjects: int

    @property
    def folder(self) -> str:
        """Where its folds lie, below work/learning_curve."""
        return f"{self.modality_set}/{self.share:g}-{self.draw}"


class CurveTrainings(Record):
    """All that was trained on fewer subjects; empty where no curve is asked for."""

    trainings: tuple[CurveTraining, ...] = ()


@dataclass(frozen=True)
class CurveAnswers:
    """Answers for the same N subjects by trainings on rising numbers of subjects, all of them last.

    subjects: number of subjects of each size. p_rice: of each size, a row a draw (D, N); of all subjects one.
    """

    is_rice: Truth
    subjects: tuple[int, ...]
    p_rice: tuple[Probabilities, ...]


def read_curve_answers(
    folder: Path,
    whole: Mapping[str, Sequence[Prediction]],
    splits: Splits,
    excluded: Mapping[str, Collection[str]],
) -> dict[str, CurveAnswers]:
    """The answers of every modality set with a curve.

    whole: by modality set, held-out predictions of the networks that were trained on all. excluded: subjects
    that lack a volume, by set. Raises ResultError: a file is missing, damaged or of other splits.
    """
    of_set = defaultdict[str, dict[int, list[Sequence[Prediction]]]](dict)
    for training in CurveTrainings.read(folder / TRAININGS_FILE, "learning_curve").trainings:
        name = training.modality_set
        found = read_out_of_fold(folder / training.folder, name, splits, excluded.get(name, ()))
        of_set[name].setdefault(training.subjects, []).append(found)
    return {name: _answers(fewer, whole[name]) for name, fewer in of_set.items()}


def _answers(fewer: Mapping[int, list[Sequence[Prediction]]], whole: Sequence[Prediction]) -> CurveAnswers:
    by_size = {**dict(sorted(fewer.items())), len(whole): [whole]}
    held = HeldOut.of({f"{n} {k}": rows for n, draws in by_size.items() for k, rows in enumerate(draws)})
    return CurveAnswers(
        held.is_rice,
        tuple(by_size),
        tuple(np.array([held.p_rice[f"{n} {k}"] for k in range(len(d))]) for n, d in by_size.items()),
    )
