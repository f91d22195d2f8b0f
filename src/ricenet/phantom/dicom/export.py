"""The phantom as an archive's export: nested folders of DICOM, a clinical table, and the truth."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.phantom.anatomy import read_template, template_file
from ricenet.phantom.dicom.patient import DicomPatient, draw_patient
from ricenet.phantom.dicom.studies import StudyWriter
from ricenet.phantom.mechanism import Mechanism
from ricenet.phantom.phantom_subject import SyntheticSubject, made_volumes, make_subject, moved
from ricenet.phantom.scanners import SiteDesign
from ricenet.phantom.write_cohort import (
    PRELOAD,
    at_sites,
    draw_causes,
    held_out_subjects,
    require_made,
    require_new_folder,
    write_mechanism,
)
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import Backend, Share
from ricenet.runtime.tables import table_text
from ricenet.vocabulary import PAPER_VOLUMES, Volumes
from ricenet.volume import inverse

IMAGES = "images"
CLINICAL_TABLE = "clinical.csv"
TRUTH = "truth.json"
COLUMNS = ("patient_id", "label", "label_source", "subset", "site", "rt_end_date")


def write_dicom_phantom(
    folder: Path,
    subjects: int,
    seed: int,
    mechanism: Mechanism,
    *,
    test_fraction: float,
    spacing_mm: float,
    controls: int = 0,
    volumes: Volumes = PAPER_VOLUMES,
    sites: SiteDesign | None = None,
    backend: Backend = "processes",
    workers: Share = 2,
) -> None:
    """Write `subjects` patients into a new folder; the same arguments give the same bytes.

    images/: each patient's planning and event study, in folders whose names say nothing.
    clinical.csv: label, subset, site and end of radiotherapy by PatientID. ground_truth/truth.json: the
    transforms (RAS), doses, dates and intervals. Patient n has the head, lesions and label of subject n
    of `write_phantom` with the same seed, spacing, controls and sites.
    Raises CohortError: the folder exists and holds something, or a patient could not be made.
    """
    require_new_folder(folder)
    causes = at_sites(draw_causes(subjects, seed, mechanism, controls), sites, seed)
    test = held_out_subjects(causes, test_fraction, seed)
    patients = [draw_patient(number, cause, seed) for number, cause in enumerate(causes, start=1)]
    with atomic_folder(folder) as temporary, template_file(spacing_mm, temporary) as template:
        task = functools.partial(_write_one, temporary / IMAGES, template, seed, made_volumes(volumes))
        outcomes = run_tasks(
            task, patients, backend, workers, 1, "phantom patients", preload=(*PRELOAD, "pydicom")
        )
        require_made("patients", {outcome.task.tags.patient_id: outcome.error for outcome in outcomes})
        write_text(temporary / CLINICAL_TABLE, _clinical_table(patients, test))
        truth = {outcome.task.tags.patient_id: outcome.result for outcome in outcomes}
        write_json(temporary / GROUND_TRUTH / TRUTH, truth)
        write_mechanism(temporary, mechanism, sites.scanners(seed) if sites else ())


def _write_one(
    images: Path, template: Path, seed: int, volumes: Volumes, patient: DicomPatient
) -> Mapping[str, object]:
    subject = make_subject(read_template(template), patient.cause, seed, volumes)
    return StudyWriter(images, patient, subject, seed, volumes).write() | _truth(patient, subject, volumes)


def _truth(patient: DicomPatient, subject: SyntheticSubject, volumes: Volumes) -> dict[str, object]:
    post_op = subject.world_from_anatomy(volumes.reference.name)
    event = subject.world_from_anatomy(volumes.last_session_reference.name)
    dates = patient.timeline
    # a control's follow-up scan shows no event
    of_event = {"p_rice": patient.cause.p_rice} if patient.cause.has_lesion else {}
    return of_event | {
        "raw_phantom_subject": patient.cause.subject,
        "label": patient.cause.label,
        "event_world_from_post_op_world": (event @ inverse(post_op)).tolist(),
        "cavity_centre_mm": moved(post_op, subject.lesions.cavity_centre_mm).tolist(),
        "dates": {name: value.isoformat() for name, value in vars(dates).items()},
        "days_post_op_to_event": (dates.event - dates.imaging).days,
        "days_planning_to_event": (dates.event - dates.rt_start).days,
        "days_rt_end_to_event": (dates.event - dates.rt_end).days,
    }


def _clinical_table(patients: Sequence[DicomPatient], test: set[str]) -> str:
    rows = []
    for patient in patients:
        cause, rt_end = patient.cause, patient.timeline.rt_end.isoformat()
        subset = "test" if cause.subject in test else "train"
        site = cause.scanner.site or patient.site
        rows.append([patient.tags.patient_id, cause.label, "synthetic", subset, site, rt_end])
    return table_text(COLUMNS, rows, ",")
