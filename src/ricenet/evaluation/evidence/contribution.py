"""What each volume adds to the score: exact Shapley values over all subsets of the volumes.

A volume's value is its gain, averaged over all orders in which the volumes can be put together; the values
add up to the difference between all of them and none. None at all is a prediction that knows nothing of the
subject: the macro-F1 of the chance level, an area under the curve of 0.5, and for the log-loss the share of
RICE among a fold's training subjects. (The more frequent label's macro-F1 is lower than the chance level, so
networks that only guess would seem to contribute.)

Source: Shapley 1953; subsets as trained, so no approximation and no imputed input.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling, Statistic, mean_of, score_of
from ricenet.evaluation.evidence.record import Contribution
from ricenet.evaluation.held_out import HeldOut
from ricenet.vocabulary import Volumes, in_recipe, volumes_and_recipe

NONE = ""
"""The name of the set without a volume."""


def of_recipes(p_rice: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By recipe ("" for the main one), in order, and by the names of a set's volumes."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for modality_set, values in p_rice.items():
        of_set, recipe = volumes_and_recipe(modality_set)
        found.setdefault(recipe, {})[of_set] = values
    return found


def contributors(modality_sets: Collection[str], volumes: Volumes) -> tuple[str, ...]:
    """The volumes of all trained sets of one recipe; none unless every combination of them is trained."""
    seen = {spec.name for name in modality_sets for spec in volumes.members(name)}
    every = len(modality_sets) == 2 ** len(seen) - 1
    return tuple(name for name in volumes.names if name in seen) if every else ()


def contributions(held_out: HeldOut, volumes: Volumes, seed: int, resamples: int) -> tuple[Contribution, ...]:
    """Of macro-F1, area under the ROC curve, and decrease of the log-loss; none of a recipe that lacks a set.

    held_out: the subjects that all sets predict.
    """
    if held_out.least < 2:
        return ()
    return tuple(
        contribution
        for recipe, p_rice in of_recipes(held_out.p_rice).items()
        if (names := contributors(p_rice, volumes))
        for contribution in _of_recipe(recipe, names, p_rice, held_out, volumes, seed, resamples)
    )


def _of_recipe(
    recipe: str,
    names: Sequence[str],
    of_sets: Mapping[str, NDArray[np.float64]],
    held_out: HeldOut,
    volumes: Volumes,
    seed: int,
    resamples: int,
) -> tuple[Contribution, ...]:
    is_rice, n = held_out.is_rice, len(held_out.subjects)
    p_rice = {NONE: prior(held_out), **of_sets}
    by_score = {
        "macro_f1": {name: scores.macro_f1(p, is_rice) for name, p in p_rice.items()}
        | {NONE: always(held_out.chance_macro_f1)},
        # the prior differs a little from fold to fold, in a way that no model could know
        "auc": {name: scores.auc(p, is_rice) for name, p in p_rice.items()} | {NONE: always(0.5)},
        "log_loss": {name: mean_of(-scores.log_losses(p, is_rice), is_rice) for name, p in p_rice.items()},
    }
    return contributions_of(
        by_score, recipe, volumes.set_name(names), held_out.resampling(seed, resamples), n
    )


def contributions_of(
    by_score: Mapping[str, Mapping[str, Statistic]], recipe: str, everything: str, draws: Resampling, n: int
) -> tuple[Contribution, ...]:
    """Shapley values with their intervals, a score each.

    by_score: statistics of every subset of the volumes, by score; losses negated. everything: the set of all
    volumes. draws: of the n subjects.
    """
    names = everything.split("+")
    shares = [shapley_statistic(of, name) for of in by_score.values() for name in names]
    estimates = iter(draws.estimates(shares))
    return tuple(
        Contribution(
            recipe=recipe,
            score=score,
            n=n,
            empty=abs(score_of(of[NONE], n)),
            everything=abs(score_of(of[everything], n)),
            modalities={name: next(estimates) for name in names},
        )
        for score, of in by_score.items()
    )


def subject_contributions(held_out: HeldOut, volumes: Volumes) -> dict[str, NDArray[np.float64]]:
    """By how much each volume lowers each subject's log-loss (N,), in nats; by volume, then @ and recipe."""
    found = {}
    for recipe, of_sets in of_recipes(held_out.p_rice).items():
        p_rice = {NONE: prior(held_out), **of_sets}
        gains = {name: -scores.log_losses(p, held_out.is_rice) for name, p in p_rice.items()}
        for name in contributors(of_sets, volumes):
            found[in_recipe(name, recipe)] = shapley_value(gains, name)
    return found


def contribution_sentence(found: Sequence[Contribution], volumes: Volumes) -> str:
    """In words, which volumes raise the macro-F1, recipe by recipe; empty where there are none."""
    return " ".join(_sentence(c, volumes) for c in found if c.score == "macro_f1")


def _sentence(contribution: Contribution, volumes: Volumes) -> str:
    values = sorted(contribution.modalities.items(), key=lambda item: -item[1].value)
    listed = "; ".join(f"{volumes[name].title} {value.text(signed=True)}" for name, value in values)
    helpful = [volumes[name].title for name, value in values if value.low > 0]
    if len(helpful) == 1:
        verdict = f"only the {helpful[0]} is shown to raise it"
    elif helpful:
        verdict = f"{' and '.join(helpful)} are shown to raise it"
    else:
        verdict = f"most comes from the {volumes[values[0][0]].title}, but no volume is shown to raise it"
    recipe = f" of the recipe {contribution.recipe}" if contribution.recipe else ""
    return (
        f"The macro-F1{recipe} is {contribution.empty:.2f} by chance and {contribution.everything:.2f} with "
        f"all {len(values)} volumes, whose Shapley values are {listed}: {verdict}."
    )


def shapley_value(values: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    """A volume's Shapley value. values: of all 2^n subsets of n volumes, the empty one's being NONE."""
    by_members = {frozenset(subset.split("+")) - {NONE}: value for subset, value in values.items()}
    n = len(values).bit_length() - 1
    total = np.zeros_like(values[NONE])
    for before, value in by_members.items():
        if name not in before:
            total = total + _weight(len(before), n) * (by_members[before | {name}] - value)
    return total


def prior(held_out: HeldOut) -> NDArray[np.float64]:
    """Each subject's p_rice where nothing but the other folds' share of RICE is known (N,)."""
    return np.array([held_out.is_rice[held_out.fold != fold].mean() for fold in held_out.fold])


def shapley_statistic(of: Mapping[str, Statistic], name: str) -> Statistic:
    """A volume's Shapley value of a score, of many resamples. of: the score of every subset."""
    return lambda counts: shapley_value({subset: score(counts) for subset, score in of.items()}, name)


def _weight(before: int, n: int) -> float:
    """Share of the orders of n volumes in which so many stand before a given one, in a given choice."""
    return math.factorial(before) * math.factorial(n - before - 1) / math.factorial(n)


def always(value: float) -> Statistic:
    """A score in which chance has no part."""
    return lambda counts: np.full(len(counts), value)
