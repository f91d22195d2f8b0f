"""Raw cohorts, and what preprocessing makes of them, pass the official validator of BIDS without an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bids_validation import errors
from five_volumes import FIVE_VOLUMES, write_five_volume_cohort

from ricenet.cohort.description import write_description
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.preprocessing.brain.extraction import find_brain
from ricenet.preprocessing.derivative_dataset import write_dataset
from ricenet.preprocessing.derivative_files import brain_file, brain_mask_file, image_file, sidecar_file
from ricenet.preprocessing.preprocess_subject import make_cube
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.files import read_json, write_text

PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing
EQD2 = PARAMS.model_copy(update={"eqd2_alpha_beta_gy": 3.0})
UNMOVED = RigidResult(np.eye(4), similarity=1.5, similarity_before=1.2)
OTHER_MRIS = ("event", "event_flair", "event_adc")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects with FLAIR, ADC and a brain mask."""
    return write_five_volume_cohort(tmp_path_factory.mktemp("bids") / "phantom", subjects=2)


@pytest.fixture(scope="module")
def derivative(phantom: Path) -> Path:
    """As the stage makes it, but that nothing is registered: the headers alone place the scans."""
    folder, keys = phantom.parent / "work/preprocessed", {"sub-001": "a", "sub-002": "b"}
    for subject, params in zip(keys, (PARAMS, EQD2), strict=True):
        raw = RawSubject(phantom, subject, FIVE_VOLUMES)
        made = make_cube(raw, params, dict.fromkeys(OTHER_MRIS, UNMOVED), find_brain(raw, params.brain))
        write_subject(made, folder / subject, raw, params.dose_unit_gy)
        write_text(folder / subject / "provenance.json", "{}")
    write_dataset(folder, folder, phantom, FIVE_VOLUMES, keys)
    return folder


def test_the_synthetic_cohort_is_valid_bids(phantom: Path) -> None:
    assert errors(phantom) == []


def test_a_cohort_with_the_tables_of_import_and_quarantine_is_too(phantom: Path, tmp_path: Path) -> None:
    cohort = shutil.copytree(phantom, tmp_path / "mine")
    shutil.rmtree(cohort / "ground_truth")
    write_text(cohort / "import.tsv", "participant_id\tstatus\treason\nsub-001\timported\tn/a\n")
    write_text(cohort / "exclude.tsv", "participant_id\treason\nsub-001\tother\n")
    write_description(cohort, {"Name": "mine"}, FIVE_VOLUMES)
    assert errors(cohort) == []


def test_what_is_left_to_the_validator_is_judged(phantom: Path, tmp_path: Path) -> None:
    """Nothing is hidden from the validator that BIDS has a place for."""
    cohort = shutil.copytree(phantom, tmp_path / "mine")
    scan = next((cohort / "sub-001").rglob("*T1w.nii.gz"))
    scan.rename(scan.with_name("sub-001_T1ce.nii.gz"))
    assert errors(cohort)


def test_preprocessed_volumes_are_a_valid_derivative(derivative: Path) -> None:
    assert errors(derivative) == []


@pytest.mark.parametrize("sought", ["*_FLAIR.nii.gz", "*desc-brain_mask.nii.gz", "*_T1w.json"])
def test_of_a_derivative_nothing_is_hidden_either(derivative: Path, tmp_path: Path, sought: str) -> None:
    copy = shutil.copytree(derivative, tmp_path / "preprocessed")
    file = next((copy / "sub-001").rglob(sought))
    file.rename(file.with_name(file.name.replace("space-", "place-")))
    assert errors(copy)


def test_every_source_that_a_sidecar_names_is_there(derivative: Path) -> None:
    links = read_json(derivative / "dataset_description.json")["DatasetLinks"]
    named = set[str]()
    for image in derivative.rglob("*.nii.gz"):
        content = read_json(Path(sidecar_file(str(image))))
        named |= {*content["Sources"], content["SpatialReference"]}
    for uri in named:
        _, dataset, file = uri.split(":")
        assert (derivative / (links[dataset] if dataset else ".") / file).is_file(), uri
    raw = [uri.partition(":raw:")[2] for uri in named if ":raw:" in uri]
    # of each subject five volumes, the dose's JSON and the mask that was given
    assert len(raw) == 2 * 7


def test_a_sidecar_says_how_a_volume_came_about(derivative: Path) -> None:
    def said(subject: str, file: str) -> dict[str, Any]:
        return dict(read_json(derivative / subject / sidecar_file(file)))

    post_op = "sub-001/ses-postop/anat/sub-001_ses-postop_ce-gadolinium_T1w.nii.gz"
    event = "sub-001/ses-event/anat/sub-001_ses-event_ce-gadolinium_T1w.nii.gz"
    mask = f"bids::sub-001/{brain_mask_file('sub-001')}"
    crop = "4 x 4 x 4 mm, 24 x 24 x 24 voxels"
    on_cubes = {"head": "6 x 6 x 6 mm, 32 x 32 x 32 voxels", "crop": crop, "cropbychange": crop}
    adc = said("sub-001", image_file("sub-001", FIVE_VOLUMES["event_adc"], ".crop_by_change"))
    assert adc == {
        "Description": "value / 1000; 0 outside the brain",
        "SkullStripped": True,
        # registered to the event's T1ce, and that to the reference
        "Sources": [
            "bids:raw:sub-001/ses-event/anat/sub-001_ses-event_ADC.nii.gz",
            *(f"bids:raw:{event}", f"bids:raw:{post_op}", mask),
        ],
        "SpatialReference": f"bids:raw:{post_op}",
        "Resolution": on_cubes,
    }
    brain = said("sub-001", brain_file("sub-001"))
    assert brain["Type"] == "Brain" and brain["Resolution"].items() > on_cubes.items()
    assert set(brain["Resolution"]) == {*on_cubes, "own"}
    assert brain["Sources"] == ["bids:raw:sub-001/ses-postop/anat/sub-001_ses-postop_desc-brain_mask.nii.gz"]
    dose, eqd2 = (said(s, image_file(s, FIVE_VOLUMES["dose"])) for s in ("sub-001", "sub-002"))
    assert (dose["DoseUnits"], "AlphaBetaGy" in dose, eqd2["AlphaBetaGy"]) == ("GY", False, 3.0)
    assert dose["Sources"] == [
        "bids:raw:sub-001/ses-postop/rt/sub-001_ses-postop_dose.nii.gz",
        *(f"bids:raw:{post_op}", mask, "bids:raw:sub-001/ses-postop/rt/sub-001_ses-postop_dose.json"),
    ]
