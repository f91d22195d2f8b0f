"""Why a phantom's lesion is RICE: the documented mechanisms (docs/phantom.md), by name.

    logit P(RICE) = intercept + w_dose x_dose + w_post_op x_post_op + w_event x_event
                    + w_product sign(x_dose) sign(x_event) + w_place place + w_remote x_remote

Each x is standard normal; place is +1 where the lesion lies in the dose's plateau, and -1 in its penumbra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ricenet.config.types import MechanismName
from ricenet.phantom.courses import Course, courses_of, target_margin_mm
from ricenet.vocabulary import Label

Numbers = float | NDArray[np.float64]

SHARE_OF_RICE = 37 / 92
"""37 of the paper's 92 cases are RICE, 55 recurrences."""

PLATEAU_ABOVE_SD = 0.2479
"""A standard normal number lies above it with a probability of 37 / 92: the share of lesions in it."""

FIRST_COURSE_GY = 60.0
"""60 Gy in 30 fractions: the standard course for glioblastoma (Stupp et al., NEJM 352, 2005)."""


@dataclass(frozen=True)
class Mechanism:
    """Log-odds of RICE: per SD of a feature, or for a sign. escalated: doses of 61 to 108 Gy, no courses.

    A weight of 0 means that nothing of the kind takes part. The place and the remote focus are drawn only
    where their weight is not 0, so that other mechanisms' images do not show them.
    """

    name: str
    intercept: float
    dose: float = 0.0
    post_op: float = 0.0
    event: float = 0.0
    product: float = 0.0
    place: float = 0.0
    remote: float = 0.0
    escalated: bool = False

    def log_odds(self, x: Mapping[str, Numbers]) -> Numbers:
        """Of RICE. x: dose, post_op, event, place (+1 or -1) and remote, numbers or arrays of one shape."""
        linear = (
            self.intercept + self.dose * x["dose"] + self.post_op * x["post_op"] + self.event * x["event"]
        )
        product = self.product * np.sign(x["dose"]) * np.sign(x["event"]) if self.product else 0.0
        return linear + product + self.place * x["place"] + self.remote * x["remote"]


_ALL = (
    Mechanism("clinical", -0.9962, dose=3.0, post_op=-1.8, event=0.9),
    # the intercept of the cohort that docs/evidence.md and docs/occlusion-truth.md describe
    Mechanism("dose_height", -1.0, dose=4.5, post_op=-2.5, event=1.2, escalated=True),
    Mechanism("post_op_only", -1.2353, post_op=-4.5, event=1.2, escalated=True),
    Mechanism("event_core", -1.1988, event=4.5),
    Mechanism("dose_at_lesion", -0.2092, place=2.9),
    Mechanism("interaction", -1.6457, product=3.0),
    Mechanism("outside_field", -1.1988, remote=-4.5),
    Mechanism("none", -0.3964),
)
MECHANISMS: Mapping[str, Mechanism] = {mechanism.name: mechanism for mechanism in _ALL}
"""By name. Intercepts other than dose_height's give RICE a probability of SHARE_OF_RICE."""


def mechanism_named(name: MechanismName) -> Mechanism:
    """The mechanism that `phantom.mechanism` names."""
    return MECHANISMS[name]


@dataclass(frozen=True)
class Evidence:
    """A subject's features and what they look like in the images.

    in_plateau: whether the new lesion lies in the plateau or the penumbra of the dose; remote: of a second,
    distant focus; None where the mechanism has neither. escalated: as in `Mechanism`.
    """

    dose: float
    post_op: float
    event: float
    in_plateau: bool | None = None
    remote: float | None = None
    escalated: bool = True

    @classmethod
    def draw(cls, rng: np.random.Generator, mechanism: Mechanism) -> Evidence:
        """Independent standard normal numbers; the first three are the same for every mechanism."""
        dose, post_op, event, place, remote = (float(x) for x in rng.normal(size=5))
        return cls(
            dose,
            post_op,
            event,
            place > PLATEAU_ABOVE_SD if mechanism.place else None,
            remote if mechanism.remote else None,
            mechanism.escalated,
        )

    @property
    def features(self) -> dict[str, float | bool]:
        """Those that were drawn, by name."""
        further = {"in_plateau": self.in_plateau, "remote": self.remote}
        known = {name: value for name, value in further.items() if value is not None}
        return {"dose": self.dose, "post_op": self.post_op, "event": self.event, **known}

    @cached_property
    def courses(self) -> tuple[Course, ...]:
        """What was prescribed, one or two courses; none where doses are escalated."""
        return () if self.escalated else courses_of(self.dose)

    @property
    def excess_dose_gy(self) -> float:
        """Of escalated doses, cumulative and above 60 Gy: 18 Gy, 14 Gy a SD, within 1 to 48 Gy."""
        return float(np.clip(18.0 + 14.0 * self.dose, 1.0, 48.0))

    @property
    def prescription_gy(self) -> float:
        """Of all courses together."""
        if self.escalated:
            return FIRST_COURSE_GY + self.excess_dose_gy
        return sum(course.prescription_gy for course in self.courses)

    @property
    def reirradiated(self) -> bool:
        """Whether there is a second course; an escalated excess beyond 20 Gy counts as one."""
        return self.excess_dose_gy > 20.0 if self.escalated else len(self.courses) > 1

    @property
    def fractions(self) -> int:
        """Of all courses; where doses are escalated 30, and those of a second course at 2 Gy each."""
        if self.escalated:
            return 30 + (round(self.excess_dose_gy / 2) if self.reirradiated else 0)
        return sum(course.fractions for course in self.courses)

    @property
    def margin_mm(self) -> float:
        """Of the first course's target around the cavity; where doses are escalated it is no evidence."""
        return target_margin_mm(self.dose)

    @property
    def residual_thickness_mm(self) -> float:
        """Thickness of enhancing residual tumour at the cavity's wall: 4 mm, 2.5 mm a SD, 0 to 9 mm."""
        return float(np.clip(4.0 + 2.5 * self.post_op, 0.0, 9.0))

    @property
    def core_enhancement(self) -> float:
        """How far the new lesion's core enhances: 0 necrotic ring, 1 solid nodule."""
        return float(np.clip(0.5 - 0.3 * self.event, 0.0, 1.0))

    @property
    def remote_enhancement(self) -> float:
        """How far a distant focus enhances: 0 not at all, 1 as the lesion does."""
        return float(np.clip(0.5 + 0.3 * (self.remote or 0.0), 0.0, 1.0))


def log_odds_of_rice(evidence: Evidence, mechanism: Mechanism) -> float:
    """The subject's true log-odds of RICE."""
    return float(
        mechanism.log_odds(
            {
                "dose": evidence.dose,
                "post_op": evidence.post_op,
                "event": evidence.event,
                "place": 1.0 if evidence.in_plateau else -1.0,
                "remote": evidence.remote or 0.0,
            }
        )
    )


def probability_of_rice(evidence: Evidence, mechanism: Mechanism) -> float:
    """The subject's true probability of RICE."""
    return float(1.0 / (1.0 + np.exp(-log_odds_of_rice(evidence, mechanism))))


def draw_label(p_rice: float, rng: np.random.Generator) -> Label:
    """RICE with the given probability."""
    return "rice" if rng.uniform() < p_rice else "recurrence"
