"""Do the statistics hold their level, and what do they find? Cohorts drawn again and again from known causes.

Calibration: labels drawn from the stated probabilities, Beta(1, 1), U-shaped (0.5, 0.5) and narrow (4, 4);
then logits twice and three times too large. Recalibration: its effect on the log-loss of a large population,
whose networks are calibrated, too sure, too unsure, or shifted. Comparison: two classifications of the same
subjects with normal scores, equally good (and correlated by 0, 0.5, 0.8) or not. Folds: cohorts in which a
subject joins or a label is corrected.

    python benchmarks/statistics_level.py [--cohorts 2000] [--part calibration ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from delong import delong_p_value
from figure import report
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.model_selection import StratifiedKFold

from ricenet.cohort.dealing import deal_folds, draw_test
from ricenet.evaluation.evidence.calibration import METHODS, fit_recalibration, recalibrated
from ricenet.evaluation.evidence.swap_tests import LEVEL, swapped_macro_f1, swapped_ranks
from ricenet.evaluation.evidence.weak_calibration import calibration_p_value, intercept, logits_of, slope
from ricenet.evaluation.intervals import Probabilities, Truth
from ricenet.evaluation.scores import log_losses
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import LABELS, Label

SHAPES = {"uniform": (1.0, 1.0), "U-shaped": (0.5, 0.5), "narrow": (4.0, 4.0)}
SIZES = {40: 17, 80: 34}
"""Subjects, and how many of them have RICE."""

CORRELATIONS = (0.0, 0.5, 0.8)
MOST_MISCALIBRATED, LEAST_LEVEL, MOST_LEVEL = 0.07, 0.03, 0.06
MOST_MOVED = {"one subject more": 0, "one corrected label": 3}
NETWORKS = {
    "calibrated": (1.0, 0.0),
    "twice too sure": (2.0, 0.0),
    "four times too sure": (4.0, 0.0),
    "too unsure": (0.6, 0.0),
    "twice too sure, shifted": (2.0, 1.5),
}
"""Factor and shift of the true logits."""

Drawn = tuple[Probabilities, Truth]


def main() -> None:
    """Print every figure."""
    parts: dict[str, Callable[[int], None]] = {
        "calibration": calibration, "recalibration": recalibration, "comparison": comparison, "folds": folds,
    }  # fmt: skip
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--part", choices=sorted(parts), action="append")
    options = parser.parse_args()
    for name in options.part or parts:
        parts[name](options.cohorts)


def calibration(cohorts: int) -> None:
    """How often p_rice is called miscalibrated, and how often intervals miss intercept 0 and slope 1."""
    for shape, (a, b) in SHAPES.items():
        for subjects in (12, 40, 80):
            drawn = [calibrated(subjects, a, b, number) for number in range(cohorts)]
            called = np.mean([calibration_p_value(*case, 1, 999) <= LEVEL for case in drawn])
            few = drawn[: cohorts // 5]
            missed = np.mean([intervals_miss(*case) for case in few], axis=0)
            note = f"intervals miss intercept 0 in {missed[0]:.3f}, slope 1 in {missed[1]:.3f} of {len(few)}"
            name = f"called miscalibrated, calibrated {shape}, {subjects} subjects"
            report(name, called, f"at most {MOST_MISCALIBRATED}", note, called <= MOST_MISCALIBRATED)
    for factor in (2, 3):
        for subjects in (40, 80):
            drawn = [calibrated(subjects, 1, 1, number) for number in range(cohorts // 4)]
            p_values = [calibration_p_value(expit(factor * logit(p)), labels, 1, 999) for p, labels in drawn]
            power = np.mean(np.array(p_values) <= LEVEL)
            report(f"found, {factor} times too sure, {subjects} subjects", power, "none", "power", True)


def intervals_miss(p_rice: Probabilities, is_rice: Truth) -> tuple[bool, bool]:
    """Whether the intervals of calibrated probabilities leave out intercept 0 and slope 1."""
    of_intercept, of_slope = intercept(p_rice, is_rice), slope(logits_of(p_rice), is_rice)
    assert of_slope is not None
    return not of_intercept.low <= 0 <= of_intercept.high, not of_slope.low <= 1 <= of_slope.high


def recalibration(cohorts: int) -> None:
    """Change of the log-loss in a population, on average over fits to few subjects of it."""
    for method in METHODS:
        for subjects in (8, 32):
            means = {}
            for network, (factor, shift) in NETWORKS.items():
                population = network_of(factor, shift, 20_000, generator_for("population", network))
                before, changes = float(log_losses(*population).mean()), []
                for number in range(cohorts // 10):
                    rng = generator_for("recalibration", network, subjects, number)
                    by = fit_recalibration(*network_of(factor, shift, subjects, rng), method)
                    after = log_losses(recalibrated(population[0], by), population[1]).mean()
                    changes.append(float(after) - before)
                means[network] = float(np.mean(changes))
            note = ", ".join(f"{name} {change:+.3f}" for name, change in means.items())
            mean, harm = float(np.mean(list(means.values()))), means["calibrated"]
            name = f"log-loss by {method} of {subjects}"
            report(f"{name}, mean of networks", mean, "at most 0", note, mean <= 0)
            report(f"{name}, calibrated network", harm, "at most 0.01", "nothing to mend", harm <= 0.01)


def comparison(cohorts: int) -> None:
    """Level of "A is better", of the areas' test beside DeLong's, and power."""
    for subjects, rice in SIZES.items():
        for correlation in CORRELATIONS:
            cases = list(pairs(subjects, rice, (1.2, 1.2), correlation, cohorts))
            called = share(cases, of_macro_f1)
            areas, delong = share(cases, of_ranks), share(cases, delong_p_value)
            note = f"areas: swapped ranks {areas:.3f}, DeLong {delong:.3f}; {cohorts} cohorts"
            name = f"A or B called better, equally good, {subjects} subjects, correlation {correlation}"
            report(name, called, f"{LEAST_LEVEL} to {MOST_LEVEL}", note, LEAST_LEVEL <= called <= MOST_LEVEL)
    for subjects, rice in SIZES.items():
        for better in (1.8, 2.4):
            cases = list(pairs(subjects, rice, (better, 1.0), 0.5, cohorts // 2))
            areas, delong = share(cases, of_ranks), share(cases, delong_p_value)
            note = f"areas: swapped ranks {areas:.3f}, DeLong {delong:.3f}"
            rates = [norm.cdf(separation / 2) for separation in (better, 1.0)]
            name = f"found, {rates[0]:.2f} against {rates[1]:.2f} of the subjects right, {subjects} subjects"
            report(name, share(cases, of_macro_f1), "none", f"power; {note}", True)
    high = float(norm.ppf(0.97) * np.sqrt(2))
    for subjects, rice in ((40, 20), (80, 34), (12, 6)):
        cases = list(pairs(subjects, rice, (high, high), 0.5, cohorts))
        ranks, delong = share(cases, of_ranks), share(cases, delong_p_value)
        note = f"DeLong {delong:.3f}; conservative is allowed, and said where nothing could be told"
        name = f"areas of 0.97 called different, {subjects} subjects"
        report(name, ranks, f"at most {MOST_LEVEL}", note, ranks <= MOST_LEVEL)


def folds(cohorts: int) -> None:
    """The most subjects that change places, in the folds and a drawn test set."""
    changes: dict[str, Callable[[dict[str, Label], np.random.Generator], dict[str, Label]]] = {
        "one subject more": lambda labels, rng: {**labels, "sub-new": LABELS[int(rng.random() < 0.4)]},
        "one corrected label": corrected,
    }
    for name, change in changes.items():
        moved, anew = [], []
        for number in range(cohorts // 4):
            rng = generator_for("folds", name, number)
            labels = {f"sub-{i:03d}": LABELS[int(rng.random() < 0.4)] for i in range(rng.integers(40, 100))}
            after = change(labels, rng)
            test, former = divided(labels, number, set(), {})
            test_after, now = divided(after, number, test, former)
            both = labels.keys() & after.keys()
            moved.append(sum(former.get(s) != now.get(s) or (s in test) != (s in test_after) for s in both))
            anew.append(moved_by_scikit_learn(labels, after, number))
        most = max(moved)
        note = f"{np.mean(moved):.2f} on average; dealt anew by scikit-learn {np.mean(anew):.1f}"
        report(f"moved by {name}", most, f"at most {MOST_MOVED[name]}", note, most <= MOST_MOVED[name])


def calibrated(subjects: int, a: float, b: float, number: int) -> Drawn:
    """Probabilities from a beta distribution and labels drawn from them, two of each label at least."""
    rng = generator_for("calibrated", subjects, str((a, b)), number)
    while True:
        p_rice = rng.beta(a, b, subjects)
        is_rice = rng.random(subjects) < p_rice
        if 2 <= is_rice.sum() <= subjects - 2:
            return p_rice, is_rice


def network_of(factor: float, shift: float, subjects: int, rng: np.random.Generator) -> Drawn:
    """A network's probabilities, whose logits are the true ones, enlarged and shifted; and labels."""
    true_logits = rng.normal(0, 1.2, subjects)
    return expit(factor * true_logits + shift), rng.random(subjects) < expit(true_logits)


def pairs(
    subjects: int, rice: int, separations: tuple[float, float], correlation: float, cohorts: int
) -> Iterator[tuple[Probabilities, Probabilities, Truth]]:
    """Probabilities of two classifications, whose labels lie so many SDs apart, and the truth."""
    is_rice = np.arange(subjects) < rice
    for number in range(cohorts):
        rng = generator_for("pairs", subjects, rice, str(separations), str(correlation), number)
        common = np.sqrt(correlation) * rng.normal(size=subjects)
        a, b = (
            common + np.sqrt(1 - correlation) * rng.normal(size=subjects) + apart * (is_rice - 0.5)
            for apart in separations
        )
        yield expit(a), expit(b), is_rice


def of_macro_f1(a: Probabilities, b: Probabilities, is_rice: Truth) -> float:
    """p of the macro-F1's swap test."""
    return swapped_macro_f1((a >= 0.5) == is_rice, (b >= 0.5) == is_rice, is_rice).p


def of_ranks(a: Probabilities, b: Probabilities, is_rice: Truth) -> float:
    """p of the areas' swap test."""
    return swapped_ranks(a, b, is_rice).p


def share(
    cases: list[tuple[Probabilities, Probabilities, Truth]],
    p_value: Callable[[Probabilities, Probabilities, Truth], float],
) -> float:
    """In how many of the cohorts the two are called different."""
    return float(np.mean([p_value(*case) <= LEVEL for case in cases]))


def corrected(labels: dict[str, Label], rng: np.random.Generator) -> dict[str, Label]:
    """The same cohort with one other label."""
    who = str(rng.choice(sorted(labels)))
    return {**labels, who: LABELS[1 - LABELS.index(labels[who])]}


def divided(
    labels: dict[str, Label], seed: int, test: set[str], former: dict[str, int]
) -> tuple[set[str], dict[str, int]]:
    """A test set of a fifth, and five folds of everyone else."""
    drawn = draw_test(labels, 0.2, seed, test, former)
    rest = {subject: label for subject, label in labels.items() if subject not in drawn}
    return drawn, deal_folds(rest, 5, seed, former)


def moved_by_scikit_learn(labels: dict[str, Label], after: dict[str, Label], seed: int) -> int:
    """How many change folds where StratifiedKFold divides both cohorts, shuffled by one seed."""

    def fold_of(of: dict[str, Label]) -> dict[str, int]:
        names: NDArray[np.str_] = np.array(sorted(of))
        divider = StratifiedKFold(5, shuffle=True, random_state=seed)
        parts = divider.split(names, [of[str(name)] for name in names])
        return {str(name): k for k, (_, part) in enumerate(parts) for name in names[part]}

    before, now = fold_of(labels), fold_of(after)
    return sum(before[s] != now[s] for s in before.keys() & now.keys())


if __name__ == "__main__":
    main()
