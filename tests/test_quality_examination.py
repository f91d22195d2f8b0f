"""Examining a phantom head with the real tools: what is right passes, what is wrong is seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.config.preprocessing import BrainParams, PreprocessingParams, RegistrationParams
from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE, Measurements
from ricenet.preprocessing.preprocess_subject import preprocess
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.quality import own_brain
from ricenet.screening.quality.examination import RECORD, examine
from ricenet.screening.quality.measures import SubjectQuality, limits_of, marks_of
from ricenet.screening.quality.own_brain import OwnBrain, find_own_brain
from ricenet.screening.quality.subject_page import Neighbours, read_examination, subject_page
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Grid, Volume, load_nifti, resample, rotation_deg, save_nifti

pytestmark = pytest.mark.slow

SUBJECT = "sub-001"
LIMITS = limits_of(read_params(Path(__file__).parents[1] / "params.yaml").quality)
PARAMS = PreprocessingParams(
    cube_voxels=32,
    spacing_mm=6.0,
    interpolation="linear",
    dose_unit_gy=60.0,
    registration=RegistrationParams(spacing_mm=3.0, metric="mattes"),
    brain=BrainParams(mode="fast", mirroring=False, precision="auto", spacing_mm=2.0),
)
FLAIR = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="event FLAIR")
DECLARED = Volumes([*PAPER_VOLUMES, FLAIR])


@pytest.fixture(scope="module")
def raw(phantom_head: Path, tmp_path_factory: pytest.TempPathFactory) -> RawSubject:
    """A head of 3 mm with a further MRI of the event, and a planning CT whose values say where they are."""
    folder = shutil.copytree(phantom_head, tmp_path_factory.mktemp("raw") / "cohort")
    raw = RawSubject(folder, SUBJECT, DECLARED)
    reference, event = (load_nifti(raw.scan(name)) for name in ("post_op", "event"))
    above_air = np.where(reference.data > reference.data.mean(), 40.0, -1000.0).astype(np.float32)
    save_nifti(Volume(above_air, reference.grid), raw.planning_ct)
    save_nifti(Volume(np.sqrt(np.maximum(event.data, 0)), event.grid), raw.scan("flair"))
    return raw


@pytest.fixture(scope="module")
def preprocessed(raw: RawSubject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preprocessed") / SUBJECT
    write_subject(preprocess(raw, PARAMS, seed=7), folder, raw, PARAMS.dose_unit_gy)
    write_json(folder / "provenance.json", {"seed": 7, "key": "k", "versions": {"antspyx": "0"}})
    return folder


@pytest.fixture(scope="module")
def brain(raw: RawSubject, preprocessed: Path) -> OwnBrain:
    return find_own_brain(raw, preprocessed, PARAMS.brain)


@pytest.fixture(scope="module")
def examined(
    raw: RawSubject, preprocessed: Path, brain: OwnBrain, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("examined")
    examine(raw, preprocessed, brain, folder)
    return folder


def quality(folder: Path) -> SubjectQuality:
    return SubjectQuality(participant_id=SUBJECT, measures=read_examination(folder)["measures"])


def truth(raw: RawSubject) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((raw.cohort / "ground_truth" / SUBJECT / "truth.json").read_text())
    return content


def true_brain(raw: RawSubject) -> Volume:
    return load_nifti(raw.cohort / "ground_truth" / SUBJECT / "brain.nii.gz")


def test_a_sound_subject_is_not_marked(examined: Path) -> None:
    found = quality(examined)
    assert marks_of(found, LIMITS) == ()
    before, after = found.measures["mutual_information_before"], found.measures["mutual_information"]
    assert before is not None and after is not None and after > before + 0.05
    assert found.measures["brain_overlap"] is not None and found.measures["brain_overlap"] > 0.95


def test_the_measures_agree_with_what_the_phantoms_maker_knows(raw: RawSubject, examined: Path) -> None:
    found = quality(examined).measures
    known, brain = np.array(truth(raw)["event_world_from_post_op_world"]), true_brain(raw)
    assert found["rotation_deg"] == pytest.approx(rotation_deg(known), abs=0.5)
    middle = brain.grid.world_mm(np.argwhere(brain.data > 0.5).mean(axis=0))
    shift_mm = np.linalg.norm(known[:3, :3] @ middle + known[:3, 3] - middle)
    assert found["shift_mm"] == pytest.approx(shift_mm, abs=2)
    assert found["brain_ml"] == pytest.approx(float(brain.data.sum()) * brain.grid.voxel_ml, rel=0.05)
    dose = load_nifti(raw.scan("dose"))
    assert found["dose_max_gy"] == pytest.approx(float(dose.data.max()))
    on_truth = resample(dose, brain.grid).data[brain.data > 0.5]
    for level in (20, 40, 60):
        volume_ml = float((on_truth >= level).sum()) * brain.grid.voxel_ml
        assert found[f"v{level}_ml"] == pytest.approx(volume_ml, rel=0.06, abs=5)


def misregistered(preprocessed: Path, folder: Path, turn_deg: list[float], shift_mm: list[float]) -> Path:
    """A copy of what preprocessing made, whose event scan is turned about the brain's middle and moved."""
    wrong = Path(shutil.copytree(preprocessed, folder / SUBJECT))
    mask = load_nifti(wrong / brain_mask_file(SUBJECT))
    middle = mask.grid.world_mm(np.argwhere(mask.data > 0.5).mean(axis=0))
    content = read_json(wrong / MEASUREMENTS_FILE)
    right = Measurements.of_subject(wrong).world_from_reference("event")
    off = rigid(np.array(turn_deg), np.array(shift_mm), middle)
    content["mris"]["event"]["world_from_reference"] = (right @ off).tolist()
    write_json(wrong / MEASUREMENTS_FILE, content)
    return wrong


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm"),
    [
        ([12.0, 0.0, 8.0], [15.0, 10.0, 0.0]),
        ([0.0, 0.0, 0.0], [6.0, 0.0, 0.0]),
        ([0.0, 180.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_a_registration_that_is_off_is_marked_by_the_brains(
    raw: RawSubject, preprocessed: Path, tmp_path: Path, turn_deg: list[float], shift_mm: list[float]
) -> None:
    wrong = misregistered(preprocessed, tmp_path, turn_deg, shift_mm)
    # looked for where the wrong transform says, as the stage does
    examine(raw, wrong, find_own_brain(raw, wrong, PARAMS.brain), tmp_path / "out")
    assert [mark.measure for mark in marks_of(quality(tmp_path / "out"), LIMITS)] == ["brain_overlap"]


@pytest.mark.parametrize("fault", ["grown", "the front is missing"])
def test_a_mask_that_is_wrong_is_marked_by_the_brains(
    raw: RawSubject, preprocessed: Path, tmp_path: Path, fault: str
) -> None:
    wrong = Path(shutil.copytree(preprocessed, tmp_path / SUBJECT))
    mask = load_nifti(wrong / brain_mask_file(SUBJECT))
    data = mask.data > 0.5
    voxels = round(8 / mask.grid.spacing_mm[0])
    if fault == "grown":
        data = ndimage.binary_dilation(data, iterations=voxels)
    else:
        data[:, data.any(axis=(0, 2)).nonzero()[0][-1] - 6 * voxels :] = False
    save_nifti(Volume(data, mask.grid), wrong / brain_mask_file(SUBJECT))
    examine(raw, wrong, find_own_brain(raw, wrong, PARAMS.brain), tmp_path / "out")
    assert [mark.measure for mark in marks_of(quality(tmp_path / "out"), LIMITS)] == ["brain_overlap"]


def test_hd_bet_is_shown_the_brain_and_little_more_no_coarser_than_it_has_to_be() -> None:
    grid = Grid((140, 180, 140), np.eye(4))
    last_from_reference = rigid(np.array([0.0, 0.0, 90.0]), np.array([5.0, 0.0, 0.0]), np.zeros(3))
    small = own_brain.view_of(Volume(np.ones(grid.shape, np.bool_), grid), last_from_reference)
    assert small.shape == (64, 80, 64) and small.spacing_mm == pytest.approx((2.4, 2.4, 2.4))
    middle = np.array([69.5, 89.5, 69.5, 1.0])
    np.testing.assert_allclose(
        small.world_mm(np.array([31.5, 39.5, 31.5])), (last_from_reference @ middle)[:3]
    )
    # 179 mm between the outermost middles of voxels, and 4 mm on either side, in 64 voxels
    wide = Grid((180, 180, 140), np.eye(4))
    assert own_brain.view_of(
        Volume(np.ones(wide.shape, np.bool_), wide), np.eye(4)
    ).spacing_mm == pytest.approx((187 / 64,) * 3)


def test_an_event_scan_without_a_brain_is_an_answer_and_marks_the_subject(
    raw: RawSubject, preprocessed: Path, tmp_path: Path
) -> None:
    other = RawSubject(Path(shutil.copytree(raw.cohort, tmp_path / "empty")), SUBJECT, DECLARED)
    scan = load_nifti(other.scan("event"))
    save_nifti(Volume(np.zeros_like(scan.data), scan.grid), other.scan("event"))
    found = find_own_brain(other, preprocessed, PARAMS.brain)
    assert found.mask is None and found.origin.startswith("not found: ")
    examine(raw, preprocessed, found, tmp_path / "out")
    assert [mark.measure for mark in marks_of(quality(tmp_path / "out"), LIMITS)] == ["brain_overlap"]
    assert "own_brain" not in read_examination(tmp_path / "out")["outlines"]["head"]


def test_scans_without_a_skull_are_compared_by_what_is_not_zero(
    raw: RawSubject, preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_brain, "half_size_logits", lambda *_, **__: pytest.fail("HD-BET was asked"))
    stripped = RawSubject(Path(shutil.copytree(raw.cohort, tmp_path / "stripped")), SUBJECT, DECLARED)
    known, brain = np.array(truth(raw)["event_world_from_post_op_world"]), true_brain(raw)
    event = load_nifti(stripped.scan("event"))
    inside = resample(brain, event.grid, np.linalg.inv(known)).data > 0.5
    save_nifti(Volume(np.where(inside, event.data, 0).astype(np.float32), event.grid), stripped.scan("event"))
    save_nifti(Volume(brain.data > 0.5, brain.grid), stripped.brain_mask)
    found = find_own_brain(stripped, preprocessed, PARAMS.brain)
    examine(stripped, preprocessed, found, tmp_path / "out")
    overlap = quality(tmp_path / "out").measures["brain_overlap"]
    assert overlap is not None and overlap > 0.95
    assert "without their skull" in read_examination(tmp_path / "out")["own_brain"]


def test_a_given_mask_makes_no_brain_of_a_whole_head(
    raw: RawSubject, preprocessed: Path, tmp_path: Path
) -> None:
    whole = RawSubject(Path(shutil.copytree(raw.cohort, tmp_path / "whole")), SUBJECT, DECLARED)
    brain = true_brain(raw)
    save_nifti(Volume(brain.data > 0.5, brain.grid), whole.brain_mask)
    found = find_own_brain(whole, preprocessed, PARAMS.brain)
    assert "HD-BET" in found.origin and found.mask is not None
    volume_ml = found.mask.data.sum() * found.mask.grid.voxel_ml
    assert volume_ml == pytest.approx(brain.data.sum() * brain.grid.voxel_ml, rel=0.15)


def test_what_is_written_is_a_record_and_its_pictures(examined: Path) -> None:
    record = read_examination(examined)
    files = {file for layers in record["pictures"].values() for file in layers.values()}
    assert {path.name for path in examined.iterdir()} == files | {RECORD}
    scans = {"post_op", "event", "flair"}
    assert set(record["pictures"]["head"]) == scans | {"event_before", "flair_before", "planning_ct"}
    assert set(record["pictures"]["dose"]) == scans == set(record["histograms"])
    assert all(record["outlines"]["dose"][f"isodose_{gy}"] for gy in (20, 40, 50, 60))
    assert sum(share for _, share in record["histograms"]["event"]) == pytest.approx(1.0, abs=1e-3)
    assert record["dose_volume"][0][1] == pytest.approx(record["measures"]["brain_ml"], rel=0.03)


def test_an_examination_repeats_byte_by_byte(
    raw: RawSubject, preprocessed: Path, brain: OwnBrain, examined: Path, tmp_path: Path
) -> None:
    brain.write(tmp_path / "brain")
    examine(raw, preprocessed, OwnBrain.read(tmp_path / "brain"), tmp_path / "out")
    for path in examined.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_page_is_one_small_file_with_every_scan(examined: Path) -> None:
    page = subject_page(
        quality(examined), examined, LIMITS, (), Neighbours(None, None), "data/mine", synthetic=True
    )
    assert len(page.encode()) < 3_000_000
    assert "within all limits" in page and "Planning CT" in page
    assert "event FLAIR, registered" in page and "Registered scans" in page


def test_a_missing_file_of_preprocessing_names_the_stage(raw: RawSubject, tmp_path: Path) -> None:
    with pytest.raises(
        ResultError, match=r"brain_mask\.nii\.gz is missing\. The stage `preprocess` makes it"
    ):
        examine(raw, tmp_path, None, tmp_path / "out")


def test_only_known_keys_of_the_doses_json_are_shown(
    raw: RawSubject, preprocessed: Path, brain: OwnBrain, tmp_path: Path
) -> None:
    other = RawSubject(Path(shutil.copytree(raw.cohort, tmp_path / "named")), SUBJECT, DECLARED)
    content = read_json(other.dose_sidecar)
    write_json(other.dose_sidecar, content | {"Comment": "Erika Mustermann"})
    examine(other, preprocessed, brain, tmp_path / "out")
    assert "Mustermann" not in (tmp_path / "out" / RECORD).read_text()
    assert read_examination(tmp_path / "out")["dose_json"]["DoseUnits"] == content["DoseUnits"]
