"""Guards of folds: subjects in two places, which of them a network saw, and which chose its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ricenet.cohort.checked import CheckedCohort, having
from ricenet.cohort.splits import Splits
from ricenet.runtime.formats import TOLD
from ricenet.runtime.records import read_result
from ricenet.screening.guards.result import GuardResult, listed

RECORD, BEST = "fold.json", "best.json"


def subject_in_two_places(splits: Path, patients: Mapping[str, str] = MappingProxyType({})) -> GuardResult:
    """Check that each subject is in one fold, or in the test set, once; all visits of a patient in one.

    splits: splits.json, whose content is taken as it lies there: what reads it for use stops at the
    first fault. patients: by the sample of a later visit.
    Raises ResultError: no such file.
    """
    content = read_result(splits, "split")
    groups = (content["test"], *content["folds"])
    places = Counter(patients.get(subject, subject) for group in groups for subject in group)
    twice = [subject for subject, count in places.items() if count > 1]
    # visits go where their first event goes: it has to be the same patient's
    twice += [
        patients.get(visit, visit)
        for event, visits in content.get("later", {}).items()
        for visit in visits
        if patients.get(visit, visit) != patients.get(event, event)
    ]
    if not twice:
        found = f"{len(places)} subjects, each in one fold or in the test set"
        return GuardResult.of("subject_in_two_places", "passed", found)
    found = f"{len(twice)} subject(s) are in two folds, in a fold and the test set, or twice in one"
    remedy = "Write the splits again: dvc repro -f split."
    return GuardResult.of("subject_in_two_places", "failed", found, remedy, twice)


def guards_of_training(
    training: Path, modality_sets: Sequence[str], splits: Splits, cohort: CheckedCohort, tuning: Path
) -> tuple[GuardResult, ...]:
    """Both guards of what lies in work/training and work/tuning.

    training: holds <modality set>/fold-<k>/fold.json. tuning: holds best.json.
    Raises ResultError: a missing file.
    """
    trained = trained_on_validation(training, modality_sets, splits, cohort)
    return trained, tuned_on_validation(modality_sets, tuning)


def trained_on_validation(
    training: Path, modality_sets: Sequence[str], splits: Splits, cohort: CheckedCohort
) -> GuardResult:
    """Check that each fold was trained and validated on exactly the subjects that the splits name.

    Of these, a modality set has those that have its volumes.
    Raises ResultError: a missing record of a fold.
    """
    wrong, silent, subjects = list[str](), 0, set[str]()
    folds = [(modality_set, fold) for modality_set in modality_sets for fold in range(len(splits.folds))]
    for modality_set, fold in folds:
        record = read_result(training / modality_set / f"fold-{fold}" / RECORD, "train", TOLD)
        if "subjects" not in record:
            silent += 1
            continue
        usable = set(having(cohort, modality_set))
        for fault, concerned in _faults(record["subjects"], splits, fold, usable).items():
            wrong.append(f"{modality_set}, fold {fold}: {len(concerned)} subject(s) {fault}")
            subjects |= concerned
    if wrong:
        remedy = "Its scores are void. Train again: dvc repro -f train."
        return GuardResult.of("trained_on_validation", "failed", listed(wrong), remedy, subjects)
    if silent:
        found = f"{silent} of {len(folds)} folds were trained by a version that did not record its subjects"
        remedy = "To have it checked, train again: dvc repro -f train."
        return GuardResult.of("trained_on_validation", "warning", found, remedy)
    found = f"{len(folds)} folds, each trained and validated on the subjects that the splits name"
    return GuardResult.of("trained_on_validation", "passed", found)


def _faults(
    record: Mapping[str, Sequence[str]], splits: Splits, fold: int, usable: set[str]
) -> Mapping[str, set[str]]:
    """What is wrong with a fold's subjects, and with which; the gravest first."""
    trained, validated = set(record["training"]), set(record["validation"])
    expected = usable & set(splits.training_subjects(fold)), usable & set(splits.validation_subjects(fold))
    both = trained & validated
    seen = trained & expected[1] - both
    tested = (trained | validated) & set(splits.test)
    other = (trained ^ expected[0]) | (validated ^ expected[1])
    cases = {
        "trained and validated on": both,
        "trained on, though the splits hold out": seen,
        "of the test set, but trained or validated on": tested,
        "not as the splits have it": other - both - seen - tested,
    }
    return {case: subjects for case, subjects in cases.items() if subjects}


def tuned_on_validation(modality_sets: Sequence[str], tuning: Path) -> GuardResult:
    """Check whether settings were searched on the folds that judge them.

    Source: Varma and Simon 2006 (nested cross-validation).
    Raises ResultError: best.json is missing.
    """
    best: Mapping[str, Any] = read_result(tuning / BEST, "tune")
    tuned = [modality_set for modality_set in modality_sets if modality_set in best]
    seen = [modality_set for modality_set in tuned if not best[modality_set].get("nested", False)]
    if seen:
        searched = f"settings of {', '.join(seen)} were searched on the folds that judge them"
        found = f"{searched}, so their cross-validated scores are too high"
        remedy = "Set tuning.nested to true, or quote the independent test set alone."
        return GuardResult.of("tuned_on_validation", "warning", found, remedy)
    searched = f"settings of {', '.join(tuned)} were searched without the fold's validation subjects"
    found = searched if tuned else "no settings were searched"
    return GuardResult.of("tuned_on_validation", "passed", found)
