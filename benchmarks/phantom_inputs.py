"""Phantom subjects on the network's grids, by the truth in place of registration and brain extraction.

What benchmarks of training need by the hundred: the product's own cube and crops, without the minutes that
registration and HD-BET take, whose accuracy other benchmarks measure. Subjects are kept, so that a stopped
run goes on where it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.config.params import Params
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.phantom_subject import Cause, write_subject
from ricenet.preprocessing import preprocess_subject, subject_files
from ricenet.preprocessing.brain.extraction import FoundBrain
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, read_json
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, load_nifti, resample

SPACING_MM = 3.0
BRAIN_MM = 1.5
ALIKE = (1.5, 1.2)
"""Similarity after and before a registration that was not made."""


def make_inputs(folder: Path, params: Params, causes: Sequence[Cause], seed: int) -> None:
    """Write every subject's volumes on cube and crops to a folder of its own; skip those that are there."""
    missing = [cause for cause in causes if not (folder / cause.subject).is_dir()]
    outcomes = run_tasks(
        partial(_make_input, folder, params, seed),
        missing,
        "processes",
        params.execution.workers,
        1,
        "phantoms",
    )
    if failed := [f"{outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]:
        raise SystemExit("\n".join(failed))


def _make_input(folder: Path, params: Params, seed: int, cause: Cause) -> None:
    with tempfile.TemporaryDirectory() as name:
        cohort = Path(name)
        write_subject(cohort, shared_template(SPACING_MM), cause, seed, single_fraction_share=0.0)
        truth = cohort / GROUND_TRUTH / cause.subject
        event_from_post_op = np.array(read_json(truth / "truth.json")["event_world_from_post_op_world"])
        known = load_nifti(truth / "brain.nii.gz")
        straight = Grid.covering(known.grid, BRAIN_MM)
        brain = Volume(resample(known, straight).data > 0.5, straight)
        raw = RawSubject(cohort, cause.subject, PAPER_VOLUMES)
        registrations = {"event": RigidResult(event_from_post_op, *ALIKE)}
        made = preprocess_subject.make_cube(
            raw, params.preprocessing, registrations, FoundBrain(brain, "given")
        )
        with atomic_folder(folder / cause.subject) as temporary:
            subject_files.write_subject(made, temporary, raw, params.preprocessing.dose_unit_gy)
