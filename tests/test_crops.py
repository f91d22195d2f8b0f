"""Crops beside the whole head: where they lie, what they hold, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ricenet.cohort.layout import RawSubject
from ricenet.config.inputs import CropParams, InputGrid, input_of
from ricenet.config.params import read_params
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.preprocessing.brain.extraction import FoundBrain
from ricenet.preprocessing.crops import place_of_change
from ricenet.preprocessing.derivative_files import image_file
from ricenet.preprocessing.dose_cube import high_dose_regions
from ricenet.preprocessing.network_input import read_volumes, volume_file
from ricenet.preprocessing.preprocess_subject import PreprocessedSubject, make_cube
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import write_json
from ricenet.vocabulary import PAPER_VOLUMES, Volumes
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

CROP = CropParams(voxels=8, spacing_mm=4.0, isodose=0.8)
PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing.model_copy(
    update={"cube_voxels": 20, "spacing_mm": 6.0, "crop": CROP}
)
HEAD = Grid.cube(np.zeros(3), 3.0, 48)
POSITION_MM = HEAD.world_mm(np.moveaxis(np.indices(HEAD.shape), 0, -1).astype(float))
BRAIN = Volume(np.linalg.norm(POSITION_MM, axis=-1) < 50, HEAD)
UNMOVED = {"event": RigidResult(np.eye(4), similarity=1.5, similarity_before=1.2)}

TARGET_MM, LESION_MM = np.array([20.0, 10.0, -6.0]), np.array([-18.0, 6.0, 12.0])


def near(centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    return np.linalg.norm(POSITION_MM - centre_mm, axis=-1) < radius_mm


def ramp() -> np.ndarray:
    """An MRI that rises by one unit a mm from left to right: every interpolation is exact."""
    return (200 + POSITION_MM[..., 0]).astype(np.float32)


def write_raw(folder: Path, volumes: Volumes = PAPER_VOLUMES) -> RawSubject:
    """60 Gy in a ball around TARGET_MM; a lesion that brightens the event MRI around LESION_MM."""
    raw = RawSubject(folder, "sub-001", volumes)
    images = {
        "post_op": ramp(),
        "event": ramp() + 90 * near(LESION_MM, 9).astype(np.float32),
        "dose": np.where(near(TARGET_MM, 15), 60, 10).astype(np.float32),
    }
    for spec in volumes:
        save_nifti(Volume(images[spec.name], HEAD), raw.scan(spec.name))
    if volumes.dose is not None:
        write_json(raw.dose_sidecar, {"DoseUnits": "GY", "DoseSummationType": "PLAN"})
    return raw


def made(folder: Path, params: PreprocessingParams = PARAMS, *names: str) -> PreprocessedSubject:
    volumes = Volumes([PAPER_VOLUMES[name] for name in names or PAPER_VOLUMES.names])
    registrations = UNMOVED if "event" in volumes else {}
    return make_cube(write_raw(folder, volumes), params, registrations, FoundBrain(BRAIN, "given"))


def test_one_crop_lies_around_the_high_dose_and_one_around_the_change(tmp_path: Path) -> None:
    crops = made(tmp_path).crops
    for name, centre_mm, placed_by in (("crop", TARGET_MM, "dose"), ("crop_by_change", LESION_MM, "change")):
        measured = crops[name].measurements
        assert measured.placed_by == placed_by
        # the cube's voxels are 6 mm wide
        found_mm = measured.grid.world_mm(np.full(3, 3.5))
        np.testing.assert_allclose(found_mm, centre_mm, atol=5.0, err_msg=name)
        assert measured.grid.shape == (8, 8, 8) and measured.grid.spacing_mm == (4.0, 4.0, 4.0)


def test_a_crop_is_cut_from_the_raw_grid_and_standardised_as_the_whole_head_is(tmp_path: Path) -> None:
    subject = made(tmp_path)
    head = subject.volumes["post_op"].data[np.asarray(subject.brain.data, bool)]
    cube_x = subject.brain.grid.world_mm(np.argwhere(subject.brain.data).astype(float))[:, 0]
    mean, sd = 200 + cube_x.mean(), cube_x.std()
    np.testing.assert_allclose(head, (200 + cube_x - mean) / sd, atol=1e-4)
    crop = subject.crops["crop"]
    inside = np.asarray(crop.brain.data, bool)
    crop_x = crop.brain.grid.world_mm(np.argwhere(inside).astype(float))[:, 0]
    np.testing.assert_allclose(crop.volumes["post_op"].data[inside], (200 + crop_x - mean) / sd, atol=1e-4)
    assert not crop.volumes["post_op"].data[~inside].any()
    # in the middle of the ball of 30 mm the dose is even
    assert crop.volumes["dose"].data[3:5, 3:5, 3:5] == pytest.approx(60.0)


def test_without_a_dose_the_crop_follows_the_change_and_with_one_session_the_brain(tmp_path: Path) -> None:
    without_dose = made(tmp_path / "a", PARAMS, "post_op", "event").crops["crop"].measurements
    assert without_dose.placed_by == "change" and without_dose.high_dose_regions == 0
    alone = made(tmp_path / "b", PARAMS, "post_op").crops["crop"].measurements
    assert alone.placed_by == "brain"
    np.testing.assert_allclose(alone.grid.world_mm(np.full(3, 3.5)), 0, atol=3.0)


def test_without_crops_nothing_but_the_whole_head_is_made(tmp_path: Path) -> None:
    subject = made(tmp_path, PARAMS.model_copy(update={"crop": None}))
    assert subject.crops == {} and subject.measurements.crops == {}


def test_a_crop_that_leaves_the_head_is_refused(tmp_path: Path) -> None:
    far = PARAMS.model_copy(update={"crop": CropParams(voxels=40, spacing_mm=20.0, isodose=0.8)})
    with pytest.raises(ScanError, match=r"sub-001: crop: 0\.\d% of the crop is brain, expected at least 2%"):
        made(tmp_path, far)


def test_crops_lie_beside_the_whole_head_and_are_read_by_their_grid(tmp_path: Path) -> None:
    subject, folder = made(tmp_path), tmp_path / "out"
    write_subject(subject, folder, RawSubject(tmp_path, "sub-001", PAPER_VOLUMES), dose_unit_gy=60.0)
    grid = PARAMS.grids["crop"]
    assert grid == InputGrid("crop", 8, 4.0)
    assert volume_file("dose", grid.suffix) == "dose.crop.npy"
    values = read_volumes(folder, "sub-001", ["dose"], grid)
    assert values.shape == (1, 8, 8, 8) and float(values[0, 4, 4, 4]) == pytest.approx(1.0)
    shown = load_nifti(folder / image_file("sub-001", PAPER_VOLUMES["dose"], grid.suffix))
    np.testing.assert_allclose(shown.grid.affine, subject.crops["crop"].brain.grid.affine, atol=1e-5)
    with pytest.raises(ScanError, match=r"dose\.crop\.npy: shape \(8, 8, 8\) .* expected \(9, 9, 9\)"):
        read_volumes(folder, "sub-001", ["dose"], InputGrid("crop", 9, 4.0))


def test_of_two_high_dose_regions_the_larger_is_followed_and_the_other_is_told() -> None:
    dose_gy = np.zeros((20, 20, 20), np.float32)
    dose_gy[2:6, 2:6, 2:6] = 60
    dose_gy[12:14, 12:14, 12:16] = 58
    brain = np.ones(dose_gy.shape, bool)
    centre, count, second = high_dose_regions(dose_gy, brain, 0.8)
    np.testing.assert_allclose(centre, [3.5, 3.5, 3.5])
    assert (count, second) == (2, 16 / 64)
    # the larger one outside the brain is none
    brain[:8] = False
    assert high_dose_regions(dose_gy, brain, 0.8)[1:] == (1, 0.0)


def test_the_rim_of_the_brain_is_no_change() -> None:
    brain = np.zeros((30, 30, 30), bool)
    brain[4:26, 4:26, 4:26] = True
    before = np.where(brain, 0.2, 0).astype(np.float32)
    # a scan with another bias all over, and a weaker lesion in the middle
    after = np.where(brain, 1.0, 0).astype(np.float32)
    after[17, 12, 15] += 5
    np.testing.assert_array_equal(place_of_change(before, after, brain, 4.0), [17, 12, 15])


@pytest.mark.parametrize(
    ("modality_set", "expected"),
    [
        ("dose", "crop"),
        ("post_op+dose", "crop"),
        ("post_op+event", "crop_by_change"),
        # another crop's place would tell of volumes that the set does not have
        ("post_op", "head"),
        ("event", "head"),
    ],
)
def test_a_set_sees_the_crop_that_its_own_volumes_can_place(modality_set: str, expected: str) -> None:
    members = PAPER_VOLUMES.members(modality_set)
    assert input_of("auto", members) == expected
    assert input_of("crop", members) == "crop"
