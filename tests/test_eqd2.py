"""EQD2: numbers by hand, what cannot be converted, and where in preprocessing it happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.config.params import PreprocessingParams, parse_params, read_params, read_yaml
from ricenet.preprocessing import pipeline, subject_files
from ricenet.preprocessing.brain import mask as brain_mask
from ricenet.preprocessing.cube import PreprocessedSubject
from ricenet.preprocessing.eqd2 import course_as_eqd2
from ricenet.preprocessing.registration import event as event_registration
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import ParamsError, ScanError
from ricenet.runtime.files import write_json
from ricenet.volume import Grid, Volume

PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"
GRID = Grid((3, 1, 1), np.eye(4))


def sidecar(**content: Any) -> DoseSidecar:
    return DoseSidecar.model_validate(
        {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30} | content
    )


def dose(*gy: float) -> Volume:
    return Volume(np.array(gy, np.float32).reshape(3, 1, 1), GRID)


def eqd2(volume: Volume, of: DoseSidecar, alpha_beta_gy: float = 3.0) -> list[float]:
    converted: list[float] = course_as_eqd2(volume, of, alpha_beta_gy, "sub-001").data.ravel().tolist()
    return converted


def test_fractions_of_2_gy_keep_their_dose_and_smaller_ones_count_less() -> None:
    # 60 x (2 + 3) / 5; 30 x (1 + 3) / 5
    assert eqd2(dose(60, 30, 0), sidecar()) == pytest.approx([60, 24, 0])


def test_larger_fractions_count_more_and_most_in_late_reacting_tissue() -> None:
    hypofractionated = sidecar(NumberOfFractions=20)
    # 60 x (3 + 3) / 5 and 60 x (3 + 10) / 12
    assert eqd2(dose(60, 0, 0), hypofractionated, 3.0)[0] == pytest.approx(72)
    assert eqd2(dose(60, 0, 0), hypofractionated, 10.0)[0] == pytest.approx(65)


def test_one_fractions_dose_becomes_that_of_the_course() -> None:
    one = sidecar(DoseSummationType="FRACTION")
    assert eqd2(dose(2, 1, 0), one) == pytest.approx(eqd2(dose(60, 30, 0), sidecar()))


def test_without_repair_between_fractions_nothing_changes() -> None:
    # alpha/beta far above any dose per fraction: effect proportional to dose
    assert eqd2(dose(66, 30, 3), sidecar(), 1e9) == pytest.approx([66, 30, 3], rel=1e-6)


def test_the_mean_effect_is_more_than_the_effect_of_the_mean() -> None:
    assert np.mean(eqd2(dose(0, 60, 60), sidecar())) > eqd2(dose(40, 40, 40), sidecar())[0]


def test_the_dose_given_is_not_changed() -> None:
    given = dose(60, 30, 0)
    eqd2(given, sidecar())
    assert given.data.ravel().tolist() == [60, 30, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"NumberOfFractions": None},
            r"sub-001: dose: without NumberOfFractions, which EQD2 needs\. Write it",
        ),
        ({"DoseType": "EFFECTIVE"}, r"DoseType is EFFECTIVE: it is weighted by biological effect already"),
        ({"PlansSummed": 2}, r"several plans were summed: .* differ from voxel to voxel"),
        ({"SourceSummationType": "MULTI_PLAN"}, r"several plans were summed"),
    ],
)
def test_what_cannot_become_eqd2_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ScanError, match=message + r".*set preprocessing.eqd2_alpha_beta_gy to null"):
        course_as_eqd2(dose(60, 0, 0), sidecar(**content), 3.0, "sub-001")


@pytest.mark.parametrize("content", [{"DoseType": "PHYSICAL"}, {"PlansSummed": 1}, {"DoseType": "physical"}])
def test_one_plans_physical_dose_is_converted(content: dict[str, Any]) -> None:
    assert eqd2(dose(60, 0, 0), sidecar(**content))[0] == pytest.approx(60)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"DoseType": "ERROR"}, "DoseType is 'ERROR'. Write PHYSICAL or EFFECTIVE"),
        ({"DoseType": "Hans Mueller"}, "DoseType is some other text"),
        ({"PlansSummed": 0}, "PlansSummed is 0. Write the number of plans"),
        ({"SourceSummationType": 3}, "SourceSummationType is 3. Write the RTDOSE's own"),
    ],
)
def test_further_keys_of_the_doses_json_are_checked_where_they_are_there(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    path = tmp_path / "sub-001_ses-postop_dose.json"
    write_json(path, {"DoseUnits": "GY", "DoseSummationType": "PLAN"} | content)
    findings = parse_dose_sidecar(path)
    assert isinstance(findings, list)
    assert f"{findings[0].found}. {findings[0].remedy}".startswith(message)


# settings


def params(alpha_beta_gy: float | None) -> PreprocessingParams:
    return read_params(PARAMS_FILE).preprocessing.model_copy(
        update={"eqd2_alpha_beta_gy": alpha_beta_gy, "cube_voxels": 8, "spacing_mm": 2.0}
    )


def test_it_is_off_by_default_and_then_leaves_no_trace_in_records_and_keys() -> None:
    settings = read_params(PARAMS_FILE).preprocessing
    assert settings.eqd2_alpha_beta_gy is None
    assert "eqd2_alpha_beta_gy" not in settings.model_dump()
    assert params(3.0).model_dump()["eqd2_alpha_beta_gy"] == 3.0


def test_settings_of_a_model_from_before_there_was_eqd2_are_valid() -> None:
    record = read_params(PARAMS_FILE).preprocessing.model_dump()
    assert PreprocessingParams.model_validate(record).eqd2_alpha_beta_gy is None


@pytest.mark.parametrize("value", [0, -3, "three"])
def test_an_alpha_beta_that_is_no_positive_dose_is_refused(value: object) -> None:
    content = read_yaml(PARAMS_FILE)
    content["preprocessing"]["eqd2_alpha_beta_gy"] = value
    with pytest.raises(ParamsError, match=r"preprocessing\.eqd2_alpha_beta_gy"):
        parse_params(content, "params.yaml")


# in the pipeline


@pytest.fixture
def pipeline_on_a_cube(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `preprocess` on 8 cubed volumes of 2 mm, without ANTs and HD-BET; one fraction, 2.4 and 0 Gy."""
    from ricenet.cohort.layout import RawSubject
    from ricenet.volume import save_nifti

    raw = RawSubject(tmp_path, "sub-001")
    cube = Grid.cube(np.zeros(3), 2.0, 8)
    texture = np.random.default_rng(0).uniform(1, 2, cube.shape).astype(np.float32)
    for modality in ("post_op", "event"):
        save_nifti(Volume(texture, cube), raw.scan(modality))  # type: ignore[arg-type]
    # the dose on voxels half as large, every other plane without dose: means of 1.2 Gy
    fine = Grid.cube(np.zeros(3), 1.0, 16)
    stripes = np.zeros(fine.shape, np.float32)
    stripes[::2] = 2.4
    save_nifti(Volume(stripes, fine), raw.scan("dose"))
    write_json(
        raw.dose_sidecar, {"DoseUnits": "GY", "DoseSummationType": "FRACTION", "NumberOfFractions": 25}
    )
    registered = RigidResult(np.eye(4), similarity=1.9, similarity_before=1.9)
    monkeypatch.setattr(event_registration, "register_rigid", lambda *_, **__: registered)
    monkeypatch.setattr(brain_mask, "extract_brain", lambda *_, **__: Volume(np.ones(cube.shape, bool), cube))

    def run(alpha_beta_gy: float | None) -> PreprocessedSubject:
        return pipeline.preprocess(raw, params(alpha_beta_gy), seed=7)

    return run


def test_the_dose_is_converted_before_it_is_averaged_to_the_cube(pipeline_on_a_cube: Any) -> None:
    as_given, converted = pipeline_on_a_cube(None), pipeline_on_a_cube(3.0)
    assert np.median(as_given.dose.data) == pytest.approx(30.0, rel=1e-5)  # mean of 60 and 0
    # mean of 60 x (2.4 + 3) / 5 = 64.8 and 0; converted afterwards it would be 30 x (1.2 + 3) / 5 = 25.2
    assert np.median(converted.dose.data) == pytest.approx(32.4, rel=1e-5)


def test_the_measurements_tell_it_only_where_it_was_done(pipeline_on_a_cube: Any) -> None:
    assert subject_files.measurements(pipeline_on_a_cube(3.0))["dose_eqd2_alpha_beta_gy"] == 3.0
    assert "dose_eqd2_alpha_beta_gy" not in subject_files.measurements(pipeline_on_a_cube(None))
    assert subject_files.measurements(pipeline_on_a_cube(3.0))["dose_factor"] == 25.0
