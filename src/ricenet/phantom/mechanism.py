"""Why a phantom's lesion is RICE: the documented logistic mechanism (docs/phantom.md).

    logit P(RICE) = intercept + w_dose x_dose + w_post_op x_post_op + w_event x_event

Each x is standard normal and is all that its modality shows of the cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ricenet.vocabulary import Label


@dataclass(frozen=True)
class Weights:
    """Log-odds of RICE per SD of each feature."""

    dose: float
    post_op: float
    event: float
    intercept: float


@dataclass(frozen=True)
class Evidence:
    """A subject's standardised features and what they look like in the images."""

    dose: float
    post_op: float
    event: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Evidence:
        """Three independent standard normal numbers."""
        dose, post_op, event = rng.normal(size=3)
        return cls(float(dose), float(post_op), float(event))

    @property
    def excess_dose_gy(self) -> float:
        """Cumulative dose to the target above 60 Gy: 18 Gy, 14 Gy a SD, within 1 to 48 Gy."""
        return float(np.clip(18.0 + 14.0 * self.dose, 1.0, 48.0))

    @property
    def reirradiated(self) -> bool:
        """An excess beyond 20 Gy is a second course, one below it an escalated first one."""
        return self.excess_dose_gy > 20.0

    @property
    def fractions(self) -> int:
        """30 of the first course, and those of a second one at 2 Gy each."""
        return 30 + (round(self.excess_dose_gy / 2) if self.reirradiated else 0)

    @property
    def residual_thickness_mm(self) -> float:
        """Thickness of enhancing residual tumour at the cavity's wall: 4 mm, 2.5 mm a SD, 0 to 9 mm."""
        return float(np.clip(4.0 + 2.5 * self.post_op, 0.0, 9.0))

    @property
    def core_enhancement(self) -> float:
        """How far the new lesion's core enhances: 0 necrotic ring, 1 solid nodule."""
        return float(np.clip(0.5 - 0.3 * self.event, 0.0, 1.0))


def probability_of_rice(evidence: Evidence, weights: Weights) -> float:
    """The subject's true probability of RICE."""
    logit = (
        weights.intercept
        + weights.dose * evidence.dose
        + weights.post_op * evidence.post_op
        + weights.event * evidence.event
    )
    return float(1.0 / (1.0 + np.exp(-logit)))


def draw_label(p_rice: float, rng: np.random.Generator) -> Label:
    """RICE with the given probability."""
    return "rice" if rng.uniform() < p_rice else "recurrence"
