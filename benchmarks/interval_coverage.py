"""How often the 95 % intervals hold the truth: 80 subjects drawn again and again from known distributions.

Scores of both labels are normal, `separation` SDs apart, and p_rice is their logistic. The truth of a score
is its value in that population with 48 recurrences to 32 RICE. The same cohorts are given to every method.

    python benchmarks/interval_coverage.py [--cohorts 1000] [--resamples 999]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from delong import delong_interval
from figure import report
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from ricenet.evaluation.intervals import Ends, macro_f1_of_rates
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.runtime.randomness import generator_for

RECURRENCE, RICE = 48, 32
SEPARATIONS = (0.8, 1.5, 2.5)
SCORES = ("macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier")
LEAST, MOST = 0.92, 0.98


def main() -> None:
    """Print the coverage of every score's interval at every separation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=999)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    figures, agreement = [], 0.0
    with ProcessPoolExecutor(options.processes) as pool:
        for separation in SEPARATIONS:
            truth = population(separation)
            work = partial(intervals_of_cohort, separation, options.resamples)
            found = list(pool.map(work, range(options.cohorts), chunksize=20))
            agreement = max(agreement, *(difference for _, difference in found))
            for score, value in truth.items():
                held = [holds(estimates[score], value) for estimates, _ in found]
                line = (
                    f"separation {separation:g}  {score:18} truth {value:.3f}  coverage {np.mean(held):.3f}"
                )
                print(line, flush=True)
                covered = float(np.mean(held))
                figures.append((f"coverage of {score}, truth {value:.2f}", covered, LEAST <= covered <= MOST))
    line = f"scores differ from scikit-learn's by {agreement:.1e} at most; {options.cohorts} cohorts"
    for name, covered, met in figures:
        report(name, covered, f"{LEAST} to {MOST}", line, met)


def drawn(
    separation: float, rng: np.random.Generator, recurrence: int, rice: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """p_rice and truth of a cohort."""
    is_rice = np.arange(recurrence + rice) < rice
    score = rng.normal(size=len(is_rice)) + separation * (is_rice - 0.5)
    return 1 / (1 + np.exp(-score)), is_rice


def population(separation: float) -> dict[str, float]:
    """Every score in a cohort so large that chance has no part in it."""
    from scipy.stats import norm

    right = float(norm.cdf(separation / 2))
    p_rice, is_rice = drawn(separation, generator_for("population"), 2_000_000, 2_000_000)
    share = RICE / (RICE + RECURRENCE)
    loss = (p_rice - is_rice) ** 2
    return {
        "macro_f1": macro_f1_of_rates(right, right, RICE, RECURRENCE),
        "balanced_accuracy": right,
        "auc": float(norm.cdf(separation / np.sqrt(2))),
        "sensitivity": right,
        "specificity": right,
        "brier": float(share * loss[is_rice].mean() + (1 - share) * loss[~is_rice].mean()),
        "auc_delong": float(norm.cdf(separation / np.sqrt(2))),
    }


def intervals_of_cohort(separation: float, resamples: int, number: int) -> tuple[dict[str, Ends], float]:
    """All intervals of one cohort, and by how much its scores differ from scikit-learn's."""
    p_rice, is_rice = drawn(separation, generator_for("cohort", str(separation), number), RECURRENCE, RICE)
    found = scores_with_intervals(p_rice, is_rice, number, resamples)
    ends = {score: (getattr(found, score).low, getattr(found, score).high) for score in SCORES}
    difference = max(
        abs(found.macro_f1.value - f1_score(is_rice, p_rice >= 0.5, average="macro")),
        abs(found.auc.value - roc_auc_score(is_rice, p_rice)),
    )
    return {**ends, "auc_delong": delong_interval(p_rice, is_rice)}, float(difference)


def holds(ends: Ends, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return ends[0] <= truth <= ends[1]


if __name__ == "__main__":
    main()
