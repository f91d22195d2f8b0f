"""The checked cohort: which subjects are used, what they are, and a hash of all that was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from ricenet.cohort.participants import Subset
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import content_digest, write_json
from ricenet.vocabulary import LABELS, PAPER_VOLUMES, Label, Volumes

CHECKED_COHORT_FILE = Path("work/cohort/cohort.json")
PROBLEMS_FILE = Path("work/cohort/problems.json")
LEFT_OUT_FILE = Path("work/cohort/left_out.json")
"""Whom preprocessing left out, so that a change of it alone changes what is split and trained."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScanDigests(_Record):
    """SHA-256 of each of a subject's raw files. brain_mask: None where HD-BET has to make one.

    planning_ct: None where the cohort has no copy of it.
    """

    post_op: str
    event: str
    dose: str
    dose_sidecar: str
    brain_mask: str | None = None
    planning_ct: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, str]:
        # so that a cohort without them keeps the digest that it had before there were any
        return {name: digest for name, digest in handler(self).items() if digest is not None}


class CheckedSubject(_Record):
    """A subject without a problem. label: None if unknown. subset: None if the table names none."""

    participant_id: str
    label: Label | None
    subset: Subset | None
    site: str | None
    scans: ScanDigests


class ExcludedSubject(_Record):
    """A faulty or quarantined subject that was left out, and why."""

    participant_id: str
    problems: tuple[str, ...]


_LEFT_OUT = TypeAdapter(tuple[ExcludedSubject, ...])


class CheckedCohort(_Record):
    """What every later step may use. subjects: by participant_id, in that order.

    root: as the parameters name it. digest: of the subjects (table values and files), the same
    wherever the cohort lies and whoever was excluded.
    """

    root: str
    digest: str
    subjects: tuple[CheckedSubject, ...]
    excluded: tuple[ExcludedSubject, ...] = ()

    @property
    def volumes(self) -> Volumes:
        """As they are declared."""
        return PAPER_VOLUMES

    @classmethod
    def of(
        cls, root: str, subjects: Iterable[CheckedSubject], excluded: Iterable[ExcludedSubject] = ()
    ) -> Self:
        """A cohort with its digest computed."""
        ordered = tuple(sorted(subjects, key=lambda subject: subject.participant_id))
        digest = content_digest([subject.model_dump(mode="json") for subject in ordered])
        return cls(root=root, digest=digest, subjects=ordered, excluded=tuple(excluded))

    def without(self, left_out: Iterable[ExcludedSubject]) -> CheckedCohort:
        """The cohort after later steps had to leave subjects out."""
        excluded = tuple(left_out)
        names = {subject.participant_id for subject in excluded}
        kept = (subject for subject in self.subjects if subject.participant_id not in names)
        return CheckedCohort.of(self.root, kept, (*self.excluded, *excluded)) if names else self

    def summary(self) -> str:
        """One line: numbers of subjects, labels, subsets and excluded subjects."""
        labels = Counter(subject.label for subject in self.subjects)
        subsets = Counter(subject.subset for subject in self.subjects)
        counts = [f"{labels[label]} {label}" for label in LABELS] + [f"{labels[None]} unlabelled"]
        split = f"{subsets['train']} train, {subsets['test']} test, {subsets[None]} in no subset"
        return f"{len(self.subjects)} subjects: {', '.join(counts)}; {split}; {len(self.excluded)} excluded"


def write_checked_cohort(cohort: CheckedCohort, path: Path = CHECKED_COHORT_FILE) -> None:
    """Write a checked cohort as JSON, atomically."""
    write_json(path, cohort.model_dump(mode="json"))


def read_checked_cohort(path: Path = CHECKED_COHORT_FILE) -> CheckedCohort:
    """Read what `write_checked_cohort` wrote.

    Raises CohortError: missing file, or not such a file.
    """
    if not path.is_file():
        raise CohortError(f"{path.name}: not found. Check the cohort first: dvc repro check_cohort")
    try:
        return CheckedCohort.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise CohortError(
            f"{path.name}: not a checked cohort. Write it again: dvc repro -f check_cohort"
        ) from None


def write_left_out(left_out: Iterable[ExcludedSubject], path: Path = LEFT_OUT_FILE) -> None:
    """Write whom preprocessing left out as JSON, atomically."""
    write_json(path, [subject.model_dump(mode="json") for subject in left_out])


def read_usable_cohort(checked: Path = CHECKED_COHORT_FILE, left_out: Path = LEFT_OUT_FILE) -> CheckedCohort:
    """The checked cohort without whom preprocessing left out.

    Raises CohortError: a missing file, or not such a file.
    """
    cohort = read_checked_cohort(checked)
    if not left_out.is_file():
        raise CohortError(f"{left_out.name}: not found. Preprocess the cohort first: dvc repro preprocess")
    try:
        return cohort.without(_LEFT_OUT.validate_json(left_out.read_bytes()))
    except ValidationError:
        raise CohortError(
            f"{left_out.name}: not a list of subjects. Write it again: dvc repro -f preprocess"
        ) from None
