"""Small stand-ins for the public collections: tables with their columns, trees with their files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import typer
from dicom_trees import TinyExport, edit, write_tiny_export

from ricenet.cli.import_collections import burdenko, cfb_gbm
from ricenet.importing.dicom.instances import Instance, Kind, Series
from ricenet.volume import Grid, Volume, save_nifti

IMPORT = typer.Typer()
"""The commands by themselves."""
IMPORT.command("burdenko")(burdenko)
IMPORT.command("cfb-gbm")(cfb_gbm)

VISITS = [*("1st", "2nd", "3rd"), *(f"{number}th" for number in range(4, 11))]
BURDENKO_COLUMNS = [
    *("AnonymPatientID", "AnonymStudyDate", "Sex", "IDH1/2", "MGMT"),
    *(f"Response_{visit}_fup" for visit in VISITS),
    *("AnonymDate of surgery", "AnonymStart of RT", "AnonymEnd of RT", "AnonymDate of topometric MRI"),
    *(f"Anonym{visit}_fup" for visit in VISITS),
    *("AnonymDeath", "AgeAtStudyDate"),
]

Cells = Mapping[str, str]


def burdenko_row(
    patient_id: str, responses: Sequence[str] = (), dates: Sequence[str] = (), **cells: str
) -> dict[str, str]:
    """A row of a sound patient: radiotherapy from 3 March to 14 April 2004, empty dates as one space.

    responses, dates: of the follow-ups in order. cells: surgery, rt_start, rt_end, topometric and others
    by their column.
    """
    names = {
        "surgery": "AnonymDate of surgery",
        "rt_start": "AnonymStart of RT",
        "rt_end": "AnonymEnd of RT",
        "topometric": "AnonymDate of topometric MRI",
    }
    sound = {"surgery": "2/1/04", "rt_start": "3/3/04", "rt_end": "4/14/04", "topometric": "3/1/04"}
    row = {column: " " if "fup" in column and "Resp" not in column else "" for column in BURDENKO_COLUMNS}
    row |= {"AnonymPatientID": patient_id, "Sex": "F", "MGMT": "?", "AgeAtStudyDate": "51"}
    row |= {f"Response_{visit}_fup": word for visit, word in zip(VISITS, responses, strict=False)}
    row |= {f"Anonym{visit}_fup": day for visit, day in zip(VISITS, dates, strict=False)}
    return row | {names.get(name, name): cell for name, cell in (sound | cells).items()}


def write_clinical_table(path: Path, rows: Iterable[Cells]) -> Path:
    """The comma-separated table, its columns those of the collection."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, BURDENKO_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def a_series(
    kind: Kind,
    study: str,
    day: date | None,
    description: str = "",
    patient_id: str = "P",
    number: int = 1,
    slices: int = 1,
) -> Series:
    """One series of one file that nobody reads. study, number: distinguish it."""
    uid = f"{study}-{kind}-{description}-{number}"
    instance = Instance(
        path=Path(f"/nowhere/{uid}"),
        kind=kind,
        patient_id=patient_id,
        study_uid=study,
        series_uid=uid,
        sop_instance_uid=f"{uid}-1",
        date=day,
        series_number=number,
        series_description=description,
        frame_of_reference_uid="",
        contrast_agent=False,
        frames=slices,
    )
    return Series((instance,))


def write_burdenko_patient(
    folder: Path, patient_id: str, planning: date, event: date, in_planning_study: bool = True
) -> TinyExport:
    """A patient's objects with the collection's series descriptions.

    in_planning_study: whether the planning MRI belongs to the study of the dose, or to one of its own.
    """
    export = write_tiny_export(
        folder, patient_id, post_op_date=planning, plan_date=planning, event_date=event, fractions=30
    )
    study = "rt-study" if in_planning_study else "post_op-study"
    for path in export.post_op_files:
        edit(path, SeriesDescription="MR1T1CET1", StudyInstanceUID=export.patient.uid(study))
    for path in export.event_files:
        edit(path, SeriesDescription="MR1T1CET1 ax")
    return export


CFB_FILES = {
    "clinical_data": "CFB-GBM_clinical_data_v03_20260619.tsv",
    "mri_availability": "CFB-GBM_mri_availability_v02_20260129.tsv",
    "treatment_data": "CFB-GBM_treatment_data_v02_20260129.tsv",
    "treatment_imaging_availability": "CFB-GBM_treatment_imaging_availability_v03_20260619.tsv",
    "rano_criteria": "CFB-GBM_rano_criteria_v03_20260619.tsv",
}
_RANO_WORDS = {
    "PD": "Progressive Disease (PD)",
    "SD": "Stable Disease (SD)",
    "PR": "Partial Response (PR)",
    "": "",
}


def cfb_patient(
    number: int,
    scans: Sequence[tuple[str, int]] = (("t0", 0), ("t1", 12)),
    rano: tuple[str, str] = ("SD", ""),
    dose: str = "60",
    fractions: str = "30",
    has_dose: bool = True,
    delay_weeks: str = "2",
) -> dict[str, list[dict[str, str]]]:
    """One patient's rows by table. scans: visits that have a T1Gd, and their weeks from t0."""
    key = {"id_patient": str(number)}
    return {
        "clinical_data": [key | {"age_at_t0 (years)": "60", "gender": "M"}],
        "mri_availability": [
            key | {"temporality": visit, "time_diff_t0 (weeks)": str(weeks), "t1gd": "1"}
            for visit, weeks in scans
        ],
        "treatment_data": [
            key
            | {
                "delay_t0_to_radiotherapy (weeks)": delay_weeks,
                "dose (Gy)": dose,
                "fractions_number": fractions,
            }
        ],
        "treatment_imaging_availability": [
            key
            | {"temporality": "t0", "gtv": "1", "gtv_type": "humanSegmentation", "rtdose": str(int(has_dose))}
        ],
        "rano_criteria": [
            key | {"rano_t0_to_t1": _RANO_WORDS[rano[0]], "rano_t0_to_t2": _RANO_WORDS[rano[1]]}
        ],
    }


def write_cfb_tables(folder: Path, patients: Sequence[Mapping[str, list[dict[str, str]]]]) -> Path:
    """The five tables under the archive's names."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, name in CFB_FILES.items():
        write_tsv(folder / name, [row for patient in patients for row in patient[table]])
    return folder


def write_tsv(path: Path, rows: Sequence[Cells]) -> None:
    """Tab-separated, its columns those of the first row."""
    lines = [list(rows[0]), *([row[column] for column in rows[0]] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def ball(radius_mm: float, grid: Grid, centre_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> Volume:
    """A mask of all voxels within a distance of a point."""
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    return Volume(np.linalg.norm(world - np.array(centre_mm), axis=-1) <= radius_mm, grid)


MRI_GRID = Grid.cube(np.zeros(3), 8.0, 20)
DOSE_GRID = Grid.cube(np.array([4.0, 0.0, -4.0]), 10.0, 14)
TARGET_MM = (20.0, 10.0, 0.0)


def write_cfb_patient(
    source: Path, number: int, event: str = "t1", folder: str | None = None, prefix: str | None = None
) -> Path:
    """The files of t0 and of one later visit: a ball of brain, a target with 61 Gy within 26 mm, less around.

    folder, prefix: names, zero-padded and not by default. Returns the patient's folder.
    """
    patient, stem = source / (folder or f"{number:03d}"), prefix or str(number)
    brain = ball(62.0, MRI_GRID)
    rng = np.random.default_rng(number)
    dose = 61.0 * ball(26.0, DOSE_GRID, TARGET_MM).data + 3.0 * ball(60.0, DOSE_GRID).data
    for visit in ("t0", event):
        bright = rng.uniform(200.0, 400.0, MRI_GRID.shape).astype(np.float32)
        stripped = Volume((bright * brain.data).astype(np.float32), MRI_GRID)
        save_nifti(stripped, patient / visit / f"{stem}_{visit}_t1gd.nii.gz")
    at_t0 = patient / "t0"
    save_nifti(brain, at_t0 / f"{stem}_t0_brain_mask.nii.gz")
    save_nifti(ball(15.0, DOSE_GRID, TARGET_MM), at_t0 / f"{stem}_t0_gtv.nii.gz")
    save_nifti(Volume(dose.astype(np.float32), DOSE_GRID), at_t0 / f"{stem}_t0_rtdose.nii.gz")
    return patient
