"""Fusion that cannot hurt: a group-wise regression answers beside each fold's network, by weights >= 0.

logit = w_network * logit_network + w_regression * logit_regression. Both weights are 0.5 (mean, and products,
whose regression sees what dose and MRI tell together, `ricenet.training.dose_products`), or fitted to
answers about subjects to whom neither was fitted: for those of fold k, each other fold j is answered for by a
network and a regression that saw neither j nor k. So nothing that answers for fold k saw it, at any level.
Source: Wolpert 1992 (stacked generalisation), Breiman 1996 (weights that are never negative).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ricenet.config.training import FusionRule
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import SplitError, TrainingError
from ricenet.runtime.records import Record
from ricenet.training.dose_products import DoseProducts, multiplied_dose, solid_features
from ricenet.training.group_regression import FeatureGroup, GroupRegression, fit_group_regression
from ricenet.training.input_features import input_features, of_all
from ricenet.training.predictions import Prediction, read_predictions
from ricenet.training.task import FoldTask
from ricenet.vocabulary import LABELS, VolumeSpec

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

PRIOR_WEIGHT, PRIOR_SD = 0.5, 0.5
"""Of each weight, before anything is seen: the mean of both logits."""

LEAST_P = 1e-7
"""Of a probability whose logit is taken; float32 rounds to 0 and 1 what is nearer."""


class FusedFold(Record):
    """What answers beside a fold's network. products: that the regression sees, beside each volume's."""

    network_weight: float
    regression_weight: float
    regression: GroupRegression
    products: DoseProducts | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def weights(self) -> dict[str, float]:
        """By what answers."""
        return {"network": self.network_weight, "regression": self.regression_weight}

    def features(
        self, volumes: NDArray[np.floating], members: Sequence[VolumeSpec]
    ) -> tuple[FeatureGroup, ...]:
        """What `p_rice` needs of volumes (N, C, X, Y, Z). members: the volumes (C,)."""
        return _features(volumes, members, self.products is not None)

    def p_rice(self, network_p_rice: Floats, groups: Sequence[FeatureGroup]) -> Floats:
        """Probability of RICE (N,) of both together. Raises ValueError: other features than were fitted."""
        from scipy.special import expit

        seen = groups if self.products is None else [*groups, *self.products.of(groups)]
        balanced = self.regression.logits(seen) - self.regression.log_odds
        fused: Floats = expit(
            self.network_weight * _logits(network_p_rice) + self.regression_weight * balanced
        )
        return fused


@dataclass(frozen=True)
class Fusion:
    """The fused folds of one modality set, with their answers for the held-out, in the order of folds.

    subsets: the same from fewer volumes, of networks that may lack some.
    """

    folds: tuple[FusedFold, ...]
    predictions: tuple[tuple[Prediction, ...], ...]
    subsets: Mapping[str, Fusion] = field(default_factory=dict)


def inner_tasks(tasks: Sequence[FoldTask]) -> list[FoldTask]:
    """For every two folds of a set with fitted fusion, the training that sees neither; it answers for both.

    Raises SplitError: one that is left with a single label.
    """
    sets = _by_set(tasks, ["fitted"]).values()
    return [inner for folds in sets for inner in _inner_of_set(folds).values()]


def fuse(tasks: Sequence[FoldTask]) -> dict[str, Fusion]:
    """Fit regressions and weights of every set with fusion, once all its folds and inner folds are trained.

    Raises ScanError: volumes that cannot be read. TrainingError: a data leak between the levels.
    """
    return {name: _fuse_set(folds) for name, folds in _by_set(tasks, ["mean", "fitted", "products"]).items()}


def non_negative_weights(logits: Floats, is_rice: NDArray[np.bool_]) -> Floats:
    """The most probable weights (M,) of several answers, both classes counting alike.

    logits: (N, M) of subjects that no answer was fitted to. Each weight has a normal prior around the mean of
    both, and is 0 where it would be negative.
    """
    from scipy.optimize import minimize

    sign = np.where(is_rice, 1.0, -1.0)
    share = np.where(is_rice, is_rice.mean(), (~is_rice).mean())

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (logits @ weights)
        away = (weights - PRIOR_WEIGHT) / PRIOR_SD
        value = (0.5 / share * np.logaddexp(0, -margin)).sum() + 0.5 * (away**2).sum()
        slope = -(0.5 / share * sign / (1 + np.exp(np.minimum(margin, 500)))) @ logits + away / PRIOR_SD
        return float(value), slope

    start = np.full(logits.shape[1], PRIOR_WEIGHT)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    weights: Floats = found.x
    return weights


def require_unseen(fitted_to: Sequence[str], judged: Sequence[str], what: str) -> None:
    """Make sure that nothing was fitted to whom it answers for. Raises TrainingError."""
    if both := sorted(set(fitted_to) & set(judged)):
        raise TrainingError(
            f"data leakage: {what} was fitted to {len(both)} subject(s) that it answers for "
            f"({', '.join(both[:3])}{', ...' if len(both) > 3 else ''}); no score is computed from it"
        )


def _by_set(tasks: Sequence[FoldTask], rules: Collection[FusionRule]) -> dict[str, list[FoldTask]]:
    found: dict[str, list[FoldTask]] = {}
    for task in tasks:
        if task.training.fusion in rules:
            found.setdefault(task.modality_set, []).append(task)
    return found


def _inner_of_set(folds: Sequence[FoldTask]) -> dict[frozenset[int], FoldTask]:
    """By the two folds that are held out."""
    return {frozenset((a.fold, b.fold)): _without(a, b) for a, b in combinations(folds, 2)}


def _without(task: FoldTask, other: FoldTask) -> FoldTask:
    held_out = set(other.validation_subjects)
    kept = tuple(s for s in task.training_subjects if s not in held_out)
    if {task.labels[s] for s in kept} != set(LABELS):
        raise SplitError(
            f"{task.modality_set}: fusion holds out folds {task.fold} and {other.fold} at once, and "
            f"{len(kept)} subject(s) are left, not of both labels; set fusion: mean, or add subjects"
        )
    judged = (*task.validation_subjects, *other.validation_subjects)
    return replace(task, training_subjects=kept, validation_subjects=judged, left_out=other.fold)


@dataclass(frozen=True)
class _Subjects:
    """Features and labels of all subjects of a set, by position. dose: whose products with MRIs are seen."""

    position: Mapping[str, int]
    groups: tuple[FeatureGroup, ...]
    is_rice: NDArray[np.bool_]
    dose: str | None

    @classmethod
    def of(cls, task: FoldTask, names: Sequence[str]) -> _Subjects:
        order = sorted(task.subjects)
        volumes = (read_volumes(task.preprocessed / s, s, names, task.grid)[np.newaxis] for s in order)
        is_rice = np.array([task.labels[s] == "rice" for s in order])
        members = [spec for spec in task.members if spec.name in names]
        dose = multiplied_dose(members) if task.training.fusion == "products" else None
        groups = of_all(_features(v, members, dose is not None) for v in volumes)
        return cls({s: i for i, s in enumerate(order)}, groups, is_rice, dose)

    def _at(self, subjects: Sequence[str]) -> NDArray[np.intp]:
        return np.array([self.position[s] for s in subjects], dtype=np.intp)

    def labels(self, subjects: Sequence[str]) -> NDArray[np.bool_]:
        return self.is_rice[self._at(subjects)]

    def features(self, subjects: Sequence[str]) -> list[FeatureGroup]:
        return [group.rows(self._at(subjects)) for group in self.groups]

    def products(self, subjects: Sequence[str]) -> DoseProducts | None:
        return None if self.dose is None else DoseProducts.fitted(self.features(subjects), self.dose)

    def regression(self, subjects: Sequence[str], products: DoseProducts | None = None) -> GroupRegression:
        """Its logits are not moderated: the weights make up for that, and the file stays small."""
        groups = self.features(subjects)
        seen = groups if products is None else [*groups, *products.of(groups)]
        return fit_group_regression(seen, self.labels(subjects)).without_covariance()


def _features(
    volumes: NDArray[np.floating], members: Sequence[VolumeSpec], with_products: bool
) -> tuple[FeatureGroup, ...]:
    groups = input_features(volumes, [spec.name for spec in members])
    return (*groups, *solid_features(volumes, members)) if with_products else groups


def _fuse_set(folds: Sequence[FoldTask]) -> Fusion:
    (file, _), *fewer = folds[0].prediction_files.items()
    subsets = {subset: _fuse_subset(folds, subset.split("+"), other) for other, subset in fewer}
    names = [spec.name for spec in folds[0].members]
    return replace(_fuse_subset(folds, names, file), subsets=subsets)


def _fuse_subset(folds: Sequence[FoldTask], names: Sequence[str], file: str) -> Fusion:
    """names: the volumes that are seen. file: of a fold's folder, with the network's answers from them."""
    known = _Subjects.of(folds[0], names)
    fitted = folds[0].training.fusion == "fitted"
    weights = _fitted_weights(folds, known, file) if fitted else [(PRIOR_WEIGHT, PRIOR_WEIGHT)] * len(folds)
    fused, predictions = [], []
    for task, (network, beside) in zip(folds, weights, strict=True):
        require_unseen(task.training_subjects, task.validation_subjects, f"{task.identity}: the network")
        products = known.products(task.training_subjects)
        fold = FusedFold(
            network_weight=network,
            regression_weight=beside,
            regression=known.regression(task.training_subjects, products),
            products=products,
        )
        rows = read_predictions(task.folder / file)
        features = known.features([row.participant_id for row in rows])
        p_rice = fold.p_rice(np.array([row.p_rice for row in rows]), features)
        fused.append(fold)
        predictions.append(
            tuple(replace(row, p_rice=p) for row, p in zip(rows, p_rice.tolist(), strict=True))
        )
    return Fusion(tuple(fused), tuple(predictions))


def _fitted_weights(folds: Sequence[FoldTask], known: _Subjects, file: str) -> list[tuple[float, float]]:
    """Of each fold's network and regression, by answers for the other folds that did not see this one."""
    answers = {pair: _inner_answers(task, known, file) for pair, task in _inner_of_set(folds).items()}
    found = []
    for task in folds:
        seen = {
            subject: answers[frozenset((task.fold, other.fold))][subject]
            for other in folds
            if other is not task
            for subject in other.validation_subjects
        }
        require_unseen(list(seen), task.validation_subjects, f"{task.identity}: the weights")
        network, beside = non_negative_weights(np.array([*seen.values()]), known.labels(list(seen))).tolist()
        if network == beside == 0:
            logger.warning("%s: neither network nor regression tells anything; both weigh 0", task.identity)
        found.append((network, beside))
    return found


def _inner_answers(task: FoldTask, known: _Subjects, file: str) -> dict[str, tuple[float, float]]:
    """Logits of network and regression, of the two folds that neither saw."""
    require_unseen(task.training_subjects, task.validation_subjects, f"{task.identity}: an inner training")
    rows = read_predictions(task.folder / file)
    subjects = [row.participant_id for row in rows]
    regression = known.regression(task.training_subjects)
    balanced = regression.logits(known.features(subjects)) - regression.log_odds
    network = _logits(np.array([row.p_rice for row in rows]))
    return {s: (n, r) for s, n, r in zip(subjects, network.tolist(), balanced.tolist(), strict=True)}


def _logits(p_rice: Floats) -> Floats:
    from scipy.special import logit

    logits: Floats = logit(np.clip(p_rice, LEAST_P, 1 - LEAST_P))
    return logits
