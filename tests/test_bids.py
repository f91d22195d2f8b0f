"""Raw cohorts pass the official BIDS validator (bids-validator-deno 3.0.2) without an error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from heads import DOSE_HEIGHT

from ricenet.cohort.description import write_description
from ricenet.phantom.write_cohort import write_phantom
from ricenet.runtime.files import write_text

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


def errors(cohort: Path) -> list[tuple[str, str]]:
    """Code and place of every error that the validator finds."""
    asked = [str(VALIDATOR), str(cohort), "--format", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["issues"]["issues"]
    return [(issue["code"], issue["location"]) for issue in found if issue["severity"] == "error"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bids") / "phantom"
    known = {"test_fraction": 0.25, "spacing_mm": 6.0, "single_fraction_share": 0.0}
    write_phantom(folder, 2, 7, DOSE_HEIGHT, **known, backend="serial")
    return folder


def test_the_synthetic_cohort_is_valid_bids(phantom: Path) -> None:
    assert errors(phantom) == []


def test_a_cohort_with_the_tables_of_import_and_quarantine_is_too(phantom: Path, tmp_path: Path) -> None:
    cohort = shutil.copytree(phantom, tmp_path / "mine")
    shutil.rmtree(cohort / "ground_truth")
    write_text(cohort / "import.tsv", "participant_id\tstatus\treason\nsub-001\timported\tn/a\n")
    write_text(cohort / "exclude.tsv", "participant_id\treason\nsub-001\tother\n")
    write_description(cohort, {"Name": "mine"})
    assert errors(cohort) == []


def test_what_is_left_to_the_validator_is_judged(phantom: Path, tmp_path: Path) -> None:
    """Nothing is hidden from the validator that BIDS has a place for."""
    cohort = shutil.copytree(phantom, tmp_path / "mine")
    scan = next((cohort / "sub-001").rglob("*T1w.nii.gz"))
    scan.rename(scan.with_name("sub-001_T1ce.nii.gz"))
    assert errors(cohort)
