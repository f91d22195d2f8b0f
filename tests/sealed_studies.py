"""A project that seals a model, and the cohort of another hospital: tiny, with the tools replaced."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cohorts import read_table, write_participants, write_tiny_cohort
from exported_bundles import adapt
from predicting_project import SMALL, TINY, write_trained
from small_ensembles import untrained
from tracked_project import CUBE_VOXELS, PREFIX, make_project, store_of, write_gate
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.evaluation.evidence.calibration_record import ConformalThresholds
from ricenet.runtime.files import write_json
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import make_champion, promotable_version
from ricenet.training.ensemble_record import read_record, write_ensemble
from ricenet.training.tensors_file import write_tensors

SUBJECTS = 16
PLAN: dict[str, Any] = {
    "subgroups": [{"column": "sex", "groups": ["F", "M"]}, {"column": "age_years", "cuts": [60]}],
    "resamples": 300,
    "seed": 11,
    "least_subjects": 12,
    "smallest_cell": 3,
}
CONFORMAL = ConformalThresholds(coverage=0.75, rice_from=0.45, recurrence_to=0.55)


def write_home(project: Path) -> Path:
    """A project with a champion of post_op+dose whose folds and subjects get answers that differ."""
    make_project(project)
    shutil.rmtree(project / "models/ensembles/dose")
    write_trained(project, SMALL, TINY)
    folder = project / "models/ensembles" / SMALL
    record, paths = read_record(folder), []
    for fold in range(record.folds):
        network = untrained(SMALL, fold, 7, record.network)
        adapt(network, torch.Generator().manual_seed(fold), (2, *[CUBE_VOXELS] * 3))
        _spread(network, MIDDLES[fold])
        paths.append(project / f"{fold}.safetensors")
        write_tensors(network.state_dict(), paths[-1])
    write_ensemble(folder, record, paths)
    write_gate(project, SMALL, conformal=CONFORMAL, threshold=0.53)
    store = store_of(project)
    register_ensembles(project, store, PREFIX)
    make_champion(store, promotable_version(store, PREFIX, SMALL))
    return project


MIDDLES = (0.34, -0.18)
"""Of the logit of RICE by fold, among tiny subjects."""


def _spread(network: torch.nn.Module, middle: float) -> None:
    """Let about half of the tiny subjects be called RICE, with probabilities far from each other."""
    with torch.no_grad():
        network.fc.weight *= 8
        network.fc.bias *= 8
        network.fc.bias[1] -= 8 * middle


def write_cohort_elsewhere(folder: Path, subjects: int = SUBJECTS) -> Path:
    """Labels by turns; sex and age so that every group has subjects of both labels, none of them small."""
    write_tiny_cohort(folder, subjects)
    rows = [
        {**row, "sex": "F" if i < subjects // 2 else "M", "age_years": str(40.5 + (7 * i) % 41),
         "event_date": "2021-03-17"}
        for i, row in enumerate(read_table(folder))
    ]  # fmt: skip
    write_participants(folder, rows)
    return folder


def export(project: Path, package: Path, plan: dict[str, Any] | None = None) -> Result:
    """`ricenet export study`, from the folder that the process is in."""
    written = package.with_suffix(".plan.json")
    write_json(written, PLAN if plan is None else plan)
    return run("export", "study", SMALL, "--plan", written, "--out", package)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


REPLACED = """
import sys
import pytest
sys.path.insert(0, sys.argv.pop(1))
from predicting_project import replace_tools
replace_tools(pytest.MonkeyPatch())
from ricenet.cli import app
app(sys.argv[1:])
"""
"""`ricenet` in another process, with ANTs and HD-BET replaced."""


def run_elsewhere(folder: Path, arguments: Sequence[object]) -> str:
    """What the command prints, in a folder without any project."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPLACED, str(Path(__file__).parent), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found
