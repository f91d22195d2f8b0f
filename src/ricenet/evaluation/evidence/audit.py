"""The shortcut audit: does the network know more than a table of scalars, or than nothing at all?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference, score_of
from ricenet.evaluation.evidence.baselines import ScalarModel, Scalars, held_out_p_rice, sites_of
from ricenet.evaluation.evidence.comparison import WIDER
from ricenet.evaluation.evidence.contribution import prior
from ricenet.evaluation.evidence.group_baselines import Convolutions, GroupModel, grouped_p_rice
from ricenet.evaluation.evidence.harmonisation import FEWEST_OF_A_SITE
from ricenet.evaluation.evidence.record import Audit, Baseline, Gain
from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said, swapped_macro_f1
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Probabilities, constant, difference_or_bound, exact_bounds
from ricenet.evaluation.metrics import best_set
from ricenet.evaluation.scores import Scores, scores_with_intervals
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import Volumes

MAJORITY = ScalarModel("majority", "majority label", ())
_GAINED = {"macro_f1": scores.macro_f1, "auc": scores.auc}


def audit(
    networks: Mapping[str, HeldOut],
    of_networks: Mapping[str, Scores],
    everyone: HeldOut,
    scalars: Mapping[str, Scalars],
    models: Sequence[ScalarModel],
    volumes: Volumes,
    seed: int,
    resamples: int,
    convolutions: Convolutions | None = None,
    harmonise: Collection[str] = (),
) -> Audit:
    """Every baseline in the networks' folds, each network's gain over it, and a verdict in words.

    networks: each modality set with its own subjects. everyone: whoever is held out by one of them.
    convolutions: of every subject, for models that see volumes. harmonise: features that are harmonised by
    site within the folds, and convolutions with them.
    """
    usable = {model: model.usable(scalars) for model in models}
    said = {
        model: answers_of(model, everyone, scalars, convolutions, harmonise)
        for model, names in usable.items()
        if names
    }
    own = {m: scores_with_intervals(p, everyone.is_rice, seed, resamples) for m, p in said.items()}
    said, own = {MAJORITY: prior(everyone), **said}, {MAJORITY: majority_scores(everyone), **own}
    gains = {name: _gains(network, everyone, said, seed, resamples) for name, network in networks.items()}
    baselines = tuple(
        Baseline(
            name=model.name,
            title=model.title,
            features=usable.get(model, ()),
            incomplete=model.incomplete(scalars),
            scores=own[model],
            gains={name: of_network[model] for name, of_network in gains.items()},
        )
        for model in said
    )
    best = best_set({name: of.macro_f1.value for name, of in of_networks.items()})
    chance = networks[best].chance_macro_f1
    return Audit(
        baselines=baselines,
        skipped={model.name: model.why_unusable(scalars) for model in models if not usable[model]},
        network=best,
        harmonised=tuple(harmonise),
        unharmonised=_unharmonised(everyone, scalars) if harmonise else 0,
        verdict=verdict(volumes.set_title(best), best, of_networks[best], baselines, chance),
    )


def answers_of(
    model: ScalarModel,
    held_out: HeldOut,
    scalars: Mapping[str, Scalars],
    convolutions: Convolutions | None = None,
    harmonise: Collection[str] = (),
) -> Probabilities:
    """Each subject's p_rice (N,) by a model that was fitted to the other folds."""
    if isinstance(model, GroupModel):
        return grouped_p_rice(model, scalars, convolutions or {}, held_out, harmonise)
    return held_out_p_rice(model.usable(scalars), scalars, held_out, harmonise)


def majority_scores(held_out: HeldOut) -> Scores:
    """What the training subjects' more frequent label scores, whoever is judged; without an interval."""
    p_rice, is_rice = prior(held_out), held_out.is_rice
    says_rice, n = p_rice >= THRESHOLD, len(is_rice)
    values = {
        "macro_f1": score_of(scores.macro_f1(p_rice, is_rice), n),
        "balanced_accuracy": score_of(scores.balanced_accuracy(p_rice, is_rice), n),
        "auc": 0.5,
        "sensitivity": float(says_rice[is_rice].mean()),
        "specificity": float((~says_rice[~is_rice]).mean()),
        "brier": score_of(scores.brier(p_rice, is_rice), n),
    }
    return Scores(n=n, **{name: constant(value) for name, value in values.items()})


def _unharmonised(everyone: HeldOut, scalars: Mapping[str, Scalars]) -> int:
    """Of how many the site is not known, or too few of it are in the other folds to harmonise by them."""
    placed = list(zip(sites_of(scalars, everyone), everyone.fold.tolist(), strict=True))
    learnt_from = [sum(other == site and k != fold for other, k in placed) for site, fold in placed]
    return sum(site is None or n < FEWEST_OF_A_SITE for (site, _), n in zip(placed, learnt_from, strict=True))


def verdict(
    title: str, network: str, of_network: Scores, baselines: Sequence[Baseline], chance: float
) -> str:
    """In words, whether the best network beats chance and the best regression on scalars.

    title: of the network's modality set. chance: the chance level, which is above the macro-F1 of the more
    frequent label.
    """
    majority, *regressions = baselines
    frequent = majority.scores.macro_f1.value
    beats = "beats" if of_network.macro_f1.low > max(chance, frequent) else "is not shown to beat"
    said = (
        f"The best network ({title}, macro-F1 {of_network.macro_f1.text()}) {beats} chance ({chance:.2f} for "
        f"guessing, {frequent:.2f} for the more frequent label)"
    )
    if not regressions:
        return f"{said}. There are no scalars to compare it with."
    strongest = max(regressions, key=lambda baseline: baseline.scores.macro_f1.value)
    found = strongest.gains[network]
    gain, shown = found.macro_f1, found.p_macro_f1 <= LEVEL
    if shown and gain.value > 0:
        outcome, so = "and it beats", "It knows more than a table of scalars does."
    elif shown:
        outcome, so = "but it is worse than", "A table of scalars knows more than the network does."
    else:
        outcome, so = "but is not shown to beat", "A table of scalars may know as much as the network does."
    return (
        f"{said}, {outcome} the best of {len(regressions)} logistic regressions, on {strongest.title} "
        f"({strongest.scores.macro_f1.text()}): the gain in macro-F1 is {gain.text(signed=True)}, "
        f"{p_said(found.p_macro_f1)}. {so}"
    )


def _gains(
    network: HeldOut,
    everyone: HeldOut,
    baselines: Mapping[ScalarModel, Probabilities],
    seed: int,
    resamples: int,
) -> dict[ScalarModel, Gain]:
    """A network minus every baseline, on the network's subjects."""
    (own,), is_rice = network.p_rice.values(), network.is_rice
    where = np.searchsorted(everyone.subjects, network.subjects)
    pairs = [(model, score) for model in baselines for score in _GAINED]
    # the majority label is the same for all of a fold, so its area is that of a constant
    against = {(model, score): baselines[model][where] for model, score in pairs}
    against[MAJORITY, "auc"] = np.full(len(where), 0.5)
    statistics = {pair: _GAINED[pair[1]](p_rice, is_rice) for pair, p_rice in against.items()}
    estimates = network.resampling(seed, resamples).estimates(
        [difference(_GAINED[score](own, is_rice), statistics[model, score]) for model, score in pairs]
    )
    ours, found = exact_bounds(own, is_rice, WIDER), {}
    for (model, score), estimate in zip(pairs, estimates, strict=True):
        theirs = exact_bounds(against[model, score], is_rice, WIDER)[score]
        if model == MAJORITY:
            theirs = (score_of(statistics[model, score], len(where)),) * 2
        found[model, score] = difference_or_bound(estimate, ours[score], theirs)
    right = {model: (against[model, "macro_f1"] >= THRESHOLD) == is_rice for model in baselines}
    p = {m: swapped_macro_f1((own >= THRESHOLD) == is_rice, right[m], is_rice).p for m in baselines}
    return {
        model: Gain(n=len(where), p_macro_f1=p[model], **{score: found[model, score] for score in _GAINED})
        for model in baselines
    }
