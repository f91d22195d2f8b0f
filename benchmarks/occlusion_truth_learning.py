"""Do maps point better at the phantom's cause once networks learn from more subjects?

    dvc repro train && python benchmarks/occlusion_truth_learning.py
    python benchmarks/occlusion_truth_learning.py --project FOLDER --learn-from 32 128

Makes phantom subjects of another seed, brought to the network's cube by their true transforms and brains,
trains a network on so many of them with the project's settings, and explains the project's own subjects, none
of whom it saw. Prints a table each (docs/occlusion-truth.md), then the figures. Subjects and trainings are
kept under work/occlusion_truth, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from figure import report
from occlusion_truth import measure, opened, report_learned

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.splits import Splits
from ricenet.config.params import Params, read_params
from ricenet.evaluation.occlusion.causal_regions import read_mechanism
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.evaluation.occlusion.truth import cohort_truth, truth_markdown
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import mechanism_named
from ricenet.phantom.phantom_subject import Cause, draw_cause, make_subject
from ricenet.preprocessing.cube import brain_cube, on_cube
from ricenet.preprocessing.intensity import dose_in_units, scaling_in_brain, standardised
from ricenet.preprocessing.network_input import write_volume
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder
from ricenet.training.cross_validation import train_folds
from ricenet.training.ensemble import Ensemble
from ricenet.training.networks import build_network, preferred_device
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import WEIGHTS
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, inverse, resample

OTHER_SEED = 8
BRAIN_MM = 1.5


def name_of(cause: Cause) -> str:
    """How a subject of the other seed is called beside the project's own."""
    return cause.subject.replace("sub-", "more-")


def make_input(folder: Path, params: Params, cause: Cause) -> None:
    """Write a phantom subject's network input, by the truth instead of registration; skip what is there."""
    if (folder / name_of(cause)).exists():
        return
    subject = make_subject(shared_template(params.phantom.spacing_mm), cause, OTHER_SEED)
    post_op, event = (subject.world_from_anatomy(name) for name in ("post_op", "event"))
    grid = Grid(subject.anatomy.grid.shape, post_op @ subject.anatomy.grid.affine)
    straight = Grid.covering(grid, BRAIN_MM)
    brain = Volume(resample(Volume(subject.anatomy.brain, grid), straight).data > 0.5, straight)
    wanted = params.preprocessing
    cube = brain_cube(brain, wanted.spacing_mm, wanted.cube_voxels, cause.subject)
    inside = on_cube(brain, cube, 1) >= 0.5
    scans = {
        "post_op": on_cube(subject.scans["post_op"], cube, 1),
        "event": on_cube(subject.scans["event"], cube, 1, event @ inverse(post_op)),
    }
    inputs = {
        name: standardised(
            values, inside, *scaling_in_brain(values, inside, PAPER_VOLUMES[name], cause.subject)
        )
        for name, values in scans.items()
    }
    inputs["dose"] = dose_in_units(on_cube(subject.scans["dose"], cube, 1), wanted.dose_unit_gy)
    with atomic_folder(folder / name_of(cause)) as temporary:
        for name, values in inputs.items():
            write_volume(values, temporary, cause.subject, name)


def make_inputs(folder: Path, params: Params, subjects: int) -> dict[str, str]:
    """Write so many subjects' inputs; returns their labels by name."""
    mechanism = mechanism_named(params.phantom.mechanism)
    causes = [draw_cause(f"sub-{n:03d}", OTHER_SEED, mechanism) for n in range(1, subjects + 1)]
    outcomes = run_tasks(
        partial(make_input, folder, params), causes, "processes", params.execution.workers, 1, "phantoms"
    )
    failed = [f"{outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed:
        raise SystemExit("\n".join(failed))
    return {name_of(cause): cause.label for cause in causes}


def train(splits: Splits, params: Params, modality_set: str, labels: dict[str, str], work: Path) -> Path:
    """Train on some of the made subjects and judge on the project's own; returns the fold's folder."""
    own = splits.development
    both: Any = {**labels, **{subject: splits.labels[subject] for subject in own}}
    setup = TrainingSetup(
        Splits(both, (own, tuple(labels)), ()),
        dict.fromkeys(both, "phantom"),
        params.seed,
        params.preprocessing,
        params.by_recipe,
        work / "preprocessed",
        work / "store",
    )
    tasks = plan_folds(setup, [modality_set])
    train_folds(tasks[:1], params.execution)
    return tasks[0].folder


def trained(folder: Path, like: Ensemble) -> Ensemble:
    """The trained network in the place of every fold's, since it saw nobody of the project."""
    from safetensors.torch import load_file

    network = build_network(like.record.network, len(like.members))
    network.load_state_dict(load_file(folder / WEIGHTS))
    network = network.eval().to(preferred_device())
    record = like.record.model_copy(update={"digest": folder.name})
    return Ensemble(record, [network] * len(like.networks))


def link_own(explainer: Explainer, preprocessed: Path) -> None:
    """Put the project's own subjects beside the made ones."""
    for subject in explainer.splits.development:
        target = preprocessed / subject
        if not target.exists():
            target.symlink_to((explainer.preprocessed / subject).resolve())


def main() -> None:
    """Print a table a training size and modality set, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--modality-sets", nargs="+", default=["dose", "post_op+event+dose"])
    parser.add_argument("--learn-from", type=int, nargs="+", default=[32, 128])
    arguments = parser.parse_args()
    log_to_stderr()
    params = read_params(arguments.project / "params.yaml")
    explainers = [opened(arguments.project, name, None, None) for name in arguments.modality_sets]
    work = arguments.project / "work/occlusion_truth"
    labels = make_inputs(work / "preprocessed", params, max(arguments.learn_from))
    link_own(explainers[0], work / "preprocessed")
    for modality_set, explainer in zip(arguments.modality_sets, explainers, strict=True):
        splits = explainer.splits
        for size in arguments.learn_from:
            some = dict(list(labels.items())[:size])
            folder = train(splits, params, modality_set, some, work)
            learned = replace(explainer, ensemble=trained(folder, explainer.ensemble))
            found = measure(learned, splits.development)
            truth = cohort_truth(
                found.measured,
                modality_set,
                explainer.volumes,
                read_mechanism(explainer.raw),
                explainer.seed,
            )
            print(f"\nLearned from {size} subjects. {truth_markdown(truth)}")
            report_learned(f"{modality_set}, learned from {size}", found.labels, found.p_rice)
            report_causes(truth, size)


def report_causes(truth: dict[str, Any], size: int) -> None:
    """Each map at its own cause."""
    for map_name, of_map in truth["maps"].items():
        for what in ("enrichment", "over_untrained"):
            e = of_map["regions"][of_map["cause"]][what]
            agreement = f"95 % {e['low']:.2f} to {e['high']:.2f}, {e['n']} subjects"
            which = f"{truth['modality_set']}, learned from {size}, map {map_name}, {of_map['cause']}"
            report(f"{what}, {which}", e["mean"], "interval above 1", agreement, e["low"] > 1)


if __name__ == "__main__":
    main()
