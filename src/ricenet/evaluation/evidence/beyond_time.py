"""Does a network know more than the days since radiotherapy? RICE comes at other times than recurrence does.

A network that only sees how long ago the radiation was, from whatever in the images changes with it, can rank
subjects well and tell a clinician nothing: the date is in the record. So its held-out logit is added to a
logistic regression on time, and has to explain what time leaves open (nested models; Pepe et al. 2013 on why
this test, rather than one of the areas, is the one of added value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.baselines import TIME, Scalars
from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said
from ricenet.evaluation.evidence.weak_calibration import logits_of
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.records import Record

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FEWEST_OF_A_LABEL = 10
"""With a known time; fewer carry no regression on three numbers."""

_ALMOST_FREE = 1e4
"""Inverse penalty of the regressions: none to speak of, but finite where time parts the labels."""

Floats = NDArray[np.float64]


class BeyondTime(Record):
    """A network's answers beside the days, on the n subjects whose time is known.

    time: AUC of time alone, out of fold. gain: of time and network together over it. p: likelihood-ratio test
    of the network's logit in a regression on time; 1 where it points the wrong way.
    """

    n: int
    time: float
    gain: Estimate
    p: float

    @property
    def is_shown(self) -> bool:
        """Whether the network is shown to add something."""
        return self.p <= LEVEL

    @property
    def sentence(self) -> str:
        """In words; begins with a verb."""
        adds = "adds to" if self.is_shown else "is not shown to add to"
        return (
            f"{adds} the days since radiotherapy ({p_said(self.p)}): on {self.n} subjects time alone has an "
            f"AUC of {self.time:.2f}, and both together {self.gain.text(signed=True)} more"
        )


def beyond_time(
    held: HeldOut, scalars: Mapping[str, Scalars], seed: int, resamples: int
) -> BeyondTime | None:
    """What a network's held-out answers add. held: of one network. scalars: of each of its subjects.

    None where too few subjects have a known time, or all the same.
    """
    days = np.array([_days(scalars[subject]) for subject in held.subjects])
    known = np.isfinite(days)
    is_rice, fold = held.is_rice[known], held.fold[known]
    if min(is_rice.sum(), (~is_rice).sum()) < FEWEST_OF_A_LABEL or np.ptp(days[known]) == 0:
        return None
    (p_rice,) = held.p_rice.values()
    # in days and their logarithm, so that a bent effect of time is not left for the network to explain
    time = np.stack([days[known], np.log1p(np.maximum(days[known], 0))], axis=1)
    both = np.column_stack([time, logits_of(p_rice[known])])
    alone, together = _out_of_fold(time, is_rice, fold), _out_of_fold(both, is_rice, fold)
    on_known = HeldOut(tuple(np.array(held.subjects)[known]), is_rice, fold, {"": together})
    areas = [scores.auc(p, is_rice) for p in (alone, together)]
    (gain,) = on_known.resampling(seed, resamples).estimates([difference(areas[1], areas[0])])
    return BeyondTime(
        n=len(is_rice),
        time=float(areas[0](np.ones((1, len(is_rice))))[0]),
        gain=gain,
        p=added_p_value(time, both, is_rice),
    )


def added_p_value(less: Floats, more: Floats, is_rice: NDArray[np.bool_]) -> float:
    """p of the last column of `more` (N, F + 1), given those of `less` (N, F).

    1 where its weight points the wrong way.
    """
    from scipy import stats

    (_, before), (weights, after) = _likelihood(less, is_rice), _likelihood(more, is_rice)
    if weights[-1] <= 0:
        return 1.0
    return float(stats.chi2.sf(max(0.0, 2 * (after - before)), 1))


def _likelihood(features: Floats, is_rice: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Weights of standardised features, and the log-likelihood in nats."""
    model = _regression().fit(features, is_rice)
    losses = scores.log_losses(model.predict_proba(features)[:, 1], is_rice)
    return model[-1].coef_[0], -float(losses.sum())


def _out_of_fold(features: Floats, is_rice: NDArray[np.bool_], fold: NDArray[np.int64]) -> Floats:
    """p_rice (N,) by regressions on the other folds."""
    p_rice = np.empty(len(is_rice))
    for k in np.unique(fold):
        model = _regression().fit(features[fold != k], is_rice[fold != k])
        p_rice[fold == k] = model.predict_proba(features[fold == k])[:, 1]
    return p_rice


def _regression() -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=_ALMOST_FREE, max_iter=5000))


def _days(values: Scalars) -> float:
    found = values.get(TIME[0])
    return float("nan") if found is None else float(found)
