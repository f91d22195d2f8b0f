"""Guards of what was trained: whom a fold's network saw, and on whom its settings were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ricenet.cohort.splits import Splits
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import GuardResult

TRAINED, TUNED = "trained_on_validation", "tuned_on_validation"

RECORD, BEST = "fold.json", "best.json"


def guards_of_training(
    training: Path, modality_sets: Sequence[str], splits: Splits, tuning: Path
) -> tuple[GuardResult, ...]:
    """Both guards of what lies in work/training and work/tuning.

    training: holds <modality set>/fold-<k>/fold.json. tuning: holds best.json.
    Raises ResultError: a missing file.
    """
    return trained_on_validation(training, modality_sets, splits), tuned_on_validation(modality_sets, tuning)


def trained_on_validation(training: Path, modality_sets: Sequence[str], splits: Splits) -> GuardResult:
    """Look whether each fold was trained and validated on exactly those whom the splits name.

    Raises ResultError: a missing record of a fold.
    """
    wrong, silent, subjects = list[str](), 0, set[str]()
    folds = [(name, fold) for name in modality_sets for fold in range(len(splits.folds))]
    for name, fold in folds:
        record = read_json(require(training / name / f"fold-{fold}" / RECORD, "train"))
        if "subjects" not in record:
            silent += 1
            continue
        faults, whom = _faults(record["subjects"], splits, fold)
        wrong += [f"{name}, fold {fold}: {fault}" for fault in faults]
        subjects |= whom
    if wrong:
        told = "; ".join(wrong[:10]) + (f"; and {len(wrong) - 10} more" if len(wrong) > 10 else "")
        remedy = "Its scores are void. Train again: dvc repro -f train."
        named = tuple(sorted(subjects))
        return GuardResult(name=TRAINED, outcome="failed", found=told, remedy=remedy, subjects=named)
    if silent:
        found = f"{silent} of {len(folds)} folds were trained by a version that did not record its subjects"
        remedy = "To have it looked at, train again: dvc repro -f train."
        return GuardResult(name=TRAINED, outcome="warning", found=found, remedy=remedy)
    found = f"{len(folds)} folds, each trained and validated on the subjects that the splits name"
    return GuardResult(name=TRAINED, outcome="passed", found=found)


def _faults(record: Mapping[str, Sequence[str]], splits: Splits, fold: int) -> tuple[list[str], set[str]]:
    """What is wrong with a fold's subjects, and who they are; the gravest first."""
    trained, validated = set(record["training"]), set(record["validation"])
    expected = set(splits.training_subjects(fold)), set(splits.validation_subjects(fold))
    test = set(splits.test)
    both = trained & validated
    seen = trained & expected[1] - both
    tested = (trained | validated) & test
    other = (trained ^ expected[0]) | (validated ^ expected[1])
    rest = other - both - seen - tested
    cases = {
        "trained and validated on": both,
        "trained on, though the splits hold out": seen,
        "of the test set, but trained or validated on": tested,
        "not as the splits have it": rest,
    }
    told = [f"{len(whom)} subject(s) {case}" for case, whom in cases.items() if whom]
    return told, both | seen | tested | rest


def tuned_on_validation(modality_sets: Sequence[str], tuning: Path) -> GuardResult:
    """Look whether settings were searched on the folds that judge them.

    Source: Varma and Simon 2006 (nested cross-validation).
    Raises ResultError: best.json is missing.
    """
    best: Mapping[str, Any] = read_json(require(tuning / BEST, "tune"))
    tuned = [name for name in modality_sets if name in best]
    seen = [name for name in tuned if not best[name].get("nested", False)]
    if seen:
        return GuardResult(
            name=TUNED,
            outcome="warning",
            found=f"settings of {', '.join(seen)} were searched on the folds that judge them, so their "
            "cross-validated scores are too high",
            remedy="Set tuning.nested to true, or quote the independent test set alone.",
        )
    if tuned:
        found = f"settings of {', '.join(tuned)} were searched without the fold's validation subjects"
    else:
        found = "no settings were searched"
    return GuardResult(name=TUNED, outcome="passed", found=found)
