"""Held-out predictions made by hand or drawn, for tests of the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.held_out import HeldOut
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS

Columns = Mapping[str, Sequence[float] | NDArray[np.float64]]


def predictions_of(is_rice: Sequence[bool], p_rice: Columns, folds: int = 5) -> dict[str, list[Prediction]]:
    """Subjects in turn in each fold."""
    return {
        name: [
            Prediction(f"sub-{i:03d}", LABELS[int(rice)], i % folds, float(p))
            for i, (rice, p) in enumerate(zip(is_rice, values, strict=True))
        ]
        for name, values in p_rice.items()
    }


def held_out(is_rice: Sequence[bool], p_rice: Columns, folds: int = 5) -> HeldOut:
    return HeldOut.of(predictions_of(is_rice, p_rice, folds))


def drawn(separation: float, n: int = 80, rice: int = 32, seed: int = 0) -> tuple[NDArray, NDArray]:
    """(p_rice, is_rice): two normal distributions so many SDs apart; labels in a mixed order."""
    rng = np.random.default_rng(seed)
    is_rice = rng.permutation(np.arange(n) < rice)
    score = rng.normal(size=n) + separation * (is_rice - 0.5)
    return 1 / (1 + np.exp(-score)), is_rice
