"""Target registration error of planning CT to post-operative MRI, against the phantom's true transform.

    python benchmarks/ct_registration_accuracy.py --subjects 8

Heads, lesions, MRIs and CTs are those of the phantom, made on the fly; CT and MRI go through the code of
the import. Error of a subject: mean distance, over the voxels of its true brain, between where the
estimated and the true transform send them (post-operative to CT world).

For the first --spoilt subjects, CTs that must not be laid over the MRI (one axis upside down or back to
front, which mirrors them too; a head without content, noise) are registered too: the import has to refuse
each of them, by its similarity or by the turn that it would need. A mirrored CT and another patient's are
printed for comparison; they are not refused for sure.
"""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass

import numpy as np
from figure import report

from ricenet.config.params import read_params
from ricenet.importing.dose.planning_ct import (
    LEAST_SIMILARITY,
    head_of,
    prepared,
    register_head,
    require_plausible,
)
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.computed_tomography import PlanningCt, make_planning_ct
from ricenet.phantom.mechanism import Mechanism, mechanism_named
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Volume, inverse

GOAL_MM, GOAL_SHARE = 1.0, 0.95


@dataclass(frozen=True)
class Phantoms:
    """Which heads are made."""

    spacing_mm: float
    seed: int
    mechanism: Mechanism
    spoilt: frozenset[str]

    def make(self, subject: str) -> tuple[SyntheticSubject, PlanningCt]:
        """A head after surgery, and its CT."""
        head = make_subject(
            shared_template(self.spacing_mm), draw_cause(subject, self.seed, self.mechanism), self.seed
        )
        rng = generator_for("phantom", self.seed, subject, "benchmark-ct")
        return head, make_planning_ct(head.anatomy, head.lesions, self.spacing_mm / 2, rng)


def registered(ct: Volume, post_op: Volume, seed: int) -> RigidResult:
    """As in the import, without its refusal."""
    head = head_of(ct)
    return register_head(prepared(ct, head), head, post_op, seed)


def is_refused(result: RigidResult) -> bool:
    """Whether the import would refuse it."""
    try:
        require_plausible(result)
    except SourceError:
        return True
    return False


def figures_of(phantoms: Phantoms, subject: str) -> dict[str, float]:
    """Mean and largest error in the brain in mm, and similarities: of its CT and of spoilt ones."""
    head, ct = phantoms.make(subject)
    found = registered(ct.image, head.scans["post_op"], phantoms.seed)
    true = ct.world_from_anatomy @ inverse(head.world_from_anatomy("post_op"))
    in_head = head.anatomy.grid.world_mm(np.argwhere(head.anatomy.brain)[::7].astype(np.float64))
    to_post_op = head.world_from_anatomy("post_op")
    points = in_head @ to_post_op[:3, :3].T + to_post_op[:3, 3]
    difference = found.moving_from_fixed - true
    errors = np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1)
    figures = {"mean": float(errors.mean()), "max": float(errors.max()), "similarity": found.similarity}
    if subject in phantoms.spoilt:
        for name, spoilt in spoilt_cts(phantoms, subject, ct.image).items():
            result = registered(spoilt, head.scans["post_op"], phantoms.seed)
            figures[name], figures[f"{name} refused"] = result.similarity, float(is_refused(result))
    return figures


SPOILT = ("upside down", "back to front", "without content", "noise")
NOT_TOLD_APART = ("mirrored", "another patient's")


def spoilt_cts(phantoms: Phantoms, subject: str, ct: Volume) -> dict[str, Volume]:
    """CTs that do not belong over the subject's MRI."""
    inside = ct.data > -300
    noise = generator_for("benchmark", subject).normal(200, 200, ct.grid.shape)
    changed = {
        "upside down": ct.data[:, :, ::-1],
        "back to front": ct.data[:, ::-1],
        "without content": np.where(inside, 40, -1000),
        "noise": np.where(inside, noise, -1000),
        "mirrored": ct.data[::-1],
    }
    spoilt = {name: Volume(np.array(data, dtype=np.float32), ct.grid) for name, data in changed.items()}
    return spoilt | {"another patient's": phantoms.make(f"{subject}-other")[1].image}


def main() -> None:
    """Print each subject's figures, the errors against the goal, and the similarities against the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--spoilt", type=int, default=2, help="of so many subjects")
    arguments = parser.parse_args()
    params = read_params()
    subjects = [f"sub-{number:03d}" for number in range(1, arguments.subjects + 1)]
    phantoms = Phantoms(
        params.phantom.spacing_mm,
        params.phantom.seed,
        mechanism_named(params.phantom.mechanism),
        frozenset(subjects[: arguments.spoilt]),
    )
    execution = params.execution
    outcomes = run_tasks(
        functools.partial(figures_of, phantoms),
        subjects,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "heads",
    )
    if failed := [f"{o.task}: {o.error}" for o in outcomes if o.result is None]:
        raise SystemExit("\n".join(failed))
    results = {o.task: o.result for o in outcomes if o.result is not None}
    for subject, figures in results.items():
        print(subject, *(f"{name} {value:.3f}" for name, value in figures.items()), sep="  ")
    report_errors(np.array([figures["mean"] for figures in results.values()]))
    report_similarities(list(results.values()))


def report_errors(means_mm: np.ndarray) -> None:
    """Share below the goal, median and maximum of the subjects' mean errors."""
    agreement = f"{len(means_mm)} planning CTs against their true transforms"
    share = float(np.mean(means_mm < GOAL_MM))
    report("ct_registration_share_below_1_mm", share, f">= {GOAL_SHARE}", agreement, share >= GOAL_SHARE)
    median, worst = float(np.median(means_mm)), float(means_mm.max())
    report("ct_registration_median_mm", median, f"< {GOAL_MM}", agreement, median < GOAL_MM)
    report("ct_registration_worst_mm", worst, f"< {GOAL_MM}", agreement, worst < GOAL_MM)


def report_similarities(results: list[dict[str, float]]) -> None:
    """The lowest of CTs in place against the floor, and the share of spoilt ones that is refused."""
    lowest = min(figures["similarity"] for figures in results)
    agreement = f"{len(results)} planning CTs registered to their own MRI"
    report("ct_similarity_lowest", lowest, f"> {LEAST_SIMILARITY}", agreement, lowest > LEAST_SIMILARITY)
    refused = [f[f"{name} refused"] for f in results for name in SPOILT if name in f]
    if refused:
        share, agreement = float(np.mean(refused)), f"{len(refused)} CTs that must not be laid over the MRI"
        report("ct_spoilt_refused_share", share, "1", agreement, share == 1)


if __name__ == "__main__":
    main()
