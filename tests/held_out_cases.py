"""Held-out predictions made by hand or drawn, for tests of the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.held_out import HeldOut


def held_out(
    is_rice: Sequence[bool], p_rice: Mapping[str, Sequence[float] | NDArray[np.float64]], folds: int = 5
) -> HeldOut:
    """Subjects in turn in each fold."""
    n = len(is_rice)
    return HeldOut(
        subjects=tuple(f"sub-{i:03d}" for i in range(n)),
        is_rice=np.array(is_rice, dtype=np.bool_),
        fold=np.arange(n) % folds,
        p_rice={name: np.asarray(values, dtype=np.float64) for name, values in p_rice.items()},
    )


def drawn(separation: float, n: int = 80, rice: int = 32, seed: int = 0) -> tuple[NDArray, NDArray]:
    """(p_rice, is_rice): two normal distributions so many SDs apart; labels in a mixed order."""
    rng = np.random.default_rng(seed)
    is_rice = rng.permutation(np.arange(n) < rice)
    score = rng.normal(size=n) + separation * (is_rice - 0.5)
    return 1 / (1 + np.exp(-score)), is_rice
