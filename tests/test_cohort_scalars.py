"""The scalars of a cohort: measured once, kept by content, and refused by name where one cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from guarded_cohorts import SERIAL
from test_audit import write_subject

from ricenet.cohort.checked import CheckedCohort, CheckedSubject, ScanDigests
from ricenet.evaluation.evidence import cohort_scalars as module
from ricenet.evaluation.evidence.cohort_scalars import cohort_scalars
from ricenet.runtime.errors import CohortError
from ricenet.runtime.store import Store
from ricenet.volume import Grid

SUBJECTS = ("sub-001", "sub-002")


def write_cohort(project: Path) -> CheckedCohort:
    for subject in SUBJECTS:
        write_subject(project / "data", project / "preprocessed", subject)
    rows = [f"{subject}\trice\tbiopsy\ttrain\tNorth" for subject in SUBJECTS]
    table = "\n".join(["participant_id\tlabel\tlabel_source\tsubset\tsite", *rows]) + "\n"
    (project / "data/participants.tsv").write_text(table)
    keys = {subject: subject[-1] * 64 for subject in SUBJECTS}
    (project / "preprocessed/summary.json").write_text(json.dumps({"digest": "d", "subjects": keys}))
    scans = ScanDigests(post_op="a", event="b", dose="c", dose_sidecar="d")
    return CheckedCohort.of(
        str(project / "data"),
        [
            CheckedSubject(participant_id=s, label="rice", subset="train", site="North", scans=scans)
            for s in SUBJECTS
        ],
    )


def measured(project: Path, cohort: CheckedCohort) -> dict[str, object]:
    return cohort_scalars(cohort, project / "preprocessed", SUBJECTS, SERIAL, Store(project / "store"))


def test_every_subject_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write_cohort(tmp_path)
    first = measured(tmp_path, cohort)
    assert list(first) == list(SUBJECTS)
    assert first["sub-001"]["site"] == "North"
    assert first["sub-001"]["lesion_ml"] == pytest.approx(0.064)

    def again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "image_scalars", again)
    assert measured(tmp_path, cohort) == first


def test_another_lesion_mask_is_measured_anew(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    assert measured(tmp_path, cohort)["sub-002"]["lesion_ml"] is not None
    (tmp_path / "data/sub-002/ses-event/anat/sub-002_ses-event_label-lesion_mask.nii.gz").unlink()
    found = measured(tmp_path, cohort)
    assert found["sub-002"]["lesion_ml"] is None
    assert found["sub-001"]["lesion_ml"] is not None


def test_a_file_that_cannot_be_read_is_named_by_subject(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    lesion = tmp_path / "data/sub-002/ses-event/anat/sub-002_ses-event_label-lesion_mask.nii.gz"
    lesion.write_bytes(b"no mask")
    with pytest.raises(
        CohortError, match=r"1 of 2 subjects cannot be measured; mend these files:\n  - sub-002"
    ):
        measured(tmp_path, cohort)


def test_every_second_voxel_lies_where_it_lay() -> None:
    grid = Grid.cube(np.array([1.0, 2.0, 3.0]), 2.0, 5)
    sparse = grid.every(2)
    assert sparse.shape == (3, 3, 3)
    for index in ([0, 0, 0], [2, 1, 0]):
        assert sparse.world_mm(np.array(index)) == pytest.approx(grid.world_mm(2 * np.array(index)))
    assert grid.every(1).affine == pytest.approx(grid.affine)
