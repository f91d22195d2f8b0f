"""Group-wise Bayesian logistic regression: a group of features that does not help is switched off.

logit = b + sum_g x_g w_g with w_g ~ N(0, v_g I), a prior variance per group, which maximises the evidence.
Source: MacKay 1992 (evidence, moderated output); Rasmussen and Williams 2006, algorithms 3.1 and 5.1
(Laplace approximation in its dual form, N x N, so that features may outnumber subjects by far).
Deviations: L-BFGS-B climbs the evidence by its exact gradient, within bounds, instead of fixed-point updates;
a group without which the evidence is no lower gets weights of exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.records import Record
from ricenet.training.laplace import BIAS_VARIANCE, Laplace

Floats = NDArray[np.float64]

LOGIT_VARIANCES = (1e-6, 1e2)
"""Bounds of the variance that a whole group may give to a logit (standardised features share it equally)."""

STARTS = (1.0, 0.05)
"""Variances of all groups from which the evidence is climbed; the higher summit is taken."""


@dataclass(frozen=True)
class FeatureGroup:
    """Features that share a prior. values: (N, F), finite."""

    name: str
    features: tuple[str, ...]
    values: Floats

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> FeatureGroup:
        """The same features of some subjects."""
        return FeatureGroup(self.name, self.features, self.values[chosen])


class GroupWeights(Record):
    """What was learned of one group.

    mean, sd: of the training rows, by which `features` are standardised. constant: features that did not
    differ between training rows. variance: of each weight's prior; 0 where the group is switched off.
    """

    name: str
    features: tuple[str, ...]
    constant: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    variance: float
    weights: tuple[float, ...]


class GroupRegression(Record):
    """A fitted regression; `model_dump(mode="json")` and `model_validate` bring it to a file and back.

    n, share: training subjects, and the share of rice in them. used: groups, log evidence in nats.
    outcome: "converged"; "not converged" within the steps allowed; "share of the classes" where every group
    is switched off: then each answer is `share`.
    factor: (N, F) rows, of the covariance D - factor' factor of bias and weights, D their prior variances;
    none of a regression whose logits are not moderated.
    """

    n: int
    share: float
    outcome: Literal["converged", "not converged", "share of the classes"]
    log_evidence: float
    bias: float
    groups: tuple[GroupWeights, ...]
    factor: tuple[tuple[float, ...], ...]

    def logits(self, groups: Sequence[FeatureGroup]) -> Floats:
        """Logit of p_rice (N,), moderated by its posterior variance: pulled to 0 where it is uncertain.

        Raises ValueError: other groups or features than those it was fitted to, or values not finite.
        """
        expected = [(g.name, set(g.features) | set(g.constant)) for g in self.groups]
        if [(g.name, set(g.features)) for g in groups] != expected:
            raise ValueError(f"expected the groups {[name for name, _ in expected]} with their features")
        _require_finite(groups)
        x = self._design(groups)
        mean = x @ self._weights
        if not self.factor:
            return mean
        variance = (x**2) @ self._prior - ((x @ self._factor.T) ** 2).sum(axis=1)
        moderated: Floats = mean / np.sqrt(1 + np.pi / 8 * np.maximum(variance, 0))
        return moderated

    def p_rice(self, groups: Sequence[FeatureGroup]) -> Floats:
        """Probability of RICE (N,). Raises ValueError: as `logits`."""
        from scipy.special import expit

        probabilities: Floats = expit(self.logits(groups))
        return probabilities

    def without_covariance(self) -> GroupRegression:
        """The same, smaller on disk; its logits are no longer moderated."""
        return self.model_copy(update={"factor": ()})

    @property
    def log_odds(self) -> float:
        """Of rice, in training."""
        return float(np.log(self.share / (1 - self.share)))

    @cached_property
    def _active(self) -> tuple[GroupWeights, ...]:
        return tuple(group for group in self.groups if group.variance > 0)

    @cached_property
    def _weights(self) -> Floats:
        return np.array([self.bias, *(w for group in self._active for w in group.weights)])

    @cached_property
    def _prior(self) -> Floats:
        variances = [np.full(len(group.features), group.variance) for group in self._active]
        return np.concatenate([[BIAS_VARIANCE], *variances])

    @cached_property
    def _factor(self) -> Floats:
        return np.array(self.factor, dtype=np.float64)

    def _design(self, groups: Sequence[FeatureGroup]) -> Floats:
        given = {group.name: group for group in groups}
        columns = [np.ones((len(groups[0].values), 1))]
        for group in self._active:
            where = [given[group.name].features.index(name) for name in group.features]
            values = given[group.name].values[:, where]
            columns.append((values - np.array(group.mean)) / np.array(group.sd))
        return np.hstack(columns)


def fit_group_regression(groups: Sequence[FeatureGroup], is_rice: NDArray[np.bool_]) -> GroupRegression:
    """The regression of training subjects. is_rice: (N,).

    Raises ValueError: a group without features, twice the same group, values that are not finite, or only
    one class.
    """
    _require_trainable(groups, is_rice)
    standardised = [_standardised(group) for group in groups]
    # of features that share a variance of 1 between them, so that groups of any size are alike
    kernels = [x @ x.T / max(1, x.shape[1]) for x, _ in standardised]
    given = np.array([x.shape[1] > 0 for x, _ in standardised])
    y = is_rice.astype(np.float64)
    variances, converged = _most_evident(kernels, y, given)
    laplace = Laplace.of(kernels, variances, y)
    share = float(y.mean())
    if not variances.any():
        outcome, bias, factor = "share of the classes", float(np.log(share / (1 - share))), np.empty((0, 1))
    else:
        outcome = "converged" if converged else "not converged"
        bias = float(BIAS_VARIANCE * laplace.slope.sum())
        factor = laplace.root @ _scaled_design(standardised, variances)
    return GroupRegression.model_validate(
        {
            "n": len(y),
            "share": share,
            "outcome": outcome,
            "log_evidence": laplace.log_evidence,
            "bias": bias,
            "groups": [
                {**scaling, "variance": v / max(1, x.shape[1]), "weights": _weights(x, v, laplace.slope)}
                for (x, scaling), v in zip(standardised, variances.tolist(), strict=True)
            ],
            "factor": factor.tolist(),
        }
    )


def _most_evident(kernels: Sequence[Floats], y: Floats, given: NDArray[np.bool_]) -> tuple[Floats, bool]:
    """Variance of each group's logit, 0 where it is switched off, and whether the climb converged."""
    from scipy.optimize import minimize

    where = np.flatnonzero(given)
    best, best_value, converged = np.zeros(len(kernels)), -np.inf, True

    def loss(log_variances: Floats) -> tuple[float, Floats]:
        found = Laplace.of([kernels[i] for i in where], np.exp(log_variances), y)
        return -found.log_evidence, -found.gradient

    for start in STARTS if len(where) else ():
        bounds = [tuple(np.log(LOGIT_VARIANCES))] * len(where)
        options = {"ftol": 1e-12, "gtol": 1e-6, "maxiter": 500}
        x0 = np.full(len(where), np.log(start))
        found = minimize(loss, x0, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if -found.fun > best_value:
            best_value, converged = -float(found.fun), bool(found.success)
            best[where] = np.exp(found.x)
    for i in sorted(where, key=lambda i: best[i]):
        without = np.where(np.arange(len(kernels)) == i, 0.0, best)
        value = Laplace.of(kernels, without, y).log_evidence
        if value >= best_value - 1e-4:
            best, best_value = without, value
    return best, converged


def _standardised(group: FeatureGroup) -> tuple[Floats, dict[str, object]]:
    mean, sd = group.values.mean(axis=0), group.values.std(axis=0)
    # what rounding makes of equal numbers does not differ either
    varies = sd > 1e-12 * np.maximum(1.0, np.abs(mean)) if len(sd) else sd > 0
    names = np.array(group.features, dtype=object)
    scaling = {
        "name": group.name,
        "features": tuple(names[varies]),
        "constant": tuple(names[~varies]),
        "mean": mean[varies].tolist(),
        "sd": sd[varies].tolist(),
    }
    return (group.values[:, varies] - mean[varies]) / sd[varies], scaling


def _weights(x: Floats, variance: float, slope: Floats) -> list[float]:
    weights: list[float] = (variance / max(1, x.shape[1]) * (x.T @ slope)).tolist()
    return weights


def _scaled_design(standardised: Sequence[tuple[Floats, object]], variances: Floats) -> Floats:
    """Bias and active features, each times its prior variance (N, 1 + F)."""
    groups = zip(standardised, variances, strict=True)
    columns = [x * (v / x.shape[1]) for (x, _), v in groups if v > 0]
    return np.hstack([np.full((len(standardised[0][0]), 1), BIAS_VARIANCE), *columns])


def _require_trainable(groups: Sequence[FeatureGroup], is_rice: NDArray[np.bool_]) -> None:
    if not groups or any(not group.features for group in groups):
        raise ValueError(f"expected groups with features, found {[g.name for g in groups if not g.features]}")
    if len({group.name for group in groups}) < len(groups):
        raise ValueError("two groups of features have the same name")
    if is_rice.all() or not is_rice.any():
        raise ValueError(f"expected subjects of both classes, found {len(is_rice)} of one")
    if wrong := [g.name for g in groups if g.values.shape != (len(is_rice), len(g.features))]:
        raise ValueError(f"expected a row a subject and a column a feature in the groups {wrong}")
    _require_finite(groups)


def _require_finite(groups: Sequence[FeatureGroup]) -> None:
    if wrong := [group.name for group in groups if not np.isfinite(group.values).all()]:
        raise ValueError(f"values that are not finite in the groups {wrong}; impute them first")
