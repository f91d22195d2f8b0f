"""Tiny cohorts with preprocessed volumes and splits, for tests that plant a leak in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cohorts import write_tiny_cohort
from numpy.typing import NDArray
from preprocessed_subjects import NAMES, image_of, save_summary, save_volumes
from small_quality import checked

from ricenet.cohort.checked import CheckedCohort, write_checked_cohort, write_excluded
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.splits import make_splits, write_splits
from ricenet.config.params import ExecutionParams
from ricenet.preprocessing.intensity import scaling_in_brain
from ricenet.preprocessing.intensity import standardised as in_sds
from ricenet.runtime.randomness import generator_for
from ricenet.runtime.store import Store
from ricenet.screening.guards.result import GuardResult
from ricenet.screening.guards.run_guards import guards_of_cohort
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, save_nifti

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
SHAPE = (20, 20, 20)
GRID = Grid.cube(np.zeros(3), 8.0, 20)
DOSE_UNIT_GY = 60.0
LIMIT = 0.7
BRAIN = np.linalg.norm(np.indices(SHAPE) - 9.5, axis=0) <= 8.5

Image = NDArray[np.float32]


def write_guarded_project(project: Path, subjects: int = 24) -> Path:
    """data/, work/preprocessed and work/splits of a cohort without a leak."""
    root = write_tiny_cohort(project / "data", subjects)
    for index in range(subjects):
        write_volumes(project, f"sub-{index + 1:03d}")
    write_splits(make_splits(checked(root).subjects, 2, 0.0, 1), project / "work/splits/splits.json")
    return root


def pattern(*purpose: str) -> Image:
    """A smooth random image of SD 1."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(generator_for(*purpose).normal(size=SHAPE), 1.0)
    return (smooth / smooth.std()).astype(np.float32)


def head(subject: str, scan: str) -> Image:
    """Standardised: what all heads share, and half as much of the scan's own."""
    return standardised(2 * pattern("anatomy") + pattern(subject, scan))


def standardised(image: Image) -> Image:
    return in_sds(image, BRAIN, *scaling_in_brain(image, BRAIN, PAPER_VOLUMES["post_op"], "sub-001"))


def plan_gy(subject: str) -> Image:
    """Up to 60 Gy in places of the subject's own."""
    return (30 + 30 * np.tanh(pattern(subject, "plan"))).astype(np.float32)


def write_volumes(
    project: Path,
    subject: str,
    post_op: Image | None = None,
    event: Image | None = None,
    dose_gy: Image | None = None,
) -> None:
    """A preprocessed subject: its own images, or those that are given."""
    folder = project / "work/preprocessed" / subject
    post_op = head(subject, "post_op") if post_op is None else post_op
    event = head(subject, "event") if event is None else event
    dose_gy = plan_gy(subject) if dose_gy is None else dose_gy
    save_volumes(folder, np.stack([post_op, event, dose_gy / np.float32(DOSE_UNIT_GY)]).astype(np.float16))
    save_nifti(Volume(BRAIN, GRID), image_of(folder, "brain"))
    save_nifti(Volume(dose_gy, GRID), image_of(folder, "dose"))


def overwrite_channel(project: Path, subject: str, channel: int, image: Image) -> None:
    """Change one channel of the network's input and nothing else."""
    path = project / "work/preprocessed" / subject / f"{NAMES[channel]}.npy"
    np.save(path, np.broadcast_to(image, np.load(path).shape).astype(np.float16))


def checked_with_store(project: Path) -> CheckedCohort:
    """The cohort of a project, of which only what has changed is read."""
    report = check_cohort(project / "data", store=Store(project / "work/store/raw"))
    return admit(report, exclude_faulty=False)


def guards_of(project: Path) -> dict[str, GuardResult]:
    """Run the guards that need no training; results by name."""
    results = guards_of_cohort(
        checked_with_store(project),
        project / "work/preprocessed",
        project / "work/splits/splits.json",
        LIMIT,
        DOSE_UNIT_GY,
        SERIAL,
        project / "work/store",
    )
    return {result.name: result for result in results}


def write_checked(project: Path) -> CheckedCohort:
    """What the stages before `guard` leave of the cohort."""
    cohort = checked(Path("data"))
    write_checked_cohort(cohort, project / "work/cohort/cohort.json")
    write_excluded([], project / "work/cohort/excluded.json")
    save_summary(project / "work/preprocessed")
    return cohort
