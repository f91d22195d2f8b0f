"""How well time alone predicts the label: the least that a model has to beat on a collection.

In Burdenko-GBM-Progression nearly all
pseudoprogression is seen at the first follow-up and most progression later, so that the
visit's number alone predicts the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.participants import MISSING
from ricenet.runtime.randomness import generator_for

RESAMPLES = 2000

Direction = Literal["earlier", "later", "neither"]


@dataclass(frozen=True)
class TimeBaseline:
    """auc: of the better direction, so 0.5 or more; `rice_is` names it. ci_*: 95 % by subject.

    column: of participants.tsv. recurrence, rice: numbers of subjects with both a label and a time.
    """

    column: str
    auc: float
    ci_low: float
    ci_high: float
    rice_is: Direction
    recurrence: int
    rice: int

    def as_json(self) -> dict[str, object]:
        """For dataset_description.json."""
        return {
            "AUC": round(self.auc, 4),
            "CI95": [round(self.ci_low, 4), round(self.ci_high, 4)],
            "RiceIs": self.rice_is,
            "Recurrence": self.recurrence,
            "Rice": self.rice,
        }

    def __str__(self) -> str:
        when = "no earlier or later on the whole" if self.rice_is == "neither" else self.rice_is
        return (
            f"{self.column}: AUC {self.auc:.2f} [{self.ci_low:.2f}, {self.ci_high:.2f}], RICE is {when} "
            f"({self.rice} RICE, {self.recurrence} recurrence)"
        )


def time_baseline(
    rows: Iterable[Mapping[str, str]],
    column: str,
    label_column: str = "label",
    labels: tuple[str, str] = ("recurrence", "rice"),
    seed: int = 0,
) -> TimeBaseline | None:
    """The AUC of one column of times; None where a label has no subject.

    rows: of participants.tsv; those without a label or a time are excluded. labels: how the column calls
    recurrence and RICE. The interval is a percentile bootstrap within each label, in the direction found.
    """
    known = [row for row in rows if row.get(column, MISSING) != MISSING]
    recurrence, rice = (
        np.array([float(row[column]) for row in known if row.get(label_column) == label]) for label in labels
    )
    if not len(recurrence) or not len(rice):
        return None
    later = rank_auc(recurrence, rice)
    sign = -1.0 if later < 0.5 else 1.0
    draws = generator_for("time baseline", seed, column)
    resampled = [
        rank_auc(sign * draws.choice(recurrence, len(recurrence)), sign * draws.choice(rice, len(rice)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    direction: Direction = "neither" if later == 0.5 else ("earlier" if sign < 0 else "later")
    return TimeBaseline(
        column, max(later, 1 - later), float(low), float(high), direction, len(recurrence), len(rice)
    )


def rank_auc(
    negative: Sequence[float] | NDArray[np.float64], positive: Sequence[float] | NDArray[np.float64]
) -> float:
    """The share of pairs in which the positive's value is the larger one; a tie counts half.

    >>> rank_auc([1.0, 2.0], [2.0, 3.0])
    0.875
    """
    difference = np.subtract.outer(np.asarray(positive), np.asarray(negative))
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
