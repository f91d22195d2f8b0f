"""What the gate judges of an ensemble with other labels than the paper's two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ricenet.evaluation.evidence.gate import GateRecord, LabelGate, gate_folds
from ricenet.evaluation.labels.contribution import label_shares
from ricenet.evaluation.labels.held_out import LabelHeldOut
from ricenet.evaluation.labels.record import LabelEvidence
from ricenet.evaluation.labels.scores import chance_macro_f1
from ricenet.training.label_predictions import LabelPrediction, macro_f1_of_classes, top_labels


def label_gate_record(
    modality_set: str,
    ensemble: Mapping[str, Any],
    training: Path,
    predictions: Sequence[LabelPrediction],
    of: LabelEvidence,
) -> GateRecord:
    """As `ricenet.evaluation.evidence.gate.gate_record`.

    Raises ResultError: a fold's record is missing.
    """
    held_out = LabelHeldOut.of({modality_set: predictions}, of.label_names)
    frequent = top_labels(label_shares(held_out))
    chance = macro_f1_of_classes(held_out.truth, frequent, len(of.label_names))
    return GateRecord(
        modality_set=modality_set,
        ensemble_digest=ensemble["digest"],
        folds=gate_folds(training / modality_set, ensemble["folds"]),
        failed_guards=tuple(guard for guard in of.guards if guard.outcome == "failed"),
        macro_f1=of.sets[modality_set].macro_f1,
        chance_macro_f1=max(chance_macro_f1(held_out.counts), chance),
        threshold=of.abstention[modality_set].threshold,
        predictions=(),
        label_names=of.label_names,
        of_labels=LabelGate(
            recalibration=of.calibration[modality_set].recalibration,
            conformal=of.conformal[modality_set].thresholds,
            predictions=tuple(predictions),
        ),
    )
