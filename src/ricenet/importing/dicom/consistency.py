"""What counts of the files of a tree: copies count once, contradictions not at all, losses are known.

A UID is unique by the standard. Where two objects share one and differ, an anonymiser, an export or a
mixed-up disc has failed, and nothing in the files says which is right. A series that lost files is not a
shorter volume.
"""

from __future__ import annotations

import filecmp
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ricenet.importing.dicom.datasets import faults_as, read_file
from ricenet.importing.dicom.instances import Instance, Unusable
from ricenet.runtime.errors import SourceError

_MIXED = "Export the patients concerned again, each into a folder of its own"
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

_MOST_OF = 2
"""A file alone in a folder, as a stray copy is, does not make it the folder of its series."""


def consistent(instances: Sequence[Instance]) -> tuple[list[Instance], list[Unusable]]:
    """Instances with each SOP instance once, and all that contradict each other.

    Excluded: a series under several patients, people, studies or study dates, or of MR and CT images; an
    SOP instance with differing content.
    """
    contradictory: list[Unusable] = []
    remaining = list(instances)
    for found, of in _CONTRADICTIONS:
        agreeing: list[Instance] = []
        for series in _by(remaining, lambda instance: instance.series_uid):
            if len({of(instance) for instance in series} - {_SILENT}) <= 1:
                agreeing += series
            else:
                contradictory += [_excluded(instance, found) for instance in series]
        remaining = agreeing
    kept: list[Instance] = []
    for copies in _by(remaining, lambda instance: instance.sop_instance_uid):
        if all(_same_content(copies[0], other) for other in copies[1:]):
            kept.append(copies[0])
        else:
            found = f"one SOP instance UID for {len(copies)} files with differing content"
            contradictory += [_excluded(copy, found) for copy in copies]
    return kept, contradictory


def placed_by_folder(files: Iterable[Unusable], instances: Iterable[Instance]) -> list[Unusable]:
    """Count files that do not say their series to the one that their folder holds, if it is one alone.

    An empty file among a series' files is one of them: a full disk or a broken transfer leaves such.
    """
    folders: dict[Path, Counter[tuple[str, str]]] = defaultdict(Counter)
    for instance in instances:
        folders[instance.path.parent][instance.patient_id, instance.series_uid] += 1
    placed = []
    for file in files:
        held = folders.get(file.path.parent, Counter())
        if not file.series_uid and len(held) == 1 and held.total() >= _MOST_OF:
            ((patient, series),) = held
            file = replace(file, patient_id=patient, series_uid=series)  # noqa: PLW2901
        placed.append(file)
    return placed


def losses(files: Iterable[Unusable], usable: Iterable[Instance]) -> Mapping[str, tuple[Unusable, ...]]:
    """By SeriesInstanceUID, the files that a series lacks: each object once, and none of which there is
    a copy that can be used."""
    whole = {(instance.series_uid, instance.sop_instance_uid) for instance in usable}
    lost: dict[str, dict[str | Path, Unusable]] = {}
    for file in files:
        if file.series_uid and (file.series_uid, file.sop_instance_uid) not in whole:
            lost.setdefault(file.series_uid, {}).setdefault(file.sop_instance_uid or file.path, file)
    return {series: tuple(of_series.values()) for series, of_series in lost.items()}


def _excluded(instance: Instance, found: str) -> Unusable:
    patient, series = instance.patient_id, instance.series_uid
    return Unusable(instance.path, found, _MIXED, patient, series, instance.sop_instance_uid)


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
        first, second = (read_file(instance.path, pixels=True) for instance in (one, other))
        with faults_as("an element is malformed"):
            return bool(first.dataset == second.dataset)
    except SourceError:
        return False
