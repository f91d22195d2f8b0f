"""Guard: a subject in two places of the splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ricenet.runtime.files import read_json
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import GuardResult

NAME = "subject_in_two_places"


def subject_in_two_places(splits: Path) -> GuardResult:
    """Look whether each subject is in one fold, or in the test set, once.

    splits: splits.json, whose content is taken as it lies there: what reads it for use stops at the
    first fault.
    Raises ResultError: no such file.
    """
    content = read_json(require(splits, "split"))
    places: Counter[str] = Counter(content["test"])
    for fold in content["folds"]:
        places.update(fold)
    twice = tuple(sorted(subject for subject, count in places.items() if count > 1))
    if not twice:
        found = f"{len(places)} subjects, each in one fold or in the test set"
        return GuardResult(name=NAME, outcome="passed", found=found)
    return GuardResult(
        name=NAME,
        outcome="failed",
        found=f"{len(twice)} subject(s) are in two folds, in a fold and the test set, or twice in one",
        remedy="Write the splits again: dvc repro -f split.",
        subjects=twice,
    )
