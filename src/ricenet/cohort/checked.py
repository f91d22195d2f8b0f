"""The checked cohort: which subjects are used, what they are, and a hash of all that was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from ricenet.cohort.layout import RawSubject, ScanDigests
from ricenet.cohort.participants import Subset
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.records import Record
from ricenet.vocabulary import (
    LABELS,
    PAPER_VOLUMES,
    LabelName,
    LabelNames,
    VariableSpec,
    VariableValue,
    Volumes,
    is_rice_task,
)

CHECKED_COHORT_FILE = Path("work/cohort/cohort.json")
PROBLEMS_FILE = Path("work/cohort/problems.json")
EXCLUDED_FILE = Path("work/cohort/excluded.json")
"""Those that preprocessing excluded, so that a change of it alone changes what is split and trained."""

_ANY = object()


class CheckedSubject(Record):
    """A subject without a problem. label: None if unknown. subset: None if the table names none.

    scans: an optional volume that the subject lacks is not among them. variables: those of the table.
    visit: of a patient with several (docs/visits.md), each of whose visits is a subject here, called by
    `sample_name`; label and variables are the visit's. days_rt_end_to_event: as a sessions table says.
    """

    participant_id: str
    label: LabelName | None
    subset: Subset | None = None
    site: str | None = None
    scans: ScanDigests = Field(default_factory=dict)
    variables: dict[str, VariableValue] = Field(default_factory=dict)
    visit: int = Field(default=1, ge=1)
    days_rt_end_to_event: int | None = None

    @property
    def patient(self) -> str:
        """The participant, whose visits have one name each."""
        return self.participant_id.removesuffix(f"v{self.visit}") if self.visit > 1 else self.participant_id

    @model_serializer(mode="wrap")
    def _as_of_one_visit(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what only visits have: the digest of a cohort of one visit each stays what it was."""
        written: dict[str, Any] = handler(self)
        only_of_visits = {"visit": 1, "days_rt_end_to_event": None}
        return {name: value for name, value in written.items() if value != only_of_visits.get(name, _ANY)}


class ExcludedSubject(Record):
    """A faulty or quarantined subject that was excluded, and why."""

    participant_id: str
    problems: tuple[str, ...]


class _Excluded(Record):
    subjects: tuple[ExcludedSubject, ...]


class CheckedCohort(Record):
    """What every later step may use. subjects: by participant_id, in that order. label_names: the classes.

    root: as the parameters name it. digest: of the subjects (table values and files), the same
    wherever the cohort lies and whoever was excluded.
    """

    root: str
    digest: str
    volumes: Volumes = PAPER_VOLUMES
    variables: tuple[VariableSpec, ...] = ()
    label_names: tuple[LabelName, ...] = Field(default=LABELS, exclude_if=is_rice_task)
    subjects: tuple[CheckedSubject, ...]
    excluded: tuple[ExcludedSubject, ...] = ()

    @classmethod
    def of(
        cls,
        root: str,
        subjects: Iterable[CheckedSubject],
        excluded: Iterable[ExcludedSubject] = (),
        volumes: Volumes = PAPER_VOLUMES,
        variables: Iterable[VariableSpec] = (),
        label_names: LabelNames = LABELS,
    ) -> Self:
        """A cohort with its digest computed."""
        ordered = tuple(sorted(subjects, key=lambda subject: subject.participant_id))
        return cls(
            root=root,
            digest=content_digest([subject.model_dump(mode="json") for subject in ordered]),
            volumes=volumes,
            variables=tuple(variables),
            label_names=label_names,
            subjects=ordered,
            excluded=tuple(excluded),
        )

    @property
    def patients(self) -> dict[str, str]:
        """The patient of each later visit, by its sample; every other subject is its own patient."""
        return {s.participant_id: s.patient for s in self.subjects if s.visit > 1}

    def visits_with(self, subject: str) -> tuple[str, ...]:
        """All visits of a subject's patient, by sample, the subject among them."""
        patients = self.patients
        patient = patients.get(subject, subject)
        return tuple(
            s.participant_id
            for s in self.subjects
            if patients.get(s.participant_id, s.participant_id) == patient
        )

    @property
    def labels(self) -> dict[str, str]:
        """Of the labelled subjects, by participant_id."""
        return {s.participant_id: s.label for s in self.subjects if s.label is not None}

    def raw(self, subject: str) -> RawSubject:
        """Where a subject's raw files lie."""
        return RawSubject(Path(self.root).absolute(), subject, self.volumes)

    def without(self, excluded: Iterable[ExcludedSubject]) -> CheckedCohort:
        """The cohort after later steps had to exclude subjects."""
        further = tuple(excluded)
        if not further:
            return self
        names = {subject.participant_id for subject in further}
        # a patient's name stands for all visits, as in exclude.tsv
        kept = [s for s in self.subjects if not names & {s.participant_id, s.patient}]
        known = self.volumes, self.variables, self.label_names
        return CheckedCohort.of(self.root, kept, (*self.excluded, *further), *known)

    def summary(self) -> str:
        """One line: numbers of subjects, labels, subsets, excluded subjects, and missing optional volumes."""
        labels = Counter(subject.label for subject in self.subjects)
        subsets = Counter(subject.subset for subject in self.subjects)
        counts = [f"{labels[label]} {label}" for label in self.label_names] + [f"{labels[None]} unlabelled"]
        split = f"{subsets['train']} train, {subsets['test']} test, {subsets[None]} in no subset"
        lacking = [len(self.subjects) - len(having(self, spec.name)) for spec in self.volumes]
        lack = [f"; {n} without {name}" for n, name in zip(lacking, self.volumes.names, strict=True) if n]
        visits = f" ({len(self.subjects)} visits)" if self.patients else ""
        patients = len({subject.patient for subject in self.subjects})
        counted = f"{patients} subjects{visits}: {', '.join(counts)}; {split}; {len(self.excluded)} excluded"
        return counted + "".join(lack)


def having(cohort: CheckedCohort, modality_set: str) -> tuple[str, ...]:
    """The subjects that have every volume of a modality set, in order of name.

    Raises ValueError: not a set of the cohort's volumes.
    """
    needed = {spec.name for spec in cohort.volumes.members(modality_set)}
    return tuple(s.participant_id for s in cohort.subjects if needed <= s.scans.keys())


def write_checked_cohort(cohort: CheckedCohort, path: Path = CHECKED_COHORT_FILE) -> None:
    """Write a checked cohort as JSON, atomically."""
    write_json(path, cohort.model_dump(mode="json"))


def read_checked_cohort(path: Path = CHECKED_COHORT_FILE) -> CheckedCohort:
    """Read what `write_checked_cohort` wrote.

    Raises ResultError: missing file, or not such a file.
    """
    return CheckedCohort.read(path, "check_cohort")


def write_excluded(excluded: Iterable[ExcludedSubject], path: Path = EXCLUDED_FILE) -> None:
    """Write the subjects that preprocessing excluded as JSON, atomically."""
    write_json(path, _Excluded(subjects=tuple(excluded)).model_dump(mode="json"))


def read_usable_cohort(checked: Path = CHECKED_COHORT_FILE, excluded: Path = EXCLUDED_FILE) -> CheckedCohort:
    """The checked cohort without those that preprocessing excluded.

    Raises ResultError: a missing file, or not such a file.
    """
    return read_checked_cohort(checked).without(_Excluded.read(excluded, "preprocess").subjects)
