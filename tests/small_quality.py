"""Examined subjects made by hand, for tests of what shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from preprocessed_subjects import MEASUREMENTS

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.config.params import QualityParams
from ricenet.runtime.files import write_json
from ricenet.screening.quality.examination import RECORD
from ricenet.screening.quality.measures import measures_of
from ricenet.screening.quality.mosaic import encode, lay_out
from ricenet.screening.quality.pages import write_pages
from ricenet.vocabulary import PAPER_VOLUMES

VALUES = measures_of(MEASUREMENTS, PAPER_VOLUMES, brain_overlap=0.98)
PARAMS = QualityParams(
    least_mutual_information=1.12,
    most_rotation_deg=40.0,
    most_shift_mm=80.0,
    brain_ml=[900, 1900],
    least_brain_overlap=0.92,
    least_coverage=0.98,
    dose_max_gy=[30, 80],
    dose_of_prescription=[0.9, 1.2],
    most_dose_outside_brain=0.5,
)
SHEET = lay_out(np.array([-8.0, -8.0, -8.0]), np.array([8.0, 8.0, 8.0]), {"axial": [0.0], "coronal": [0.0]})
SQUARE = "M4.0,4.0 12.0,4.0 12.0,12.0 4.0,12.0Z"


def write_examination(
    folder: Path, subject: str, changes: Mapping[str, float | None] | None = None, planning_ct: bool = False
) -> Path:
    """What the examination of a subject leaves, with pictures of 16 by 36 pixels."""
    layers = ["post_op", "event", "event_before", *(["planning_ct"] if planning_ct else [])]
    files: dict[str, dict[str, str]] = {"head": {}, "dose": {}}
    folder.mkdir(parents=True, exist_ok=True)
    for sheet, names in (("head", layers), ("dose", layers[:2])):
        for grey, layer in enumerate(names):
            files[sheet][layer] = f"{sheet}-{layer}.webp"
            values = np.full((36, 16), 10.0 + 60 * grey, dtype=np.float32)
            (folder / files[sheet][layer]).write_bytes(encode(values, 0.0, 255.0))
    record = {
        "measures": VALUES | dict(changes or {}),
        "own_brain": "HD-BET, fast, on a grid of 2 mm",
        "mris": [{"name": spec.name, "title": spec.title} for spec in PAPER_VOLUMES.mris],
        "sheets": {name: SHEET.as_json() for name in files},
        "pictures": files,
        "outlines": {
            "head": {"isodose_20": SQUARE, "brain": SQUARE, "own_brain": SQUARE},
            "dose": {"brain": SQUARE, **{f"isodose_{gy}": SQUARE for gy in (20, 40, 50, 60)}},
        },
        "histograms": {name: [[-1.0, 0.2], [0.0, 0.5], [1.0, 0.3]] for name in ("post_op", "event")},
        "dose_volume": [[0.0, 1400.0], [30.0, 300.0], [63.0, 0.0]],
        "measurements": MEASUREMENTS.model_dump(mode="json"),
        "provenance": {"seed": 7, "key": "k" * 64, "versions": {"antspyx": "0.6.3"}},
        "dose_json": {
            "DoseUnits": "GY",
            "Decisions": ["one plan", {"fractions": 30}],
            "PrescriptionGy": 60.0,
        },
    }
    write_json(folder / RECORD, record)
    return folder


def checked(cohort: Path) -> CheckedCohort:
    """A raw cohort, checked; nobody may be faulty."""
    return admit(check_cohort(cohort), exclude_faulty=False)


def write_small_group(folder: Path, cohort: CheckedCohort, params: QualityParams = PARAMS) -> Path:
    """The pages of a cohort whose second subject has a bad registration and whose third lacks a brain."""
    changes: list[dict[str, float | None]] = [
        {"rotation_deg": 20.0},
        {"mutual_information": 1.05, "brain_overlap": 0.7, "rotation_deg": 3.0},
        {"brain_overlap": None, "rotation_deg": 12.0},
    ]
    examined = {
        subject.participant_id: write_examination(
            folder / "store" / subject.participant_id, subject.participant_id, change, planning_ct=i == 0
        )
        for i, (subject, change) in enumerate(zip(cohort.subjects, changes, strict=True))
    }
    write_pages(examined, cohort, params, "p" * 64, folder / "quality")
    return folder / "quality"
