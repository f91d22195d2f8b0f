"""Ensembles that predict: random weights, but settings of preprocessing that are really used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_ensembles import write_untrained
from tracked_project import CUBE_VOXELS, train

from ricenet.config.params import read_params
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.brain import extraction
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.training.ensemble import Ensemble
from ricenet.volume import Volume

DEMO = read_params(Path(__file__).parents[1] / "params.yaml")
TINY = DEMO.preprocessing.model_copy(update={"cube_voxels": CUBE_VOXELS, "spacing_mm": 12.0, "crop": None})
COARSE = {
    "cube_voxels": 24,
    "spacing_mm": 8.0,
    "registration": DEMO.preprocessing.registration.model_copy(update={"spacing_mm": 4.0}),
    "brain": DEMO.preprocessing.brain.model_copy(update={"spacing_mm": 3.0}),
}
HEAD = DEMO.preprocessing.model_copy(update=COARSE)
SMALL, WHOLE = "post_op+dose", "post_op+event+dose"


def write_trained(project: Path, modality_set: str, preprocessing: PreprocessingParams) -> None:
    """What training leaves of a set: random weights, but settings of preprocessing that are really used."""
    train(project, modality_set, seed=7)
    folder = project / "models/ensembles" / modality_set
    record = Ensemble.load(folder).record
    changed = record.model_copy(update={"preprocessing": preprocessing.model_dump()})
    write_untrained(folder, changed, seed=7)


def replace_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """ANTs and HD-BET replaced: both scans lie as they are, and the brain is a block of 216 voxels."""

    def brain(t1: Volume, *_: object) -> Volume:
        mask = np.zeros(t1.grid.shape, bool)
        mask[3:9, 3:9, 3:9] = True
        return Volume(mask, t1.grid)

    monkeypatch.setattr(extraction, "extract_brain", brain)
    registered = RigidResult(np.eye(4), 1.25, 1.2)
    monkeypatch.setattr(preprocess_subject, "register_rigid", lambda *_, **__: registered)
