"""Is the cost of a cohort what docs/scale.md says? Three cohorts of small phantoms; the third is forecast.

    python benchmarks/scale.py [--sizes 20 92 200] [--folder DIR]

Every stage runs on cohorts of two sizes. Costs are taken as a fixed part and a part for each subject, and a
third cohort, larger than both, is held against that: CPU time with and without training, disk, rows in
MLflow. Phantoms and cubes are coarse, so that 312 subjects take half an hour; what a subject costs at the
demo's and the paper's scale, other benchmarks measure.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from figure import report
from project_copy import PROMOTE, ProjectCopy, ricenet

GOAL = 0.2
TRAIN = "train"
SMALL = {
    "phantom": {"spacing_mm": 4.0},
    "preprocessing": {
        "cube_voxels": 26,
        "spacing_mm": 8.0,
        "registration": {"spacing_mm": 6.0},
        "brain": {"spacing_mm": 3.0},
    },
    "network": {"widen_factor": 0.125},
    "training": {"epochs": 8},
    "modality_sets": ["dose", "post_op+dose"],
    "explain": {"modality_sets": ["dose"], "cube_voxels": 8, "stride_voxels": 8},
    "robustness": {
        "dose_shift_mm": [3],
        "dose_rotation_degrees": [5],
        "noise_sd": [0.3],
        "bias_field": [0.3],
    },
}
COSTS = ("CPU seconds but training", "CPU seconds of training", "disk, MB", "rows in MLflow")


def main() -> None:
    """Measure three cohorts, forecast the largest, and tell which stages grow faster than the cohort."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs=3, default=[20, 92, 200], metavar="SUBJECTS")
    parser.add_argument("--folder", type=Path, help="where the projects are kept (default: a temporary one)")
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        projects = {n: _run(folder / f"of-{n}", n) for n in sizes}
        costs = {n: _costs(project) for n, project in projects.items()}
    small, middle, large = sizes
    for at, name in enumerate(COSTS):
        forecast = _forecast(small, costs[small][at], middle, costs[middle][at], large)
        found = costs[large][at]
        agreement = (
            f"{large} subjects: {found:.0f} found, {forecast:.0f} forecast from {small} and {middle} "
            f"({costs[small][at]:.0f}, {costs[middle][at]:.0f})"
        )
        off = abs(forecast - found) / found
        report(f"{name}, forecast off by", off, f"within {GOAL:.0%}", agreement, off <= GOAL)
    for stage in projects[large].cpu_seconds:
        taken = [projects[n].cpu_seconds.get(stage, 0.0) for n in sizes]
        forecast = _forecast(small, taken[0], middle, taken[1], large)
        print(f"{stage:14} CPU s: {taken[0]:7.1f} {taken[1]:7.1f} {taken[2]:7.1f} ({forecast:.1f} forecast)")
    sys.stdout.flush()


def _run(folder: Path, subjects: int) -> ProjectCopy:
    folder.parent.mkdir(parents=True, exist_ok=True)
    project = ProjectCopy.at("HEAD", folder)
    project.change_params({**SMALL, "phantom": {**SMALL["phantom"], "subjects": subjects}})
    project.timed("phantom", *ricenet("phantom", "data/demo"))
    for name in project.stages():
        project.stage(name)
    return project


def _costs(project: ProjectCopy) -> tuple[float, float, float, float]:
    """In the order of COSTS; of what is fixed in number, the start of the vote's promotion too."""
    taken = project.cpu_seconds
    others = sum(seconds for name, seconds in taken.items() if name not in (TRAIN, PROMOTE))
    disk = project.gigabytes("work", "models", "mlflow", "data") * 1000
    return others, taken[TRAIN], disk, float(_rows(project.folder / "mlflow/mlflow.db"))


def _rows(database: Path) -> int:
    """Of all tables of a database."""
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return sum(int(connection.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0]) for (t,) in tables)


def _forecast(n: int, of_n: float, m: int, of_m: float, larger: int) -> float:
    """By a fixed part and one for each subject."""
    return of_n + (of_m - of_n) / (m - n) * (larger - n)


if __name__ == "__main__":
    main()
