"""Scores of a classification with any number of labels, each with its 95 % interval.

Macro-F1 and balanced accuracy are means over labels of the F1 and of the sensitivity; the area under the ROC
curve is that of each label against the rest, and their mean (Provost and Domingos 2000, unweighted); the
Brier score is the mean of the squared distances of all K probabilities (Brier 1950), with two labels twice
that of p_rice alone. Intervals: BCa bootstrap of subjects within their labels; of sensitivity and
specificity exact. Where no resample differs, a bound from the exact sensitivities, each wide enough that all
of them together cover the level (Bonferroni).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores as of_two
from ricenet.evaluation.bootstrap import Counts, Statistic, mean_of, score_of
from ricenet.evaluation.intervals import LEVEL, Ends, Estimate, constant, exact_bounds, or_bound, share_of
from ricenet.evaluation.labels.held_out import Classes, LabelHeldOut, LabelProbabilities
from ricenet.runtime.records import Record
from ricenet.training.label_predictions import top_labels

LABEL_SCORES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC, mean of each label against the rest",
    "brier": "Brier of all labels (less is better)",
}
"""Titles for people, by field of `LabelScores`."""


class LabelScores(Record):
    """Scores of n subjects, pooled over folds. of_label: by label, against the rest."""

    n: int
    macro_f1: Estimate
    balanced_accuracy: Estimate
    auc: Estimate
    brier: Estimate
    aucs: dict[str, Estimate]
    sensitivities: dict[str, Estimate]
    specificities: dict[str, Estimate]


def label_scores(held_out: LabelHeldOut, name: str, seed: int, resamples: int) -> LabelScores:
    """All scores of a classification; two subjects of each label at least."""
    p, truth, said = held_out.probabilities[name], held_out.truth, held_out.said(name)
    names = held_out.label_names
    areas = [of_two.auc(p[:, k], truth == k) for k in range(len(names))]
    statistics = [macro_f1(said, truth, len(names)), balanced_accuracy(said, truth, len(names))]
    statistics += [mean_statistic(areas), brier(p, truth), *areas]
    f1, balanced, area, of_brier, *of_labels = held_out.resampling(seed, resamples).estimates(statistics)
    bounds = score_bounds(p, truth)
    return LabelScores(
        n=len(truth),
        macro_f1=or_bound(f1, bounds["macro_f1"]),
        balanced_accuracy=or_bound(balanced, bounds["balanced_accuracy"]),
        auc=or_bound(area, bounds["auc"]) if area.value in (0, 1) else area,
        brier=of_brier,
        aucs={
            label: or_bound(of, exact_bounds(p[:, k], truth == k)["auc"]) if of.value in (0, 1) else of
            for k, (label, of) in enumerate(zip(names, of_labels, strict=True))
        },
        sensitivities={label: share_of((said == k)[truth == k]) for k, label in enumerate(names)},
        specificities={label: share_of((said != k)[truth != k]) for k, label in enumerate(names)},
    )


def constant_scores(p: LabelProbabilities, truth: Classes, label_names: tuple[str, ...]) -> LabelScores:
    """Scores of an answer in which chance has no part and that ranks nobody: areas of 0.5, no intervals."""
    said, n, classes = top_labels(p), len(truth), len(label_names)
    statistics = {
        "macro_f1": macro_f1(said, truth, classes),
        "balanced_accuracy": balanced_accuracy(said, truth, classes),
        "brier": brier(p, truth),
    }
    return LabelScores(
        n=n,
        auc=constant(0.5),
        aucs={label: constant(0.5) for label in label_names},
        sensitivities={
            label: constant(float((said == k)[truth == k].mean())) for k, label in enumerate(label_names)
        },
        specificities={
            label: constant(float((said != k)[truth != k].mean())) for k, label in enumerate(label_names)
        },
        **{name: constant(score_of(statistic, n)) for name, statistic in statistics.items()},
    )


def macro_f1(said: Classes, truth: Classes, classes: int) -> Statistic:
    """Mean of all labels' F1 of many resamples at once; 0 of a label that neither occurs nor is said."""
    parts = [((said == k) & (truth == k), (said == k).astype(float) + (truth == k)) for k in range(classes)]

    def score(counts: Counts) -> NDArray[np.float64]:
        f1 = []
        for hits, either in parts:
            total = counts @ either
            f1.append(np.divide(2 * (counts @ hits), total, out=np.zeros_like(total), where=total > 0))
        result: NDArray[np.float64] = np.mean(f1, axis=0)
        return result

    return score


def balanced_accuracy(said: Classes, truth: Classes, classes: int) -> Statistic:
    """Mean of all labels' sensitivities."""

    def score(counts: Counts) -> NDArray[np.float64]:
        rates = [counts @ ((said == k) & (truth == k)) / (counts @ (truth == k)) for k in range(classes)]
        result: NDArray[np.float64] = np.mean(rates, axis=0)
        return result

    return score


def macro_auc(p: LabelProbabilities, truth: Classes) -> Statistic:
    """Mean over labels of the area under the ROC curve of each against the rest."""
    return mean_statistic([of_two.auc(p[:, k], truth == k) for k in range(p.shape[1])])


def brier(p: LabelProbabilities, truth: Classes) -> Statistic:
    """Mean over subjects of the squared distances of all probabilities; smaller is better."""
    return mean_of(((p - one_hot(truth, p.shape[1])) ** 2).sum(axis=1), np.zeros(len(truth), np.bool_))


def log_losses(p: LabelProbabilities, truth: Classes) -> NDArray[np.float64]:
    """Each subject's negative log-likelihood in nats; probabilities stay off 0 by float64's epsilon."""
    epsilon = np.finfo(np.float64).eps
    losses: NDArray[np.float64] = -np.log(np.clip(p[np.arange(len(p)), truth], epsilon, 1 - epsilon))
    return losses


def one_hot(truth: Classes, classes: int) -> NDArray[np.float64]:
    """(N, K): 1 at each subject's label."""
    found: NDArray[np.float64] = np.eye(classes)[truth]
    return found


def mean_statistic(statistics: list[Statistic]) -> Statistic:
    """The mean of several scores of the same resamples."""
    return lambda counts: np.mean([statistic(counts) for statistic in statistics], axis=0)


def chance_macro_f1(counts: list[int]) -> float:
    """Macro-F1 of guessing all K labels equally often, in a large cohort with these labels' proportions.

    A label of proportion q has precision q and recall 1 / K, so an F1 of 2q / (Kq + 1).

    >>> chance_macro_f1([10, 10, 10])
    0.3333333333333333
    """
    shares = np.array(counts) / sum(counts)
    return float(np.mean(2 * shares / (len(counts) * shares + 1)))


def score_bounds(p: LabelProbabilities, truth: Classes, level: float = LEVEL) -> dict[str, Ends]:
    """Intervals of macro-F1, balanced accuracy and mean AUC, by name, that cover their level at least.

    From the exact interval of each label's sensitivity, at a level at which all K hold together. A label's
    F1 is least where every error of the cohort calls it, and largest where none does.
    """
    classes, said = p.shape[1], top_labels(p)
    each = 1 - (1 - level) / classes
    rates = [share_of((said == k)[truth == k], each) for k in range(classes)]
    counts = np.bincount(truth, minlength=classes)
    few, many = (counts * [getattr(rate, end) for rate in rates] for end in ("low", "high"))
    lowest = 2 * few / (2 * few + (counts - few).sum()) if few.sum() else np.zeros(classes)
    highest = 2 * many / (many + counts)
    areas = [exact_bounds(p[:, k], truth == k, each)["auc"] for k in range(classes)]
    return {
        "macro_f1": (float(lowest.mean()), float(highest.mean())),
        "balanced_accuracy": (
            float(np.mean([rate.low for rate in rates])),
            float(np.mean([rate.high for rate in rates])),
        ),
        "auc": (float(np.mean([low for low, _ in areas])), float(np.mean([high for _, high in areas]))),
    }
