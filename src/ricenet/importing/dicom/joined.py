"""Volumes that an export tore into objects of one slice each: put together where they say that they belong.

Some systems give every slice a SeriesInstanceUID of its own, and every dose plane an RTDOSE of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ricenet.importing.dicom.dose import read_single_plane
from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.instances import Instance, Series, Unusable
from ricenet.runtime.errors import SourceError


def joined_slices(series: Iterable[Series], faulty: Sequence[Unusable]) -> list[Series]:
    """Series as they are, and as one those of a single image that are one volume's slices by their tags.

    These are of one study and frame of reference, and have the same number, description and shape. faulty:
    files that cannot be used; those beside the slices of such a volume are missing in it.
    """
    whole: list[Series] = []
    slices: dict[object, list[Series]] = defaultdict(list)
    for one in series:
        if (volume := _volume_of(one)) is None:
            whole.append(one)
        else:
            slices[volume].append(one)
    return whole + [_joined(group, faulty) if len(group) > 1 else group[0] for group in slices.values()]


def joined_planes(series: Sequence[Series]) -> list[Series]:
    """RTDOSE series, with the planes of one dose that form one regular grid as one instance.

    The plane of the smallest SOP instance UID stands for the dose. Planes that form no grid, or some of which
    are lost, are kept as they are, with a note that says why.
    """
    planes: dict[object, list[tuple[Instance, Plane]]] = defaultdict(list)
    lossy = any(one.unusable for one in series)
    for instance in (instance for one in series for instance in one.instances):
        if instance.frames == 1 and (single := read_single_plane(instance)):
            dose, plane = single
            planes[instance.patient_id, instance.study_uid, dose].append((instance, plane))
    stacked: dict[Instance, Instance | None] = {}
    for group in planes.values():
        if len(group) > 1:
            stacked |= _stacked(sorted(group, key=lambda one: one[0].sop_instance_uid), lossy)
    kept = [
        replace(one, instances=tuple(found for of in one.instances if (found := stacked.get(of, of))))
        for one in series
    ]
    return [one for one in kept if one.instances]


def _volume_of(series: Series) -> object | None:
    """What slices of one volume have in common; None where the series is none of them."""
    one = series.first
    is_slice = len(series.instances) == 1 and one.frames == 1 and series.kind in ("MR", "CT")
    is_called = one.series_number is not None or one.series_description
    if not (is_slice and is_called and one.study_uid and one.frame_of_reference_uid):
        return None
    called = one.series_number, one.series_description
    return one.patient_id, one.kind, one.study_uid, one.date, called, one.frame_of_reference_uid, one.shape


def _joined(slices: Sequence[Series], faulty: Sequence[Unusable]) -> Series:
    note = (
        f"{len(slices)} series of one slice each joined (same study, number, description, frame of reference "
        "and size)"
    )
    instances = sorted((series.first for series in slices), key=lambda one: one.path)
    known = {one.series_uid for one in instances}
    folders = {one.path.parent for one in instances}
    lost = [
        file
        for file in faulty
        if file.path.parent in folders
        and file.patient_id in ("", instances[0].patient_id)
        and file.series_uid not in known
    ]
    reasons = tuple(dict.fromkeys(file.found for file in lost))
    instances = [replace(one, notes=(*one.notes, note)) for one in instances]
    return Series(tuple(instances), len(lost), reasons)


def _stacked(planes: Sequence[tuple[Instance, Plane]], lossy: bool) -> dict[Instance, Instance | None]:
    """What becomes of each plane's instance; None where another stands for it. lossy: some may be missing."""
    instances, first = [one for one, _ in planes], planes[0][0]
    found = "files of the dose cannot be used" if lossy else ""
    try:
        stack([plane for _, plane in planes], noun="dose plane")
    except SourceError as error:
        found = error.found
    if found:
        note = f"one of {len(planes)} RTDOSE of a single plane each, which form no regular grid: {found}"
        return {one: replace(one, notes=(*one.notes, note)) for one in instances}
    note = f"{len(planes)} RTDOSE of one plane each, stacked"
    dose = replace(first, frames=len(planes), notes=(*first.notes, note), planes=tuple(instances[1:]))
    return {**dict.fromkeys(instances), first: dose}
