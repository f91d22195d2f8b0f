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
from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.brain.extraction import extract_brain
from ricenet.preprocessing.registration.similarity import similarity_within_head
from ricenet.runtime.randomness import generator_for
from ricenet.screening.quality.examination import MARGIN_MM, SPACING_MM
from ricenet.screening.quality.geometry import bounding_box_mm, box_grid, dice, mask_on
from ricenet.screening.quality.scans import Scans, read_scans
from ricenet.volume import Grid, Volume, load_nifti

SPACINGS_MM = (2.0, 2.25, 2.5, 2.75, 3.0)
OFFSETS = (
    ("mm", 0.0),
    *(("mm", v) for v in (2.0, 5.0, 10.0, 15.0)),
    *(("deg", v) for v in (3.0, 5.0, 10.0, 15.0)),
)


def quick_brains(scans: dict[str, Volume], precision: str) -> None:
    """Print, by spacing, the Dice with the default's mask and the seconds of this thread."""
    found: dict[float, list[tuple[float, float]]] = {spacing: [] for spacing in SPACINGS_MM}
    settings = {"mode": "fast", "mirroring": False, "precision": precision}
    for name, scan in scans.items():
        default = extract_brain(scan, name, **settings)  # type: ignore[arg-type]
        fine = Grid.covering(default.grid, 1.0)
        for spacing in SPACINGS_MM:
            start = time.thread_time()
            mask = extract_brain(scan, name, spacing_mm=spacing, **settings)  # type: ignore[arg-type]
            seconds = time.thread_time() - start
            found[spacing].append((dice(mask_on(default, fine), mask_on(mask, fine)), seconds))
    for spacing, values in found.items():
        overlaps, seconds = zip(*values, strict=True)
        print(
            f"{spacing:g} mm: Dice with 1.5 mm {min(overlaps):.3f} to {max(overlaps):.3f}, "
            f"{min(seconds):.1f} to {max(seconds):.1f} s"
        )


def misregistered(scans: Scans, kind: str, amount: float) -> tuple[float, float]:
    """Similarity and overlap once the event is off by some amount, mask and scans being right."""
    low, high = bounding_box_mm(scans.brain)
    grid = box_grid(low - MARGIN_MM, high + MARGIN_MM, SPACING_MM)
    direction = generator_for("misregistered", scans.subject, kind, amount).normal(size=3)
    step = amount * direction / np.linalg.norm(direction)
    turn, shift = (step, np.zeros(3)) if kind == "deg" else (np.zeros(3), step)
    off = rigid(turn, shift, (low + high) / 2)
    similarity = similarity_within_head(scans.post_op, scans.event)(scans.event_from_post_op @ off)
    return similarity, dice(mask_on(scans.brain, grid), mask_on(scans.brain, grid, off))


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
    quick_brains(heads, read_params().preprocessing.brain.precision)
    subjects = [read_scans(RawSubject(arguments.cohort, n), arguments.preprocessed / n) for n in names]
    for kind, amount in OFFSETS:
        similarity, overlap = np.array([misregistered(s, kind, amount) for s in subjects]).T
        print(
            f"off by {amount:g} {kind}: similarity {similarity.min():.3f} to {similarity.max():.3f}, "
            f"overlap {overlap.min():.3f} to {overlap.max():.3f}"
        )


if __name__ == "__main__":
    main()
