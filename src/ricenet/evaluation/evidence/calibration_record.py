"""Calibration and what decides a case by it, as they are kept: recalibration, abstention, sets of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from ricenet.evaluation.evidence.weak_calibration import WeakCalibration
from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.records import Record

_NEXT_TO_NOTHING = 0.2
"""Between what 0.1 and 0.9 become: of the range of 0.8 a quarter."""


class Bin(Record):
    """One bin of the reliability curve."""

    n: int
    mean_p_rice: float
    share_rice: Estimate


class Recalibration(Record):
    """p_rice becomes expit(slope * logit(p_rice) + intercept).

    method: of temperature scaling the intercept is 0, and the slope above 0. Of Platt scaling the slope is 0
    or above; where it is 0, every answer is the share of RICE.
    """

    method: Literal["temperature", "Platt"]
    slope: float = Field(ge=0)
    intercept: float

    @property
    def says_the_share(self) -> bool:
        """Whether p_rice has no part in the answer."""
        return self.slope == 0

    @property
    def text(self) -> str:
        """Method and parameters."""
        if self.says_the_share:
            return (
                f"the share of RICE, {1 / (1 + math.exp(-self.intercept)):.2f}, for everyone (Platt, slope 0)"
            )
        if self.method == "temperature":
            return f"temperature {1 / self.slope:.2f}: {self._examples}"
        return f"Platt, slope {self.slope:.2f}, intercept {self.intercept:+.2f}: {self._examples}"

    @property
    def _examples(self) -> str:
        """What becomes of two probabilities, so that nobody has to know what a temperature or a slope is."""
        becomes = {
            p: 1 / (1 + math.exp(-self.slope * math.log(p / (1 - p)) - self.intercept)) for p in (0.1, 0.9)
        }
        text = ", ".join(f"{p:.2f} becomes {recalibrated:.2f}" for p, recalibrated in becomes.items())
        if becomes[0.9] - becomes[0.1] < _NEXT_TO_NOTHING:
            text += (
                "; next to nothing of them is left, since they hardly go with the labels of held-out subjects"
            )
        return text

    @property
    def sentence(self) -> str:
        """What becomes of a new case's p_rice."""
        if self.says_the_share:
            return f"p_rice does not go with the labels, so a new case gets {self.text}."
        return f"Calibration of new cases: {self.text}."


class Calibration(Record):
    """Whether p_rice means what it says.

    weak: of the probabilities as given. recalibration: for new cases; recalibrations: of each fold, from the
    other folds' subjects alone, as used in `scaled_*`. temperature_log_loss, platt_log_loss: of the held-out
    subjects of each fold, by parameters from the other folds; the lower one decides the method for new cases.
    """

    weak: WeakCalibration
    log_loss: float
    scaled_log_loss: float
    temperature_log_loss: float
    platt_log_loss: float
    recalibration: Recalibration
    recalibrations: tuple[Recalibration, ...]
    bins: tuple[Bin, ...]
    scaled_bins: tuple[Bin, ...]

    def by_fold(self, folds: Iterable[int]) -> dict[int, Recalibration]:
        """The recalibration of each fold. folds: those that occur, rising."""
        return dict(zip(folds, self.recalibrations, strict=True))

    @property
    def gain_sentence(self) -> str:
        """What recalibration does to held-out subjects."""
        return (
            f"By parameters of the other folds it changes the log-loss of held-out subjects from "
            f"{self.log_loss:.2f} to {self.scaled_log_loss:.2f}."
        )


class Abstention(Record):
    """The three-way vote.

    threshold: least confidence, max(p, 1 - p) of the scaled probability, for an answer; None where no
    threshold reaches the target. coverage, error: of held-out subjects, thresholds from the
    other folds; error: None where nobody is answered. curve: (share answered, error among them).
    """

    target_error: float
    threshold: float | None
    coverage: Estimate
    error: Estimate | None
    curve: tuple[tuple[float, float], ...]


class ConformalThresholds(Record):
    """What the set of a new case holds: RICE at this mean p_rice or above, recurrence at this or below.

    coverage: share of each label's patients whose set holds it, as aimed at. None: too few held-out subjects.
    """

    coverage: float
    rice_from: float | None
    recurrence_to: float | None

    @property
    def known(self) -> bool:
        """Whether a new case's set is known."""
        return self.rice_from is not None and self.recurrence_to is not None


class SubsetDecision(Record):
    """What decides new cases that have some of a network's volumes only.

    threshold: least confidence for an answer; None: the vote always abstains. conformal: of sets of labels.
    """

    recalibration: Recalibration
    threshold: float | None
    conformal: ConformalThresholds


class ConformalSets(Record):
    """Sets of labels of held-out subjects, thresholds of each fold from the others; None: these are unknown.

    cases: held-out subjects by label; needed: of each label at least. covered: by label, share whose set
    holds it. one, both, neither: shares of sets by what they hold; one_right: of those of one label, the
    share of right ones.
    """

    thresholds: ConformalThresholds
    cases: dict[str, int]
    needed: int
    covered: dict[str, Estimate] | None = None
    one: Estimate | None = None
    one_right: Estimate | None = None
    both: Estimate | None = None
    neither: Estimate | None = None
