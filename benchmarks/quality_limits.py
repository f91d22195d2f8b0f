"""What quality control's limits rest on: how exact its quick brain is, and what misregistration does.

    dvc repro preprocess && python benchmarks/quality_limits.py

First HD-BET on coarser grids against its own 1.5 mm, on the event scans; then similarity and overlap once
a right transform is moved by some millimetres or turned by some degrees in a random direction.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.config.preprocessing import BrainParams
from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.brain.extraction import BRAIN_MASK, extract_brain
from ricenet.preprocessing.cube import bounding_box_mm
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.registration.image_comparison import SimilarityAtPoints
from ricenet.runtime.randomness import generator_for
from ricenet.screening.quality.examination import MARGIN_MM, OVERLAP_SPACING_MM, mask_on
from ricenet.screening.quality.own_brain import quick
from ricenet.volume import Grid, Volume, dice, load_nifti

SPACINGS_MM = (2.0, 2.25, 2.5, 2.75, 3.0)
OFFSETS = (
    ("mm", 0.0),
    *(("mm", v) for v in (2.0, 5.0, 10.0, 15.0)),
    *(("deg", v) for v in (3.0, 5.0, 10.0, 15.0)),
)


def quick_brains(scans: dict[str, Volume], brain: BrainParams) -> None:
    """Print, by spacing, the Dice with the default's mask and the seconds of this thread."""
    found: dict[float, list[tuple[float, float]]] = {spacing: [] for spacing in SPACINGS_MM}
    for name, scan in scans.items():
        default = extract_brain(scan, name, "MRI", brain)
        fine = Grid.covering(default.grid, 1.0)
        for spacing in SPACINGS_MM:
            start = time.thread_time()
            mask = extract_brain(scan, name, "MRI", brain.model_copy(update={"spacing_mm": spacing}))
            seconds = time.thread_time() - start
            found[spacing].append((dice(mask_on(default, fine), mask_on(mask, fine)), seconds))
    for spacing, values in found.items():
        overlaps, seconds = zip(*values, strict=True)
        print(
            f"{spacing:g} mm: Dice with 1.5 mm {min(overlaps):.3f} to {max(overlaps):.3f}, "
            f"{min(seconds):.1f} to {max(seconds):.1f} s"
        )


def misregistered(raw: RawSubject, folder: Path, kind: str, amount: float) -> tuple[float, float]:
    """Similarity and overlap once the last session's scan is off by some amount, mask and scans being right.

    folder: the subject's, as preprocessing laid it out.
    """
    reference, last = raw.volumes.reference.name, raw.volumes.last_session_reference.name
    to_last = Measurements.of_subject(folder).world_from_reference(last)
    brain = load_nifti(folder / BRAIN_MASK)
    low, high = bounding_box_mm(brain)
    grid = Grid.box(low - MARGIN_MM, high + MARGIN_MM, OVERLAP_SPACING_MM)
    direction = generator_for("misregistered", raw.subject, kind, amount).normal(size=3)
    step = amount * direction / np.linalg.norm(direction)
    turn, shift = (step, np.zeros(3)) if kind == "deg" else (np.zeros(3), step)
    off = rigid(turn, shift, (low + high) / 2)
    within = SimilarityAtPoints.within_head(load_nifti(raw.scan(reference)), load_nifti(raw.scan(last)))
    return within(to_last @ off), dice(mask_on(brain, grid), mask_on(brain, grid, off))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("data/demo"))
    parser.add_argument("--preprocessed", type=Path, default=Path("work/preprocessed"))
    parser.add_argument("--subjects", type=int, default=12, help="only the first so many")
    parser.add_argument("--scan", type=Path, help="a further head, skull on, for the first table")
    arguments = parser.parse_args()
    names = sorted(p.name for p in arguments.preprocessed.glob("sub-*"))[: arguments.subjects]
    if not names:
        parser.error(f"no subjects in {arguments.preprocessed}: run `dvc repro preprocess` first")
    heads = {name: load_nifti(RawSubject(arguments.cohort, name).scan("event")) for name in names[:4]}
    if arguments.scan is not None:
        heads["further"] = load_nifti(arguments.scan)
    quick_brains(heads, quick(read_params().preprocessing.brain))
    subjects = [(RawSubject(arguments.cohort, name), arguments.preprocessed / name) for name in names]
    for kind, amount in OFFSETS:
        similarity, overlap = np.array([misregistered(*s, kind, amount) for s in subjects]).T
        print(
            f"off by {amount:g} {kind}: similarity {similarity.min():.3f} to {similarity.max():.3f}, "
            f"overlap {overlap.min():.3f} to {overlap.max():.3f}"
        )


if __name__ == "__main__":
    main()
