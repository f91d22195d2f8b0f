"""From a PACS and back: a phantom patient in Orthanc, predicted with the real tools, the results beside.

Tests follow each other: each finds what those before it left.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from case_results import can_print
from end_to_end_walk import folders_of, identifiers, pattern_of
from heads import DOSE_HEIGHT
from orthanc_server import Orthanc
from predicting_project import HEAD, SMALL, write_trained
from tracked_project import PREFIX, make_project, store_of, write_gate

from ricenet.importing.dicom.tree import read_tree
from ricenet.pacs.connection import connect
from ricenet.phantom.dicom.export import write_dicom_phantom
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import make_champion, promotable_version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENT = "PHANTOM-0001"
RICENET = Path(sys.executable).with_name("ricenet")


@dataclass(frozen=True)
class Walk:
    """folders: of the patient's objects, by volume. results: of `predict`; said: on stdout and stderr."""

    orthanc: Orthanc
    images: Path
    folders: dict[str, str]
    results: Path
    said: tuple[str, str]

    @property
    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.said[0])
        return answer

    @property
    def files(self) -> list[Path]:
        return sorted(self.results.glob("*/*.dcm"))


def ricenet(project: Path, *words: object) -> tuple[str, str]:
    """What a command says on stdout and stderr."""
    command = [str(word) for word in (RICENET, *words)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout, done.stderr


def from_the_pacs(project: Path, folder: Path, url: str) -> Path:
    """The patient's objects as the PACS gives them."""
    patients, fetched = folder / "patients.csv", folder / "fetched"
    patients.write_text(f"patient_id\n{PATIENT}\n")
    patients.chmod(0o600)
    fast = ("--requests-per-s", 1000)
    ricenet(project, "import", "dicomweb", url, "--patients", patients, "--export", fetched, *fast)
    return fetched


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, orthanc_once: Orthanc) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    orthanc_once.clear()
    project = make_project(folder / "project")
    shutil.rmtree(project / "models/ensembles/dose")
    write_trained(project, SMALL, HEAD)
    write_gate(project, SMALL)
    register_ensembles(project, store_of(project), PREFIX)
    make_champion(store_of(project), promotable_version(store_of(project), PREFIX, SMALL))
    export = folder / "export"
    write_dicom_phantom(export, 2, 7, DOSE_HEIGHT, test_fraction=0.5, spacing_mm=3.0, backend="serial")
    images = export / "images"
    tree = read_tree(images)
    orthanc_once.store(one.path for series in tree.of_patient(PATIENT) for one in series.instances)
    found = from_the_pacs(project, folder, orthanc_once.dicomweb)
    folders = folders_of(read_tree(found), PATIENT, folder / "case")
    volumes = [part for name, path in folders.items() for part in ("--volume", f"{name}={path}")]
    said = ricenet(
        *(project, "predict", *volumes, "--dicom-out", folder / "results"),
        *("--store", orthanc_once.dicomweb),
    )
    return Walk(orthanc_once, images, folders, folder / "results", said)


def test_the_pacs_holds_the_results_in_the_planning_study_and_gives_them_back_equal(walk: Walk) -> None:
    source = pydicom.dcmread(next(Path(walk.folders["post_op"]).iterdir()))
    client = connect(walk.orthanc.dicomweb).client
    made = [pydicom.dcmread(file) for file in walk.files]
    assert {one.Modality for one in made} == {"SR", "SEG", "OT", *(["DOC"] if can_print() else [])}
    for one in made:
        assert (one.StudyInstanceUID, one.PatientID) == (source.StudyInstanceUID, PATIENT)
        back = client.retrieve_instance(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
        assert back == one
    described = {
        str(series["0008103E"]["Value"][0])
        for series in client.search_for_series(source.StudyInstanceUID, fields=["SeriesDescription"])
        if "0008103E" in series
    }
    assert {
        f"RICE-NET {of}. Research use only" for of in ("prediction", "brain mask", "occlusion maps")
    } <= described


def test_the_report_says_what_was_answered(walk: Walk) -> None:
    report = highdicom.sr.srread(next(file for file in walk.files if file.name == "report.dcm"))
    (group, *_) = report.content.get_image_measurement_groups()
    numbers = {m.name.value: float(m.value) for m in group.get_measurements()}
    assert numbers["p_rice"] == walk.answer["p_rice"]
    assert numbers["votes_rice"] == walk.answer["votes_rice"]
    # the event scan lies in another study
    (other,) = report.PertinentOtherEvidenceSequence
    event = pydicom.dcmread(next(Path(walk.folders["event"]).iterdir()), stop_before_pixels=True)
    assert other.StudyInstanceUID == event.StudyInstanceUID


def test_the_brain_lies_over_the_bright_voxels_of_its_scan(walk: Walk) -> None:
    brain = SimpleITK.ReadImage(next(file for file in walk.files if file.name == "brain.dcm"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(walk.folders["post_op"]))
    scan = SimpleITK.Cast(reader.Execute(), SimpleITK.sitkFloat32)
    same = SimpleITK.Resample(brain, scan, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    inside, values = SimpleITK.GetArrayFromImage(same) > 0, SimpleITK.GetArrayFromImage(scan)
    # on the same voxels, so nothing is lost
    assert inside.sum() == (SimpleITK.GetArrayFromImage(brain) > 0).sum()
    voxel_ml = float(np.prod(scan.GetSpacing())) / 1000
    assert inside.sum() * voxel_ml == pytest.approx(walk.answer["measurements"]["brain_ml"], rel=0.02)
    assert np.median(values[inside]) > 3 * np.median(values[~inside])


def test_nothing_that_was_said_identifies_the_patient(walk: Walk) -> None:
    secret = pattern_of(identifiers(walk.images))
    for said in (*walk.said, *(file.name for file in walk.files), walk.files[0].parent.name):
        assert not re.search(secret, said.encode())
