"""Macro-F1 per fold and pooled, with an interval by subject, the confusion matrix, and the best modality set.

Source: RICE-NET section 3 (macro-F1, mean and SD over folds). Deviations: the SD is the sample SD
(ddof 1; the paper does not say which), and a bootstrap interval by subject stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from ricenet.evaluation import paper, scores
from ricenet.evaluation.bootstrap import RESAMPLES, Resampling
from ricenet.evaluation.intervals import Estimate, constant, exact_bounds, or_bound
from ricenet.runtime.records import Record
from ricenet.runtime.tables import table_text
from ricenet.training.predictions import Prediction, predicted_label
from ricenet.training.predictions import macro_f1 as macro_f1_of_p_rice
from ricenet.vocabulary import LABELS, LabelName, is_rice_task

Confusion = tuple[tuple[int, int], tuple[int, int]]
"""((tn, fp), (fn, tp)): rows are labels, columns predictions, both in the order of LABELS."""

LabelConfusion = tuple[tuple[int, ...], ...]
"""The same of K declared labels, (K, K)."""


class SetMetrics(Record):
    """What cross-validation says of one modality set; ci_* is the 95 % interval of the pooled value.

    label_names: rows and columns of the confusion. among_events: the same of subjects who had an event, by
    the events' labels alone; None where every label is an event's.
    """

    macro_f1_mean: float
    macro_f1_sd: float
    macro_f1_folds: tuple[float, ...]
    macro_f1_pooled: float
    ci_low: float
    ci_high: float
    confusion: LabelConfusion
    n: int
    label_names: tuple[LabelName, ...] = Field(default=LABELS, exclude_if=is_rice_task)
    among_events: SetMetrics | None = Field(default=None, exclude_if=lambda value: value is None)


def confusion_matrix(labels: Sequence[str], predicted: Sequence[str]) -> Confusion:
    """Counts ((tn, fp), (fn, tp)), RICE being positive."""
    pairs = list(zip(labels, predicted, strict=True))
    (tn, fp), (fn, tp) = ([pairs.count((truth, guess)) for guess in LABELS] for truth in LABELS)
    return (tn, fp), (fn, tp)


def macro_f1(labels: Sequence[str], predicted: Sequence[str]) -> float:
    """The macro-F1 of predicted labels, such as those of a vote."""
    return macro_f1_of_p_rice(labels, np.array([label == "rice" for label in predicted], dtype=np.float64))


def macro_f1_estimate(
    labels: Sequence[str], predicted: Sequence[str], seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """The macro-F1 with its 95 % interval: BCa bootstrap of subjects within their labels (`Resampling`).

    Where no resample differs, or a label has a single subject, a bound from the exact rates.
    It covers the choice of subjects, not that of the folds or of the random start of training.
    """
    says_rice, is_rice = (np.array([label == "rice" for label in of]) for of in (predicted, labels))
    p_rice = says_rice.astype(np.float64)
    found = constant(macro_f1(labels, predicted))
    if 1 < is_rice.sum() < len(is_rice) - 1:
        (found,) = Resampling.of(is_rice, seed, resamples).estimates([scores.macro_f1(p_rice, is_rice)])
    return or_bound(found, exact_bounds(p_rice, is_rice)["macro_f1"])


def set_metrics(predictions: Sequence[Prediction], seed: int, resamples: int = RESAMPLES) -> SetMetrics:
    """Metrics of one modality set from its out-of-fold predictions (at least two folds)."""
    folds = sorted({p.fold for p in predictions})
    by_fold = [pooled_macro_f1([p for p in predictions if p.fold == k]) for k in folds]
    labels, predicted = [p.label for p in predictions], [predicted_label(p.p_rice) for p in predictions]
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


def pooled_macro_f1(predictions: Sequence[Prediction]) -> float:
    """Macro-F1 of all subjects, whichever fold held them out."""
    return macro_f1_of_p_rice([p.label for p in predictions], np.array([p.p_rice for p in predictions]))


def best_set(pooled_macro_f1: Mapping[str, float]) -> str:
    """The modality set with the highest macro-F1, pooled over folds; of equal ones that of fewest volumes.

    >>> best_set({"event+dose": 0.75, "event": 0.75, "post_op": 0.5})
    'event'
    """
    return min(pooled_macro_f1, key=lambda name: (-pooled_macro_f1[name], name.count("+"), name))


def chance_level(recurrence: int, rice: int) -> float:
    """Macro-F1 of guessing both labels equally often, in a large cohort with these labels' proportions.

    A label of proportion q has precision q and recall 1/2, so an F1 of q / (q + 1/2).
    """
    share = rice / (recurrence + rice)
    return (share / (share + 0.5) + (1 - share) / (1.5 - share)) / 2


def out_of_fold_table(predictions: Mapping[str, Sequence[Prediction]]) -> str:
    """TSV text of every out-of-fold prediction, by modality set and then by subject."""
    header = ["participant_id", "label", "fold", "modality_set", "p_rice", "predicted"]
    rows = [
        [p.participant_id, p.label, p.fold, name, p.p_rice, predicted_label(p.p_rice)]
        for name, of_set in predictions.items()
        for p in of_set
    ]
    return table_text(header, rows)


def metrics_table(metrics: Mapping[str, SetMetrics]) -> str:
    """CSV text of each modality set's macro-F1, its interval, and the paper's number."""
    header = ["set", "macro_f1_mean", "macro_f1_sd", "ci_low", "ci_high", "paper"]
    rows = [
        [name, *(f"{v:.4f}" for v in (m.macro_f1_mean, m.macro_f1_sd, m.ci_low, m.ci_high)), published]
        for name, m in metrics.items()
        for published in [paper.as_printed(paper.VALIDATION_MACRO_F1.get(name))]
    ]
    return table_text(header, rows, ",")
