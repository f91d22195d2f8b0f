"""UIDs that occur more than once: copies count once, contradictions not at all.

A UID is unique by the standard. Where two objects share one and differ, an anonymiser, an export or a
mixed-up disc has failed, and nothing in the files says which is right.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Sequence

from ricenet.dicom.datasets import faults_as, read_dataset
from ricenet.dicom.instances import Instance, Unusable
from ricenet.errors import SourceError

_MIXED = "Export the patients concerned again, each into a folder of its own"


def consistent(instances: Sequence[Instance]) -> tuple[list[Instance], list[Unusable]]:
    """Instances with each SOP instance once, and all that contradict each other.

    Left out: a series under several patients, studies or study dates; an SOP instance with differing content.
    """
    contradictory: list[Unusable] = []
    remaining = list(instances)
    for noun, of in _SERIES_BELONGINGS:
        remaining, mixed = _split(remaining, of)
        found = f"one series (SeriesInstanceUID) under several {noun}"
        contradictory += [Unusable(instance.path, found, _MIXED) for instance in mixed]
    kept: list[Instance] = []
    for copies in _by(remaining, lambda instance: instance.sop_instance_uid):
        if all(_same_content(copies[0], other) for other in copies[1:]):
            kept.append(copies[0])
        else:
            found = f"one SOP instance UID for {len(copies)} files with differing content"
            contradictory += [Unusable(copy.path, found, _MIXED) for copy in copies]
    return kept, contradictory


_SERIES_BELONGINGS: tuple[tuple[str, Callable[[Instance], object]], ...] = (
    ("patients (PatientID)", lambda instance: instance.patient_id),
    ("studies (StudyInstanceUID)", lambda instance: instance.study_uid),
    ("study dates", lambda instance: instance.date),
)


def _split(
    instances: Sequence[Instance], of: Callable[[Instance], object]
) -> tuple[list[Instance], list[Instance]]:
    """Instances of series that agree on `of`, and of those that do not."""
    agreeing: list[Instance] = []
    mixed: list[Instance] = []
    for series in _by(instances, lambda instance: instance.series_uid):
        (agreeing if len({of(instance) for instance in series}) == 1 else mixed).extend(series)
    return agreeing, mixed


def _by(instances: Iterable[Instance], key: Callable[[Instance], str]) -> list[list[Instance]]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(key(instance), []).append(instance)
    return list(groups.values())


def _same_content(one: Instance, other: Instance) -> bool:
    """Whether two files hold the same elements, pixel data included; the file meta may differ."""
    if filecmp.cmp(one.path, other.path, shallow=False):
        return True
    try:
        first, second = (read_dataset(instance.path, pixels=True) for instance in (one, other))
        with faults_as("an element is malformed"):
            return bool(first == second)
    except SourceError:
        return False
