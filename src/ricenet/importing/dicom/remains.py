"""What an unusable file was part of: a series that lost files is not a shorter volume."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ricenet.importing.dicom.datasets import faults_as, is_cut_short, is_decoded, text
from ricenet.importing.dicom.instances import Instance, Unusable
from ricenet.runtime.errors import SourceError

_SERIES_UID = 0x0020000E
_TAGS = [0x00080018, 0x00100020, _SERIES_UID]
"""SOPInstanceUID, PatientID, SeriesInstanceUID, which stand in a file in this order."""

_MOST_OF = 2
"""A file alone in a folder, as a stray copy is, does not make it the folder of its series."""


def unusable_file(path: Path, error: SourceError) -> Unusable:
    """A file that cannot be used, with as much of its identity as its first part still says."""
    from pydicom.filereader import read_partial

    left_out = Unusable(path, error.found, error.remedy)
    # whatever fails here failed before, and has been said
    with contextlib.suppress(SourceError), faults_as("the file's identity cannot be read"):
        if not path.is_file():
            return left_out
        with path.open("rb") as stream:
            beginning = read_partial(
                stream, stop_when=lambda tag, vr, length: tag > _SERIES_UID, force=True, specific_tags=_TAGS
            )
            if is_cut_short(beginning, stream):
                return left_out
        instance, patient, series = (
            text(beginning, keyword) for keyword in ("SOPInstanceUID", "PatientID", "SeriesInstanceUID")
        )
        # two undecodable identifiers may look like one
        patient = patient if is_decoded(patient) else ""
        return replace(left_out, patient_id=patient, series_uid=series, sop_instance_uid=instance)
    return left_out


def placed_by_folder(files: Iterable[Unusable], instances: Iterable[Instance]) -> list[Unusable]:
    """Count files that do not say their series to the one that their folder holds, if it is one alone.

    An empty file among a series' files is one of them: a full disk or a broken transfer leaves such.
    """
    folders: dict[Path, Counter[tuple[str, str]]] = {}
    for instance in instances:
        series = (instance.patient_id, instance.series_uid)
        folders.setdefault(instance.path.parent, Counter())[series] += 1
    return [file if file.series_uid else _placed(file, folders.get(file.path.parent)) for file in files]


def _placed(file: Unusable, held: Counter[tuple[str, str]] | None) -> Unusable:
    if held is None or len(held) > 1 or held.total() < _MOST_OF:
        return file
    ((patient, series),) = held
    return replace(file, patient_id=patient, series_uid=series)


def losses(files: Iterable[Unusable], usable: Iterable[Instance]) -> Mapping[str, tuple[Unusable, ...]]:
    """By SeriesInstanceUID, the files that a series lacks: each object once, and none of which there is
    a copy that can be used."""
    whole = {(instance.series_uid, instance.sop_instance_uid) for instance in usable}
    lost: dict[str, dict[str | Path, Unusable]] = {}
    for file in files:
        if file.series_uid and (file.series_uid, file.sop_instance_uid) not in whole:
            lost.setdefault(file.series_uid, {}).setdefault(file.sop_instance_uid or file.path, file)
    return {series: tuple(of_series.values()) for series, of_series in lost.items()}
