"""Which subjects an epoch sees, in which order.

Source: RICE-NET section 2 (weighted random sampler for class balance).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_epoch(labels: Sequence[str], generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many positions as there are subjects, with replacement, all classes equally probable.

    labels: of the training subjects. Returns (N,) positions in `labels`.
    """
    counts = Counter(labels)
    weights = np.array([1 / counts[label] for label in labels])
    return generator.choice(len(labels), size=len(labels), replace=True, p=weights / weights.sum())


def in_batches(positions: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Cut into batches; a last one of a single sample, which has no variance, joins the one before."""
    starts = list(range(0, len(positions), batch_size))
    if len(starts) > 1 and len(positions) - starts[-1] == 1:
        starts.pop()
    return np.split(positions, starts[1:])


def occurrences(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each drawn subject came up earlier in the epoch, so that repeats vary differently.

    >>> occurrences(np.array([3, 1, 3, 3]))
    array([0, 0, 1, 2])
    """
    before = [int((positions[:place] == position).sum()) for place, position in enumerate(positions)]
    return np.array(before, np.int64)
