"""What each modality adds to the score: exact Shapley values over all eight subsets of the three.

A modality's value is its gain, averaged over all orders in which the three can be put together; the values
add up to the difference between all three and none. None at all is a prediction that knows nothing of the
subject: the macro-F1 of a fair coin, an area under the curve of 0.5, and for the log-loss the share of RICE
among a fold's training subjects. (The more frequent label's macro-F1 is lower than the coin's, so networks
that only guess would seem to contribute.)

Source: Shapley 1953; subsets as trained, so no approximation and no imputed input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import set_title
from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, score_of
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Contribution
from ricenet.evaluation.metrics import coin_toss_macro_f1
from ricenet.vocabulary import MODALITIES, MODALITY_SETS, Modality

NONE = ""
"""The name of the set without a modality."""


def contributions(held_out: HeldOut, resampling: Resampling) -> tuple[Contribution, ...]:
    """Of macro-F1, area under the ROC curve, and decrease of the log-loss; none where a set is missing."""
    if set(MODALITY_SETS) - set(held_out.p_rice):
        return ()
    p_rice, is_rice = {**held_out.p_rice, NONE: prior(held_out)}, held_out.is_rice
    by_score = {
        "macro_f1": {name: scores.macro_f1(p, is_rice) for name, p in p_rice.items()}
        | {NONE: _constant(coin_macro_f1(resampling.subjects))},
        # the prior differs a little from fold to fold, in a way that no model could know
        "auc": {name: scores.auc(p, is_rice) for name, p in p_rice.items()} | {NONE: _constant(0.5)},
        "log_loss": {
            name: scores.mean_of(-scores.log_losses(p, is_rice), is_rice) for name, p in p_rice.items()
        },
    }
    shares = [shapley_statistic(of, m) for of in by_score.values() for m in MODALITIES]
    estimates = iter(resampling.estimates(shares))
    return tuple(
        Contribution(
            score=score,
            empty=abs(score_of(of[NONE], resampling.subjects)),
            everything=abs(score_of(of["+".join(MODALITIES)], resampling.subjects)),
            modalities={modality: next(estimates) for modality in MODALITIES},
        )
        for score, of in by_score.items()
    )


def subject_contributions(held_out: HeldOut) -> dict[Modality, NDArray[np.float64]]:
    """By how much each modality lowers each subject's log-loss (N,), in nats; all seven sets are needed."""
    p_rice = {**held_out.p_rice, NONE: prior(held_out)}
    gains = {name: -scores.log_losses(p, held_out.is_rice) for name, p in p_rice.items()}
    return {modality: shapley_value(gains, modality) for modality in MODALITIES}


def contribution_sentence(found: Sequence[Contribution]) -> str:
    """In words, which modalities raise the macro-F1; empty where there are no contributions."""
    contribution = next((c for c in found if c.score == "macro_f1"), None)
    if contribution is None:
        return ""
    values = sorted(contribution.modalities.items(), key=lambda item: -item[1].value)
    told = "; ".join(f"{set_title(name)} {value.text(signed=True)}" for name, value in values)
    helpful = [set_title(name) for name, value in values if value.low > 0]
    verdict = (
        f"only the {' and the '.join(helpful)} is shown to raise it"
        if len(helpful) == 1
        else f"{' and '.join(helpful)} are shown to raise it"
        if helpful
        else f"most comes from the {set_title(values[0][0])}, but no modality is shown to raise it"
    )
    return (
        f"The macro-F1 is {contribution.empty:.2f} for a coin and {contribution.everything:.2f} with all "
        f"three modalities, whose Shapley values are {told}: {verdict}."
    )


def shapley_value(values: Mapping[str, NDArray[np.float64]], modality: Modality) -> NDArray[np.float64]:
    """A modality's Shapley value. values: of the eight subsets by name, the empty one's being NONE."""
    others = [m for m in MODALITIES if m != modality]
    total = np.zeros_like(values[NONE])
    for size in range(len(others) + 1):
        for before in combinations(others, size):
            total = total + _weight(size) * (values[_name({*before, modality})] - values[_name(set(before))])
    return total


def shapley_statistic(of: Mapping[str, Statistic], modality: Modality) -> Statistic:
    """The same of scores, on whatever subjects are drawn."""

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        return shapley_value({name: statistic(recurrence, rice) for name, statistic in of.items()}, modality)

    return score


def prior(held_out: HeldOut) -> NDArray[np.float64]:
    """Each subject's p_rice where nothing but the other folds' share of RICE is known (N,)."""
    return np.array([held_out.is_rice[held_out.fold != fold].mean() for fold in held_out.fold])


def coin_macro_f1(subjects: tuple[int, int]) -> float:
    """The macro-F1 of a fair coin among so many recurrences and RICEs."""
    recurrence, rice = subjects
    return coin_toss_macro_f1(((recurrence, 0), (0, rice)))


def _weight(before: int) -> float:
    """Share of the orders of all modalities in which so many stand before a given one, in a given choice."""
    n = len(MODALITIES)
    return math.factorial(before) * math.factorial(n - before - 1) / math.factorial(n)


def _name(modalities: set[Modality]) -> str:
    return "+".join(m for m in MODALITIES if m in modalities)


def _constant(value: float) -> Statistic:
    return lambda recurrence, rice: np.full(len(recurrence), value)
