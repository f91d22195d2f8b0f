"""The gate before promotion: what has to hold of an ensemble before it may be evaluated on the test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from ricenet.evaluation.evidence.audit import majority_scores
from ricenet.evaluation.evidence.calibration_record import (
    ConformalThresholds,
    Recalibration,
    SubsetDecision,
)
from ricenet.evaluation.evidence.comparison import compare
from ricenet.evaluation.evidence.record import Comparison, Evidence
from ricenet.evaluation.evidence.swap_tests import p_said
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.labels.calibration import LabelRecalibration
from ricenet.evaluation.labels.comparison import compare_labels
from ricenet.evaluation.labels.conformal import LabelThresholds
from ricenet.evaluation.labels.held_out import LabelHeldOut
from ricenet.runtime.errors import ResultError
from ricenet.runtime.formats import TOLD
from ricenet.runtime.records import Record, read_result
from ricenet.screening.guards.result import GuardResult
from ricenet.training.label_predictions import LabelPrediction
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS, LabelName, LabelNames, is_rice_task

SHARED = ("parameters", "labels", "preprocessing", "code")
"""Digests that the folds of an ensemble must have in common."""


class GateFold(Record):
    """What a fold was trained from. digests: by the names of SHARED; empty in records of earlier versions."""

    fold: int
    digests: dict[str, str]
    training: tuple[str, ...]
    validation: tuple[str, ...]


class LabelGate(Record):
    """What the gate judges of other labels than the paper's two, in the place of the record's own."""

    recalibration: LabelRecalibration
    conformal: LabelThresholds
    predictions: tuple[LabelPrediction, ...]


class GateRecord(Record):
    """All that the gate judges, of one ensemble; it stays with the ensemble's run.

    chance_macro_f1: of guessing or of the more frequent label, whichever is higher. recalibration,
    threshold: of the three-way vote (`ricenet.evaluation.evidence.abstention`). temperature: instead of a
    recalibration in records of earlier versions, which lack conformal: thresholds of sets of labels.
    subsets: what decides cases that lack volumes, by those that there are, of networks that may lack some.
    label_names: the classes. of_labels: of others than the paper's two, whose predictions are empty.
    """

    modality_set: str
    ensemble_digest: str
    folds: tuple[GateFold, ...]
    failed_guards: tuple[GuardResult, ...]
    macro_f1: Estimate
    chance_macro_f1: float
    temperature: float | None = None
    recalibration: Recalibration | None = None
    threshold: float | None
    conformal: ConformalThresholds | None = None
    subsets: dict[str, SubsetDecision] = Field(default_factory=dict, exclude_if=lambda value: not value)
    predictions: tuple[Prediction, ...]
    label_names: tuple[LabelName, ...] = Field(default=LABELS, exclude_if=is_rice_task)
    of_labels: LabelGate | None = Field(default=None, exclude_if=lambda value: value is None)


@dataclass(frozen=True)
class Failure:
    """A condition that does not hold. found, remedy: sentences without their full stop."""

    condition: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.found}. {self.remedy}"


def gate_record(
    modality_set: str,
    ensemble: Mapping[str, Any],
    training: Path,
    predictions: Sequence[Prediction],
    of: Evidence,
) -> GateRecord:
    """What the gate will judge. ensemble: ensemble.json. training: the folder with the set's folds.

    Raises ResultError: a fold's record is missing.
    """
    held_out = HeldOut.of({modality_set: predictions})
    return GateRecord(
        modality_set=modality_set,
        ensemble_digest=ensemble["digest"],
        folds=gate_folds(training / modality_set, ensemble["folds"]),
        failed_guards=tuple(guard for guard in of.guards if guard.outcome == "failed"),
        macro_f1=of.sets[modality_set].macro_f1,
        chance_macro_f1=max(held_out.chance_macro_f1, majority_scores(held_out).macro_f1.value),
        recalibration=of.calibration[modality_set].recalibration,
        threshold=of.abstention[modality_set].threshold,
        conformal=of.conformal[modality_set].thresholds,
        subsets=of.decisions_from(modality_set),
        predictions=tuple(predictions),
    )


def gate_folds(training: Path, folds: int) -> tuple[GateFold, ...]:
    """What the folds of a set were trained from. training: their folder.

    Raises ResultError: a fold's record is missing.
    """
    return tuple(
        _fold(read_result(training / f"fold-{k}" / "fold.json", "train", TOLD)) for k in range(folds)
    )


def failed_conditions(record: GateRecord) -> list[Failure]:
    """Every condition on the ensemble itself that does not hold."""
    return [*_unlike_folds(record.folds), *_failed_guards(record), *_not_above_chance(record)]


def worse_than(
    record: GateRecord, champion: GateRecord, name: str, seed: int, resamples: int
) -> Failure | None:
    """The failure of being significantly worse than the champion, on the subjects that both held out.

    That is, its macro-F1 is lower, and the swap test shows a difference. name: of the champion.
    Raises ResultError: fewer than two subjects of a label in common, so that nothing can be compared.
    """
    if record.label_names != champion.label_names:
        ours, others = (" and ".join(of.label_names) for of in (record, champion))
        raise ResultError(f"it tells {ours} apart, and {name} {others}: no test compares them")
    if record.of_labels is not None and champion.of_labels is not None:
        found = _compared_labels(
            record.of_labels, champion.of_labels, record.label_names, name, seed, resamples
        )
        return _worse(found, name)
    labels = {p.participant_id: p.label for p in record.predictions}
    theirs = [p for p in champion.predictions if labels.get(p.participant_id) == p.label]
    held_out = HeldOut.of({"candidate": record.predictions, "champion": theirs})
    if held_out.least < 2:
        raise ResultError(f"only {len(held_out.subjects)} of its held-out subjects are {name}'s too")
    return _worse(compare(held_out, "candidate", "champion", seed, resamples), name)


def _compared_labels(
    ours: LabelGate, theirs: LabelGate, label_names: LabelNames, name: str, seed: int, resamples: int
) -> Comparison:
    labels = {p.participant_id: p.label for p in ours.predictions}
    common = [p for p in theirs.predictions if labels.get(p.participant_id) == p.label]
    held_out = LabelHeldOut.of({"candidate": ours.predictions, "champion": common}, label_names)
    if held_out.least < 2:
        raise ResultError(f"only {len(held_out.subjects)} of its held-out subjects are {name}'s too")
    return compare_labels(held_out, "candidate", "champion", seed, resamples)


def _worse(found: Comparison, name: str) -> Failure | None:
    if found.macro_f1.value >= 0 or not found.differs:
        return None
    differs = f"its macro-F1 differs by {found.macro_f1.text(signed=True)} from that of {name}"
    reported = f"{differs}, on {found.n} common subjects ({p_said(found.p_macro_f1)})"
    return Failure("worse_than_champion", reported, "Keep the champion, or train a better model")


def refusal(subject: str, failures: Sequence[Failure]) -> str:
    """What is said where the gate stays shut. subject: which ensemble."""
    lines = [f"  - {failure}" for failure in failures]
    return "\n".join([f"{subject} does not pass the gate:", *lines])


def _fold(record: Mapping[str, Any]) -> GateFold:
    subjects = record.get("subjects", {})
    return GateFold(
        fold=record["fold"],
        digests=record.get("digests", {}),
        training=tuple(subjects.get("training", ())),
        validation=tuple(subjects.get("validation", ())),
    )


def _unlike_folds(folds: Sequence[GateFold]) -> Iterator[Failure]:
    again = "Train all folds together: `dvc repro`"
    if not folds:
        yield Failure("folds", "it has none", again)
        return
    if silent := [fold.fold for fold in folds if not fold.digests or not fold.training]:
        found = f"fold(s) {_listed(silent)} do not say from what they were trained"
        yield Failure("folds", found, f"{again} with this version of ricenet")
        return
    for name in SHARED:
        values = [fold.digests.get(name) for fold in folds]
        if unlike := [fold.fold for fold, value in zip(folds, values, strict=True) if value != values[0]]:
            found = f"fold(s) {_listed(unlike)} were trained with other {name} than fold {folds[0].fold}"
            yield Failure("folds", found, again)
    everyone = {subject for fold in folds for subject in fold.validation}
    for fold in folds:
        if set(fold.training) != everyone - set(fold.validation):
            found = f"fold {fold.fold} was not trained on exactly the subjects that the other folds hold out"
            yield Failure("folds", found, again)
    if sum(len(fold.validation) for fold in folds) > len(everyone):
        yield Failure("folds", "a subject is held out by two folds", again)


def _failed_guards(record: GateRecord) -> Iterator[Failure]:
    for guard in record.failed_guards:
        yield Failure(
            f"guard {guard.name}", guard.found.rstrip("."), guard.remedy.rstrip(".") or "See docs/guards.md"
        )


def _not_above_chance(record: GateRecord) -> Iterator[Failure]:
    if record.macro_f1.low <= record.chance_macro_f1:
        found = (
            f"its cross-validated macro-F1 of {record.macro_f1.text()} is not shown to be above the "
            f"{record.chance_macro_f1:.2f} that chance gives"
        )
        yield Failure("chance", found, "More subjects, or a model that knows more")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
