"""A fold on a machine that shares no files reads there what it reads here, whichever grid it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_folds import CUBE, PREPROCESSING, plan, write_subjects

from ricenet.config.preprocessing import CropParams
from ricenet.preprocessing.network_input import read_volumes, write_volume
from ricenet.training.staged_folds import staged_inputs, with_staged_inputs

CROPPING = PREPROCESSING.model_copy(update={"crop": CropParams(voxels=CUBE, spacing_mm=4.0, isodose=0.8)})


@pytest.mark.parametrize("seen", ["head", "crop"])
def test_a_fold_elsewhere_reads_the_volumes_of_its_own_grid(seen: str, tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    task = plan(tmp_path, splits, ("event+dose",), input=seen, preprocessing=CROPPING)[0]
    crop = np.random.default_rng(3).normal(size=(2, CUBE, CUBE, CUBE)).astype(np.float16)
    for subject in task.subjects:
        for values, name in zip(crop, ("event", "dose"), strict=True):
            write_volume(values, task.preprocessed / subject, subject, name, ".crop")
    there = with_staged_inputs(
        task, task.subjects, staged_inputs(task, task.subjects), tmp_path / "there", tmp_path / "store"
    )
    assert there.preprocessed != task.preprocessed
    subject, names = task.subjects[0], ("event", "dose")
    read = read_volumes(there.preprocessed / subject, subject, names, there.grid)
    expected = read_volumes(task.preprocessed / subject, subject, names, task.grid)
    assert np.array_equal(read, expected)
    assert np.array_equal(read, crop) is (seen == "crop")
