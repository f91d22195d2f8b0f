"""What each volume adds to the scores of any number of labels: exact Shapley values over all subsets.

As `ricenet.evaluation.evidence.contribution`: of macro-F1, mean area and log-loss; no volume at all is the
chance level, 0.5, and the labels' shares among a fold's training subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ricenet.evaluation.bootstrap import Statistic, mean_of
from ricenet.evaluation.evidence.contribution import (
    NONE,
    always,
    contributions_of,
    contributors,
    of_recipes,
)
from ricenet.evaluation.evidence.record import Contribution
from ricenet.evaluation.labels.held_out import LabelHeldOut, LabelProbabilities
from ricenet.evaluation.labels.scores import chance_macro_f1, log_losses, macro_auc, macro_f1
from ricenet.training.label_predictions import top_labels
from ricenet.vocabulary import Volumes


def label_contributions(
    held_out: LabelHeldOut, volumes: Volumes, seed: int, resamples: int
) -> tuple[Contribution, ...]:
    """Of every recipe of which each combination of the volumes was trained.

    held_out: the subjects that all sets predict.
    """
    if held_out.least < 2:
        return ()
    return tuple(
        contribution
        for recipe, of_sets in of_recipes(held_out.probabilities).items()
        if (names := contributors(of_sets, volumes))
        for contribution in _of_recipe(recipe, names, of_sets, held_out, volumes, seed, resamples)
    )


def label_shares(held_out: LabelHeldOut) -> LabelProbabilities:
    """Each subject's probabilities (N, K) where nothing but the other folds' labels is known."""
    classes = len(held_out.label_names)
    rows = [np.bincount(held_out.truth[held_out.fold != fold], minlength=classes) for fold in held_out.fold]
    counts = np.array(rows, dtype=np.float64)
    shares: LabelProbabilities = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _of_recipe(
    recipe: str,
    names: Sequence[str],
    of_sets: Mapping[str, LabelProbabilities],
    held_out: LabelHeldOut,
    volumes: Volumes,
    seed: int,
    resamples: int,
) -> tuple[Contribution, ...]:
    truth, classes, n = held_out.truth, len(held_out.label_names), len(held_out.subjects)
    nobody = np.zeros(n, np.bool_)
    by_score: dict[str, dict[str, Statistic]] = {
        "macro_f1": {name: macro_f1(top_labels(p), truth, classes) for name, p in of_sets.items()}
        | {NONE: always(chance_macro_f1(held_out.counts))},
        "auc": {name: macro_auc(p, truth) for name, p in of_sets.items()} | {NONE: always(0.5)},
        "log_loss": {
            name: mean_of(-log_losses(p, truth), nobody)
            for name, p in {NONE: label_shares(held_out), **of_sets}.items()
        },
    }
    return contributions_of(
        by_score, recipe, volumes.set_name(names), held_out.resampling(seed, resamples), n
    )
