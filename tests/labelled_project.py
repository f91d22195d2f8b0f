"""A project of three labels, one of them without an event, through all stages up to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cloned_project import merge
from cohorts import write_participants, write_tiny_subject
from predicting_project import replace_tools
from ruamel.yaml import YAML
from small_folds import run_stage

from ricenet.runtime.files import write_json

PROJECT = Path(__file__).parents[1]
NAMES = ("recurrence", "rice", "stable")
SUBJECTS = 21
TEST = 3
SETS = ["event", "dose"]
PARAMS: dict[str, Any] = {
    "labels": list(NAMES),
    "controls": ["stable"],
    "variables": [],
    "cohort": {"root": "data/mine"},
    "preprocessing": {"cube_voxels": 12, "spacing_mm": 16.0, "crop": None},
    "split": {"folds": 2},
    "modality_sets": SETS,
    "network": {"name": "small_cnn", "widths": [2, 2, 2]},
    "training": {"epochs": 2, "batch_size": 8, "precision": "float32"},
    "recipes": {},
    "tuning": {"modality_sets": []},
    "explain": {"modality_sets": [], "cube_voxels": 6, "stride_voxels": 6},
    "evidence": {"resamples": 200, "repeat_fold_seeds": [1], "repeat_sets": ["dose"]},
    "robustness": {
        "modality_sets": ["dose"],
        "noise_sd": [0.3],
        "bias_field": [],
        "dose_rotation_degrees": [],
        "dose_shift_mm": [16],
    },
    "execution": {"backend": "serial", "workers": 1, "threads_per_worker": 1},
}


def write_labelled_cohort(
    folder: Path, label_names: tuple[str, ...] = NAMES, subjects: int = SUBJECTS
) -> Path:
    """Subjects with labels by turns; the last ones are the test set, one of each label."""
    rows = []
    for index in range(subjects):
        subject = f"sub-{index + 1:03d}"
        write_tiny_subject(folder, subject)
        rows.append(
            {
                "participant_id": subject,
                "label": label_names[index % len(label_names)],
                "label_source": "synthetic",
                "subset": "test" if index >= subjects - len(label_names) else "train",
                "site": f"centre {'AB'[index % 2]}",
            }
        )
    write_participants(folder, rows)
    return folder


def write_params(project: Path, **changes: Any) -> None:
    """The project's own, made as small as they get."""
    yaml = YAML()
    content = yaml.load(PROJECT / "params.yaml")
    for name in ("network", "recipes"):
        content[name] = {}
    merge(content, PARAMS | changes)
    yaml.dump(content, project / "params.yaml")


def run_pipeline(project: Path, monkeypatch: pytest.MonkeyPatch, stages: tuple[str, ...]) -> None:
    """Run stages in the project, with ANTs and HD-BET replaced."""
    monkeypatch.chdir(project)
    replace_tools(monkeypatch)
    for name in stages:
        run_stage(name)


def without_vote(project: Path) -> None:
    """What the stage `vote` leaves where no model is a champion."""
    write_json(project / "work/vote/vote.json", {})
