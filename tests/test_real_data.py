"""Every command on real files, held against what is known of them; skipped where no folder is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_datasets import (
    COHORT,
    KNOWN,
    ROOT,
    STAGES,
    VARIABLE,
    Expected,
    RealDataset,
    copy_first_subject,
    map_rows,
    read_volume,
    real_datasets,
    ricenet,
    run,
    with_roles,
    write_project,
    write_subject,
)

from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.tree import read_tree
from ricenet.preprocessing.measurements import Measurements

DATASETS = real_datasets()
PAPER = ["post_op", "event", "dose"]


def sets_with(part: Callable[[Expected], object], what: str) -> Any:
    """The data sets of which something is known; where there are none, a test that is skipped, saying why."""
    found = [pytest.param(one, id=one.folder.name) for one in DATASETS if one.expected and part(one.expected)]
    absent = f"no real data: `make real-data DIR=FOLDER`, or {VARIABLE} (docs/real-data.md)"
    why = f"{what} of no data set is listed" if DATASETS else absent
    return pytest.mark.parametrize(
        "dataset", found or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=why))]
    )


def known(dataset: RealDataset) -> Expected:
    assert dataset.expected is not None
    return dataset.expected


def passes(done: subprocess.CompletedProcess[str], *, failed: bool = False) -> str:
    """What a command said, which ended as it should and without a traceback."""
    said = f"{done.stdout}{done.stderr}"
    assert "Traceback" not in said
    assert (done.returncode != 0) == failed, said
    return said


def imported(content: Path, project: Path, *, failed: bool = False) -> str:
    """What `ricenet import dicom` said: the first time it proposes, then it imports."""
    command = ("import", "dicom", str(content), COHORT, "--map", "map.csv")
    return passes(ricenet(project, *command), failed=failed)


def test_every_data_set_says_what_is_known_of_it() -> None:
    if unknown := [one.folder.name for one in DATASETS if one.expected is None]:
        pytest.skip(f"nothing is run on {', '.join(unknown)}: no expected.json")


@sets_with(lambda expected: expected.volumes, "a volume")
def test_volumes_have_the_geometry_that_is_known(dataset: RealDataset, tmp_path: Path) -> None:
    content = dataset.content(tmp_path)
    for one in known(dataset).volumes:
        volume = read_volume(content / one.file)
        assert volume.grid.shape == one.shape, one.file
        np.testing.assert_allclose(volume.grid.spacing_mm, one.spacing_mm, rtol=1e-4, err_msg=one.file)
        assert np.isfinite(volume.data).all() and volume.data.min() < volume.data.max(), one.file


@sets_with(lambda expected: expected.dicom, "DICOM")
def test_dicom_is_proposed_and_refused_as_is_known(dataset: RealDataset, tmp_path: Path) -> None:
    expected, project = known(dataset).dicom, tmp_path / "project"
    assert expected is not None
    write_project(project, PAPER)
    content = dataset.content(tmp_path / "files")
    proposed = re.findall(r"(\d+) (complete|undecided|incomplete)", imported(content, project))
    assert {status: int(count) for count, status in proposed} == expected.proposal
    slices: dict[str, list[int]] = {}
    for row in map_rows(project / "map.csv"):
        slices.setdefault(row["modality"], []).append(int(row["slices"]))
    assert {modality: sorted(found) for modality, found in slices.items()} == expected.slices
    if expected.refused is not None:
        assert expected.refused in imported(content, project, failed=True)


@sets_with(lambda expected: expected.dose, "an RTDOSE")
def test_a_dose_has_the_grid_and_the_maximum_that_are_known(dataset: RealDataset, tmp_path: Path) -> None:
    expected = known(dataset).dose
    assert expected is not None
    (one,) = (series for series in read_tree(dataset.content(tmp_path)).series if series.kind == "RTDOSE")
    dose = read_dose(one.first).values
    assert dose.grid.shape == expected.shape
    np.testing.assert_allclose(dose.grid.spacing_mm, expected.spacing_mm, rtol=1e-4)
    assert dose.data.max() == pytest.approx(expected.max_gy, abs=0.01)


@pytest.mark.slow
@sets_with(lambda expected: expected.cohort or expected.subject, "a subject or a cohort")
def test_subjects_go_through_every_command(dataset: RealDataset, tmp_path: Path) -> None:
    expected, project = known(dataset), tmp_path / "project"
    volumes = PAPER if expected.cohort else list(expected.subject)
    write_project(project, volumes)
    if expected.cohort:
        cohort = (dataset.folder / expected.cohort).resolve()
        assert "no problem found" in passes(ricenet(project, "check", str(cohort)))
        copy_first_subject(project, cohort)
    else:
        content = dataset.content(tmp_path / "files")
        if expected.dicom is None:
            write_subject(project, dataset, content)
        else:
            imported(content, project)
            with_roles(project / "map.csv", {int(n): name for name, n in expected.subject.items()})
            imported(content, project)
    assert "no problem found" in passes(ricenet(project, "check", COHORT))
    for stage in STAGES:
        passes(run(project, sys.executable, str(ROOT / f"src/stages/{stage}.py")))
    first = min((project / "work/preprocessed").glob("sub-*"))
    low, high = expected.brain_ml
    assert low <= Measurements.of_subject(first).brain_ml <= high
    page = (project / f"work/quality/{first.name}.html").read_text(encoding="utf-8")
    assert "data:image/webp" in page or ".webp" in page
    model = Path(os.environ.get("RICENET_PROJECT", ROOT))
    if set(PAPER) <= set(volumes) and (model / "mlflow/mlflow.db").is_file():
        table = tmp_path / "predictions.tsv"
        passes(ricenet(model, "predict-cohort", str(project / COHORT), "--output", str(table)))
        assert "p_rice" in table.read_text(encoding="utf-8").splitlines()[0].split("\t")


@pytest.mark.parametrize("path", sorted(KNOWN.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_known_of_a_public_set_is_well_formed(path: Path) -> None:
    expected = Expected.model_validate_json(path.read_text(encoding="utf-8"))
    assert expected.volumes or expected.dicom or (ROOT / str(expected.read_by)).is_file()
