"""Occlusion maps of the paper's ResNet-18 (cube 16, stride 8, float32) against MONAI's and Captum's.

    python benchmarks/occlusion.py [--sizes 64 96 128 224] [--whole 64 96 128] [--bfloat16]

MONAI's OcclusionSensitivity computes 8 positions in the middle, one forward each; its whole map, which would
take hours, is taken as that many times its positions. Captum's Occlusion (extra `benchmarks`) computes 8
positions of stride 16 too, and at 64 all of them. Ours computes the same positions for the agreement, a
random sample of all positions for the speed a position, and for the sizes named by --whole the whole map of a
head; for the others that is the time of the known input and of as many positions as it needs, from a sample.
The head is MNI's brain in a cube of 224 mm, with 60 Gy around a point of its right half; the weights are
random, batch norm has statistics of its own. `whole` leaves out cubes that change nothing; `brain` besides
those that do not touch the brain.
--base WORKTREE compares with the build of a git worktree instead, of before: CPU seconds a position, of those
of the head that change anything, one thread, both builds in turn.
On a GPU: --device cuda, where the whole map at 224 is measured and its goal is 20 s.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figure import report
from numpy.typing import NDArray

from ricenet.config.network_params import ResNetParams
from ricenet.config.params import ExplainParams
from ricenet.evaluation.occlusion.hidden_cubes import CubeGrid
from ricenet.evaluation.occlusion.incremental import KnownInput
from ricenet.evaluation.occlusion.receptive_field import Boxes, windows
from ricenet.evaluation.occlusion.sensitivity import occlusion_maps
from ricenet.runtime.machine import keep_freed_memory
from ricenet.training.networks import build_network, full_precision, p_rice

CUBE, STRIDE, EDGE_MM = 16, 8, 224.0
GOALS = {64: (3, 10), 96: (9, 40), 128: (22, 100), 224: (60, 300)}
"""By size: times as fast a position, and for the whole map of a head."""
GPU_GOAL_S, DEMO_GOAL_S, MEMORY_GOAL_GB, AGREEMENT = 20.0, 5.0, 12.0, 1e-5
SAMPLE = 48
GOAL_OF_BUILDS = 2.0


def explain_params(cube: int, stride: int, *, within_brain: bool = False) -> ExplainParams:
    """Of one map."""
    return ExplainParams(
        modality_sets=[],
        subjects_per_label=None,
        cube_voxels=cube,
        stride_voxels=stride,
        within_brain=within_brain,
    )


def head(voxels: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Post-op, event and dose (3, X, Y, Z) as the network sees them, and the brain mask."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from scipy import ndimage

    mask, image = load_mni152_brain_mask(resolution=1), load_mni152_template(resolution=1)
    brain_mm = mask.get_fdata() > 0.5
    centre = np.array(ndimage.center_of_mass(brain_mm))
    spacing = EDGE_MM / voxels
    axes = [centre[axis] + (np.arange(voxels) - (voxels - 1) / 2) * spacing for axis in range(3)]
    where = np.stack(np.meshgrid(*axes, indexing="ij"))
    brain = ndimage.map_coordinates(brain_mm.astype(float), where, order=1) > 0.5
    mri = ndimage.map_coordinates(image.get_fdata(), where, order=1)
    scored = np.where(brain, (mri - mri[brain].mean()) / mri[brain].std(), 0)
    from_target_mm = np.sqrt(
        sum((w - c) ** 2 for w, c in zip(where, centre + np.array([35, 10, 20]), strict=True))
    )
    dose_gy = 60 / (1 + np.exp((from_target_mm - 40) / 6))
    dose_gy[dose_gy < 0.5] = 0
    event = np.where(brain, scored + np.where(from_target_mm < 12, 2, 0), 0)
    return np.stack([scored, event, dose_gy / 60]).astype(np.float32), brain


def network() -> Any:
    """The paper's ResNet-18 with random weights, and batch norms that do something."""
    torch.manual_seed(0)
    found = build_network(ResNetParams(widen_factor=1.0, stem_stride=1), channels=3).eval()
    for module in found.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.weight, 1, 0.2)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return found


def undecided(found: Any, image: torch.Tensor) -> None:
    """Shift the network's answer to p_rice 0.5, where a change shows most."""
    with torch.inference_mode():
        found.fc.bias -= found(image[None])[0]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def monai_positions(found: Any, image: torch.Tensor, first: int) -> tuple[float, NDArray[np.float64]]:
    """Of cubes at `first` and `first + 8`: seconds a position, and p_rice of the voxels in their middle."""
    from monai.visualize import OcclusionSensitivity

    at_once = 4 if image.shape[-1] <= 96 else 1
    occlude = OcclusionSensitivity(found, CUBE, at_once, verbose=False, mode=0.0, overlap=1 - STRIDE / CUBE)
    edge = (CUBE - 1) // 2
    box = [first + edge, first + STRIDE + CUBE - edge] * 3
    with torch.inference_mode():
        seconds, (result, _) = timed(lambda: occlude(image[None], b_box=box))
    return seconds / 8, result[0, 1].cpu().numpy().astype(np.float64)


def captum_positions(found: Any, image: torch.Tensor) -> tuple[float, NDArray[np.float64] | None] | None:
    """Seconds a position, and the map of stride 16 where it is complete; None without Captum."""
    try:
        from captum.attr import Occlusion
    except ImportError:
        return None
    window = (image.shape[0], CUBE, CUBE, CUBE)
    times: list[float] = []

    def answer(inputs: torch.Tensor) -> torch.Tensor:
        if len(times) > 8 and image.shape[-1] > 64:
            raise _EnoughError
        seconds, result = timed(lambda: p_rice(found(inputs)).float())
        times.append(seconds)
        return result

    with torch.inference_mode():
        try:
            result = Occlusion(answer).attribute(image[None], window, window, baselines=0)
        except _EnoughError:
            return float(np.mean(times)), None
    return float(np.mean(times)), result[0, 0].cpu().numpy().astype(np.float64)


class _EnoughError(Exception):
    """Captum has no way to compute some positions only."""


class Ours:
    """The known input and its answers."""

    def __init__(self, found: Any, image: torch.Tensor, precision: torch.dtype) -> None:
        self.voxels, self.image = image.shape[-1], image
        self.grid = CubeGrid((self.voxels,) * 3, CUBE, STRIDE)
        with torch.inference_mode(), full_precision():
            self.setup_s, self.known = timed(lambda: KnownInput(found, image, precision))
        self.at_once = max(1, int(256e6 / self.known.bytes_a_box(CUBE)))

    @torch.inference_mode()
    def p_rice(self, corners: NDArray[np.int64]) -> NDArray[np.float64]:
        """With a cube at each corner (N, 3) hidden."""
        difference = -self.image.permute(1, 2, 3, 0).contiguous()
        found = []
        for first in range(0, len(corners), self.at_once):
            part = corners[first : first + self.at_once]
            boxes = windows(difference, Boxes(part, (CUBE,) * 3, self.grid.shape), 0)
            with full_precision():
                found.append(p_rice(self.known.logits_with(boxes, part)).cpu().numpy())
        return np.concatenate(found)

    def seconds_a_position(self, chosen: NDArray[np.bool_]) -> float:
        """Of a random sample, in the order in which a map computes them."""
        corners = self.grid.corners(chosen)
        corners = corners[np.lexsort((corners % 32).T)]
        # whole batches of neighbours, as in a map
        batches = np.array_split(corners, max(1, len(corners) // self.at_once))
        picked = np.random.default_rng(0).permutation(len(batches))
        sample = np.concatenate([batches[i] for i in picked[: max(1, SAMPLE // self.at_once)]])
        self.p_rice(sample[: self.at_once])
        return timed(lambda: self.p_rice(sample))[0] / len(sample)


def measure(voxels: int, whole: bool, precision: torch.dtype, device: torch.device) -> None:
    """Print the figures of one size."""
    volumes, brain = head(voxels)
    image, found = torch.from_numpy(volumes).to(device), network().to(device)
    undecided(found, image)
    ours = Ours(found, image, precision)
    name = f"occlusion_{voxels}" + ("_bfloat16" if precision == torch.bfloat16 else "")
    first = (voxels - CUBE - STRIDE) // 2 // STRIDE * STRIDE
    theirs_s, theirs = monai_positions(found, image, first)
    off = np.abs(theirs - _mean_of_eight(ours, first)).max()
    agreement = f"MONAI's p_rice within {off:.1e}"
    if captum := captum_positions(found, image):
        agreement += f"; Captum takes {captum[0]:.3g} s a position"
        if captum[1] is not None:
            corners = np.argwhere(np.ones((voxels // CUBE,) * 3)) * CUBE
            baseline = float(p_rice(ours.known.logits[None])[0])
            apart = baseline - ours.p_rice(corners) - captum[1][tuple(corners.T)]
            off = max(off, float(np.abs(apart).max()))
            agreement += f", its changes within {np.abs(apart).max():.1e}"
    good = off < (1e-2 if precision == torch.bfloat16 else AGREEMENT)
    everywhere = np.ones(ours.grid.counts, bool)
    a_position, of_map = GOALS[voxels]
    seconds = ours.seconds_a_position(everywhere)
    text = f"{agreement}; {seconds:.3g} s against {theirs_s:.3g} s"
    ratio = theirs_s / seconds
    report(f"{name}_position", ratio, f">= {a_position}", text, ratio >= a_position and good)
    changing = ours.grid.touching((volumes != 0).any(axis=0))
    for kind, chosen in {"whole": changing, "brain": changing & ours.grid.touching(brain)}.items():
        map_s = ours.setup_s + ours.seconds_a_position(chosen) * chosen.sum()
        how = "estimated from a sample"
        if whole:
            settings = explain_params(CUBE, STRIDE, within_brain=kind == "brain")
            map_s, _ = timed(lambda s=settings: occlusion_maps([found], volumes, brain, {"x": [0, 1, 2]}, s))
            how = "measured"
        ratio = theirs_s * everywhere.size / map_s
        text = f"{agreement}; {chosen.sum()} of {everywhere.size} positions in {map_s:.4g} s ({how})"
        report(f"{name}_{kind}", ratio, f">= {of_map}", text, ratio >= of_map and good)
        if device.type == "cuda" and voxels == 224:
            report(f"{name}_{kind}_s", map_s, f"<= {GPU_GOAL_S} s", text, map_s <= GPU_GOAL_S and good)


_POSITIONS = """
import json, sys, time
import numpy, torch
import occlusion
torch.set_num_threads(1)
occlusion.keep_freed_memory()
volumes, _ = occlusion.head(int(sys.argv[1]))
image, found = torch.from_numpy(volumes), occlusion.network()
occlusion.undecided(found, image)
ours = occlusion.Ours(found, image, torch.float32)
corners = ours.grid.corners(ours.grid.touching((volumes != 0).any(axis=0)))
corners = corners[numpy.lexsort((corners % 32).T)][len(corners) // 2 :][: 2 * ours.at_once]
ours.p_rice(corners)
start = time.process_time()
p_rice = ours.p_rice(corners)
seconds = (time.process_time() - start) / len(corners)
print(json.dumps({"cpu_s": seconds, "p_rice": p_rice.tolist()}))
"""
"""What both builds run, each with this script of its own: it uses what they have in common."""


def compare_builds(voxels: int, base: Path, rounds: int = 2) -> None:
    """Print how many times as fast a position is computed as by the build of a worktree."""
    found: dict[Path, list[dict[str, Any]]] = {base: [], Path(__file__).parents[1]: []}
    for _ in range(rounds):
        for build, of_build in found.items():
            paths = f"{build / 'src'}{os.pathsep}{build / 'benchmarks'}"
            environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", _POSITIONS, str(voxels)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            of_build.append(json.loads(done.stdout.splitlines()[-1]))
    before, now = (min(run["cpu_s"] for run in of_build) for of_build in found.values())
    answers = [np.array(of_build[0]["p_rice"]) for of_build in found.values()]
    off = float(np.abs(answers[0] - answers[1]).max())
    text = f"p_rice within {off:.1e} at {len(answers[0])} positions; {before:.3g} s before, {now:.3g} s now"
    ratio = before / now
    met = ratio >= GOAL_OF_BUILDS and off <= AGREEMENT
    report(f"occlusion_{voxels}_builds", ratio, f">= {GOAL_OF_BUILDS}", text, met)


def measure_demo(device: torch.device) -> None:
    """One map of a subject at the demo's scale, with the demo's network: every cube, all volumes together."""
    volumes, brain = head(32)
    found = build_network(ResNetParams(widen_factor=0.25, stem_stride=2), channels=3).eval().to(device)
    settings = explain_params(6, 3)
    seconds, maps = timed(lambda: occlusion_maps([found], volumes, brain, {"x": [0, 1, 2]}, settings))
    text = f"{maps['x'].cubes} of {maps['x'].of_cubes} cubes"
    report("occlusion_demo_s", seconds, f"<= {DEMO_GOAL_S} s", text, seconds <= DEMO_GOAL_S)


def peak_memory_gb(voxels: int) -> float:
    """The most memory that this process took for the known input and some batches of cubes in the brain."""
    keep_freed_memory()
    volumes, brain = head(voxels)
    ours = Ours(network(), torch.from_numpy(volumes), torch.float32)
    corners = ours.grid.corners(ours.grid.touching(brain))
    ours.p_rice(corners[len(corners) // 2 :][: 4 * ours.at_once])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _mean_of_eight(ours: Ours, first: int) -> NDArray[np.float64]:
    starts = [first, first + STRIDE]
    corners = np.array([[x, y, z] for x in starts for y in starts for z in starts])
    total, count = np.zeros(ours.grid.shape), np.zeros(ours.grid.shape)
    for (x, y, z), value in zip(corners, ours.p_rice(corners), strict=True):
        box = slice(x, x + CUBE), slice(y, y + CUBE), slice(z, z + CUBE)
        total[box] += value
        count[box] += 1
    edge = (CUBE - 1) // 2
    inner = slice(first + edge, first + STRIDE + CUBE - edge)
    mean: NDArray[np.float64] = total[inner, inner, inner] / count[inner, inner, inner]
    return mean


def main() -> None:
    """Measure every size, the memory of the largest last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(GOALS), choices=sorted(GOALS))
    parser.add_argument("--whole", type=int, nargs="*", default=[64, 96, 128])
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", type=Path, help="a worktree of an earlier build, to compare with")
    arguments = parser.parse_args()
    if arguments.base is not None:
        for voxels in arguments.sizes:
            compare_builds(voxels, arguments.base)
        return
    device = torch.device(arguments.device)
    precision = torch.bfloat16 if arguments.bfloat16 else torch.float32
    keep_freed_memory()
    measure_demo(device)
    for voxels in arguments.sizes:
        measure(voxels, voxels in arguments.whole or device.type == "cuda", precision, device)
    largest = max(arguments.sizes)
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        peak_gb = apart.submit(peak_memory_gb, largest).result()
    text = f"of a process that computes a map's cubes at {largest} cubed, and nothing else"
    report("occlusion_memory_gb", peak_gb, f"<= {MEMORY_GOAL_GB}", text, peak_gb <= MEMORY_GOAL_GB)


if __name__ == "__main__":
    main()
