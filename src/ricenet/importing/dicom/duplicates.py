"""UIDs that occur more than once: copies count once, contradictions not at all.

A UID is unique by the standard. Where two objects share one and differ, an anonymiser, an export or a
mixed-up disc has failed, and nothing in the files says which is right.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Sequence

from ricenet.importing.dicom.datasets import faults_as, read_dataset
from ricenet.importing.dicom.instances import Instance, Unusable
from ricenet.runtime.errors import SourceError

_MIXED = "Export the patients concerned again, each into a folder of its own"


def consistent(instances: Sequence[Instance]) -> tuple[list[Instance], list[Unusable]]:
    """Instances with each SOP instance once, and all that contradict each other.

    Left out: a series under several patients, people, studies or study dates, or of MR and CT images; an
    SOP instance with differing content.
    """
    contradictory: list[Unusable] = []
    remaining = list(instances)
    for found, of in _CONTRADICTIONS:
        remaining, mixed = _split(remaining, of)
        contradictory += [_left_out(instance, found) for instance in mixed]
    kept: list[Instance] = []
    for copies in _by(remaining, lambda instance: instance.sop_instance_uid):
        if all(_same_content(copies[0], other) for other in copies[1:]):
            kept.append(copies[0])
        else:
            found = f"one SOP instance UID for {len(copies)} files with differing content"
            contradictory += [_left_out(copy, found) for copy in copies]
    return kept, contradictory


def _left_out(instance: Instance, found: str) -> Unusable:
    patient, series = instance.patient_id, instance.series_uid
    return Unusable(instance.path, found, _MIXED, patient, series, instance.sop_instance_uid)


_UNDER_SEVERAL = "one series (SeriesInstanceUID) under several"
_SILENT = ""
"""Of what says nothing and so contradicts nothing."""

_CONTRADICTIONS: tuple[tuple[str, Callable[[Instance], object]], ...] = (
    (f"{_UNDER_SEVERAL} patients (PatientID)", lambda instance: instance.patient_id),
    (f"{_UNDER_SEVERAL} people (PatientBirthDate, PatientSex)", lambda instance: instance.person),
    (f"{_UNDER_SEVERAL} studies (StudyInstanceUID)", lambda instance: instance.study_uid or None),
    (f"{_UNDER_SEVERAL} study dates", lambda instance: instance.date),
    # radiotherapy objects and captures may share a series with images, which their own UIDs tell apart
    (
        "one series (SeriesInstanceUID) of MR and CT images",
        lambda instance: instance.kind if instance.kind in ("MR", "CT") else _SILENT,
    ),
)
"""What a series has one of, and what it is to have several."""


def _split(
    instances: Sequence[Instance], of: Callable[[Instance], object]
) -> tuple[list[Instance], list[Instance]]:
    """Instances of series that agree on `of`, and of those that do not."""
    agreeing: list[Instance] = []
    mixed: list[Instance] = []
    for series in _by(instances, lambda instance: instance.series_uid):
        (agreeing if len({of(instance) for instance in series} - {_SILENT}) <= 1 else mixed).extend(series)
    return agreeing, mixed


def _by(instances: Iterable[Instance], key: Callable[[Instance], str]) -> list[list[Instance]]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(key(instance), []).append(instance)
    return list(groups.values())


def _same_content(one: Instance, other: Instance) -> bool:
    """Whether two files hold the same elements, pixel data included; the file meta may differ."""
    try:
        with faults_as("a file cannot be opened"):
            if filecmp.cmp(one.path, other.path, shallow=False):
                return True
        first, second = (read_dataset(instance.path, pixels=True) for instance in (one, other))
        with faults_as("an element is malformed"):
            return bool(first == second)
    except SourceError:
        return False
