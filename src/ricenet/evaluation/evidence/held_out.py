"""Out-of-fold predictions of several modality sets for the same subjects, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Resampling
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction


@dataclass(frozen=True)
class HeldOut:
    """Subjects in alphabetical order. is_rice, fold: (N,). p_rice: modality set -> (N,)."""

    subjects: tuple[str, ...]
    is_rice: NDArray[np.bool_]
    fold: NDArray[np.int64]
    p_rice: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, predictions: Mapping[str, Sequence[Prediction]]) -> Self:
        """Of every set's predictions.

        Raises ResultError: two sets that predict other subjects, or the same in other folds.
        """
        ordered = {name: sorted(rows, key=lambda p: p.participant_id) for name, rows in predictions.items()}
        (first, rows), *others = ordered.items()
        whose = [(p.participant_id, p.label, p.fold) for p in rows]
        for name, other in others:
            if [(p.participant_id, p.label, p.fold) for p in other] != whose:
                raise ResultError(
                    f"{first} and {name} do not predict the same subjects in the same folds. "
                    "Train both with the current splits: run `dvc repro`"
                )
        return cls(
            subjects=tuple(p.participant_id for p in rows),
            is_rice=np.array([p.label == "rice" for p in rows], dtype=np.bool_),
            fold=np.array([p.fold for p in rows], dtype=np.int64),
            p_rice={
                name: np.array([p.p_rice for p in column], dtype=np.float64)
                for name, column in ordered.items()
            },
        )

    @property
    def folds(self) -> list[int]:
        """The folds that occur, rising."""
        return sorted({int(fold) for fold in self.fold})

    def resampling(self, seed: int, resamples: int) -> Resampling:
        """Draws of these subjects, the same ones for whatever is estimated with them."""
        return Resampling.of(self.is_rice, seed, resamples)
