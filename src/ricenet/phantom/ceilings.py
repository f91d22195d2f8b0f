"""How well the best reader of some volumes can tell a mechanism's labels: from features alone, no images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from ricenet.phantom.mechanism import PLATEAU_ABOVE_SD, Mechanism
from ricenet.runtime.randomness import generator_for

Numbers = NDArray[np.float64]

SEEN_IN: Mapping[str, frozenset[str]] = {
    "dose": frozenset({"dose"}),
    "post_op": frozenset({"post_op"}),
    "event": frozenset({"event"}),
    "remote": frozenset({"event"}),
    "place": frozenset({"event", "dose"}),
}
"""The volumes that it takes to see a feature."""

CHUNK = 4096


@dataclass(frozen=True)
class Ceiling:
    """The largest expected macro-F1 over all thresholds, and the area under the curve."""

    macro_f1: float
    auc: float


def ceiling(
    mechanism: Mechanism, volumes: Collection[str], subjects: int = 40_000, unseen: int = 400
) -> Ceiling:
    """Of one who knows the mechanism and the features that `volumes` (post_op, event, dose) show.

    subjects: that are drawn. unseen: values over which features that are not seen are averaged. Neither
    labels nor images are drawn: a subject counts as RICE by its probability.
    """
    p_rice = known_probability(mechanism, volumes, subjects, unseen)
    return Ceiling(best_macro_f1(p_rice), area_under_curve(p_rice))


def known_probability(mechanism: Mechanism, volumes: Collection[str], subjects: int, unseen: int) -> Numbers:
    """P(RICE) given what the volumes show, (subjects,), by Monte Carlo over what they do not."""
    drawn = draw_features(subjects, "seen")
    averaged = draw_features(unseen, "unseen")
    seen = {name for name, needed in SEEN_IN.items() if needed <= set(volumes)}
    parts = []
    for start in range(0, subjects, CHUNK):
        x = {
            name: drawn[name][start : start + CHUNK, None] if name in seen else averaged[name][None]
            for name in SEEN_IN
        }
        log_odds = np.asarray(mechanism.log_odds(x), np.float64)
        parts.append(np.broadcast_to(expit(log_odds).mean(axis=1), len(drawn["dose"][start : start + CHUNK])))
    # equal probabilities stay equal whatever the order of their sums
    p_rice: Numbers = np.round(np.concatenate(parts), 9)
    return p_rice


def draw_features(count: int, stream: str) -> dict[str, Numbers]:
    """Features by name, (count,) each; every sign as often as its opposite, for each pair of features."""
    quarter = generator_for("phantom", "ceilings", stream).normal(size=(len(SEEN_IN), count // 4))
    # all four combinations of the signs of dose and event
    signs = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1], [1, 1, -1, -1]])
    flips = dict(zip(("dose", "event", "post_op", "remote"), signs, strict=True))
    values = {
        name: np.concatenate([sign * x for sign in flips.get(name, np.ones(4))])
        for name, x in zip(SEEN_IN, quarter, strict=True)
    }
    values["place"] = np.where(values["place"] > PLATEAU_ABOVE_SD, 1.0, -1.0)
    return values


def best_macro_f1(p_rice: Numbers) -> float:
    """Expected macro-F1 of the best threshold on probabilities (n,) that are true.

    Where many are the same, as many of them are called RICE at random as is best.

    >>> round(best_macro_f1(np.array([0.0, 1.0])), 3), round(best_macro_f1(np.full(1000, 0.5)), 3)
    (1.0, 0.5)
    """
    falling = np.sort(p_rice)[::-1]
    called = np.arange(len(falling) + 1)
    hits = np.concatenate([[0.0], np.cumsum(falling)])
    rice, recurrence = hits[-1], len(falling) - hits[-1]
    right_recurrence = recurrence - (called - hits)
    f1_rice = 2 * hits / (called + rice)
    f1_recurrence = 2 * right_recurrence / (len(falling) - called + recurrence)
    return float(np.max((f1_rice + f1_recurrence) / 2))


def area_under_curve(p_rice: Numbers) -> float:
    """Probability that a RICE is ranked above a recurrence, ties half, for probabilities (n,) that are true.

    >>> area_under_curve(np.array([0.0, 1.0])), area_under_curve(np.full(4, 0.3))
    (1.0, 0.5)
    """
    rice = p_rice.sum()
    above_all = float(p_rice @ (rankdata(p_rice) - 0.5))
    return float((above_all - rice**2 / 2) / (rice * (len(p_rice) - rice)))
