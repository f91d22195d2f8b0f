"""The scalars of a cohort: measured by preprocessing, segmented, and stated in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from guarded_cohorts import SERIAL
from preprocessed_subjects import MEASUREMENTS, save_measurements
from small_results import write_json

from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.layout import RawSubject
from ricenet.config.inputs import InputGrid
from ricenet.config.params import read_params
from ricenet.evaluation.evidence.baselines import Scalars, scalar_models
from ricenet.evaluation.evidence.lesion_dose import dose_at_lesion
from ricenet.evaluation.evidence.scalars import cohort_scalars, scalars_table
from ricenet.preprocessing.network_input import write_volume
from ricenet.runtime.errors import CohortError, ResultError
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec
from ricenet.volume import Grid, Volume, save_nifti

PROJECT, CUBE = Path(__file__).parents[1], 8
SUBJECTS = ("sub-001", "sub-002")
TABLE = """participant_id\tlabel\tlabel_source\tsubset\tsite\tscanner\trt_end_date\tevent_date
sub-001\trice\tbiopsy\ttrain\tNorth\tn/a\t2024-01-01\t2024-01-31
sub-002\trice\tbiopsy\ttrain\tn/a\tn/a\tn/a\tn/a
"""
SIDECAR = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30, "PrescriptionGy": 60}
LESION = "sub-001/ses-event/anat/sub-001_ses-event_label-lesion_mask.nii.gz"


def write_cohort(project: Path, table: str = TABLE) -> CheckedCohort:
    """Subjects without scans, of which the check has nothing to say; the first has a mask of the lesion."""
    mask = np.zeros((16, 16, 16), bool)
    mask[7:9, 7:9, 7:9] = True
    save_nifti(Volume(mask, Grid.cube(np.zeros(3), 2.0, 16)), project / "data" / LESION)
    (project / "data/participants.tsv").write_text(table, encoding="utf-8", newline="")
    for subject in SUBJECTS:
        save_measurements(project / "preprocessed" / subject, MEASUREMENTS)
        dose = np.full((CUBE,) * 3, 0.5, np.float32)
        write_volume(dose, project / "preprocessed" / subject, subject, "dose")
        write_json(RawSubject(project / "data", subject).dose_sidecar, SIDECAR)
    subjects = [
        CheckedSubject(participant_id=s, label="rice", variables={"mgmt": kind})
        for s, kind in zip(SUBJECTS, ("methylated", None), strict=True)
    ]
    return CheckedCohort.of(str(project / "data"), subjects)


def scalars_of(project: Path, cohort: CheckedCohort) -> dict[str, Scalars]:
    settings = read_params(PROJECT / "params.yaml").preprocessing.model_copy(update={"cube_voxels": CUBE})
    return cohort_scalars(cohort, project / "preprocessed", SUBJECTS, SERIAL, settings, project / "store")


def test_scalars_come_from_measurements_masks_table_and_declared_variables(tmp_path: Path) -> None:
    found = scalars_of(tmp_path, write_cohort(tmp_path))
    first, second = found.values()
    expected = {
        "dose_max_gy": 62.0, "ptv_ml": 80.0, "post_op_mean": 100.0, "event_sd": 25.0, "event_in_ptv": 0.7,
        "site": "North", "scanner": None, "days_rt_end_to_event": 30, "mgmt": "methylated",
        "cavity_ml": None, "lesion_dose_gy": 30.0, "lesion_gradient_gy_mm": 0.0,
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    # 8 voxels of 8 mm3
    assert (first["lesion_ml"], second["lesion_ml"]) == (pytest.approx(0.064), None)
    assert (second["site"], second["days_rt_end_to_event"], second["mgmt"]) == (None, None, None)
    mgmt = VariableSpec(name="mgmt", kind="category")
    assert set(scalar_models(PAPER_VOLUMES, (mgmt,))[-1].features) <= first.keys()
    header, line, _ = scalars_table(found).splitlines()
    assert dict(zip(header.split("\t"), line.split("\t"), strict=True))["cavity_ml"] == "n/a"


def test_the_certainty_of_a_label_is_told_where_the_table_has_it_and_adds_no_column_elsewhere(
    tmp_path: Path,
) -> None:
    without = scalars_of(tmp_path / "a", write_cohort(tmp_path / "a"))
    header, *rows = TABLE.splitlines()
    cells = ["definite", "n/a"]
    stated = [f"{row}\t{cell}" for row, cell in zip(rows, cells, strict=True)]
    table = "\n".join([f"{header}\tlabel_certainty", *stated, ""])
    found = scalars_of(tmp_path / "b", write_cohort(tmp_path / "b", table))
    assert [of.pop("label_certainty") for of in map(dict, found.values())] == ["definite", None]
    assert not any("label_certainty" in of for of in without.values())


@pytest.mark.parametrize("spelt", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r")])
def test_the_table_is_read_as_the_cohort_s_check_reads_it(tmp_path: Path, spelt) -> None:
    found = scalars_of(tmp_path, write_cohort(tmp_path, spelt(TABLE.replace("North", '"B'))))
    assert [of["site"] for of in found.values()] == ['"B', None]


def test_what_is_not_preprocessed_or_has_become_faulty_is_named(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    (tmp_path / "data" / LESION).write_bytes(b"no mask")
    with pytest.raises(CohortError, match=r"sub-001.*lesion_mask"):
        scalars_of(tmp_path, cohort)
    cohort = write_cohort(tmp_path)
    (tmp_path / "preprocessed/sub-002/measurements.json").unlink()
    with pytest.raises(ResultError, match=r"sub-002/measurements\.json is missing\. The stage `preprocess`"):
        scalars_of(tmp_path, cohort)


def test_the_dose_at_a_lesion_is_measured_again_where_mask_or_dose_have_changed(tmp_path: Path) -> None:
    def made() -> int:
        return len(list((tmp_path / "store/lesion_dose").rglob("lesion_dose.json")))

    cohort = write_cohort(tmp_path)
    first = scalars_of(tmp_path, cohort)
    assert scalars_of(tmp_path, cohort) == first and made() == 2
    higher = np.full((CUBE,) * 3, 0.75, np.float32)
    write_volume(higher, tmp_path / "preprocessed/sub-001", "sub-001", "dose")
    found = scalars_of(tmp_path, cohort)
    assert (found["sub-001"]["lesion_dose_gy"], made()) == (45.0, 3)
    assert found["sub-002"] == first["sub-002"]


def lesion_cohort(folder: Path, event_from_post_op: np.ndarray, mask: np.ndarray) -> RawSubject:
    """A subject on a cube of 8 voxels of 1 mm, whose dose rises by 10 Gy a millimetre from left to right."""
    raw = RawSubject(folder / "data", "sub-001")
    save_nifti(Volume(mask, Grid((8, 8, 8), np.eye(4))), folder / "data" / LESION)
    event = MEASUREMENTS.mris["event"].model_copy(
        update={"world_from_reference": event_from_post_op.tolist()}
    )
    mris = MEASUREMENTS.mris | {"event": event}
    save_measurements(folder / "sub-001", MEASUREMENTS.model_copy(update={"mris": mris}))
    rising = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 8, 8))
    write_volume(np.ascontiguousarray(rising), folder / "sub-001", "sub-001", "dose")
    return raw


def test_the_dose_at_the_lesion_is_that_of_its_place_before_the_event_scan(tmp_path: Path) -> None:
    moved, mask = np.eye(4), np.zeros((8, 8, 8), bool)
    moved[0, 3] = 2.0
    mask[4:6, 3, 3] = True
    raw = lesion_cohort(tmp_path, moved, mask)
    # 4 and 5 mm in the event scan are 2 and 3 mm in the post-operative one
    found = dose_at_lesion(raw, tmp_path / "sub-001", InputGrid("head", 8, 1.0), dose_unit_gy=10.0)
    assert found == {"lesion_dose_gy": pytest.approx(25.0), "lesion_gradient_gy_mm": pytest.approx(10.0)}


def test_a_lesion_outside_the_head_has_no_dose(tmp_path: Path) -> None:
    far, mask = np.eye(4), np.ones((8, 8, 8), bool)
    far[0, 3] = 100.0
    raw = lesion_cohort(tmp_path, far, mask)
    assert dose_at_lesion(raw, tmp_path / "sub-001", InputGrid("head", 8, 1.0), 10.0) == {}


def test_without_a_mask_or_a_dose_there_is_none_at_the_lesion(tmp_path: Path) -> None:
    raw = lesion_cohort(tmp_path, np.eye(4), np.ones((8, 8, 8), bool))
    unmasked = RawSubject(tmp_path / "data", "sub-002")
    assert dose_at_lesion(unmasked, tmp_path / "sub-001", InputGrid("head", 8, 1.0), 10.0) == {}
    save_measurements(tmp_path / "sub-001", MEASUREMENTS.model_copy(update={"dose": None}))
    assert dose_at_lesion(raw, tmp_path / "sub-001", InputGrid("head", 8, 1.0), 10.0) == {}
