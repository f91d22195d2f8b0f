"""Agreement of two readers on the label: Cohen's kappa with its interval by subject.

Source: Cohen 1960, as scikit-learn computes it; BCa bootstrap of subjects (`ricenet.evaluation.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Counts, Resampling
from ricenet.evaluation.intervals import Estimate, share_of


class Agreement(NamedTuple):
    """Two readers of the same n subjects. pairs: (label by the first, by the second) with their count.

    agreed: share of equal labels, with its exact interval. kappa: None where both gave one and the same label
    throughout, so that no agreement beyond chance is defined.
    """

    n: int
    pairs: dict[tuple[str, str], int]
    agreed: Estimate
    kappa: Estimate | None

    @property
    def said(self) -> str:
        """The agreement in words."""
        kappa = "one label throughout" if self.kappa is None else f"Cohen's kappa {self.kappa.text()}"
        return f"equal labels {self.agreed.text()}, {kappa}"


def agreement(first: Sequence[str], second: Sequence[str], seed: int, resamples: int) -> Agreement | None:
    """How two readers agree on subjects that both labelled; None of nobody.

    first, second: labels in the same order, of any number of classes.
    """
    if not first:
        return None
    labels = sorted({*first, *second})
    pairs = list(zip(first, second, strict=True))
    return Agreement(
        n=len(pairs),
        pairs={(a, b): pairs.count((a, b)) for a in labels for b in labels},
        agreed=share_of(np.array([a == b for a, b in pairs])),
        kappa=None if len(labels) == 1 else _kappa(first, second, labels, seed, resamples),
    )


def _kappa(
    first: Sequence[str], second: Sequence[str], labels: Sequence[str], seed: int, resamples: int
) -> Estimate:
    from sklearn.metrics import cohen_kappa_score

    codes = [np.array([[label == name for name in labels] for label in of]) for of in (first, second)]
    a, b = (code.astype(np.float64) for code in codes)
    (found,) = Resampling((np.arange(len(first)),), seed, resamples).estimates(
        [lambda counts: kappa_of(counts, a, b)]
    )
    return found.model_copy(update={"value": float(cohen_kappa_score(first, second))})


def kappa_of(counts: Counts, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cohen's kappa (B,) of B resamples. first, second: labels (N, K), one-hot.

    0 of a resample in which both readers give one and the same label: nothing beyond chance shows there.
    """
    n = counts.sum(axis=1)
    observed = counts @ (first * second).sum(axis=1) / n
    by_chance = ((counts @ first) * (counts @ second)).sum(axis=1) / n**2
    beyond = 1 - by_chance
    kappa: NDArray[np.float64] = np.divide(
        observed - by_chance, beyond, out=np.zeros(len(n)), where=beyond > 1e-12
    )
    return kappa
