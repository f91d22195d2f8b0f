"""One subject from raw files to the cube, of whatever volumes are declared, without ANTs and HD-BET."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heads import BOX_GRID, boxed_brain
from preprocessed_subjects import head_of

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.brain import extraction
from ricenet.preprocessing.cube import INTERPOLATION_ORDER, on_cube
from ricenet.preprocessing.derivative_files import brain_file, image_file
from ricenet.preprocessing.measurements import SHAPE, Measurements
from ricenet.preprocessing.network_input import read_volumes
from ricenet.preprocessing.preprocess_subject import PreprocessedSubject, preprocess
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.errors import ResultError, ScanError
from ricenet.runtime.files import write_json
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Affine, Grid, Volume, load_nifti, resample, save_nifti

PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing.model_copy(
    update={"cube_voxels": 20, "spacing_mm": 6.0, "crop": None}
)
FLAIR = VolumeSpec(
    name="event_flair", kind="mri", session="event", suffix="FLAIR", title="event FLAIR", required=False
)
ADC = FLAIR.model_copy(update={"name": "event_adc", "suffix": "adc", "title": "event ADC", "scale": 1000.0})
DECLARED = Volumes([*PAPER_VOLUMES, FLAIR, ADC])

EVENT_FROM_POST_OP, FLAIR_FROM_EVENT, ADC_FROM_EVENT = (np.eye(4) for _ in range(3))
EVENT_FROM_POST_OP[:3, 3] = [6.0, 0.0, -6.0]
FLAIR_FROM_EVENT[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
ADC_FROM_EVENT[:3, 3] = [0.0, 12.0, 0.0]
FROM_REFERENCE = {
    "post_op": np.eye(4),
    "event": EVENT_FROM_POST_OP,
    "event_flair": FLAIR_FROM_EVENT @ EVENT_FROM_POST_OP,
    "event_adc": ADC_FROM_EVENT @ EVENT_FROM_POST_OP,
}


def texture(seed: int) -> np.ndarray:
    """Blocks of noise, between 500 and 1500."""
    blocks = np.random.default_rng(seed).uniform(500, 1500, (10, 10, 10))
    return blocks.repeat(6, 0).repeat(6, 1).repeat(6, 2).astype(np.float32)


def moved(volume: Volume, transform: Affine) -> Volume:
    """The same voxels in a world into which a transform leads."""
    return Volume(volume.data, Grid(volume.grid.shape, transform @ volume.grid.affine))


@pytest.fixture
def raw(tmp_path: Path) -> RawSubject:
    """MRIs of 3 mm of one head, each in a world of its own; 15 x 2 Gy in half of the brain and 9 mm on."""
    raw = RawSubject(tmp_path / "raw", "sub-001", DECLARED)
    for seed, (name, transform) in enumerate(FROM_REFERENCE.items()):
        save_nifti(moved(Volume(texture(seed), BOX_GRID), transform), raw.scan(name))
    dose = np.zeros(BOX_GRID.shape, np.float32)
    dose[9:30, 9:51, 9:51] = 2.0
    save_nifti(Volume(dose, BOX_GRID), raw.scan("dose"))
    course = {"DoseSummationType": "FRACTION", "NumberOfFractions": 15, "PrescriptionGy": 24.0}
    write_json(raw.dose_sidecar, {"DoseUnits": "GY"} | course)
    save_nifti(boxed_brain(108.0), raw.brain_mask)
    return raw


@pytest.fixture(autouse=True)
def known_registrations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Instead of ANTs: what the images' first voxels have in common tells the true transform."""
    asked = []

    def register(fixed: Volume, moving: Volume, *_: object, **__: object) -> RigidResult:
        asked.append((fixed.grid.affine, moving.grid.affine))
        transform = moving.grid.affine @ np.linalg.inv(fixed.grid.affine)
        return RigidResult(transform, similarity=1.2, similarity_before=1.1, overlap=0.9)

    monkeypatch.setattr(preprocess_subject, "register_rigid", register)
    monkeypatch.setattr(extraction, "extract_brain", lambda *_: pytest.fail("HD-BET was asked"))
    return asked  # type: ignore[return-value]


@pytest.fixture
def made(raw: RawSubject) -> PreprocessedSubject:
    return preprocess(raw, PARAMS, seed=7)


def test_every_declared_volume_lies_on_the_cube_in_one_interpolation(made: PreprocessedSubject) -> None:
    assert list(made.volumes) == ["dose", "post_op", "event", "event_flair", "event_adc"]
    inside = np.asarray(made.brain.data, bool)
    # 108 mm at 6 mm a voxel: 18 an axis
    assert inside.sum() == 18**3
    for seed, name in enumerate(("post_op", "event", "event_flair")):
        # whatever its own world: as if it had been scanned in the reference's
        values = resample(Volume(texture(seed), BOX_GRID), made.brain.grid, supersampling=(2, 2, 2)).data[
            inside
        ]
        expected = (values - values.mean()) / values.std()
        np.testing.assert_allclose(made.volumes[name].data[inside], expected, atol=2e-3, err_msg=name)
        assert not made.volumes[name].data[~inside].any()


def test_a_quantitative_mri_is_scaled_and_never_z_scored(made: PreprocessedSubject) -> None:
    inside = np.asarray(made.brain.data, bool)
    adc = made.volumes["event_adc"].data
    assert (
        adc[inside].min() >= 0.5
        and adc[inside].max() <= 1.5
        and adc[inside].mean() == pytest.approx(1, abs=0.1)
    )
    assert not adc[~inside].any()


def test_every_mri_is_registered_to_its_sessions_reference(made: PreprocessedSubject) -> None:
    measured = made.measurements.mris
    fixed = {name: mri.registration and mri.registration.fixed for name, mri in measured.items()}
    assert fixed == {"post_op": None, "event": "post_op", "event_flair": "event", "event_adc": "event"}
    for name, transform in FROM_REFERENCE.items():
        np.testing.assert_allclose(made.measurements.world_from_reference(name), transform, atol=1e-6)
    flair = measured["event_flair"].registration
    assert flair is not None
    assert (flair.similarity_before, flair.similarity, flair.head_overlap) == (1.1, 1.2, 0.9)
    assert flair.rotation_deg == pytest.approx(90)
    event = measured["event"].registration
    assert event is not None
    assert event.shift_mm == pytest.approx(np.sqrt(72), abs=1e-3)
    assert (event.coverage, event.searched) == (1.0, False)


def test_what_is_measured_agrees_with_the_volumes(made: PreprocessedSubject) -> None:
    measured, dose = made.measurements, made.measurements.dose
    assert measured.brain_ml == pytest.approx(108.0**3 / 1000)
    np.testing.assert_array_equal(measured.cube(20).affine, made.brain.grid.affine)
    assert dose is not None
    assert (dose.factor, dose.given_max_gy, dose.prescription_gy, dose.of_prescription) == (15, 30, 24, 1.25)
    # the half of the brain with dose, and what of the dose lies outside the brain
    assert dose.dose_max_gy == pytest.approx(30) and dose.v20 == pytest.approx(0.5, abs=0.03)
    assert dose.given_v20_ml == pytest.approx(dose.v20 * 18**3 * 0.216)
    assert dose.outside_brain == pytest.approx(1 - 18 * 36**2 / (21 * 42**2), abs=0.02)
    values = texture(1)[np.asarray(boxed_brain(108.0).data, bool)]
    event = measured.mris["event"]
    assert (event.raw_mean, event.raw_sd) == (
        pytest.approx(values.mean(), rel=0.02),
        pytest.approx(values.std(), rel=0.2),
    )
    treated = np.asarray(made.brain.data, bool) & (made.volumes["dose"].data >= 0.95 * 30)
    assert event.in_target == pytest.approx(float(made.volumes["event"].data[treated].mean()), abs=1e-5)


def test_the_zero_of_intensity_among_z_scores_is_measured(made: PreprocessedSubject, raw: RawSubject) -> None:
    brain, order = np.asarray(made.brain.data, bool), INTERPOLATION_ORDER[PARAMS.interpolation]
    given = on_cube(load_nifti(raw.scan("post_op")), made.brain.grid, order)[brain].astype(np.float64)
    mean_in_sds = made.measurements.mris["post_op"].mean_in_sds
    assert mean_in_sds == pytest.approx(given.mean() / given.std(), rel=1e-5)
    np.testing.assert_allclose(
        made.volumes["post_op"].data[brain] + mean_in_sds, given / given.std(), atol=1e-3
    )
    assert made.measurements.mris["event_adc"].mean_in_sds is None


def test_scalars_are_named_by_volume_and_none_where_one_is_missing(raw: RawSubject) -> None:
    raw.scan("event_adc").unlink()
    scalars = preprocess(raw, PARAMS, seed=7).measurements.scalars(DECLARED)
    names = [f"{name}_{what}" for name in FROM_REFERENCE for what in ("mean", "sd", "in_ptv")]
    assert list(scalars) == ["dose_max_gy", "dose_mean_gy", "v20", "v40", "v60", "ptv_ml", *SHAPE, *names]
    assert scalars["event_flair_mean"] is not None and scalars["event_adc_mean"] is None


def test_files_come_back_as_they_were_made(
    made: PreprocessedSubject, raw: RawSubject, tmp_path: Path
) -> None:
    write_subject(made, tmp_path / "out", raw, dose_unit_gy=60.0)
    read = read_volumes(tmp_path / "out", "sub-001", DECLARED.names, head_of(20))
    for name, values in zip(DECLARED.names, read, strict=True):
        unit = 60.0 if name == "dose" else 1.0
        np.testing.assert_array_equal(values, (made.volumes[name].data / np.float32(unit)).astype(np.float16))
        np.testing.assert_array_equal(
            load_nifti(tmp_path / "out" / image_file("sub-001", DECLARED[name])).data, made.volumes[name].data
        )
    assert Measurements.of_subject(tmp_path / "out") == made.measurements
    assert (load_nifti(tmp_path / "out" / brain_file("sub-001")).data > 0.5).sum() == 18**3


def test_a_volume_that_is_optional_and_missing_has_no_file(raw: RawSubject, tmp_path: Path) -> None:
    raw.scan("event_flair").unlink()
    made = preprocess(raw, PARAMS, seed=7)
    write_subject(made, tmp_path / "out", raw, dose_unit_gy=60.0)
    assert "event_flair" not in made.measurements.mris
    assert {path.name for path in (tmp_path / "out").glob("*.npy")} == {
        *("post_op.npy", "event.npy", "dose.npy", "event_adc.npy"),
    }


def test_without_a_dose_among_the_volumes_there_is_none(raw: RawSubject) -> None:
    mris = Volumes([PAPER_VOLUMES["post_op"], FLAIR])
    made = preprocess(RawSubject(raw.cohort, raw.subject, mris), PARAMS, seed=7)
    assert made.measurements.dose is None and made.measurements.mris["post_op"].in_target is None
    # the only MRI of its session that there is comes straight into the reference's space
    registration = made.measurements.mris["event_flair"].registration
    assert registration is not None and registration.fixed == "post_op"
    assert list(made.measurements.scalars(mris)) == [
        f"{name}_{what}" for name in ("post_op", "event_flair") for what in ("mean", "sd", "in_ptv")
    ]


def test_eqd2_comes_before_the_dose_is_averaged_and_what_was_given_is_measured(raw: RawSubject) -> None:
    stripes = np.zeros(BOX_GRID.shape, np.float32)
    stripes[9:51, 9:51, 9:51][::2] = 2.4  # every other plane: 36 Gy in 15 fractions, means of 18 Gy
    save_nifti(Volume(stripes, BOX_GRID), raw.scan("dose"))
    given = preprocess(raw, PARAMS, 7)
    converted = preprocess(raw, PARAMS.model_copy(update={"eqd2_alpha_beta_gy": 3.0}), 7)
    assert np.median(given.volumes["dose"].data) == pytest.approx(18.0, rel=1e-5)
    # mean of 36 x (2.4 + 3) / 5 = 38.88 and 0; converted afterwards it would be 18 x (1.2 + 3) / 5 = 15.1
    assert np.median(converted.volumes["dose"].data) == pytest.approx(19.44, rel=1e-5)
    one, other = given.measurements.dose, converted.measurements.dose
    assert one is not None and other is not None
    assert (one.eqd2_alpha_beta_gy, other.eqd2_alpha_beta_gy) == (None, 3.0)
    assert other.given_max_gy == one.given_max_gy and other.given_v20_ml == one.given_v20_ml
    assert other.dose_mean_gy > one.dose_mean_gy


# refusals


def test_registrations_that_are_not_to_be_believed_are_refused_by_the_scans_title(
    raw: RawSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = RigidResult(np.eye(4), similarity=1.02, similarity_before=1.01)
    monkeypatch.setattr(preprocess_subject, "register_rigid", lambda *_, **__: failed)
    with pytest.raises(
        ScanError, match=r"sub-001: event T1ce: registration to post-op T1ce failed .*1.020, 1"
    ):
        preprocess(raw, PARAMS, seed=7)


def test_an_mri_whose_sessions_reference_is_missing_cannot_be_registered(raw: RawSubject) -> None:
    optional = PAPER_VOLUMES["event"].model_copy(update={"required": False})
    declared = Volumes([PAPER_VOLUMES["post_op"], optional, FLAIR, PAPER_VOLUMES["dose"]])
    raw.scan("event").unlink()
    with pytest.raises(ScanError, match=r"event FLAIR: cannot be registered without event T1ce.*_FLAIR"):
        preprocess(RawSubject(raw.cohort, raw.subject, declared), PARAMS, seed=7)


def test_a_scan_that_shows_half_the_brain_is_refused(raw: RawSubject) -> None:
    whole = load_nifti(raw.scan("event_adc"))
    save_nifti(Volume(whole.data[:, :, :30], Grid((60, 60, 30), whole.grid.affine)), raw.scan("event_adc"))
    with pytest.raises(ScanError, match=r"sub-001: event ADC: the scan covers 50% of the brain"):
        preprocess(raw, PARAMS, seed=7)


@pytest.mark.parametrize(("side_mm", "volume_ml"), [(60.0, 216), (150.0, 3375)])
def test_a_given_mask_that_no_brain_can_have_is_refused(
    raw: RawSubject, side_mm: float, volume_ml: int
) -> None:
    save_nifti(boxed_brain(side_mm), raw.brain_mask)
    with pytest.raises(ScanError, match=rf"sub-001: .*mask.nii.gz: .* {volume_ml} ml, expected 600 to 2400"):
        preprocess(raw, PARAMS, seed=7)


def test_measurements_of_another_version_name_the_stage(tmp_path: Path) -> None:
    write_json(tmp_path / "measurements.json", {"brain_ml": 1400.0})
    with pytest.raises(ResultError, match=r"not of this version.*dvc repro -f preprocess"):
        Measurements.of_subject(tmp_path)
    with pytest.raises(ResultError, match=r"is missing\. The stage `preprocess` makes it"):
        Measurements.of_subject(tmp_path / "nobody")
