"""What every DICOM object of the phantom has in common: patient, study, equipment, file meta."""

from __future__ import annotations

import datetime
import hashlib
import uuid
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


def uid(*parts: object) -> str:
    """A UID (2.25.<UUID>, at most 44 characters) that depends on the parts alone.

    Source: DICOM PS3.5 B.2.

    >>> uid("study", 1) == uid("study", 1), uid("study", 1) == uid("study", 2)
    (True, False)
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def new_dataset(
    study: StudyTags,
    *,
    modality: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    series_uid: str,
    series_number: int,
    frame_of_reference_uid: str = "",
    description: str = "",
) -> Dataset:
    """A dataset with the modules that all objects share; an empty frame of reference is left out."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_instance_uid
    dataset.Modality = modality
    dataset.SeriesInstanceUID, dataset.SeriesNumber = series_uid, series_number
    dataset.SeriesDescription = description
    if frame_of_reference_uid:
        dataset.FrameOfReferenceUID = frame_of_reference_uid
        dataset.PositionReferenceIndicator = ""
    _add_patient_and_study(dataset, study)
    _add_equipment(dataset)
    return dataset


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


def sequence_item(**elements: object) -> Dataset:
    """An item of a sequence, by DICOM keywords."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def decimals(values: NDArray[np.float64] | list[float]) -> list[str]:
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


def _add_patient_and_study(dataset: Dataset, study: StudyTags) -> None:
    day = study.date.strftime("%Y%m%d")
    dataset.PatientName, dataset.PatientID = study.patient.patient_name, study.patient.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = study.patient.birth_date, study.patient.sex
    dataset.StudyInstanceUID = study.study_uid
    dataset.StudyID, dataset.StudyDescription = "1", study.description
    dataset.AccessionNumber = f"A{uid('accession', study.study_uid)[-10:]}"
    dataset.ReferringPhysicianName = "Referrer^Rita"
    for moment in ("Study", "Series", "InstanceCreation"):
        setattr(dataset, f"{moment}Date", day)
        setattr(dataset, f"{moment}Time", "101500")


def _add_equipment(dataset: Dataset) -> None:
    dataset.Manufacturer, dataset.ManufacturerModelName = "RICE-NET", "Phantom"
    dataset.InstitutionName, dataset.StationName = "Phantom General Hospital", "PHANTOM01"
    dataset.InstitutionAddress = "1 Invented Street, Nowhere"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "000042", "1"
    dataset.OperatorsName = "Operator^Olga"
