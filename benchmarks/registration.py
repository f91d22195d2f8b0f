"""Time and target registration error of `register_rigid`, on real heads and phantoms of known displacement.

    python benchmarks/registration.py                     # everything; needs RICENET_SAMPLES for real heads
    python benchmarks/registration.py --quick             # a short check of the script, not of the figures

Error of a pair: mean distance, over points of the brain, between where the estimated and the true transform
send them. Everything runs on one thread, ANTs at full resolution too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from unittest.mock import patch

os.environ.update(OMP_NUM_THREADS="1", ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS="1")

import moved_scans as scans
import numpy as np
from figure import report
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ricenet.cohort.coarse_head import averaged
from ricenet.config.params import read_params
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import mechanism_named
from ricenet.phantom.phantom_subject import draw_cause, make_subject
from ricenet.preprocessing.registration import ants as ants_wrapper
from ricenet.preprocessing.registration import rigid_registration
from ricenet.preprocessing.registration.rigid_registration import register_rigid
from ricenet.volume import Affine, Grid, Volume, inverse

SEED = 3
SPACINGS_MM = {"colin": 1.0, "tumour": 1.5}
"""Of the moved copies."""


def errors_mm(found: Affine, true: Affine, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (N,) between where two transforms send the points."""
    difference = found - true
    moved: NDArray[np.float64] = np.linalg.norm(points_mm @ difference[:3, :3].T + difference[:3, 3], axis=1)
    return moved


def registered(name: str, fixed: Volume, moving: Volume, true: Affine, points: NDArray[np.float64]) -> float:
    """Register and print; the mean error in mm."""
    began = time.perf_counter()
    result = register_rigid(fixed, moving, "mattes", SEED)
    seconds = time.perf_counter() - began
    errors = errors_mm(result.moving_from_fixed, true, points)
    remark = "failed" if result.failure else "searched" if result.searched else ""
    print(
        f"{name:28s} mean {errors.mean():.3f} mm  max {errors.max():.3f} mm  {seconds:.1f} s  "
        f"similarity {result.similarity:.3f}  overlap {result.overlap:.3f}  {remark}",
        flush=True,
    )
    return float(errors.mean())


def real_heads(quick: bool) -> dict[str, Volume]:
    """At their own voxels, or at 3 mm for a short check."""
    heads = {"colin": scans.colin(), "tumour": scans.tumour()}
    return {name: averaged(head, 3.0) for name, head in heads.items()} if quick else heads


def speed(quick: bool) -> None:
    """Against ANTs' own rigid registration of the same 1 mm pair, as it comes."""
    import ants

    head = averaged(scans.colin(), 3.0) if quick else scans.colin()
    points = scans.brain_points_mm(head)
    rng = np.random.default_rng(1)
    true = scans.drawn(points.mean(axis=0), 8.0, 12.0, rng)
    moving = scans.scanned(head, true, head.grid.spacing_mm[0], rng)
    # loading the library is not what is measured
    register_rigid(averaged(head, 6.0), averaged(moving, 6.0), "mattes", SEED)
    began = time.perf_counter()
    ours = register_rigid(head, moving, "mattes", SEED).moving_from_fixed
    took = time.perf_counter() - began
    began = time.perf_counter()
    found = ants.registration(ants_wrapper.to_ants(head), ants_wrapper.to_ants(moving), "Rigid")
    theirs_took = time.perf_counter() - began
    theirs = ants_wrapper.matrix_of(ants.read_transform(found["fwdtransforms"][0]))
    error, their_error = (float(errors_mm(t, true, points).mean()) for t in (ours, theirs))
    agreement = f"error {error:.3f} mm against {their_error:.3f} mm, {took:.1f} s against {theirs_took:.1f} s"
    ratio = theirs_took / took
    report("registration_speed_up", ratio, ">= 8", agreement, ratio >= 8)
    report(
        "registration_error_beyond_ants_mm",
        error - their_error,
        "< 0.1",
        agreement,
        error - their_error < 0.1,
    )


def real(quick: bool) -> None:
    """Copies displaced by up to 30 degrees and 40 mm, and copies that a header turns upside down."""
    for name, head in real_heads(quick).items():
        points = scans.brain_points_mm(head)
        middle, spacing = points.mean(axis=0), max(SPACINGS_MM[name], 3.0 * quick)
        errors = []
        for share in np.linspace(0.1, 1.0, 2 if quick else 10):
            rng = np.random.default_rng(round(100 * share))
            true = scans.drawn(middle, 30 * share, 40 * share, rng)
            moving = scans.scanned(head, true, spacing, rng)
            errors.append(registered(f"{name} {30 * share:.0f} deg", head, moving, true, points))
        agreement = f"{len(errors)} displacements of up to 30 degrees and 40 mm, 3 % noise, 10 % bias"
        report(f"registration_{name}_worst_mm", max(errors), "< 0.5", agreement, max(errors) < 0.5)
        upside_down(name, head, points, spacing, 2 if quick else 9)


def upside_down(name: str, head: Volume, points: NDArray[np.float64], spacing: float, count: int) -> None:
    """The same scan, its header turned by 90 or 180 degrees about an axis."""
    errors = []
    for number, (axis, degrees) in enumerate([(a, d) for d in (180, 90, -90) for a in range(3)][:count]):
        rng = np.random.default_rng(500 + number)
        true = scans.drawn(points.mean(axis=0), 10.0, 15.0, rng)
        moving = scans.scanned(head, true, spacing, rng)
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
        turned = Volume(moving.data, Grid(moving.grid.shape, turn @ moving.grid.affine))
        errors.append(registered(f"{name} turned {'xyz'[axis]} {degrees}", head, turned, turn @ true, points))
    agreement = f"{len(errors)} copies turned by their headers, displaced by 10 degrees and 15 mm"
    report(f"registration_{name}_turned_worst_mm", max(errors), "< 0.5", agreement, max(errors) < 0.5)


def disturbances(quick: bool) -> None:
    """Cavity, lesion and mass effect, without and with a swollen scalp or a bent neck: mask by mask."""
    nowhere = lambda fixed, *_: np.zeros(fixed.grid.shape, bool)  # noqa: E731
    nothing = patch.object(rigid_registration, "disagreement", nowhere)
    for what in ("lesion", "scalp", "neck"):
        errors: dict[str, list[float]] = {"head": [], "without": []}
        # the tumour's scan ends above the neck
        names = ["colin"] if quick or what == "neck" else ["colin", "tumour"]
        for name in names:
            head = real_heads(quick)[name]
            for number in range(1 if quick else 4):
                rng = np.random.default_rng(200 + number)
                points = scans.brain_points_mm(head)
                before, later = scans.disturbed(head, what, points, rng)
                true = scans.drawn(points.mean(axis=0), 8.0, 12.0, rng)
                moving = scans.scanned(later, true, max(SPACINGS_MM[name], 3.0 * quick), rng)
                points = points[points[:, 2] > points[:, 2].mean() - 30]
                with nothing:
                    errors["head"].append(registered(f"{what} {name} head", before, moving, true, points))
                errors["without"].append(registered(f"{what} {name} weighted", before, moving, true, points))
        head_alone, without = (float(np.mean(errors[k])) for k in ("head", "without"))
        agreement = f"{len(errors['head'])} pairs; {head_alone:.3f} mm with the head's mask alone"
        goal = "<= that of the head's mask + 0.02"
        report(f"registration_{what}_mean_mm", without, goal, agreement, without <= head_alone + 0.02)


def phantoms(quick: bool) -> None:
    """Phantom subjects, as they are written and averaged to 2 mm."""
    params = read_params()
    mechanism, seed = mechanism_named(params.phantom.mechanism), params.phantom.seed
    errors: dict[str, list[float]] = {"raw": [], "averaged": []}
    for number in range(1, 2 if quick else 7):
        for spacing, name in (
            ((3.0, "averaged"),) if quick else ((1.2, "averaged"), (params.phantom.spacing_mm, "raw"))
        ):
            subject = make_subject(
                shared_template(spacing), draw_cause(f"sub-{number:03d}", seed, mechanism), seed
            )
            to_post_op, to_event = (subject.world_from_anatomy(name) for name in ("post_op", "event"))
            brain = subject.anatomy.grid.world_mm(np.argwhere(subject.anatomy.brain)[::7].astype(np.float64))
            points = brain @ to_post_op[:3, :3].T + to_post_op[:3, 3]
            scans_ = subject.scans["post_op"], subject.scans["event"]
            pair = tuple(averaged(s, 2.0) for s in scans_) if name == "averaged" else scans_
            true = to_event @ inverse(to_post_op)
            errors[name].append(registered(f"phantom {number} {name}", pair[0], pair[1], true, points))
    for name, means in errors.items():
        report_means(f"phantom_{name}", means)


def report_means(name: str, means: list[float]) -> None:
    """Median and largest of the subjects' mean errors."""
    if means:
        agreement = f"{len(means)} subjects against their true transforms"
        median, worst = float(np.median(means)), max(means)
        report(f"registration_{name}_median_mm", median, "< 0.3", agreement, median < 0.3)
        report(f"registration_{name}_worst_mm", worst, "< 1", agreement, worst < 1)


PARTS: dict[str, Callable[[bool], None]] = {
    "speed": speed,
    "real": real,
    "disturbances": disturbances,
    "phantoms": phantoms,
}


def main() -> None:
    """Measure all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.quick)


if __name__ == "__main__":
    main()
