"""What results refer to: images of the reference MRI, whose patient, study and space they share, and others.

Identity is taken from the files and goes into the results, which return to where the files came from. It
stays in memory: no error or log repeats any of it.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import Elements, faults_as, quietly, read_file
from ricenet.importing.dicom.frames import planes_of
from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

UTF_8 = "ISO_IR 192"
"""Character set of every result, whatever that of the source: names keep their characters in it."""

_REQUIRED = ("StudyInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    *(
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
    ),
    "ReferringPhysicianName",
)
"""Elements that every object has, empty where nothing is known (type 2)."""

_DESCRIBING = frozenset({0x0008, 0x0010, 0x0012, 0x0032, 0x0038, 0x0040})
"""Groups of elements that say of whom, when and what for; those of the images' place are in others."""

_CHECKED = ("AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM")
_PATIENT_ID = 0x00100020

_REFERRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_RESULTS_NEED = "Export the scan again from the system that it comes from, or predict without --dicom-out"


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Keep what pydicom and highdicom remark off stderr and logs: it quotes names and UIDs."""
    remarks = logging.getLogger("highdicom")
    before = remarks.level
    remarks.setLevel(logging.CRITICAL + 1)
    with quietly():
        try:
            yield
        finally:
            remarks.setLevel(before)


@dataclass(frozen=True)
class SourceImages:
    """Headers, without pixels, of the files that a case was predicted from.

    heads: of the reference MRI, a file each. order: which of its images is slice k of `grid`, with images
    counted in the order of the heads and of their frames. others: of every other object that was used.
    """

    heads: tuple[Dataset, ...]
    order: tuple[int, ...]
    grid: Grid
    others: tuple[Dataset, ...]

    @classmethod
    @silently()
    def read(cls, source: PatientSource) -> SourceImages:
        """Read the headers, and see that a new object can carry what they say of patient and study.

        Raises SourceError: the reference MRI is no one series of one study with a frame of reference, its
        slices are no volume, or its identity is not what DICOM allows.
        """
        reference = source.reference
        planes = {one.sop_instance_uid: planes_of(one) for one in reference.instances}
        instances = _without_copies(reference.instances, planes)
        order, grid = stack([plane for one in instances for plane in planes[one.sop_instance_uid]])
        used = {one.sop_instance_uid for one in instances}
        others = {
            one.sop_instance_uid: one
            for chosen in source.chosen
            for one in (chosen, *chosen.planes)
            if one.sop_instance_uid not in used
        }
        first = planes[instances[0].sop_instance_uid][0]
        heads = tuple(_head(one) for one in instances)
        require_one_space(heads)
        for head in heads:
            _state_geometry(head, first, grid)
        _require_carried(heads[0])
        rest = [read_file(others[uid].path, _REFERRED) for uid in sorted(others)]
        # what states no study cannot be referred to
        stated = (file.dataset for file in rest if all(file.text(keyword) for keyword in _REFERRED))
        return cls(heads, tuple(order), grid, tuple(stated))

    @property
    def frame_uid(self) -> str:
        """The frame of reference of the reference MRI."""
        return str(self.heads[0].FrameOfReferenceUID)

    @property
    def uids(self) -> list[str]:
        """SOP instance UIDs of all that was used, sorted."""
        return sorted(str(one.SOPInstanceUID) for one in (*self.heads, *self.others))

    def images_of(self, data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask (X, Y, Z) on `grid` as images (N, rows, columns), in the order of the source's images."""
        images = np.empty((len(self.order), data.shape[1], data.shape[0]), dtype=data.dtype)
        images[list(self.order)] = data.transpose(2, 1, 0)
        return images


def _without_copies(instances: Iterable[Instance], planes: dict[str, list[Plane]]) -> list[Instance]:
    """Files whose images lie where no other file's do, of several one, as the import takes them."""
    first = {tuple(planes[one.sop_instance_uid]): one for one in reversed(list(instances))}
    return sorted(first.values(), key=lambda one: one.path)


def _head(instance: Instance) -> Dataset:
    """A header with every element that results take over; what DICOM does not allow there is left out."""
    file = read_file(instance.path)
    head = file.dataset
    # the keys alone: iterating reads every value, also those that cannot be read
    for tag in [tag for tag in tuple(head.keys()) if tag.group in _DESCRIBING]:
        if not _is_well_formed(head, tag):
            del head[tag]
    with faults_as("texts of the reference MRI's header cannot be decoded", _RESULTS_NEED):
        head.decode()
    if file.text("PatientSex") not in ("M", "F", "O"):
        head.PatientSex = ""
    for keyword in _MAY_BE_EMPTY:
        if keyword not in head:
            setattr(head, keyword, "")
    return head


def _is_well_formed(dataset: Dataset, tag: BaseTag) -> bool:
    """Whether a value is what its representation (VR) allows; identifiers and names are taken as they are."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        element = dataset[tag]
        values = element.value if element.VM > 1 else [element.value]
        if element.VR in _CHECKED and tag != _PATIENT_ID:
            for value in values:
                validate_value(element.VR, value, RAISE)
    except (ValueError, TypeError, LookupError, OverflowError):
        return False
    return True


def _state_geometry(head: Dataset, first: Plane, grid: Grid) -> None:
    """State orientation and spacing in a header as one for all images, in the one place that highdicom reads.

    Slices may differ by what `stack` allows, and scanners leave out, or mistake, what lies between them.
    """
    from pydicom.dataset import Dataset
    from pydicom.valuerep import format_number_as_ds

    images = Elements(head).items("PerFrameFunctionalGroupsSequence")
    orientation = measures = head
    if images:
        orientation, measures, shared = Dataset(), Dataset(), Dataset()
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
        head.SharedFunctionalGroupsSequence = [shared]
    orientation.ImageOrientationPatient = [format_number_as_ds(part) for part in first.orientation]
    measures.PixelSpacing = [format_number_as_ds(mm) for mm in first.spacing_mm]
    measures.SpacingBetweenSlices = format_number_as_ds(grid.spacing_mm[2])
    measures.SliceThickness = head.get("SliceThickness") or measures.SpacingBetweenSlices


def require_one_space(heads: tuple[Dataset, ...]) -> None:
    """Refuse headers of several studies or series, or without a study or frame of reference.

    Raises SourceError.
    """
    files = [Elements(head) for head in heads]
    if missing := [keyword for keyword in _REQUIRED if not files[0].text(keyword)]:
        raise SourceError(
            f"the reference MRI has no {' and no '.join(missing)}, and results need its space and study",
            _RESULTS_NEED,
        )
    for keyword, what in (("StudyInstanceUID", "studies"), ("SeriesInstanceUID", "series")):
        found = len(list(groupby(sorted(file.text(keyword) for file in files))))
        if found > 1:
            raise SourceError(
                f"the slices of the reference MRI are of {found} {what}, and results refer to one",
                _RESULTS_NEED,
            )


def _require_carried(head: Dataset) -> None:
    """Make and write an empty object of the same patient and study. Raises SourceError."""
    from highdicom.base import SOPClass
    from pydicom.uid import EncapsulatedPDFStorage, generate_uid

    found = "what the reference MRI says of its patient and study cannot be written into a new object"
    with faults_as(found, "Correct it in the system that it comes from, or predict without --dicom-out"):
        probe = SOPClass(
            study_instance_uid=head.StudyInstanceUID,
            series_instance_uid=generate_uid(),
            series_number=1,
            sop_instance_uid=generate_uid(),
            sop_class_uid=EncapsulatedPDFStorage,
            instance_number=1,
            modality="DOC",
            patient_name=head.PatientName,
            patient_birth_date=head.PatientBirthDate,
            patient_sex=head.PatientSex,
            specific_character_set=UTF_8,
        )
        probe.copy_patient_and_study_information(head)
        probe.save_as(io.BytesIO(), enforce_file_format=True)
