"""HD-BET on coarser grids than it was trained on: masks against those of 1.5 mm, and seconds.

    python benchmarks/brain_spacing.py        # some five minutes on a CPU

Heads: both scans of two phantoms, and, where the real samples are (RICENET_SAMPLES, or ../shared/samples),
Colin27 and a T1ce with a tumour. Prints a line a head and grid (Dice with the mask of 1.5 mm on that mask's
grid and on a cube of 6 mm, how far the cube's centre moves, seconds of the process), then the figures of the
grid that `preprocessing.brain.spacing_mm: auto` takes for such a cube.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figure import report
from hd_bet import COLIN, SAMPLES

from ricenet.cohort.layout import RawSubject
from ricenet.config.preprocessing import COARSEST_OF_AUTO_MM, MODEL_SPACING_MM, BrainParams
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause, write_subject
from ricenet.preprocessing.brain.extraction import extract_brain
from ricenet.preprocessing.cube import brain_cube, on_cube
from ricenet.screening.quality.examination import mask_on
from ricenet.volume import Volume, dice, load_nifti

SPACINGS_MM = (2.0, 2.25, 2.5, 3.0)
CUBE_MM, CUBE_VOXELS = 6.0, 48
SEED, SUBJECTS = 91, ("sub-101", "sub-102")
TUMOUR = SAMPLES / "mri_t1ce_tumour/brain1_image.nrrd"
BRAIN = BrainParams(mode="fast", mirroring=False, precision="auto")


def heads() -> Iterator[tuple[str, Volume]]:
    """Names and scans."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in SUBJECTS:
            cause = draw_cause(subject, SEED, MECHANISMS["clinical"])
            write_subject(folder, shared_template(2.0), cause, SEED, single_fraction_share=0.0)
            raw = RawSubject(folder, subject)
            yield from ((f"{subject} {scan}", load_nifti(raw.scan(scan))) for scan in ("post_op", "event"))
        if COLIN.is_file():
            yield "Colin27", load_nifti(COLIN)
        if TUMOUR.is_file():
            yield "T1ce with a tumour", _nrrd(TUMOUR)


def _nrrd(path: Path) -> Volume:
    import SimpleITK

    with tempfile.TemporaryDirectory() as name:
        converted = Path(name) / "scan.nii.gz"
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(converted))
        return load_nifti(converted)


def masked(scan: Volume, spacing_mm: float) -> tuple[Volume, float]:
    """The mask, and the seconds of this process."""
    start = time.process_time()
    mask = extract_brain(scan, "head", "T1", BRAIN.model_copy(update={"spacing_mm": spacing_mm}))
    return mask, time.process_time() - start


def main() -> None:
    """Print the table and the figures."""
    on_cubes, shares = list[float](), list[float]()
    for name, scan in heads():
        known, whole = masked(scan, MODEL_SPACING_MM)
        cube = brain_cube(known, CUBE_MM, CUBE_VOXELS, "head")
        for spacing_mm in SPACINGS_MM:
            mask, seconds = masked(scan, spacing_mm)
            moved = brain_cube(mask, CUBE_MM, CUBE_VOXELS, "head").affine - cube.affine
            overlap = dice(on_cube(mask, cube, 1) >= 0.5, on_cube(known, cube, 1) >= 0.5)
            print(
                f"{name}, {spacing_mm:g} mm: Dice {dice(mask_on(mask, known.grid), known.data):.3f}, on the "
                f"cube {overlap:.3f}, centre {np.abs(moved).max():.1f} mm off, {seconds:.1f} of {whole:.1f} s"
            )
            if spacing_mm == COARSEST_OF_AUTO_MM:
                on_cubes.append(overlap)
                shares.append(seconds / whole)
    agreement = f"{len(on_cubes)} heads, against the grid of {MODEL_SPACING_MM} mm"
    report("brain_spacing/auto/dice_on_cube", min(on_cubes), ">= 0.98", agreement, min(on_cubes) >= 0.98)
    report("brain_spacing/auto/time", float(np.mean(shares)), "<= 0.5", agreement, np.mean(shares) <= 0.5)


if __name__ == "__main__":
    main()
