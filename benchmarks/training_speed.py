"""The trainings of the paper's recipe: 7 modality sets by 5 folds, against an earlier build of this project.

    dvc repro split && python benchmarks/training_speed.py [--base WORKTREE] [--epochs 60] [--seeds 7 8]

Both builds train the project's own preprocessed subjects, the earlier one with the settings of its
params.yaml and this one with those of its own for the same recipe; one thread each, fold by fold in turn.
Without --base a git worktree of the earlier commit is made for the run. CPU seconds are those of reading
volumes, training and writing results, without the start of a process and its imports. They agree where
every set's macro-F1 over all held-out subjects differs by no more than three standard errors of the
seeds, whose SD is pooled over sets and builds. --recipe small_cohort, which the earlier build lacks,
compares folds one after another and in step, both of this build.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

BASE_COMMIT, GOAL = "3bf474d", 1.6
SETS = ("post_op", "event", "dose", "post_op+event", "post_op+dose", "event+dose", "post_op+event+dose")
VOLUMES = ("post_op", "event", "dose")

Job = dict[str, Any]
Found = dict[str, Any]


def write_base_input(preprocessed: Path, folder: Path) -> None:
    """One file of three channels a subject, as the earlier build reads them."""
    for subject in preprocessed.glob("sub-*"):
        (folder / subject.name).mkdir(parents=True)
        channels = np.stack([np.load(subject / f"{name}.npy") for name in VOLUMES])
        np.save(folder / subject.name / "volumes.npy", channels)


def fewer_subjects(splits: Mapping[str, Any], count: int | None) -> Job:
    """Folds and labels, of so many subjects at most, the first ones of every fold."""
    folds = [list(fold) for fold in splits["folds"]]
    if count is not None:
        folds = [fold[: max(2, count // len(folds))] for fold in folds]
    known = {subject for fold in folds for subject in fold}
    return {"folds": folds, "labels": {s: label for s, label in splits["labels"].items() if s in known}}


def base_tasks(job: Job) -> list[Any]:
    """Of the earlier build: every set of one fold."""
    from ricenet.config import read_params
    from ricenet.splits import Splits
    from ricenet.training.cross_validation import plan_folds

    params = read_params(Path(job["base"]) / "params.yaml")
    splits = Splits(job["labels"], tuple(map(tuple, job["folds"])), ())
    training = params.training.model_copy(update={"epochs": job["epochs"]})
    tasks = plan_folds(
        SETS,
        splits,
        dict.fromkeys(job["labels"], ""),
        job["seed"],
        params.preprocessing,
        training,
        params.augmentation,
        params.network,
        Path(job["preprocessed"]),
        Path(job["store"]),
    )
    return [task for task in tasks if task.fold == job["fold"]]


def present_tasks(job: Job) -> list[Any]:
    """Of this build: every set of one fold, by the recipe of the job."""
    from ricenet.cohort.splits import Splits
    from ricenet.config.params import read_params
    from ricenet.training.planning import TrainingSetup, plan_folds

    params = read_params(Path(job["params"]))
    of_recipe = params.by_recipe[job["recipe"]]
    if job["epochs"] is not None:
        length = {"epochs": job["epochs"], "steps": None}
        of_recipe = replace(of_recipe, training=of_recipe.training.model_copy(update=length))
    setup = TrainingSetup(
        Splits(job["labels"], tuple(map(tuple, job["folds"])), ()),
        dict.fromkeys(job["labels"], ""),
        job["seed"],
        params.preprocessing,
        {**params.by_recipe, job["recipe"]: of_recipe},
        Path(job["preprocessed"]),
        Path(job["store"]),
    )
    ending = f"@{job['recipe']}" if job["recipe"] else ""
    return [task for task in plan_folds(setup, [s + ending for s in SETS]) if task.fold == job["fold"]]


def train_side(job: Job) -> Found:
    """Train what a job asks for, in this process: seconds, and p_rice by set and subject."""
    import sklearn.metrics  # noqa: F401  # imported before anything is measured
    import torch
    from monai.networks.nets import resnet  # noqa: F401

    torch.set_num_threads(1)
    tasks = base_tasks(job) if job["side"] == "base" else present_tasks(job)
    from ricenet.training.fold import train_fold

    start_s, start_cpu_s = time.monotonic(), sum(os.times()[:4])
    if job["side"] == "present":
        from ricenet.training.fold import train_together
        from ricenet.training.lock_step import groups_in_step

        failed = [e for group in groups_in_step(tasks, len(tasks)) for e in train_together(group) if e]
        assert not failed, failed
    else:
        for task in tasks:
            train_fold(task)
    seconds = {"cpu_s": sum(os.times()[:4]) - start_cpu_s, "wall_s": time.monotonic() - start_s}
    return {**seconds, "p_rice": {task.modality_set: _predicted(task.folder) for task in tasks}}


def _predicted(folder: Path) -> dict[str, float]:
    header, *rows = [line.split("\t") for line in (folder / "predictions.tsv").read_text().splitlines()]
    subject, p_rice = header.index("participant_id"), header.index("p_rice")
    return {row[subject]: float(row[p_rice]) for row in rows}


def apart(job: Job, source: Path) -> Found:
    """What a job's training finds, in a process with the sources of one build."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def agreement(
    base: Mapping[str, Sequence[float]], present: Mapping[str, Sequence[float]]
) -> tuple[str, bool]:
    """By set macro-F1s of each seed: what differs most, and whether it is within the luck of seeds."""
    spread = [np.var(of_set, ddof=1) for side in (base, present) for of_set in side.values()]
    error = float(np.sqrt(np.mean(spread) * 2 / len(next(iter(base.values())))))
    apart = {s: float(np.mean(present[s]) - np.mean(base[s])) for s in base}
    most = max(apart, key=lambda s: abs(apart[s]))
    means = ", ".join(f"{s} {np.mean(base[s]):.2f}/{np.mean(present[s]):.2f}" for s in base)
    text = f"macro-F1 before/now: {means}; at most {apart[most]:+.3f} ({most}), standard error {error:.3f}"
    return text, abs(apart[most]) <= 3 * error


@contextlib.contextmanager
def base_worktree(given: Path | None) -> Iterator[Path]:
    """The folder of the earlier build: as given, or made for the time being."""
    if given is not None:
        yield given
        return
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "base"
        git = ["git", "-C", str(here), "worktree"]
        subprocess.run([*git, "add", "--detach", str(made), BASE_COMMIT], check=True, capture_output=True)
        try:
            yield made
        finally:
            subprocess.run([*git, "remove", "--force", str(made)], check=True)


def compare(chosen: argparse.Namespace, base: Path, folder: Path) -> None:
    """Train with both builds, fold by fold and seed by seed in turn, and print the figures."""
    from ricenet.training.predictions import macro_f1

    preprocessed = chosen.work.absolute() / "preprocessed"
    small = chosen.recipe != "paper"
    if not small:
        write_base_input(preprocessed, folder / "input")
    splits = fewer_subjects(json.loads((chosen.work / "splits/splits.json").read_text()), chosen.subjects)
    here = Path(__file__).parents[1]
    common = {**splits, "base": str(base), "params": str(here / "params.yaml"), "epochs": chosen.epochs}
    common["recipe"] = chosen.recipe if small else ""
    first = "alone" if small else "base"
    kinds = {
        first: (here / "src", preprocessed) if small else (base / "src", folder / "input"),
        "present": (here / "src", preprocessed),
    }
    spent: dict[str, list[float]] = {side: [0.0, 0.0] for side in kinds}
    scores: dict[str, dict[str, list[float]]] = {side: {} for side in kinds}
    for seed in chosen.seeds:
        answers: dict[str, dict[str, dict[str, float]]] = {side: {} for side in kinds}
        for fold in range(len(splits["folds"])):
            for side, (source, given) in kinds.items():
                job = {**common, "side": side, "seed": seed, "fold": fold, "preprocessed": str(given)}
                found = apart({**job, "store": str(folder / side / str(seed))}, source)
                spent[side][0] += found["cpu_s"]
                spent[side][1] += found["wall_s"]
                for name, p_rice in found["p_rice"].items():
                    answers[side].setdefault(name, {}).update(p_rice)
                print(f"seed {seed}, fold {fold}, {side}: {found['cpu_s']:.1f} CPU s", file=sys.stderr)
        for side, of_sets in answers.items():
            for name, p_rice in of_sets.items():
                scores[side].setdefault(name, []).append(
                    macro_f1([splits["labels"][s] for s in p_rice], np.array([*p_rice.values()]))
                )
    text, agrees = agreement(scores[first], scores["present"])
    for place, what in enumerate(("cpu", "wall")):
        before, now = spent[first][place], spent["present"][place]
        ratio = before / now
        figure = {"name": f"training_{chosen.recipe}_{what}", "ratio": round(ratio, 3), "goal": GOAL}
        detail = f"{before:.0f} s before, {now:.0f} s now; {text}"
        print(json.dumps({**figure, "agreement": detail, "met": bool(ratio >= GOAL and agrees)}))


def main() -> None:
    """Compare, or do the job of one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help="a worktree of the earlier build")
    parser.add_argument("--work", type=Path, default=Path("work"), help="with preprocessed/ and splits/")
    parser.add_argument("--recipe", default="paper", choices=["paper", "small_cohort"])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--subjects", type=int, help="so many, the first ones of every fold")
    chosen = parser.parse_args()
    if chosen.job is not None:
        print(json.dumps(train_side(json.loads(chosen.job))))
        return
    if chosen.recipe == "paper" and chosen.epochs is None:
        chosen.epochs = 60
    base_build = base_worktree(chosen.base) if chosen.recipe == "paper" else contextlib.nullcontext(Path())
    with tempfile.TemporaryDirectory() as folder, base_build as base:
        compare(chosen, base, Path(folder))


if __name__ == "__main__":
    main()
