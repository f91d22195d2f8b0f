"""The evidence of a run with other labels than the paper's two, as it is kept in evidence.json."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ricenet.evaluation.evidence.calibration_record import Abstention
from ricenet.evaluation.evidence.record import (
    EVIDENCE_FILE,
    Comparison,
    Contribution,
    DecisionCurve,
    Evidence,
    Repeats,
    read_evidence,
)
from ricenet.evaluation.labels.baselines import LabelBaseline
from ricenet.evaluation.labels.calibration import LabelCalibration
from ricenet.evaluation.labels.conformal import LabelConformalSets
from ricenet.evaluation.labels.scores import LabelScores
from ricenet.evaluation.metrics import best_set
from ricenet.runtime.files import read_json
from ricenet.runtime.records import Record
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import LabelName, Volumes


class LabelEvidence(Record):
    """All of it. excluded, comparisons, contributions: as of `Evidence`.

    label_names: in the order of columns. controls: those without an event; among_events: scores of the other
    subjects, by the events' labels alone, empty without controls. decision_curves: of the best set, each
    label against the rest, whose net benefit is that of acting on this label.
    """

    seed: int
    resamples: int
    splits_digest: str
    volumes: Volumes
    label_names: tuple[LabelName, ...]
    controls: tuple[LabelName, ...] = ()
    counts: dict[str, int]
    excluded: dict[str, tuple[str, ...]]
    chance_macro_f1: float
    sets: dict[str, LabelScores]
    among_events: dict[str, LabelScores] = Field(default_factory=dict)
    comparisons: tuple[Comparison, ...]
    contributions: tuple[Contribution, ...]
    baselines: tuple[LabelBaseline, ...]
    verdict: str
    calibration: dict[str, LabelCalibration]
    abstention: dict[str, Abstention]
    conformal: dict[str, LabelConformalSets]
    decision_curves: dict[str, DecisionCurve]
    repeats: Repeats | None
    guards: tuple[GuardResult, ...]

    @property
    def majority(self) -> LabelScores:
        """What the most frequent label scores."""
        return self.baselines[0].scores

    @property
    def best_set(self) -> str:
        """The modality set with the highest macro-F1."""
        return best_set({name: found.macro_f1.value for name, found in self.sets.items()})


def read_label_evidence(path: Path = EVIDENCE_FILE) -> LabelEvidence:
    """Read what the stage `evidence` wrote of these labels.

    Raises ResultError: missing, or not such a file.
    """
    return LabelEvidence.read(path, "evidence")


def read_any_evidence(path: Path = EVIDENCE_FILE) -> Evidence | LabelEvidence:
    """What the stage `evidence` wrote, whatever the labels.

    Raises ResultError: missing, or not such a file.
    """
    content = read_json(require(path, "evidence"))
    is_of_labels = isinstance(content, dict) and "label_names" in content
    return read_label_evidence(path) if is_of_labels else read_evidence(path)
