"""What every DICOM object of the phantom has in common: whose it is, where it lies, how it is saved."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import atomic_path
from ricenet.volume import Affine

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
"""Transfer syntax of files that ask for none."""

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's world axes point to the patient's left and back, NIfTI's to the right and front."""

_TIME = "101500"
_EVERYWHERE = {
    "SpecificCharacterSet": "ISO_IR 192", "ReferringPhysicianName": "Referrer^Rita", "StudyID": "1",
    "StudyTime": _TIME, "SeriesTime": _TIME, "InstanceCreationTime": _TIME,
    "Manufacturer": "RICE-NET", "ManufacturerModelName": "Phantom", "StationName": "PHANTOM01",
    "InstitutionName": "Phantom General Hospital", "InstitutionAddress": "1 Invented Street, Nowhere",
    "DeviceSerialNumber": "000042", "SoftwareVersions": "1", "OperatorsName": "Operator^Olga",
}  # fmt: skip
"""Invented, so that an import can be seen to leave it behind."""


@dataclass(frozen=True)
class PatientTags:
    """Who an object says that it is of; invented. birth_date: YYYYMMDD."""

    patient_id: str
    patient_name: str = "Phantom^Test"
    birth_date: str = "19600131"
    sex: str = "O"


@dataclass(frozen=True)
class StudyTags:
    """The study that an object belongs to; `date` is StudyDate and the date of all that it holds."""

    patient: PatientTags
    study_uid: str
    date: datetime.date
    description: str = ""


@dataclass(frozen=True)
class Header:
    """What an object says of itself: whose, of which study and series, in which space.

    uid: of a series of images; of the object itself in radiotherapy, whose every object is a series.
    frame_uid: the frame of reference, empty where there is none. number, description: of a series of images.
    """

    study: StudyTags
    uid: str
    frame_uid: str = ""
    number: int = 1
    description: str = ""

    def image_uid(self, part: object) -> str:
        """SOP instance UID of one of the series' images, by its slice."""
        return uid(self.uid, part)

    def image(self, modality: str, sop_class_uid: str, part: object) -> Dataset:
        """One object of a series of images, with the modules that all objects share."""
        return elements(
            **self._common(), Modality=modality, SOPClassUID=sop_class_uid,
            SOPInstanceUID=self.image_uid(part), SeriesInstanceUID=self.uid, SeriesNumber=self.number,
            SeriesDescription=self.description,
        )  # fmt: skip

    def plan_object(self, modality: str, sop_class_uid: str) -> Dataset:
        """An object of radiotherapy, which is a series of its own."""
        number = ("RTSTRUCT", "RTPLAN", "RTDOSE").index(modality) + 2
        return elements(
            **self._common(), Modality=modality, SOPClassUID=sop_class_uid, SOPInstanceUID=self.uid,
            SeriesInstanceUID=uid(self.uid, "series"), SeriesNumber=number, SeriesDescription=modality,
        )  # fmt: skip

    def _common(self) -> dict[str, object]:
        study, patient = self.study, self.study.patient
        frame = {"FrameOfReferenceUID": self.frame_uid, "PositionReferenceIndicator": ""}
        day = study.date.strftime("%Y%m%d")
        return {
            **_EVERYWHERE, **(frame if self.frame_uid else {}),
            **{f"{moment}Date": day for moment in ("Study", "Series", "InstanceCreation")},
            "PatientName": patient.patient_name, "PatientID": patient.patient_id,
            "PatientBirthDate": patient.birth_date, "PatientSex": patient.sex,
            "StudyInstanceUID": study.study_uid, "StudyDescription": study.description,
            "AccessionNumber": f"A{uid('accession', study.study_uid)[-10:]}",
        }  # fmt: skip


def uid(*parts: object) -> str:
    """A UID (2.25.<UUID>, at most 44 characters) that depends on the parts alone.

    Source: DICOM PS3.5 B.2.

    >>> uid("study", 1) == uid("study", 1), uid("study", 1) == uid("study", 2)
    (True, False)
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def elements(**values: object) -> Dataset:
    """A dataset, or an item of a sequence, by DICOM keywords."""
    from pydicom.dataset import Dataset

    return set_elements(Dataset(), **values)


def set_elements(dataset: Dataset, **values: object) -> Dataset:
    """Set elements by DICOM keywords."""
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(sop_class_uid: str, sop_instance_uid: str, **values: object) -> Dataset:
    """An item that refers to another object."""
    return elements(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=sop_instance_uid, **values)


def save_dataset(dataset: Dataset, path: Path, transfer_syntax_uid: str = EXPLICIT_LITTLE_ENDIAN) -> Path:
    """Write a DICOM file (preamble, file meta, dataset) atomically; pixels as they are encoded already."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(uid("ricenet", "phantom", "implementation"))
    meta.ImplementationVersionName = "RICENET_PHANTOM"
    dataset.file_meta = meta
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return path


def decimals(values: Iterable[float]) -> list[str]:
    """Decimal strings (DS)."""
    return [decimal(float(value)) for value in values]


def decimal(value: float) -> str:
    """A decimal string (DS), as exact as its 16 characters allow.

    >>> decimal(-2.5), decimal(1 / 3), decimal(9.999999999999998)
    ('-2.5', '0.33333333333333', '10')
    """
    texts = (f"{value + 0.0:.{digits}g}" for digits in range(16, 0, -1))  # + 0.0: no "-0"
    return next(text for text in texts if len(text) <= 16)


def lps_axes(affine: Affine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (3, 3, in columns) of a grid's axes and the steps along them (3,), in LPS.

    Raises ValueError: the axes within a slice are not perpendicular.
    """
    steps = (LPS_FROM_RAS @ affine)[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    directions = steps / lengths
    if abs(directions[:, 0] @ directions[:, 1]) > 1e-6:
        raise ValueError("DICOM cannot hold slices whose rows and columns are not perpendicular")
    return directions, lengths


def lps_position(affine: Affine, k: int = 0) -> NDArray[np.float64]:
    """Centre of the first voxel of slice `k`, (3,), in LPS."""
    position: NDArray[np.float64] = (LPS_FROM_RAS @ affine @ np.array([0.0, 0.0, k, 1.0]))[:3]
    return position


def orientation(affine: Affine) -> list[str]:
    """ImageOrientationPatient: directions of rows and of columns."""
    return decimals(lps_axes(affine)[0][:, :2].T.ravel())


def pixel_spacing(affine: Affine) -> list[str]:
    """PixelSpacing: the distance between rows first, then between columns."""
    spacing = lps_axes(affine)[1]
    return decimals([spacing[1], spacing[0]])
