"""Do the sets of labels cover nine in ten patients of each label? Cohorts drawn again and again.

    python benchmarks/conformal_coverage.py [--cohorts 500] [--first 0]

80 subjects, 32 with RICE as in the paper, ten features of which one tells the labels apart. In place of a
network a logistic regression is trained in five folds; its held-out probabilities give the thresholds, and
2,000 new patients are judged by the mean of the five. Three strengths of regularisation: networks that learn
little, enough, and by heart. Three other ways stand beside: conservative thresholds, which take the next
lower rank; randomised p-values, which break ties at the threshold by a draw; and p-values by fold, which
compare a new patient's probability by each network with those of the subjects that this network held out
(cross-conformal prediction, Vovk 2015; CV+, Barber et al. 2021).
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
WAYS = ("as shipped", "conservative", "randomised", "by fold")
LEARNERS = {"regularised": 0.1, "plain": 1.0, "by heart": 100.0}


def main() -> None:
    """Print a figure a learner and label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first cohort: others are drawn anew"
    )
    arguments = parser.parse_args()
    cohorts, first = arguments.cohorts, arguments.first
    for learner, strength in LEARNERS.items():
        drawn = [_cohort(learner, strength, i) for i in range(first, first + cohorts)]
        single = np.mean([one for _, one in drawn], axis=0)
        for way in WAYS:
            for i, label in enumerate(LABELS):
                covered = np.array([found[way][i] for found, _ in drawn])
                error = covered.std() / np.sqrt(cohorts)
                said = f"{cohorts} cohorts, standard error {error:.4f}"
                if way == "as shipped":
                    said += f"; one label in {single[i]:.2f} of the sets"
                report(
                    f"coverage of {label}, {learner}, {way}",
                    float(covered.mean()),
                    f"{LEAST} to {MOST}",
                    said,
                    bool(LEAST <= covered.mean() <= MOST),
                )


def _cohort(learner: str, strength: float, number: int) -> tuple[dict[str, list[float]], NDArray[np.float64]]:
    """Coverage by way and label, and the share of the shipped sets of one label, by label."""
    rng = generator_for(number, "conformal coverage", learner)
    is_rice = rng.permutation(np.arange(SUBJECTS) < RICE)
    known, new_is_rice = _features(rng, is_rice), np.arange(NEW) < NEW // 2
    new = _features(rng, new_is_rice)
    held_out, fold = np.empty(SUBJECTS), np.empty(SUBJECTS, np.int64)
    of_new = list[NDArray[np.float64]]()
    folds = StratifiedKFold(5, shuffle=True, random_state=number)
    for k, (training, validation) in enumerate(folds.split(known, is_rice)):
        model = LogisticRegression(C=strength, max_iter=1000).fit(known[training], is_rice[training])
        held_out[validation], fold[validation] = model.predict_proba(known[validation])[:, 1], k
        of_new.append(model.predict_proba(new)[:, 1])
    p_rice, by_network = np.mean(of_new, axis=0), np.array(of_new)
    # of their own generator, so that the draws of before stay as they were
    ties = generator_for(number, "conformal ties", learner)
    sets = {
        "as shipped": label_sets(p_rice, conformal_thresholds(held_out, is_rice, COVERAGE)),
        "conservative": label_sets(p_rice, _conservative(held_out, is_rice)),
        "randomised": _by_p_values(held_out, is_rice, np.zeros_like(fold), p_rice[np.newaxis], ties),
        "by fold": _by_p_values(held_out, is_rice, fold, by_network, ties),
    }
    of_label = (~new_is_rice, new_is_rice)
    covered = {
        way: [float(holds[subjects, at].mean()) for at, subjects in enumerate(of_label)]
        for way, holds in sets.items()
    }
    one = sets["as shipped"].sum(axis=1) == 1
    return covered, np.array([one[subjects].mean() for subjects in of_label])


def _by_p_values(
    held_out: NDArray[np.float64],
    is_rice: NDArray[np.bool_],
    fold: NDArray[np.int64],
    new: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Sets (N, 2) of labels whose randomised p-value is above 1 - COVERAGE. new: (networks, N), by fold."""
    holds = []
    for label in (False, True):
        below = np.zeros(new.shape[1])
        tied = np.ones(new.shape[1])
        for k in np.unique(fold):
            known = held_out[(fold == k) & (is_rice == label)]
            likeness, of_new = (known, new[k]) if label else (1 - known, 1 - new[k])
            below += (likeness[:, np.newaxis] < of_new).sum(axis=0)
            tied += (likeness[:, np.newaxis] == of_new).sum(axis=0)
        p = (below + rng.random(len(below)) * tied) / (int((is_rice == label).sum()) + 1)
        holds.append(p > 1 - COVERAGE)
    return np.stack(holds, axis=1)


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
