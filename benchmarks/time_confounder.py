"""Is a network that sees time taken for one that sees more? Labels that follow the days since radiotherapy.

    python benchmarks/time_confounder.py    # some minutes on one core

Three worlds of phantoms. In two of them the label follows the days since radiotherapy alone, and the images
show something that goes with the days: exactly, or with noise. In the third the label also follows the
residual tumour, which the images show and the days do not. In each cohort the audit compares held-out answers
with a regression on the days, and the answers are added to it. The learner is the product's group-wise
regression on noisy views of what the images show.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from figure import report
from learning_curve import FOLDS, NOISES, SEEN, VIEWS, People, answered, folds_of
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from ricenet.evaluation.evidence.audit import audit
from ricenet.evaluation.evidence.baselines import TIME, scalar_models
from ricenet.evaluation.evidence.beyond_time import BeyondTime, beyond_time
from ricenet.evaluation.evidence.record import Gain
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.runtime.randomness import generator_for
from ricenet.training.group_regression import FeatureGroup
from ricenet.vocabulary import PAPER_VOLUMES

FIRST, RESAMPLES = 7000, 999
MEDIAN_DAYS, LOG_SD = 200, 0.6


class World(NamedTuple):
    """Log-odds of RICE by time and residual tumour, in SD; seen: correlation of the core with time.

    noise: SD of the learner's views of the images, in SD of what they show.
    """

    time: float
    post_op: float
    seen: float
    noise: float = 1.0


WORLDS = {
    "time alone, seen with noise": World(-2.5, 0.0, 0.7),
    "time alone, seen exactly": World(-2.5, 0.0, 1.0, noise=0.1),
    "time and residual tumour": World(-1.5, -3.0, 0.7),
}
BEYOND = "time and residual tumour"


class Planted(NamedTuple):
    """Causes whose labels follow a world, and days since the end of radiotherapy (N,)."""

    causes: list[Cause]
    days: NDArray[np.float64]

    @property
    def is_rice(self) -> NDArray[np.bool_]:
        """Labels (N,)."""
        return np.array([cause.label == "rice" for cause in self.causes])


def planted(world: World, seed: int, n: int) -> Planted:
    """n phantoms of a world; residual tumour and dose are drawn as ever."""
    plain = [draw_cause(f"sub-{k:03d}", seed, MECHANISMS["none"]) for k in range(1, n + 1)]
    rng = generator_for("time confounder", seed)
    time = rng.normal(size=n)
    post_op = np.array([cause.evidence.post_op for cause in plain])
    core = world.seen * time + np.sqrt(1 - world.seen**2) * rng.normal(size=n)
    p_rice = expit(-0.4 + world.time * time + world.post_op * post_op)
    is_rice = rng.random(n) < p_rice
    causes = [
        replace(
            cause,
            evidence=replace(cause.evidence, event=float(core[i])),
            p_rice=float(p_rice[i]),
            label="rice" if is_rice[i] else "recurrence",
        )
        for i, cause in enumerate(plain)
    ]
    return Planted(causes, np.rint(MEDIAN_DAYS * np.exp(LOG_SD * time)))


def views(found: Planted, world: World, seed: int) -> People:
    """Noisy views of what the images show, as benchmarks/learning_curve.py has them."""
    rng, names = generator_for("views", seed), tuple(f"f{i}" for i in range(VIEWS + NOISES))
    groups = []
    for seen in SEEN:
        values = rng.normal(size=(len(found.causes), VIEWS + NOISES))
        values[:, :VIEWS] *= world.noise
        values[:, :VIEWS] += np.array([[getattr(cause.evidence, seen)] for cause in found.causes])
        groups.append(FeatureGroup(seen, names, values))
    return People(tuple(groups), found.is_rice)


def held_out_of(found: Planted, world: World, seed: int) -> HeldOut:
    """The learner's out-of-fold answers."""
    people, fold = views(found, world, seed), folds_of(found.is_rice, seed)
    p_rice = np.empty(len(fold))
    for k in range(FOLDS):
        inside = np.flatnonzero(fold == k)
        p_rice[inside] = answered(people.rows(np.flatnonzero(fold != k)), people.rows(inside))
    subjects = tuple(cause.subject for cause in found.causes)
    return HeldOut(subjects, found.is_rice, fold.astype(np.int64), {"event": p_rice})


class Judged(NamedTuple):
    """Gain over time alone, and what is added to it."""

    gain: Gain
    added: BeyondTime


def judged(held: HeldOut, days: NDArray[np.float64], seed: int) -> Judged:
    """As the evidence says it."""
    scalars = {s: {TIME[0]: float(d)} for s, d in zip(held.subjects, days, strict=True)}
    time = [model for model in scalar_models(PAPER_VOLUMES, ()) if model.name == "time"]
    own = {"event": scores_with_intervals(held.p_rice["event"], held.is_rice, seed, RESAMPLES)}
    found = audit({"event": held}, own, held, scalars, time, PAPER_VOLUMES, seed, RESAMPLES)
    added = beyond_time(held, scalars, seed, RESAMPLES)
    assert added is not None
    return Judged(found.baselines[-1].gains["event"], added)


def main() -> None:
    """Every world, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=60)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--subjects", type=int, default=80)
    arguments = parser.parse_args()
    for name, world in WORLDS.items():
        found = []
        for seed in range(arguments.first, arguments.first + arguments.cohorts):
            cohort = planted(world, seed, arguments.subjects)
            found.append(judged(held_out_of(cohort, world, seed), cohort.days, seed))
        report_world(name, found)


def report_world(name: str, found: Sequence[Judged]) -> None:
    """How often the learner looks better than time, by each of the ways in which the evidence says it."""
    cohorts, beyond = len(found), name == BEYOND
    time = np.mean([f.added.time for f in found])
    ways = {
        "macro_f1, swap test": [f.gain.p_macro_f1 <= 0.05 and f.gain.macro_f1.value > 0 for f in found],
        "macro_f1, interval above 0": [f.gain.macro_f1.low > 0 for f in found],
        "auc, interval above 0": [f.gain.auc.low > 0 for f in found],
        "added to time": [f.added.is_shown for f in found],
        "both together, interval of AUC above 0": [f.added.gain.low > 0 for f in found],
    }
    for way, shown in ways.items():
        share = float(np.mean(shown))
        # of so many cohorts, chance shows this many at most where the level is kept
        most = float(stats.binom.ppf(0.975, cohorts, 0.05)) / cohorts
        judging = not beyond or way == "added to time"
        goal = (">= 0.8" if judging else "none") if beyond else f"<= {most:g} (5 % and its chance)"
        met = (share >= 0.8 or not judging) if beyond else share <= most
        gain = np.mean([f.gain.auc.value for f in found])
        report(
            f"time_confounder/{name}/{way}", share, goal,
            f"of {cohorts} cohorts; AUC of time {time:.2f}, the learner's higher by {gain:+.3f} on average",
            met,
        )  # fmt: skip


if __name__ == "__main__":
    main()
