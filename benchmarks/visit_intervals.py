"""How often 95 % intervals over all visits hold the truth, where visits of one patient are alike.

80 patients (48 recurrences, 32 RICE) with one to five visits each are drawn again and again. A visit's score
is its patient's (SD 0.8) plus its own (SD 0.6), labels 1.5 SDs apart, and p_rice its logistic. Patients drawn
with all their visits, as `ricenet.evaluation.evidence.visits` does, are compared with visits drawn singly.

    python benchmarks/visit_intervals.py [--cohorts 1000] [--resamples 499]
"""

from __future__ import annotations

import argparse

import numpy as np
from figure import report
from scipy.stats import norm
from sklearn.metrics import f1_score, roc_auc_score

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.evidence.visits import Clusters
from ricenet.evaluation.intervals import Estimate, macro_f1_of_rates
from ricenet.runtime.randomness import generator_for

RECURRENCE, RICE = 48, 32
MOST_VISITS = 5
PATIENT_SD, VISIT_SD, SEPARATION = 0.8, 0.6, 1.5
LEAST, MOST = 0.92, 0.98
SCORES = ("macro_f1", "auc")

Estimates = dict[str, Estimate]


def main() -> None:
    """Print the coverage of both scores' intervals, by patient and by visit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=499)
    options = parser.parse_args()
    right = float(norm.cdf(SEPARATION / 2))
    truth = {
        "macro_f1": macro_f1_of_rates(right, right, RICE, RECURRENCE),
        "auc": float(norm.cdf(SEPARATION / np.sqrt(2))),
    }
    found = [intervals_of_cohort(number, options.resamples) for number in range(options.cohorts)]
    differs = max(difference for *_, difference in found)
    for score, value in truth.items():
        by_patient, by_visit = (
            float(np.mean([of[way][score].low <= value <= of[way][score].high for of in found]))
            for way in (0, 1)
        )
        detail = (
            f"visits drawn one by one: {by_visit:.3f}; scores differ from scikit-learn's by {differs:.1e} at "
            f"most; {options.cohorts} cohorts"
        )
        met = LEAST <= by_patient <= MOST
        report(f"coverage of {score} over all visits", by_patient, f"{LEAST} to {MOST}", detail, met)


def intervals_of_cohort(number: int, resamples: int) -> tuple[Estimates, Estimates, float]:
    """Scores by patient and by visit, and by how much they differ from scikit-learn's."""
    rng = generator_for("visit intervals", number)
    visits = rng.integers(1, MOST_VISITS + 1, RECURRENCE + RICE)
    owner = np.repeat(np.arange(RECURRENCE + RICE), visits)
    is_rice = owner < RICE
    score = PATIENT_SD * rng.normal(size=RECURRENCE + RICE)[owner] + VISIT_SD * rng.normal(size=len(owner))
    p_rice = 1 / (1 + np.exp(-score - SEPARATION * (is_rice - 0.5)))
    statistics = [scores.macro_f1(p_rice, is_rice), scores.auc(p_rice, is_rice)]
    clusters = Clusters.of([f"{one:03d}" for one in owner], [1] * len(owner))
    by_patient = clusters.estimates(statistics, is_rice, number, resamples)
    by_visit = Resampling.of(is_rice, number, resamples).estimates(statistics)
    if by_patient is None:
        raise RuntimeError("too few patients of a label")
    known = f1_score(is_rice, p_rice >= 0.5, average="macro"), roc_auc_score(is_rice, p_rice)
    difference = max(abs(one.value - of) for one, of in zip(by_patient, known, strict=True))
    named = (dict(zip(SCORES, of, strict=True)) for of in (by_patient, by_visit))
    return (*named, float(difference))


if __name__ == "__main__":
    main()
