"""The shortcut audit: does the network know more than a table of scalars, or than nothing at all?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import set_title
from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling, score_of
from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.evidence.baselines import (
    SCALAR_MODELS,
    ScalarModel,
    held_out_p_rice,
    incomplete,
    usable_features,
)
from ricenet.evaluation.evidence.contribution import coin_macro_f1, prior
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Audit, Baseline, Gain, best_set
from ricenet.evaluation.evidence.scalars import Scalars
from ricenet.evaluation.intervals import Scores, bounds_of, difference_or_bound, scores_with_intervals
from ricenet.evaluation.predictions import THRESHOLD

MAJORITY = "majority"


def audit(
    held_out: HeldOut, networks: Mapping[str, Scores], scalars: Mapping[str, Scalars], resampling: Resampling
) -> Audit:
    """Every baseline in the networks' folds, each network's gain over it, and a verdict in words.

    networks: the scores of each modality set. scalars: of every subject.
    """
    skipped, baselines = {}, [_majority(held_out, resampling)]
    for model in SCALAR_MODELS:
        if features := usable_features(model, scalars):
            baselines.append(_regression(model, features, held_out, scalars, resampling))
        else:
            skipped[model.name] = (
                "no subject has it" if not _known(model, scalars) else "it is the same in all"
            )
    best = best_set(networks)
    return Audit(
        baselines=tuple(baselines),
        skipped=skipped,
        network=best,
        verdict=verdict(best, networks[best], baselines, coin_macro_f1(resampling.subjects)),
    )


def majority_scores(held_out: HeldOut) -> Scores:
    """What the training subjects' more frequent label scores, whoever is judged; without an interval."""
    p_rice, is_rice = prior(held_out), held_out.is_rice
    subjects = (int((~is_rice).sum()), int(is_rice.sum()))
    values = {
        "macro_f1": scores.macro_f1, "balanced_accuracy": scores.balanced_accuracy, "brier": scores.brier
    }  # fmt: skip
    says_rice = p_rice >= THRESHOLD
    fixed = {name: score_of(of(p_rice, is_rice), subjects) for name, of in values.items()}
    fixed |= {
        "auc": 0.5,
        "sensitivity": float(says_rice[is_rice].mean()),
        "specificity": float((~says_rice[~is_rice]).mean()),
    }
    return Scores(n=len(is_rice), **{name: _constant(value) for name, value in fixed.items()})


def verdict(network: str, of_network: Scores, baselines: Sequence[Baseline], chance: float) -> str:
    """In words, whether the best network beats chance and the best regression on scalars.

    chance: the macro-F1 of a fair coin, which is above that of the commoner label.
    """
    majority, *regressions = baselines
    named = f"The best network ({set_title(network)}, macro-F1 {of_network.macro_f1.text()})"
    commoner = majority.scores.macro_f1.value
    beats = "beats" if of_network.macro_f1.low > max(chance, commoner) else "is not shown to beat"
    told = f"{named} {beats} chance ({chance:.2f} for a coin, {commoner:.2f} for the commoner label)"
    if not regressions:
        return f"{told}. There are no scalars to compare it with."
    strongest = max(regressions, key=lambda baseline: baseline.scores.macro_f1.value)
    gain = strongest.gains[network].macro_f1
    if gain.low > 0:
        outcome, so = "and it beats", "It knows more than a table of scalars does."
    elif gain.high < 0:
        outcome, so = "but it is worse than", "A table of scalars knows more than the network does."
    else:
        outcome, so = "but is not shown to beat", "A table of scalars may know as much as the network does."
    return (
        f"{told}, {outcome} the best of {len(regressions)} logistic regressions, on {strongest.title} "
        f"({strongest.scores.macro_f1.text()}): the gain in macro-F1 is {gain.text(signed=True)}. {so}"
    )


def _majority(held_out: HeldOut, resampling: Resampling) -> Baseline:
    p_rice = prior(held_out)
    gains = _gains(p_rice, held_out, resampling, constant=True)
    return Baseline(
        name=MAJORITY,
        title="majority label",
        features=(),
        incomplete=0,
        scores=majority_scores(held_out),
        gains=gains,
    )


def _regression(
    model: ScalarModel,
    features: tuple[str, ...],
    held_out: HeldOut,
    scalars: Mapping[str, Scalars],
    resampling: Resampling,
) -> Baseline:
    p_rice = held_out_p_rice(features, scalars, held_out)
    return Baseline(
        name=model.name,
        title=model.title,
        features=features,
        incomplete=incomplete(features, scalars),
        scores=scores_with_intervals(p_rice, held_out.is_rice, resampling.seed, resampling.resamples),
        gains=_gains(p_rice, held_out, resampling),
    )


def _gains(
    baseline: NDArray[np.float64], held_out: HeldOut, resampling: Resampling, constant: bool = False
) -> dict[str, Gain]:
    """Every network minus the baseline. constant: it says the same of everybody, whatever its p_rice."""
    is_rice, networks = held_out.is_rice, held_out.p_rice
    area_of = np.full(len(baseline), 0.5) if constant else baseline
    of_baseline = {"macro_f1": scores.macro_f1(baseline, is_rice), "auc": scores.auc(area_of, is_rice)}
    own = {"macro_f1": scores.macro_f1, "auc": scores.auc}
    pairs = [(score, name) for score in own for name in networks]
    estimates = resampling.estimates(
        [scores.difference(own[score](networks[name], is_rice), of_baseline[score]) for score, name in pairs]
    )
    bounds = {name: bounds_of(p_rice, is_rice) for name, p_rice in networks.items()}
    against = (
        {score: _constant(score_of(of, resampling.subjects)) for score, of in of_baseline.items()}
        if constant
        else bounds_of(baseline, is_rice)
    )
    found = {
        (score, name): difference_or_bound(estimate, bounds[name][score], against[score])
        for (score, name), estimate in zip(pairs, estimates, strict=True)
    }
    return {name: Gain(macro_f1=found["macro_f1", name], auc=found["auc", name]) for name in networks}


def _constant(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, method="constant")


def _known(model: ScalarModel, scalars: Mapping[str, Scalars]) -> bool:
    return any(values[name] is not None for values in scalars.values() for name in model.features)
