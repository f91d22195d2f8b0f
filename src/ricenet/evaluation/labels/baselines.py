"""What a table of scalars knows of any number of labels, in the networks' own folds: multinomial regression.

As `ricenet.evaluation.evidence.audit`, by logistic regressions of all labels together; regressions on the
volumes themselves are of two labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.baselines import ScalarModel, Scalars, columns_of, table_of
from ricenet.evaluation.evidence.comparison import WIDER
from ricenet.evaluation.intervals import Estimate, difference_or_bound
from ricenet.evaluation.labels.comparison import drawn_swaps, swapped_label_f1
from ricenet.evaluation.labels.contribution import label_shares
from ricenet.evaluation.labels.held_out import LabelHeldOut, LabelProbabilities
from ricenet.evaluation.labels.scores import (
    LabelScores,
    constant_scores,
    label_scores,
    macro_f1,
    score_bounds,
)
from ricenet.runtime.records import Record
from ricenet.training.label_predictions import top_labels

MAJORITY = ScalarModel("majority", "most frequent label", ())


class LabelGain(Record):
    """Network minus baseline on the network's n subjects. p_macro_f1: of the test by drawn swaps."""

    n: int
    macro_f1: Estimate
    p_macro_f1: float


class LabelBaseline(Record):
    """A baseline in the network's folds. incomplete: how many subjects lack a feature. gains: by set."""

    name: str
    title: str
    features: tuple[str, ...]
    incomplete: int
    scores: LabelScores
    gains: dict[str, LabelGain]


def label_baselines(
    networks: Mapping[str, LabelHeldOut],
    everyone: LabelHeldOut,
    scalars: Mapping[str, Scalars],
    models: Sequence[ScalarModel],
    seed: int,
    resamples: int,
) -> tuple[LabelBaseline, ...]:
    """The most frequent label, then every regression whose features differ between subjects.

    networks: each modality set with its own subjects. everyone: whoever is held out by one of them.
    """
    usable = {model: names for model in models if (names := model.usable(scalars))}
    said = {MAJORITY: label_shares(everyone)}
    said |= {model: held_out_probabilities(names, scalars, everyone) for model, names in usable.items()}
    return tuple(
        LabelBaseline(
            name=model.name,
            title=model.title,
            features=usable.get(model, ()),
            incomplete=model.incomplete(scalars),
            scores=constant_scores(p, everyone.truth, everyone.label_names)
            if model is MAJORITY
            else label_scores(_as(everyone, p), "", seed, resamples),
            gains={
                name: _gain(network, name, everyone, p, seed, resamples) for name, network in networks.items()
            },
        )
        for model, p in said.items()
    )


def held_out_probabilities(
    features: tuple[str, ...], scalars: Mapping[str, Scalars], held_out: LabelHeldOut
) -> LabelProbabilities:
    """Each subject's probabilities (N, K) by a regression that was fitted to the other folds.

    Imputation, standardisation and encoding are fitted to them too, so nothing of a fold reaches its judge.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    table = table_of(features, scalars, held_out)
    p = np.zeros((len(held_out.subjects), len(held_out.label_names)))
    for fold in np.unique(held_out.fold):
        inside = held_out.fold == fold
        # balanced, as the network's sampler is
        regression = LogisticRegression(class_weight="balanced", max_iter=1000)
        model = make_pipeline(columns_of(table, features), regression)
        model.fit(table[~inside], held_out.truth[~inside])
        p[np.ix_(inside, model[-1].classes_)] = model.predict_proba(table[inside])
    return p


def _as(everyone: LabelHeldOut, p: LabelProbabilities) -> LabelHeldOut:
    return LabelHeldOut(everyone.subjects, everyone.label_names, everyone.truth, everyone.fold, {"": p})


def _gain(
    network: LabelHeldOut,
    name: str,
    everyone: LabelHeldOut,
    p: LabelProbabilities,
    seed: int,
    resamples: int,
) -> LabelGain:
    where = np.searchsorted(everyone.subjects, network.subjects)
    truth, classes, theirs = network.truth, len(network.label_names), p[where]
    own, other = network.said(name), top_labels(theirs)
    (gain,) = network.resampling(seed, resamples).estimates(
        [difference(macro_f1(own, truth, classes), macro_f1(other, truth, classes))]
    )
    bounds = [score_bounds(of, truth, WIDER)["macro_f1"] for of in (network.probabilities[name], theirs)]
    swaps = drawn_swaps(len(truth), seed, resamples)
    return LabelGain(
        n=len(truth),
        macro_f1=difference_or_bound(gain, *bounds),
        p_macro_f1=swapped_label_f1(own, other, truth, classes, swaps),
    )
