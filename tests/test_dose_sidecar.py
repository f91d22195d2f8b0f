from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.runtime.errors import ScanError

PLAN = {"DoseUnits": "GY", "DoseSummationType": "PLAN"}
FRACTION = {"DoseUnits": "GY", "DoseSummationType": "FRACTION", "NumberOfFractions": 30}


def written(folder: Path, content: Any) -> Path:
    path = folder / "sub-001_ses-postop_dose.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_dose_of_the_course_is_used_as_it_is(tmp_path: Path) -> None:
    sidecar = read_dose_sidecar(written(tmp_path, PLAN | {"NumberOfFractions": 30}))
    assert sidecar.factor == 1.0


def test_the_dose_of_one_fraction_is_scaled_by_the_number_of_fractions(tmp_path: Path) -> None:
    assert read_dose_sidecar(written(tmp_path, FRACTION)).factor == 30.0


def test_units_in_any_case_further_keys_and_a_whole_prescription_are_accepted(tmp_path: Path) -> None:
    content = PLAN | {"DoseUnits": "Gy", "Manufacturer": "x", "PrescriptionGy": 60}
    assert read_dose_sidecar(written(tmp_path, content)).prescription_gy == 60.0


def test_whole_numbers_written_as_decimals_are_whole_numbers(tmp_path: Path) -> None:
    sidecar = read_dose_sidecar(written(tmp_path, FRACTION | {"NumberOfFractions": 42.0, "PlansSummed": 2.0}))
    assert (sidecar.fractions, sidecar.plans_summed, sidecar.factor) == (42, 2, 42.0)


@pytest.mark.parametrize("key", ["DoseUnits", "DoseSummationType"])
def test_a_byte_order_mark_and_the_same_value_twice_are_read_past(tmp_path: Path, key: str) -> None:
    text = json.dumps(FRACTION)
    twice = text[:-1] + f', "{key}": {json.dumps(FRACTION[key])}}}'
    for written_as in (text, "\ufeff" + text, twice):
        assert read_dose_sidecar(written(tmp_path, written_as)).factor == 30.0


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in content.items() if k != key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"not well-formed JSON \(line 1\)"),
        ('{"DoseUnits": "GY", "DoseUnits": "CGY"}', r"a key twice with different values \(lines 1, 1\)"),
        ('{"DoseUnits": ' + 5000 * "[" + 5000 * "]" + "}", r"nested more than 64 deep"),
        ('{"PrescriptionGy": ' + 400 * "9" + "}", r"a number that is too large"),
        ('{"PrescriptionGy": 1e400}', r"a number that is too large"),
        ("[]", r"not a JSON object"),
        (without(PLAN, "DoseUnits"), r"without DoseUnits\. Export the dose in Gy"),
        (PLAN | {"DoseUnits": "cGy"}, r"DoseUnits is 'cGy'"),
        (PLAN | {"DoseUnits": "RELATIVE"}, r"DoseUnits is 'RELATIVE'"),
        (without(PLAN, "DoseUnits") | {"units": "GY"}, r"without DoseUnits"),
        (without(PLAN, "DoseSummationType"), r"without DoseSummationType"),
        (PLAN | {"DoseSummationType": "BEAM"}, r"DoseSummationType is 'BEAM'"),
        (without(FRACTION, "NumberOfFractions"), r"without NumberOfFractions, which .* FRACTION needs"),
        (FRACTION | {"NumberOfFractions": None}, r"without NumberOfFractions, which .* FRACTION needs"),
        (FRACTION | {"NumberOfFractions": 0}, r"NumberOfFractions is 0\. .* positive whole number"),
        (PLAN | {"NumberOfFractions": 0}, r"NumberOfFractions is 0"),
        (FRACTION | {"NumberOfFractions": -5}, r"NumberOfFractions is -5"),
        (FRACTION | {"NumberOfFractions": 29.5}, r"NumberOfFractions is 29\.5"),
        (FRACTION | {"NumberOfFractions": "30"}, r"NumberOfFractions is some other text"),
        (FRACTION | {"NumberOfFractions": [30]}, r"NumberOfFractions is a list or an object"),
        (PLAN | {"DoseUnits": "Hans Mueller"}, r"DoseUnits is some other text\. Export the dose in Gy"),
        (FRACTION | {"NumberOfFractions": True}, r"NumberOfFractions is True"),
        (PLAN | {"PrescriptionGy": 0}, r"PrescriptionGy is 0"),
        (PLAN | {"PrescriptionGy": float("nan")}, r"PrescriptionGy is nan"),
        (PLAN | {"PrescriptionGy": float("inf")}, r"PrescriptionGy is inf"),
    ],
)
def test_an_ambiguous_dose_is_refused_with_the_reason(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ScanError, match=r"^sub-001: sub-001_ses-postop_dose\.json: .*" + message):
        read_dose_sidecar(written(tmp_path, content))


def test_a_missing_sidecar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"^sub-007: sub-007_dose\.json: file is missing"):
        read_dose_sidecar(tmp_path / "sub-007_dose.json")


def test_all_faults_of_a_sidecar_are_told_together(tmp_path: Path) -> None:
    content = {"DoseSummationType": "FRACTION", "PrescriptionGy": -1}
    with pytest.raises(
        ScanError, match=r"without DoseUnits; without NumberOfFractions.*; PrescriptionGy is -1"
    ):
        read_dose_sidecar(written(tmp_path, content))
