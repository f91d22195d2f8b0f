"""Examining a phantom head with the real tools: what is right passes, what is wrong is seen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads import write_head

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams, PreprocessingParams, RegistrationParams, read_params
from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.pipeline import preprocess
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.quality import scans as quality_scans
from ricenet.screening.quality.examination import RECORD, examine
from ricenet.screening.quality.limits import limits_of, marks_of
from ricenet.screening.quality.measures import SubjectQuality
from ricenet.screening.quality.scans import EventBrain, find_event_brain, read_scans
from ricenet.screening.quality.subject_page import Neighbours, read_examination, subject_page
from ricenet.volume import Volume, load_nifti, resample, save_nifti

pytestmark = pytest.mark.slow

SUBJECT = "sub-001"
LIMITS = limits_of(read_params(Path(__file__).parents[1] / "params.yaml").quality)
PARAMS = PreprocessingParams(
    cube_voxels=32,
    spacing_mm=6.0,
    interpolation="linear",
    dose_unit_gy=60.0,
    registration=RegistrationParams(spacing_mm=3.0, metric="mattes"),
    brain=BrainParams(mode="fast", mirroring=False, precision="auto"),
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of 3 mm, with a planning CT whose values tell where they are."""
    folder = write_head(tmp_path_factory.mktemp("raw"))
    post_op = load_nifti(RawSubject(folder, SUBJECT).scan("post_op"))
    above_air = np.where(post_op.data > post_op.data.mean(), 40.0, -1000.0).astype(np.float32)
    save_nifti(Volume(above_air, post_op.grid), RawSubject(folder, SUBJECT).planning_ct)
    return folder


@pytest.fixture(scope="module")
def preprocessed(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preprocessed") / SUBJECT
    result = preprocess(RawSubject(cohort, SUBJECT), PARAMS, seed=7)
    provenance = {"seed": 7, "key": "k", "versions": {"antspyx": "0"}}
    write_subject(result, folder, SUBJECT, PARAMS.dose_unit_gy, provenance)
    return folder


@pytest.fixture(scope="module")
def examined(cohort: Path, preprocessed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examined")
    examine(RawSubject(cohort, SUBJECT), preprocessed, PARAMS.brain, folder)
    return folder


def truth(cohort: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((cohort / "ground_truth" / SUBJECT / "truth.json").read_text())
    return content


def test_a_sound_subject_is_not_marked(examined: Path) -> None:
    quality, _ = read_examination(examined)
    assert marks_of(quality, LIMITS) == ()
    assert quality.mutual_information > quality.mutual_information_before + 0.05
    assert quality.brain_overlap is not None and quality.brain_overlap > 0.95


def test_the_measures_agree_with_what_the_phantoms_maker_knows(cohort: Path, examined: Path) -> None:
    quality, _ = read_examination(examined)
    known = np.array(truth(cohort)["event_world_from_post_op_world"])
    angle = np.degrees(np.arccos((np.trace(known[:3, :3]) - 1) / 2))
    assert quality.rotation_deg == pytest.approx(angle, abs=0.5)
    brain = load_nifti(cohort / "ground_truth" / SUBJECT / "brain.nii.gz")
    middle = brain.grid.world_mm(np.argwhere(brain.data > 0.5).mean(axis=0))
    assert quality.shift_mm == pytest.approx(
        np.linalg.norm(known[:3, :3] @ middle + known[:3, 3] - middle), abs=2
    )
    assert quality.brain_ml == pytest.approx(float(brain.data.sum()) * brain.grid.voxel_ml, rel=0.05)
    dose = load_nifti(RawSubject(cohort, SUBJECT).scan("dose"))
    assert quality.dose_max_gy == pytest.approx(float(dose.data.max()))
    on_truth = resample(dose, brain.grid).data[brain.data > 0.5]
    for level, found in ((20, quality.v20_ml), (40, quality.v40_ml), (60, quality.v60_ml)):
        assert found == pytest.approx(float((on_truth >= level).sum()) * brain.grid.voxel_ml, rel=0.06, abs=3)


def test_a_registration_that_is_off_is_marked(
    cohort: Path, preprocessed: Path, examined: Path, tmp_path: Path
) -> None:
    wrong = Path(shutil.copytree(preprocessed, tmp_path / SUBJECT))
    provenance = read_json(wrong / "provenance.json")
    right = np.array(provenance["event_world_from_post_op_world"])
    off = rigid(np.array([12.0, 0.0, 8.0]), np.array([15.0, 10.0, 0.0]), np.zeros(3))
    write_json(
        wrong / "provenance.json", provenance | {"event_world_from_post_op_world": (right @ off).tolist()}
    )
    examine(RawSubject(cohort, SUBJECT), wrong, PARAMS.brain, tmp_path / "out")
    quality, _ = read_examination(tmp_path / "out")
    assert {"mutual_information", "brain_overlap"} <= {mark.measure for mark in marks_of(quality, LIMITS)}
    assert quality.mutual_information < read_examination(examined)[0].mutual_information


def test_an_event_scan_without_a_brain_is_told_and_not_raised(cohort: Path, preprocessed: Path) -> None:
    scans = read_scans(RawSubject(cohort, SUBJECT), preprocessed)
    empty = Volume(np.zeros_like(scans.event.data), scans.event.grid)
    found = find_event_brain(replace(scans, event=empty), skull_stripped=False, settings=PARAMS.brain)
    assert found.mask is None and found.origin.startswith("not found: ")


def test_where_the_events_brain_is_not_found_the_subject_is_marked_and_pictured(
    cohort: Path, preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ricenet.screening.quality.examination.find_event_brain",
        lambda *_, **__: EventBrain(None, "not found: no head in the image"),
    )
    examine(RawSubject(cohort, SUBJECT), preprocessed, PARAMS.brain, tmp_path)
    quality, record = read_examination(tmp_path)
    assert [mark.measure for mark in marks_of(quality, LIMITS)] == ["brain_overlap"]
    assert quality.brain_overlap is None and "event_brain" not in record["outlines"]["head"]


def test_scans_without_a_skull_are_compared_by_what_is_not_zero(
    cohort: Path, preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_scans, "extract_brain", lambda *_, **__: pytest.fail("HD-BET was asked"))
    stripped = Path(shutil.copytree(cohort, tmp_path / "stripped"))
    raw = RawSubject(stripped, SUBJECT)
    known = np.array(truth(cohort)["event_world_from_post_op_world"])
    brain = load_nifti(cohort / "ground_truth" / SUBJECT / "brain.nii.gz")
    event = load_nifti(raw.scan("event"))
    inside = resample(brain, event.grid, np.linalg.inv(known)).data > 0.5
    save_nifti(Volume(np.where(inside, event.data, 0).astype(np.float32), event.grid), raw.scan("event"))
    save_nifti(Volume(brain.data > 0.5, brain.grid), raw.brain_mask)
    examine(raw, preprocessed, PARAMS.brain, tmp_path / "out")
    quality, record = read_examination(tmp_path / "out")
    assert quality.brain_overlap is not None and quality.brain_overlap > 0.95
    assert "without their skull" in record["event_brain"]


def test_what_is_written_is_a_record_and_its_pictures(examined: Path) -> None:
    _, record = read_examination(examined)
    files = {file for layers in record["pictures"].values() for file in layers.values()}
    assert {path.name for path in examined.iterdir()} == files | {RECORD}
    assert set(record["pictures"]["head"]) == {"post_op", "event", "event_before", "planning_ct"}
    assert set(record["pictures"]["dose"]) == {"post_op", "event"}
    assert all(record["outlines"]["dose"][f"isodose_{gy}"] for gy in (20, 40, 60))
    assert sum(share for _, share in record["histograms"]["event"]) == pytest.approx(1.0, abs=1e-3)
    assert record["dose_volume"][0][1] == pytest.approx(record["measures"]["brain_ml"], rel=0.02)


def test_an_examination_repeats_byte_by_byte(
    cohort: Path, preprocessed: Path, examined: Path, tmp_path: Path
) -> None:
    examine(RawSubject(cohort, SUBJECT), preprocessed, PARAMS.brain, tmp_path)
    for path in examined.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_page_is_one_small_file(examined: Path) -> None:
    quality, _ = read_examination(examined)
    page = subject_page(quality, examined, LIMITS, (), Neighbours(None, None), "data/mine", synthetic=True)
    assert len(page.encode()) < 3_000_000
    assert "within all limits" in page and "Planning CT" in page


def test_a_missing_file_of_preprocessing_names_the_stage(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ResultError, match=r"brain_mask\.nii\.gz is missing\. The stage `preprocess` makes it"
    ):
        read_scans(RawSubject(cohort, SUBJECT), tmp_path)


def test_the_dose_is_that_of_the_course_and_only_known_keys_are_shown(
    cohort: Path, preprocessed: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(cohort, tmp_path / "fractions"))
    raw = RawSubject(other, SUBJECT)
    before = float(load_nifti(raw.scan("dose")).data.max())
    content = read_json(raw.dose_sidecar)
    secret = {"DoseSummationType": "FRACTION", "NumberOfFractions": 3, "Comment": "Erika Mustermann"}
    write_json(raw.dose_sidecar, content | secret)
    scans = read_scans(raw, preprocessed)
    assert float(scans.dose.data.max()) == pytest.approx(3 * before)
    assert "Comment" not in scans.dose_json and scans.dose_json["NumberOfFractions"] == 3


def test_the_record_gives_back_its_measures(examined: Path) -> None:
    record = read_json(examined / RECORD)
    assert SubjectQuality.from_json(record["measures"]).as_json() == record["measures"]
