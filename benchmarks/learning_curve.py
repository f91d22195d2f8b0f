"""Does the forecast of a learning curve hold? Cohorts of phantoms are doubled, and trained and judged again.

    python benchmarks/learning_curve.py              # some minutes on one core
    python benchmarks/learning_curve.py --first 900  # other cohorts

Each cohort of n phantoms is learned from in five folds, at the product's default shares and draws, and its
curve forecasts the scores of 1.5 and 2 times as many. The truth: the cohort itself and as many new ones are
learned from in the same way, and judged on thousands that nobody learned from. The learner is the product's
group-wise regression, on noisy views of what the phantoms' images show among features that say nothing; it
takes a thousandth of a network's time, and the curve asks no learner for more than its answers. Cohorts and
judged have the same share of RICE, since the macro-F1 depends on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from figure import report
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from ricenet.config.params import read_params
from ricenet.evaluation.bootstrap import score_of
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.learning_curve import CURVE_SCORES, LearningCurve, learning_curve
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause
from ricenet.runtime.randomness import generator_for
from ricenet.training.fewer_subjects import nested_subset
from ricenet.training.group_regression import FeatureGroup, fit_group_regression
from ricenet.vocabulary import LABELS

FOLDS, JUDGED, RICE = 5, 2000, 0.4
TUNED_FIRST, FIRST = 100, 5000
"""Seeds of cohorts: those on which the method's settings were chosen, and those that judge it."""

VIEWS, NOISES = 4, 12
"""Features of each group that show a phantom's evidence with noise of one SD, and that show nothing."""

SEEN = ("dose", "post_op", "event")


class People(NamedTuple):
    """Features by group, each (N, F), and labels (N,)."""

    groups: tuple[FeatureGroup, ...]
    is_rice: NDArray[np.bool_]

    def rows(self, chosen: NDArray[np.intp]) -> People:
        """Some of them."""
        return People(tuple(g.rows(chosen) for g in self.groups), self.is_rice[chosen])


def people(seed: int, purpose: str, n: int, mechanism: str) -> People:
    """n phantoms, RICE of them as many as asked for, in a random order."""
    wanted = {"rice": round(RICE * n), "recurrence": n - round(RICE * n)}
    kept, number = [], 0
    while any(wanted.values()):
        number += 1
        cause = draw_cause(f"sub-{purpose}-{number}", seed, MECHANISMS[mechanism])
        if wanted[cause.label]:
            wanted[cause.label] -= 1
            kept.append(cause)
    rng = generator_for("views", seed, purpose)
    names = tuple(f"f{i}" for i in range(VIEWS + NOISES))
    groups = []
    for seen in SEEN:
        values = rng.normal(size=(n, VIEWS + NOISES))
        values[:, :VIEWS] += np.array([[getattr(cause.evidence, seen)] for cause in kept])
        groups.append(FeatureGroup(seen, names, values))
    return People(tuple(groups), np.array([cause.label == "rice" for cause in kept]))


def answered(trained: People, judged: People) -> NDArray[np.float64]:
    """p_rice (N,) of those judged, as if both labels were equally frequent."""
    fitted = fit_group_regression(trained.groups, trained.is_rice)
    found: NDArray[np.float64] = expit(fitted.logits(judged.groups) - fitted.log_odds)
    return found


def folds_of(is_rice: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    """The fold of each subject (N,)."""
    found = np.empty(len(is_rice), dtype=np.intp)
    divider = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for k, (_, part) in enumerate(divider.split(is_rice, is_rice)):
        found[part] = k
    return found


def curve_of(
    cohort: People, seed: int, shares: Sequence[float], draws: int, growth: Sequence[float]
) -> LearningCurve:
    """As the product makes it."""
    n, fold = len(cohort.is_rice), folds_of(cohort.is_rice, seed)
    labels = {str(i): LABELS[int(rice)] for i, rice in enumerate(cohort.is_rice)}
    fold_of = {str(i): int(k) for i, k in enumerate(fold)}

    def held_out(kept: NDArray[np.intp]) -> NDArray[np.float64]:
        p_rice = np.empty(n)
        for k in range(FOLDS):
            inside = np.flatnonzero(fold == k)
            p_rice[inside] = answered(cohort.rows(kept[fold[kept] != k]), cohort.rows(inside))
        return p_rice

    def subset(share: float, draw: int) -> NDArray[np.intp]:
        return np.array(sorted(map(int, nested_subset(labels, fold_of, share, seed, draw))))

    of_shares = [[subset(share, draw) for draw in range(draws)] for share in shares]
    answers = CurveAnswers(
        cohort.is_rice,
        (*(len(of_draws[0]) for of_draws in of_shares), n),
        (
            *(np.array([held_out(kept) for kept in of_draws]) for of_draws in of_shares),
            held_out(np.arange(n))[np.newaxis],
        ),
    )
    now = scores_with_intervals(answers.p_rice[-1][0], cohort.is_rice, seed, 999)
    return learning_curve(answers, now, growth, seed)


def truth_of(cohort: People, judged: People, seed: int) -> dict[str, float]:
    """Scores of a cohort's networks on those judged, each of whom one fold's network answers for."""
    fold, of_judged = folds_of(cohort.is_rice, seed), np.arange(len(judged.is_rice)) % FOLDS
    p_rice = np.empty(len(judged.is_rice))
    for k in range(FOLDS):
        inside = np.flatnonzero(of_judged == k)
        p_rice[inside] = answered(cohort.rows(np.flatnonzero(fold != k)), judged.rows(inside))
    return {
        name: score_of(statistic(p_rice, judged.is_rice), len(p_rice))
        for name, statistic in CURVE_SCORES.items()
    }


def joined(a: People, b: People) -> People:
    """Both cohorts as one."""
    groups = tuple(
        FeatureGroup(of_a.name, of_a.features, np.vstack([of_a.values, of_b.values]))
        for of_a, of_b in zip(a.groups, b.groups, strict=True)
    )
    return People(groups, np.append(a.is_rice, b.is_rice))


def main() -> None:
    """Forecast, double, judge; then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=30)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--subjects", type=int, nargs="+", default=[80])
    parser.add_argument("--mechanisms", nargs="+", default=["clinical", "post_op_only", "none"])
    arguments = parser.parse_args()
    asked = read_params().evidence.learning_curve
    for mechanism in arguments.mechanisms:
        for n in arguments.subjects:
            seeds = range(arguments.first, arguments.first + arguments.cohorts)
            found = [one(seed, n, mechanism, asked.shares, asked.draws, asked.growth) for seed in seeds]
            report_forecasts(f"learning_curve/{mechanism}/n{n}", found, asked.growth)


Found = tuple[LearningCurve, dict[float, dict[str, float]]]


def one(
    seed: int, n: int, mechanism: str, shares: Sequence[float], draws: int, growth: Sequence[float]
) -> Found:
    """A cohort's curve, and the truth by growth."""
    cohort, judged = people(seed, "cohort", n, mechanism), people(seed, "judged", JUDGED, mechanism)
    truth = {
        times: truth_of(joined(cohort, people(seed, "new", round((times - 1) * n), mechanism)), judged, seed)
        for times in growth
    }
    return curve_of(cohort, seed, shares, draws, growth), truth


def report_forecasts(name: str, found: Sequence[Found], growth: Sequence[float]) -> None:
    """How often intervals hold the truth, how wide they are, and how often a forecast is refused."""
    for score in CURVE_SCORES:
        curves = [(getattr(curve, score), truth) for curve, truth in found]
        refused = float(1 - np.mean([not curve.refusal for curve, _ in curves]))
        flat = "/none/" in name
        sizes = np.mean([[point.score.value for point in curve.points] for curve, _ in curves], axis=0)
        said = f"of {len(curves)} curves; mean scores by size {', '.join(f'{mean:.3f}' for mean in sizes)}"
        met = refused >= 0.8 or not flat
        report(f"{name}/{score}/without a forecast", refused, ">= 0.8" if flat else "none", said, met)
        given = [(curve, truth) for curve, truth in curves if not curve.refusal]
        for place, times in enumerate(growth):
            pairs = [(curve.forecasts[place].score, truth[times][score]) for curve, truth in given]
            if not pairs:
                continue
            held = np.mean([of.low <= true <= of.high for of, true in pairs])
            width = np.mean([of.high - of.low for of, _ in pairs])
            error = np.mean([of.value - true for of, true in pairs])
            report(
                f"{name}/{score}/times{times:g}", held, ">= 0.9",
                f"{len(pairs)} of {len(curves)} curves forecast; mean width {width:.3f}, mean error "
                f"{error:+.3f}, score now {np.mean([c.points[-1].score.value for c, _ in given]):.3f}, true "
                f"{np.mean([true for _, true in pairs]):.3f}", bool(held >= 0.9),
            )  # fmt: skip


if __name__ == "__main__":
    main()
