"""A whole project as small as the real stages take it: six phantom heads with their brain masks, two sets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cohorts import write_participants
from heads import write_head
from scipy import ndimage

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.volume import Volume, load_nifti, save_nifti

SUBJECTS, FOLDS, CUBE_VOXELS = 6, 2, 24
SETS = ("dose", "event+dose")
SPACING_MM = 5.0
SCALP_AND_SKULL_MM = 12.0

SMALL: dict[str, object] = {
    "cohort": {"root": "data/mine"},
    "modality_sets": list(SETS),
    "preprocessing": {
        "cube_voxels": CUBE_VOXELS,
        "spacing_mm": 8.0,
        "registration": {"spacing_mm": 8.0},
        "brain": {"spacing_mm": 3.0, "device": "cpu"},
    },
    "split": {"folds": FOLDS},
    "network": {"widen_factor": 0.0625},
    "training": {
        "epochs": 2,
        "batch_size": 2,
        "checkpoint_every_epochs": 1,
        "checkpoint_pause_s": 0,
        "precision": "float32",
    },
    "explain": {"modality_sets": ["dose"], "subjects_per_label": 1, "cube_voxels": 12, "stride_voxels": 12},
    "robustness": {"dose_shift_mm": [3], "dose_rotation_degrees": [], "noise_sd": [0.1], "bias_field": []},
    "evidence": {"resamples": 200},
    "execution": {"backend": "serial", "workers": 1, "threads_per_worker": 1},
}
"""Changes to params.yaml."""


def write_small_cohort(folder: Path, subjects: int = SUBJECTS) -> Path:
    """Phantom heads of 5 mm with brain masks; labels by turns, the last two are the test set."""
    rows = []
    for index in range(subjects):
        subject = f"sub-{index + 1:03d}"
        write_head(folder, subject, spacing_mm=SPACING_MM)
        write_brain_mask(RawSubject(folder, subject))
        subset = "test" if index >= subjects - 2 else "train"
        label = ("recurrence", "rice")[index % 2]
        rows.append({"participant_id": subject, "label": label, "label_source": "biopsy", "subset": subset})
    write_participants(folder, rows)
    # the stages take it for a cohort of patients
    shutil.rmtree(folder / GROUND_TRUTH)
    return folder


def write_brain_mask(raw: RawSubject) -> None:
    """What lies deeper in the head than scalp and skull."""
    image = load_nifti(raw.scan("post_op"))
    values = np.asarray(image.data, np.float32)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(values > 0.2 * np.percentile(values, 98)))
    depth_mm = ndimage.distance_transform_edt(head, sampling=image.grid.spacing_mm)
    save_nifti(Volume(depth_mm > SCALP_AND_SKULL_MM, image.grid), raw.brain_mask)


@dataclass(frozen=True)
class Step:
    """One of the commands of a project. program: a part of the command line that does the work."""

    name: str
    command: tuple[str, ...]
    program: str


STAGES = (
    "check_cohort",
    "preprocess",
    "quality",
    "split",
    "guard",
    "tune",
    "train",
    "repeat",
    "learning_curve",
    "evaluate",
    "evidence",
    "robustness",
    "explain",
    "resolve",
    "vote",
    "ledger",
    "report",
    "register",
)
AFTER_PROMOTION = ("resolve", "vote", "ledger", "report", "register")
PROMOTE = ("ricenet", "promote", "dose", "--force", "--reason", "a test of faults")


def stage_step(stage: str, again: str = "") -> Step:
    return Step(stage + again, ("dvc", "repro", "--single-item", stage), f"src/stages/{stage}.py")


PASSES = (
    *(stage_step(stage) for stage in STAGES),
    Step("promote", PROMOTE, "ricenet promote"),
    *(stage_step(stage, " again") for stage in AFTER_PROMOTION),
)
"""The whole protocol, stage by stage, with a promotion and the vote that follows it."""
