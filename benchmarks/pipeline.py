"""The whole demo, stage by stage, against the build of commit 3bf474d.

    python benchmarks/pipeline.py                  # 92 subjects on both sides, two hours
    python benchmarks/pipeline.py --subjects 12    # a quick look: starts weigh more
    python benchmarks/pipeline.py --subjects 24 --epochs 3    # all but training, in a quarter of an hour
    python benchmarks/pipeline.py --present-only   # peak, second repro, one more subject, disk

Two copies of the project, each with the code of its own commit and the same environment (requirements.lock is
the same at both), and one cohort that the present build writes. The stages run in turn, the base's and then
the present one's, each as DVC would start it; training has the settings of 3bf474d on both sides. The present
side has the crop and what else has come since, so that its stages do more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figure import report
from project_copy import PROJECT, PROMOTE, YAML_FILE, ProjectCopy, ricenet

from ricenet.runtime.files import read_json, write_text

BASE = "3bf474d"
PAPER_SETS = ["post_op", "event", "dose", "post_op+event", "post_op+dose", "event+dose", "post_op+event+dose"]


def main() -> None:
    """Run the stages of both sides, then what only the present side answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=92)
    parser.add_argument("--present-only", action="store_true", help="without the base")
    parser.add_argument(
        "--small-cohort", action="store_true", help="train the present side's other recipe too"
    )
    parser.add_argument("--epochs", type=int, help="of both sides' trainings, whose ratio is not judged then")
    parser.add_argument(
        "--folder", type=Path, help="where the copies are made and kept (default: a temporary one)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        present = ProjectCopy.at("HEAD", folder / "present")
        base = None if arguments.present_only else ProjectCopy.at(BASE, folder / "base")
        with Peak() as peak:
            _run_stages(
                present, base, arguments.subjects, arguments.epochs, small_cohort=arguments.small_cohort
            )
        if base is not None:
            _compare(present, base, arguments.subjects, trained_whole=arguments.epochs is None)
        else:
            met = peak.gigabytes <= 5.3
            report("peak memory of the demo, GB", peak.gigabytes, "at most 5.3", "resident sizes added", met)
        _present_alone(present, arguments.subjects)


def _run_stages(
    present: ProjectCopy, base: ProjectCopy | None, subjects: int, epochs: int | None, *, small_cohort: bool
) -> None:
    """Write the cohort, then run the stages of both sides in turn."""
    sides = [present] if base is None else [base, present]
    former = _params(BASE)
    for side in sides:
        side.change_params({"phantom": {"subjects": subjects}})
        if base is not None:
            side.change_params({"training": {"epochs": epochs or former["training"]["epochs"]}})
        if side is present and not small_cohort:
            explained = list(former["explain"]["modality_sets"])
            side.change_params({"modality_sets": PAPER_SETS, "explain": {"modality_sets": explained}})
        side.timed("phantom", *ricenet("phantom", "work/phantom"))
    for side in sides:
        shutil.copytree(present.folder / "work/phantom", side.folder / "data/demo")
    waiting = [(side, side.stages()) for side in sides]
    while any(names for _, names in waiting):
        for side, names in waiting:
            if names:
                side.stage(names.pop(0))


def _params(commit: str) -> dict[str, Any]:
    show = ["git", "-C", str(PROJECT), "show", f"{commit}:params.yaml"]
    loaded: dict[str, Any] = YAML_FILE.load(
        subprocess.run(show, check=True, capture_output=True, text=True).stdout
    )
    return loaded


def _compare(present: ProjectCopy, base: ProjectCopy, subjects: int, *, trained_whole: bool) -> None:
    def ratio(names: Sequence[str]) -> float:
        return sum(base.seconds[n] for n in names if n in base.seconds) / sum(
            present.seconds[n] for n in names if n in present.seconds
        )

    others = [name for name in {**base.seconds, **present.seconds} if name != "train"]
    agreement = f"{subjects} subjects, macro-F1 of sets within {_largest_difference(present, base):.2f}"
    for name, names, goal in (
        ("whole demo but training", others, 2.2),
        ("quality stage", ["quality"], 6.0),
        *([("35 trainings", ["train"], 1.6)] if trained_whole else []),
    ):
        report(
            f"{name}, times as fast as {BASE}",
            found := ratio(names),
            f"at least {goal}",
            agreement,
            found >= goal,
        )
    for name in others:
        print(
            f"{name}: {base.seconds.get(name, 0):.1f} s -> {present.seconds.get(name, 0):.1f} s",
            file=sys.stderr,
        )


def _largest_difference(present: ProjectCopy, base: ProjectCopy) -> float:
    """Between the two sides' mean validation macro-F1s of a set."""
    ours, theirs = (read_json(side.folder / "work/evaluation/metrics.json") for side in (present, base))
    return max(abs(ours[name]["macro_f1_mean"] - theirs[name]["macro_f1_mean"]) for name in PAPER_SETS)


def _present_alone(present: ProjectCopy, subjects: int) -> None:
    present.command("dvc", "repro")  # what DVC has not seen; all of it is in the store
    present.timed("second dvc repro", "dvc", "repro")
    present.timed("check", *ricenet("check", "data/demo"))
    present.timed("help", *ricenet("--help"))
    for name, seconds in (("second dvc repro", 5.0), ("check", 5.0), ("help", 0.5)):
        taken = present.seconds[name]
        report(f"{name}, s", taken, f"at most {seconds}", f"{subjects} subjects", taken <= seconds)
    stored = present.gigabytes("work", "models", "mlflow", ".dvc/cache")
    report("disk of a finished demo, GB", stored, "at most 1.0", f"{subjects} subjects", stored <= 1.0)
    _one_more_subject(present, subjects)


def _one_more_subject(present: ProjectCopy, subjects: int) -> None:
    """A subject without label joins the raw cohort; every stage but those that train runs again."""
    more = present.folder.parent / "one-more"
    present.command(*ricenet("phantom", str(more), "--subjects", str(subjects + 1)))
    new, cohort = f"sub-{subjects + 1:03d}", present.folder / "data/demo"
    shutil.copytree(more / new, cohort / new)
    # joins as an unlabelled subject of no subset: folds and trainings stay
    (row,) = [r for r in (more / "participants.tsv").read_text().splitlines() if r.startswith(new)]
    cells = ["n/a" if i in (1, 2, 3) else cell for i, cell in enumerate(row.split("\t"))]
    table = cohort / "participants.tsv"
    # a new file: the old one may be a link into DVC's cache
    write_text(table, table.read_text() + "\t".join(cells) + "\n")
    names = [name for name in present.stages() if name not in ("train", "tune", "repeat", PROMOTE)]
    for name in names:
        present.timed(f"one more: {name}", sys.executable, f"src/stages/{name}.py")
    taken = sum(seconds for name, seconds in present.seconds.items() if name.startswith("one more"))
    report("one more subject, s", taken, "under 40", "all stages but training", taken < 40)


class Peak:
    """The largest sum of the resident sizes of this process's descendants, looked at ten times a second."""

    def __enter__(self) -> Peak:
        """Begin to look."""
        self.gigabytes, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.gigabytes = max(self.gigabytes, _descendants_bytes(os.getpid()) / 1e9)


def _descendants_bytes(root: int) -> int:
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                sizes[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * os.sysconf(
                    "SC_PAGE_SIZE"
                )
            except OSError:  # it has ended
                continue
    found, total = {root}, 0
    for _ in range(len(parents)):
        new = {pid for pid, parent in parents.items() if parent in found} - found
        if not new:
            break
        found |= new
        total += sum(sizes.get(pid, 0) for pid in new)
    return total


if __name__ == "__main__":
    main()
