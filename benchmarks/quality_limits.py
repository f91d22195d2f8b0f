"""What quality control's limits rest on: how exact its quick brain is, and what misregistration does.

    dvc repro preprocess && python benchmarks/quality_limits.py

Similarity of the scans and overlap of the brains once a right transform is moved by some millimetres or
turned by some degrees in a random direction; the last session's own brain is looked for where the wrong
transform says, as quality control does it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.cube import bounding_box_mm
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE, Measurements
from ricenet.preprocessing.registration.image_comparison import SimilarityAtPoints
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.randomness import generator_for
from ricenet.screening.quality.examination import MARGIN_MM, OVERLAP_SPACING_MM, mask_on
from ricenet.screening.quality.own_brain import find_own_brain
from ricenet.volume import Affine, Grid, Volume, dice, load_nifti

OFFSETS = (
    ("mm", 0.0),
    *(("mm", v) for v in (2.0, 5.0, 10.0, 15.0)),
    *(("deg", v) for v in (3.0, 5.0, 10.0, 15.0)),
)


def overlap_of(raw: RawSubject, folder: Path, brain: Volume, off: Affine) -> tuple[float, float]:
    """Dice of the mask and the last session's own brain, and the seconds of this thread that it took.

    folder: a copy of the subject's, whose transform is `off` the right one.
    """
    last = raw.volumes.last_session_reference.name
    to_last = Measurements.of_subject(folder).world_from_reference(last)
    content = read_json(folder / MEASUREMENTS_FILE)
    content["mris"][last]["world_from_reference"] = (to_last @ off).tolist()
    with tempfile.TemporaryDirectory() as name:
        moved = Path(shutil.copytree(folder, Path(name) / raw.subject))
        (moved / MEASUREMENTS_FILE).unlink()
        write_json(moved / MEASUREMENTS_FILE, content)
        start = time.thread_time()
        found = find_own_brain(raw, moved, read_params().preprocessing.brain).mask
        seconds = time.thread_time() - start
    low, high = bounding_box_mm(brain)
    grid = Grid.box(low - MARGIN_MM, high + MARGIN_MM, OVERLAP_SPACING_MM)
    overlap = 0.0 if found is None else dice(mask_on(brain, grid), mask_on(found, grid, to_last @ off))
    return overlap, seconds


def misregistered(raw: RawSubject, folder: Path, kind: str, amount: float) -> tuple[float, float, float]:
    """Similarity, overlap and the seconds of the overlap, once the last session's scan is off by some amount.

    folder: the subject's, as preprocessing laid it out.
    """
    reference, last = raw.volumes.reference.name, raw.volumes.last_session_reference.name
    to_last = Measurements.of_subject(folder).world_from_reference(last)
    mask = load_nifti(folder / brain_mask_file(folder.name))
    brain = Volume(mask.data > 0.5, mask.grid)
    low, high = bounding_box_mm(brain)
    direction = generator_for("misregistered", raw.subject, kind, amount).normal(size=3)
    step = amount * direction / np.linalg.norm(direction)
    turn, shift = (step, np.zeros(3)) if kind == "deg" else (np.zeros(3), step)
    off = rigid(turn, shift, (low + high) / 2)
    within = SimilarityAtPoints.within_head(load_nifti(raw.scan(reference)), load_nifti(raw.scan(last)))
    return within(to_last @ off), *overlap_of(raw, folder, brain, off)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("data/demo"))
    parser.add_argument("--preprocessed", type=Path, default=Path("work/preprocessed"))
    parser.add_argument("--subjects", type=int, default=12, help="only the first so many")
    arguments = parser.parse_args()
    names = sorted(p.name for p in arguments.preprocessed.glob("sub-*"))[: arguments.subjects]
    if not names:
        parser.error(f"no subjects in {arguments.preprocessed}: run `dvc repro preprocess` first")
    subjects = [(RawSubject(arguments.cohort, name), arguments.preprocessed / name) for name in names]
    for kind, amount in OFFSETS:
        similarity, overlap, seconds = np.array([misregistered(*s, kind, amount) for s in subjects]).T
        print(
            f"off by {amount:g} {kind}: similarity {similarity.min():.3f} to {similarity.max():.3f}, "
            f"overlap {overlap.min():.3f} to {overlap.max():.3f}, {np.median(seconds):.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
