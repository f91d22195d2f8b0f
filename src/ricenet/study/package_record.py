"""What a study package holds: its description, the digests of all members, and one digest of the whole."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field

from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.evidence.weak_calibration import WeakCalibration
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.metrics import Confusion
from ricenet.evaluation.scores import Scores
from ricenet.inference.training_ranges import TrainingRanges
from ricenet.runtime.files import content_digest
from ricenet.runtime.records import Record
from ricenet.training.ensemble_record import RECORD, weights_name

STUDY, PLAN, HOME, DECISION, RANGES, README = (
    "study.json", "plan.json", "home.json", "decision.json", "ranges.json", "README.txt",
)  # fmt: skip
ENSEMBLE = "ensemble"

GATE_UNKNOWN = "the evidence was not at hand"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class HomeResults(Record):
    """What the cross-validation at home says, of held-out subjects. n: by label. covered: by label, sets of
    labels.
    """

    n: dict[str, int]
    confusion: Confusion
    scores: Scores
    calibration: WeakCalibration
    answered: Estimate
    wrong_among_answered: Estimate | None
    covered: dict[str, Estimate] | None

    @classmethod
    def of(cls, evidence: Evidence, modality_set: str, confusion: Confusion, labels: tuple[str, ...]) -> Self:
        """Of a set's evidence. confusion: its rows by `labels`."""
        sets = evidence.conformal.get(modality_set)
        return cls(
            n={label: sum(row) for label, row in zip(labels, confusion, strict=True)},
            confusion=confusion,
            scores=evidence.sets[modality_set],
            calibration=evidence.calibration[modality_set].weak,
            answered=evidence.abstention[modality_set].coverage,
            wrong_among_answered=evidence.abstention[modality_set].error,
            covered=None if sets is None else sets.covered,
        )


class SealedRanges(Record):
    """The training subjects' ranges, widened to two digits: an exact end would be one subject's value."""

    words: dict[str, str]
    limits: dict[str, tuple[float, float]]
    plausible: dict[str, tuple[float | None, float | None]]
    subjects: int
    not_compared: tuple[str, ...]

    @classmethod
    def of(cls, ranges: TrainingRanges) -> Self:
        """Widened."""
        return cls(
            words=dict(ranges.words),
            limits={
                name: (_rounded(low, -1), _rounded(high, 1)) for name, (low, high) in ranges.limits.items()
            },
            plausible=dict(ranges.plausible),
            subjects=ranges.subjects,
            not_compared=ranges.not_compared,
        )

    def ranges(self) -> TrainingRanges:
        """For a prediction."""
        return TrainingRanges(self.words, self.limits, self.subjects, self.not_compared, self.plausible)


class PackageRecord(Record):
    """study.json. files: SHA-256 of every other member, by name. plan: the plan's digest. gate: what the
    evidence gate said. seed: of preprocessing. seal: over all the rest.
    """

    modality_set: str
    model: str
    version: str
    ensemble: Digest
    folds: Annotated[int, Field(ge=1, le=100)]
    seed: int
    plan: Digest
    gate: str
    synthetic: bool | None
    versions: dict[str, str]
    files: dict[str, Digest]
    sealed_utc: str
    seal: str = ""

    @property
    def content(self) -> str:
        """Digest of all but the time: the same content is sealed once."""
        return content_digest(self.model_dump(mode="json", exclude={"seal", "sealed_utc"}))

    def sealed(self) -> Self:
        """With its seal."""
        return self.model_copy(update={"seal": self._expected})

    @property
    def is_intact(self) -> bool:
        """Whether the seal is that of the content."""
        return self.seal == self._expected

    @property
    def _expected(self) -> str:
        return content_digest(self.model_dump(mode="json", exclude={"seal"}))


def member_names(folds: int) -> list[str]:
    """All members of a package, study.json first."""
    weights = [f"{ENSEMBLE}/{weights_name(fold)}" for fold in range(folds)]
    return [STUDY, README, PLAN, HOME, DECISION, RANGES, f"{ENSEMBLE}/{RECORD}", *weights]


def _rounded(value: float, towards: int) -> float:
    """To two significant digits, away from the range's middle. towards: -1 or 1.

    >>> _rounded(1043.0, -1), _rounded(0.4688, 1), _rounded(-0.4688, -1)
    (1000.0, 0.47, -0.47)
    """
    if value == 0:
        return 0.0
    step = math.floor(math.log10(abs(value))) - 1
    scaled = value / 10.0**step
    whole = math.floor(scaled + 1e-9) if towards < 0 else math.ceil(scaled - 1e-9)
    return float(f"{whole * 10.0**step:.6g}")
