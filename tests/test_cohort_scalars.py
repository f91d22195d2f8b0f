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
from ricenet.evaluation.evidence.baselines import scalar_models
from ricenet.evaluation.evidence.scalars import cohort_scalars, scalars_table
from ricenet.runtime.errors import CohortError, ResultError
from ricenet.runtime.store import Store
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec
from ricenet.volume import Grid, Volume, save_nifti

SUBJECTS = ("sub-001", "sub-002")
TABLE = """participant_id\tlabel\tlabel_source\tsubset\tsite\tscanner\trt_end_date\tevent_date
sub-001\trice\tbiopsy\ttrain\tNorth\tn/a\t2024-01-01\t2024-01-31
sub-002\trice\tbiopsy\ttrain\tn/a\tn/a\tn/a\tn/a
"""
SIDECAR = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30, "PrescriptionGy": 60}
LESION = "sub-001/ses-event/anat/sub-001_ses-event_label-lesion_mask.nii.gz"


def write_cohort(project: Path, table: str = TABLE) -> CheckedCohort:
    """Subjects without scans, of which the check has nothing to say; the first has a mask of the lesion."""
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3, 1:3, 1:3] = True
    save_nifti(Volume(mask, Grid.cube(np.zeros(3), 2.0, 4)), project / "data" / LESION)
    (project / "data/participants.tsv").write_text(table, encoding="utf-8", newline="")
    for subject in SUBJECTS:
        save_measurements(project / "preprocessed" / subject, MEASUREMENTS)
        write_json(RawSubject(project / "data", subject).dose_sidecar, SIDECAR)
    subjects = [
        CheckedSubject(participant_id=s, label="rice", variables={"mgmt": kind})
        for s, kind in zip(SUBJECTS, ("methylated", None), strict=True)
    ]
    return CheckedCohort.of(str(project / "data"), subjects)


def scalars_of(project: Path, cohort: CheckedCohort) -> dict[str, object]:
    return cohort_scalars(cohort, project / "preprocessed", SUBJECTS, SERIAL, Store(project / "store"))


def test_scalars_come_from_measurements_masks_table_and_declared_variables(tmp_path: Path) -> None:
    found = scalars_of(tmp_path, write_cohort(tmp_path))
    first, second = found.values()
    expected = {
        "dose_max_gy": 62.0, "ptv_ml": 80.0, "post_op_mean": 100.0, "event_sd": 25.0, "event_in_ptv": 0.7,
        "site": "North", "scanner": None, "days_rt_end_to_event": 30, "mgmt": "methylated",
        "cavity_ml": None,
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    # 8 voxels of 8 mm3
    assert (first["lesion_ml"], second["lesion_ml"]) == (pytest.approx(0.064), None)
    assert (second["site"], second["days_rt_end_to_event"], second["mgmt"]) == (None, None, None)
    mgmt = VariableSpec(name="mgmt", kind="category")
    assert set(scalar_models(PAPER_VOLUMES, (mgmt,))[-1].features) <= first.keys()
    header, line, _ = scalars_table(found).splitlines()
    assert dict(zip(header.split("\t"), line.split("\t"), strict=True))["cavity_ml"] == "n/a"


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
