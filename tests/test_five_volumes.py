"""FLAIR and ADC beside the paper's volumes: from raw files to the vote, by params.yaml alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from five_volumes import FIVE_VOLUMES, write_five_volume_cohort
from preprocessed_subjects import head_of
from ruamel.yaml import YAML
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.config.preprocessing import RegistrationParams
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.network_input import read_volumes
from ricenet.preprocessing.preprocess_subject import register_mri
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import read_rows
from ricenet.vocabulary import VolumeSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[1]
WITHOUT_ADC = "sub-003"
REGISTERED = ("sub-001", WITHOUT_ADC)
"""Whose scans ANTs lays over each other; the others', where their maker knows that they lie."""
ALL = "+".join(FIVE_VOLUMES.names)
SETS = ["dose", "event_flair+event_adc", ALL]
TO_REGISTER = (
    *("check_cohort", "preprocess", "split", "guard"),
    *("tune", "train", "evaluate", "register"),
)
TINY: dict[str, dict[str, Any]] = {
    "cohort": {"root": "cohort"},
    "preprocessing": {"cube_voxels": 16, "spacing_mm": 12.0, "registration": {"spacing_mm": 8.0}},
    "split": {"folds": 2},
    "network": {"widen_factor": 0.0625},
    "training": {"epochs": 1, "batch_size": 4},
    "evidence": {"resamples": 200},
    "explain": {"modality_sets": [ALL]},
    "execution": {"backend": "serial", "workers": 1},
    "tracking": {"vote_past_gate": True},
}


class Project:
    """A copied project whose params.yaml alone is edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        yaml = YAML()
        params = yaml.load(PROJECT / "params.yaml")
        params["volumes"], params["modality_sets"] = FIVE_VOLUMES.as_json(), SETS
        for section, values in TINY.items():
            for name, value in values.items():
                if isinstance(value, dict):
                    params[section][name].update(value)
                else:
                    params[section][name] = value
        folder.mkdir()
        yaml.dump(params, folder / "params.yaml")
        write_five_volume_cohort(folder / "cohort")
        RawSubject(folder / "cohort", WITHOUT_ADC, FIVE_VOLUMES).scan("event_adc").unlink()

    def stage(self, name: str) -> None:
        runpy.run_path(str(PROJECT / "src" / "stages" / f"{name}.py"), run_name="__main__")

    def json(self, name: str) -> Any:
        return read_json(self.folder / "work" / name)


def register_some(raw: RawSubject, spec: VolumeSpec, params: RegistrationParams, seed: int) -> RigidResult:
    if raw.subject in REGISTERED:
        return register_mri(raw, spec, params, seed)
    truth = read_json(raw.cohort / GROUND_TRUTH / raw.subject / "truth.json")
    from_post_op = {
        "post_op": np.eye(4),
        "event": np.array(truth["event_world_from_post_op_world"]),
        **{name: np.array(known) for name, known in truth["world_from_post_op_world"].items()},
    }
    fixed = from_post_op[raw.volumes.reference_of(spec).name]
    return RigidResult(from_post_op[spec.name] @ np.linalg.inv(fixed), 1.2, 1.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """After every stage, and the promotion between the registration and the vote."""
    project = Project(tmp_path_factory.mktemp("five") / "project")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project.folder)
        patched.setattr(preprocess_subject, "register_mri", register_some)
        for stage in (
            "check_cohort",
            "preprocess",
            "split",
            "guard",
            "tune",
            "train",
            "evaluate",
            "register",
        ):
            project.stage(stage)
        promoted = CliRunner().invoke(app, ["promote", ALL, "--force", "--reason", "five volumes"])
        assert promoted.exit_code == 0, promoted.output
        for stage in ("resolve", "vote"):
            project.stage(stage)
    return project


def test_volumes_are_preprocessed_in_the_declared_order(project: Project) -> None:
    folder = project.folder / "work" / "preprocessed" / "sub-001"
    volumes = read_volumes(folder, "sub-001", FIVE_VOLUMES.names, head_of(16)).astype(np.float32)
    assert volumes.shape == (5, 16, 16, 16) and np.isfinite(volumes).all()
    brain = volumes[0] != 0
    # z-scored FLAIR; ADC in units of 1000e-6 mm2/s, of which brain tissue has 0.8 and fluid 3
    assert abs(volumes[3][brain].mean()) < 0.2
    assert 0.7 < np.median(volumes[4][brain]) < 1.3 and volumes[4].max() < 3.3


def test_a_subject_without_an_optional_volume_stays_in_the_sets_that_do_not_need_it(project: Project) -> None:
    assert WITHOUT_ADC in {one["participant_id"] for one in project.json("cohort/cohort.json")["subjects"]}
    rows = read_rows(project.folder / "work" / "evaluation" / "out_of_fold.tsv")
    of = {name: {row["participant_id"] for row in rows if row["modality_set"] == name} for name in SETS}
    assert len(of["dose"]) == 6 and of["dose"] - of[ALL] == {WITHOUT_ADC}
    assert of[ALL] == of["event_flair+event_adc"]


def test_every_declared_set_is_trained_scored_and_registered(project: Project) -> None:
    assert set(project.json("evaluation/metrics.json")) == set(SETS)
    assert {path.name for path in (project.folder / "models/ensembles").iterdir()} >= set(SETS)
    assert len(project.json("registered.json")) == len(SETS)


def test_the_champion_of_five_volumes_votes_once_on_the_test_set(project: Project) -> None:
    assert project.json("vote/vote.json")
    (evaluated,) = read_rows(project.folder / "models" / "test_ledger.tsv")
    assert (evaluated["modality_set"], evaluated["n"], evaluated["evaluation"]) == (ALL, "2", "1")
