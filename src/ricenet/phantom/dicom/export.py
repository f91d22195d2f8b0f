"""The phantom as an archive's export: nested folders of DICOM, a clinical table, and the truth."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.dicom.patient import DicomPatient, draw_patient
from ricenet.phantom.dicom.studies import write_event_study, write_planning_study
from ricenet.phantom.mechanism import Weights
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.phantom.write_cohort import held_out_subjects, require_new_folder
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import Backend, Share
from ricenet.volume import inverse

IMAGES = "images"
CLINICAL_TABLE = "clinical.csv"
TRUTH = "truth.json"
COLUMNS = ("patient_id", "label", "label_source", "subset", "site", "rt_end_date")


def write_dicom_phantom(
    folder: Path,
    subjects: int,
    seed: int,
    weights: Weights,
    *,
    test_fraction: float,
    spacing_mm: float,
    backend: Backend = "processes",
    workers: Share = 2,
) -> None:
    """Write `subjects` patients into a new folder; the same arguments give the same bytes.

    images/: each patient's planning and event study, in folders whose names say nothing.
    clinical.csv: label, subset, site and end of radiotherapy by PatientID. ground_truth/truth.json: the
    transforms (RAS), doses, dates and intervals. Patient n has the head, lesions and label of subject n
    of `write_phantom` with the same seed and spacing.
    Raises CohortError: the folder exists and holds something, or a patient could not be made.
    """
    require_new_folder(folder)
    names = [f"sub-{number:03d}" for number in range(1, subjects + 1)]
    causes = [draw_cause(name, seed, weights) for name in names]
    test = held_out_subjects(causes, test_fraction, seed)
    patients = [draw_patient(number, cause, seed) for number, cause in enumerate(causes, start=1)]
    with atomic_folder(folder) as temporary:
        task = functools.partial(_write_one, temporary / IMAGES, spacing_mm, seed)
        outcomes = run_tasks(task, patients, backend, workers, 1, "phantom patients")
        failed = [f"{outcome.task.tags.patient_id}: {outcome.error}" for outcome in outcomes if outcome.error]
        if failed:
            raise CohortError("phantom patients could not be made:\n" + "\n".join(failed))
        write_text(temporary / CLINICAL_TABLE, _clinical_table(patients, test))
        truth = {outcome.task.tags.patient_id: outcome.result for outcome in outcomes}
        write_json(temporary / GROUND_TRUTH / TRUTH, truth)


def _write_one(images: Path, spacing_mm: float, seed: int, patient: DicomPatient) -> Mapping[str, object]:
    subject = make_subject(shared_template(spacing_mm), patient.cause, seed)
    of_dose = write_planning_study(images, patient, subject, seed)
    write_event_study(images, patient, subject, seed)
    return of_dose | _truth(patient, subject)


def _truth(patient: DicomPatient, subject: SyntheticSubject) -> dict[str, object]:
    post_op, event = subject.at_post_op.world_from_anatomy, subject.at_event.world_from_anatomy
    dates = patient.timeline
    cavity_centre = post_op[:3, :3] @ subject.lesions.cavity_centre_mm + post_op[:3, 3]
    return {
        "raw_phantom_subject": patient.cause.subject,
        "label": patient.cause.label,
        "p_rice": patient.cause.p_rice,
        "event_world_from_post_op_world": (event @ inverse(post_op)).tolist(),
        "cavity_centre_mm": cavity_centre.tolist(),
        "dates": {name: value.isoformat() for name, value in vars(dates).items()},
        "days_post_op_to_event": (dates.event - dates.imaging).days,
        "days_planning_to_event": (dates.event - dates.rt_start).days,
        "days_rt_end_to_event": (dates.event - dates.rt_end).days,
    }


def _clinical_table(patients: Sequence[DicomPatient], test: set[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for patient in patients:
        cause = patient.cause
        subset = "test" if cause.subject in test else "train"
        rt_end = patient.timeline.rt_end.isoformat()
        writer.writerow([patient.tags.patient_id, cause.label, "synthetic", subset, patient.site, rt_end])
    return text.getvalue()
