"""Do the sets of labels cover nine in ten patients of each label? Cohorts drawn again and again.

    python benchmarks/conformal_coverage.py [--cohorts 500]

80 subjects, 32 with RICE as in the paper, ten features of which one tells the labels apart. In place of a
network a logistic regression is trained in five folds; its held-out probabilities give the thresholds, and
2,000 new patients are judged by the mean of the five. Three strengths of regularisation: networks that learn
little, enough, and by heart. Conservative thresholds, which take the next lower rank, stand beside.
"""

from __future__ import annotations

import argparse

import numpy as np
from figure import report
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from ricenet.evaluation.evidence.calibration_record import ConformalThresholds
from ricenet.evaluation.evidence.conformal import conformal_thresholds, label_sets
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import LABELS

SUBJECTS, RICE, FEATURES, APART, NEW = 80, 32, 10, 1.5, 2000
COVERAGE, LEAST, MOST = 0.9, 0.88, 0.93
LEARNERS = {"regularised": 0.1, "plain": 1.0, "by heart": 100.0}


def main() -> None:
    """Print a figure a learner and label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=500)
    cohorts = parser.parse_args().cohorts
    for learner, strength in LEARNERS.items():
        drawn = [_cohort(learner, strength, i) for i in range(cohorts)]
        covered, lower, single = (np.mean([found[at] for found in drawn], axis=0) for at in range(3))
        for i, label in enumerate(LABELS):
            error = np.std([found[0][i] for found in drawn]) / np.sqrt(cohorts)
            agreement = (
                f"{cohorts} cohorts, standard error {error:.4f}; {lower[i]:.3f} by conservative thresholds; "
                f"one label in {single[i]:.2f} of the sets"
            )
            report(
                f"coverage of {label}, {learner}",
                float(covered[i]),
                f"{LEAST} to {MOST}",
                agreement,
                bool(LEAST <= covered[i] <= MOST),
            )


def _cohort(learner: str, strength: float, number: int) -> tuple[NDArray[np.float64], ...]:
    """Coverage by label, the same of conservative thresholds, and the share of sets of one label."""
    rng = generator_for(number, "conformal coverage", learner)
    is_rice = rng.permutation(np.arange(SUBJECTS) < RICE)
    known, new_is_rice = _features(rng, is_rice), np.arange(NEW) < NEW // 2
    new = _features(rng, new_is_rice)
    held_out, of_new = np.empty(SUBJECTS), list[NDArray[np.float64]]()
    folds = StratifiedKFold(5, shuffle=True, random_state=number)
    for training, validation in folds.split(known, is_rice):
        model = LogisticRegression(C=strength, max_iter=1000).fit(known[training], is_rice[training])
        held_out[validation] = model.predict_proba(known[validation])[:, 1]
        of_new.append(model.predict_proba(new)[:, 1])
    p_rice = np.mean(of_new, axis=0)
    by = conformal_thresholds(held_out, is_rice, COVERAGE)
    holds, lower = label_sets(p_rice, by), label_sets(p_rice, _conservative(held_out, is_rice))
    one = holds.sum(axis=1) == 1
    of_label = (~new_is_rice, new_is_rice)
    return tuple(
        np.array([values[subjects, at].mean() for at, subjects in enumerate(of_label)])
        for values in (holds, lower, np.stack([one, one], axis=1))
    )


def _features(rng: np.random.Generator, is_rice: NDArray[np.bool_]) -> NDArray[np.float64]:
    found = rng.normal(size=(len(is_rice), FEATURES))
    found[:, 0] += APART * is_rice
    return found


def _conservative(p_rice: NDArray[np.float64], is_rice: NDArray[np.bool_]) -> ConformalThresholds:
    """The textbook's: a whole rank, rounded to the side that covers more."""
    rice, recurrence = np.sort(p_rice[is_rice]), np.sort(1 - p_rice[~is_rice])
    ranks = [int((len(p) + 1) * (1 - COVERAGE) + 1e-9) - 1 for p in (rice, recurrence)]
    return ConformalThresholds(
        coverage=COVERAGE, rice_from=float(rice[ranks[0]]), recurrence_to=float(1 - recurrence[ranks[1]])
    )


if __name__ == "__main__":
    main()
