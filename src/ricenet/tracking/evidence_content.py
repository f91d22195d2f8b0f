"""What runs and versions hold of the evidence: scores with intervals, robustness, the gate's record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from ricenet.evaluation.evidence.calibration_record import (
    ConformalThresholds,
    Recalibration,
    SubsetDecision,
)
from ricenet.evaluation.evidence.gate import GateRecord, failed_conditions
from ricenet.evaluation.evidence.learning_curve import CURVE_SCORES
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.labels.calibration import LabelRecalibration
from ricenet.evaluation.labels.conformal import LabelThresholds
from ricenet.evaluation.labels.record import LabelEvidence, read_any_evidence
from ricenet.evaluation.robustness.effects import read_robustness
from ricenet.inference.label_answers import LabelDecision
from ricenet.inference.three_way import DecisionThreshold
from ricenet.report.model_card import label_card_sections, model_card_sections
from ricenet.tracking.run_content import ArtifactGroup

GATE_FOLDER = "gate"
CALIBRATION, TEMPERATURE = "ricenet.calibration", "ricenet.temperature"
CONFIDENCE, CONFORMAL, GATE = "ricenet.least_confidence", "ricenet.conformal", "ricenet.gate"
SUBSETS = "ricenet.subsets"
"""Tags of a version: thresholds of its decisions, and what its gate said when it was last at hand.

Versions of before there was a choice of methods have a temperature alone. SUBSETS: the same where volumes are
missing, of networks that may lack some.
"""

_DECIDING = (CALIBRATION, TEMPERATURE, CONFIDENCE, CONFORMAL, SUBSETS)
_DECISIONS: TypeAdapter[dict[str, SubsetDecision]] = TypeAdapter(dict[str, SubsetDecision])

_SCORES = ("balanced_accuracy", "auc", "sensitivity", "specificity", "brier")


def gate_of(work: Path, modality_set: str, digest: str) -> GateRecord | None:
    """The gate's record of an ensemble; None where the evidence at hand is not that of this ensemble.

    Raises ResultError: the record is not of this version.
    """
    path = gate_path(work, modality_set)
    if not path.is_file():
        return None
    record = GateRecord.read(path, "evidence")
    return record if record.ensemble_digest == digest else None


def evidence_artifacts(work: Path, modality_set: str, digest: str) -> tuple[ArtifactGroup, ...]:
    """The evidence as files of a set's run; none where it is not that of this ensemble."""
    if gate_of(work, modality_set, digest) is None:
        return ()
    folder, robustness = work / "evidence", work / "robustness"
    tables = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    return (
        ArtifactGroup.of_files(GATE_FOLDER, {gate_file(modality_set): gate_path(work, modality_set)}),
        ArtifactGroup.of_files("evidence", tables),
        ArtifactGroup.of_folder("robustness", robustness),
    )


def evidence_metrics(work: Path, modality_set: str, digest: str) -> dict[str, float]:
    """Scores with the ends of their intervals, calibration, abstention and flip rates, as a run's metrics."""
    if gate_of(work, modality_set, digest) is None:
        return {}
    evidence = read_any_evidence(work / "evidence" / "evidence.json")
    if isinstance(evidence, LabelEvidence):
        return _label_metrics(evidence, modality_set) | _flip_rates(work, modality_set)
    found = {name: getattr(evidence.sets[modality_set], name) for name in _SCORES}
    weak = evidence.calibration[modality_set].weak
    found |= {"calibration_intercept": weak.intercept}
    if weak.slope is not None:
        found |= {"calibration_slope": weak.slope}
    found |= {"three_way_coverage": evidence.abstention[modality_set].coverage}
    if (error := evidence.abstention[modality_set].error) is not None:
        found |= {"three_way_error": error}
    if (curve := evidence.learning_curves.get(modality_set)) is not None:
        found |= {
            f"{score}_at_{forecast.subjects}_subjects": forecast.score
            for score in CURVE_SCORES
            for forecast in getattr(curve, score).forecasts
        }
    metrics = {name: value for score, estimate in found.items() for name, value in _ends(score, estimate)}
    return metrics | {"calibration_p": weak.p} | _flip_rates(work, modality_set)


def _label_metrics(evidence: LabelEvidence, modality_set: str) -> dict[str, float]:
    scores, answers = evidence.sets[modality_set], evidence.abstention[modality_set]
    found = {"balanced_accuracy": scores.balanced_accuracy, "auc": scores.auc, "brier": scores.brier}
    found |= {f"auc_{label}": area for label, area in scores.aucs.items()}
    found |= {f"sensitivity_{label}": rate for label, rate in scores.sensitivities.items()}
    if modality_set in evidence.among_events:
        found |= {"among_events_macro_f1": evidence.among_events[modality_set].macro_f1}
    found |= {"answer_coverage": answers.coverage}
    found |= {} if answers.error is None else {"answer_error": answers.error}
    return {name: value for score, estimate in found.items() for name, value in _ends(score, estimate)}


def card_sections(work: Path, modality_set: str, digest: str, synthetic: bool) -> str:
    """What the evidence says of an ensemble, as sections of a model card; "" where it is another's.

    synthetic: trained on phantoms.
    """
    if gate_of(work, modality_set, digest) is None:
        return ""
    path = work / "robustness" / "robustness.json"
    effects = read_robustness(path) if path.is_file() else None
    evidence = read_any_evidence(work / "evidence" / "evidence.json")
    if isinstance(evidence, LabelEvidence):
        return label_card_sections(evidence, modality_set, synthetic)
    return model_card_sections(evidence, modality_set, effects, synthetic)


def version_tags(record: GateRecord | None) -> dict[str, str]:
    """Tags of a version that follow from the evidence at hand."""
    if record is None:
        return {}
    failed = sorted({failure.condition for failure in failed_conditions(record)})
    threshold = "none" if record.threshold is None else repr(record.threshold)
    conformal = record.conformal if record.of_labels is None else record.of_labels.conformal
    return {
        **_recalibration_tag(record),
        CONFIDENCE: threshold,
        **({} if conformal is None else {CONFORMAL: conformal.model_dump_json()}),
        **({SUBSETS: _DECISIONS.dump_json(record.subsets).decode()} if record.subsets else {}),
        GATE: f"failed: {', '.join(failed)}" if failed else "passed",
    }


def decision_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of a version's tags that say how its votes are decided."""
    return {name: tags[name] for name in _DECIDING if name in tags}


def recalibration_of(tags: Mapping[str, str]) -> Recalibration | None:
    """What a version's tags say of its recalibration; None where they do not."""
    try:
        if CALIBRATION in tags:
            return Recalibration.model_validate_json(tags[CALIBRATION])
        return Recalibration(method="temperature", slope=1 / float(tags[TEMPERATURE]), intercept=0.0)
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def threshold_of(tags: Mapping[str, str]) -> DecisionThreshold | LabelDecision | None:
    """What a three-way vote needs, by a version's tags; None where they do not say."""
    if (of_labels := _label_decision_of(tags)) is not None:
        return of_labels
    recalibration, least = recalibration_of(tags), tags.get(CONFIDENCE)
    if recalibration is None:
        return None
    try:
        least_confidence = None if least == "none" else float(str(least))
        said = tags.get(CONFORMAL)
        conformal = None if said is None else ConformalThresholds.model_validate_json(said)
        subsets = _DECISIONS.validate_json(tags.get(SUBSETS, "{}"))
    except ValueError:
        return None
    return DecisionThreshold(
        recalibration=recalibration, least_confidence=least_confidence, conformal=conformal, subsets=subsets
    )


def _label_decision_of(tags: Mapping[str, str]) -> LabelDecision | None:
    """The same of a version with other labels than the paper's two; None of any other."""
    least = tags.get(CONFIDENCE)
    try:
        return LabelDecision(
            recalibration=LabelRecalibration.model_validate_json(tags[CALIBRATION]),
            least_confidence=None if least == "none" else float(str(least)),
            conformal=LabelThresholds.model_validate_json(tags[CONFORMAL]),
        )
    except (KeyError, ValueError):
        return None


def _recalibration_tag(record: GateRecord) -> dict[str, str]:
    if record.of_labels is not None:
        return {CALIBRATION: record.of_labels.recalibration.model_dump_json()}
    if record.recalibration is not None:
        return {CALIBRATION: record.recalibration.model_dump_json()}
    return {} if record.temperature is None else {TEMPERATURE: repr(record.temperature)}


def _flip_rates(work: Path, modality_set: str) -> dict[str, float]:
    path = work / "robustness" / "robustness.json"
    if not path.is_file():
        return {}
    effects = read_robustness(path).effects.get(modality_set, ())
    return {
        # MLflow allows few signs in a metric's name
        re.sub(r"[^A-Za-z0-9_.-]", "_", f"flips_{e.perturbation}{_strength(e.strength)}"): e.flip_rate.value
        for e in effects
    }


def _strength(strength: float | None) -> str:
    return "" if strength is None else f"_{strength:g}"


def _ends(score: str, estimate: Estimate) -> list[tuple[str, float]]:
    ends = [(score, estimate.value), (f"{score}_low", estimate.low), (f"{score}_high", estimate.high)]
    # MLflow's databases hold no infinite number
    return [(name, end) for name, end in ends if math.isfinite(end)]


def gate_path(work: Path, modality_set: str) -> Path:
    """Where the evidence stage writes the gate's record of a set."""
    return work / "evidence" / GATE_FOLDER / gate_file(modality_set)


def gate_file(modality_set: str) -> str:
    """The name of the gate's record, both in work/evidence/gate and among a run's artifacts."""
    return f"{modality_set}.json"
