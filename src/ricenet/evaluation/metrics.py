"""Macro-F1 per fold and pooled, with an interval by subject, and the confusion matrix.

Source: RICE-NET section 3 (macro-F1, mean and SD over folds). Deviations: the SD is the sample SD
(ddof 1; the paper does not say which), and a bootstrap interval by subject stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.intervals import or_bound
from ricenet.evaluation.predictions import predicted_label
from ricenet.evaluation.proportions import Rates
from ricenet.runtime.randomness import generator_for
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS

RESAMPLES = 9_999

Confusion = tuple[tuple[int, int], tuple[int, int]]
"""((tn, fp), (fn, tp)): rows are labels, columns predictions, both in the order of LABELS."""


@dataclass(frozen=True)
class SetMetrics:
    """What cross-validation says of one modality set; ci_* is the 95 % interval of the pooled value."""

    macro_f1_mean: float
    macro_f1_sd: float
    macro_f1_folds: tuple[float, ...]
    macro_f1_pooled: float
    ci_low: float
    ci_high: float
    confusion: Confusion
    n: int

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `as_json`."""
        (tn, fp), (fn, tp) = content["confusion"]
        return cls(
            **{
                **content,
                "macro_f1_folds": tuple(content["macro_f1_folds"]),
                "confusion": ((tn, fp), (fn, tp)),
            }
        )


def macro_f1(labels: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean of the two classes' F1; a class that neither occurs nor is predicted counts 0."""
    from sklearn.metrics import f1_score

    return float(
        f1_score(_classes(labels), _classes(predicted), labels=[0, 1], average="macro", zero_division=0)
    )


def confusion_matrix(labels: Sequence[str], predicted: Sequence[str]) -> Confusion:
    """Counts ((tn, fp), (fn, tp)), RICE being positive."""
    truth, guess = _classes(labels), _classes(predicted)
    tn, fp, fn, tp = (int(((truth == t) & (guess == g)).sum()) for t in (0, 1) for g in (0, 1))
    return (tn, fp), (fn, tp)


def macro_f1_estimate(
    labels: Sequence[str], predicted: Sequence[str], seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """The macro-F1 with its 95 % interval: BCa bootstrap of subjects within their labels (`Resampling`).

    Where no resample differs, or a label has a single subject, a bound from the exact rates.
    It covers the choice of subjects, not that of the folds or of the random start of training.
    """
    p_rice, is_rice = _classes(predicted).astype(np.float64), _classes(labels) == 1
    resampling, rates = Resampling.of(is_rice, seed, resamples), Rates.of(p_rice, is_rice)
    value = scores.macro_f1(p_rice, is_rice)
    if min(resampling.subjects) > 1:
        return or_bound(resampling.estimate(value), rates)
    return rates.bound(macro_f1(labels, predicted))


def bootstrap_draws(subjects: int, seed: int, resamples: int) -> NDArray[np.int64]:
    """Indices (resamples, subjects) of subjects drawn with replacement."""
    return generator_for("bootstrap", seed).integers(0, subjects, size=(resamples, subjects))


def set_metrics(predictions: Sequence[Prediction], seed: int, resamples: int = RESAMPLES) -> SetMetrics:
    """Metrics of one modality set from its out-of-fold predictions (at least two folds)."""
    labels, predicted = _columns(predictions)
    by_fold = [
        macro_f1(*_columns([p for p in predictions if p.fold == k]))
        for k in sorted({p.fold for p in predictions})
    ]
    pooled = macro_f1_estimate(labels, predicted, seed, resamples)
    return SetMetrics(
        macro_f1_mean=float(np.mean(by_fold)),
        macro_f1_sd=float(np.std(by_fold, ddof=1)),
        macro_f1_folds=tuple(by_fold),
        macro_f1_pooled=pooled.value,
        ci_low=pooled.low,
        ci_high=pooled.high,
        confusion=confusion_matrix(labels, predicted),
        n=len(predictions),
    )


def coin_toss_macro_f1(confusion: Confusion) -> float:
    """Macro-F1 of a fair coin in a large cohort with these classes' proportions.

    A class of proportion q has precision q and recall 1/2, so an F1 of q / (q + 1/2).
    """
    negatives, positives = sum(confusion[0]), sum(confusion[1])
    share = positives / (negatives + positives)
    return (share / (share + 0.5) + (1 - share) / (1.5 - share)) / 2


def _columns(predictions: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    return [p.label for p in predictions], [predicted_label(p.p_rice) for p in predictions]


def _classes(labels: Sequence[str]) -> NDArray[np.int64]:
    return np.array([LABELS.index(label) for label in labels], dtype=np.int64)
