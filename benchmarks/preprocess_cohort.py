"""A phantom cohort through preprocessing: two workers against one, and one more subject.

    python benchmarks/preprocess_cohort.py             # 46 subjects of the demo, half an hour
    python benchmarks/preprocess_cohort.py --serial 10 # the serial side on ten of them, compared by subject
    python benchmarks/preprocess_cohort.py --subjects 4

The same subjects, at the demo's settings, into a fresh store each time: in one process with one thread,
then by two worker processes with one thread each, whose start and imports count. Then one subject joins.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

from figure import report

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.config.params import ExecutionParams, Params, read_params
from ricenet.phantom.mechanism import mechanism_named
from ricenet.phantom.write_cohort import write_phantom
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.runtime.files import read_json
from ricenet.runtime.store import Store

PROJECT = Path(__file__).parents[1]
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
TWO_WORKERS = ExecutionParams(backend="processes", workers=2, threads_per_worker=1)


def write_cohort(folder: Path, subjects: int, params: Params) -> CheckedCohort:
    """A phantom cohort of the demo's kind, checked; one that an earlier run kept is taken as it is."""
    settings = params.phantom
    if not folder.is_dir():
        write_phantom(
            folder,
            subjects,
            settings.seed,
            mechanism_named(settings.mechanism),
            test_fraction=settings.test_fraction,
            spacing_mm=settings.spacing_mm,
            single_fraction_share=settings.single_fraction_share,
        )
    return admit(check_cohort(folder), exclude_faulty=False)


def seconds(
    cohort: CheckedCohort, params: Params, execution: ExecutionParams, store: Store, output: Path
) -> float:
    """How long it takes to preprocess a cohort with what is in the store."""
    versions = tool_versions(params.preprocessing.brain)
    begun = time.perf_counter()
    preprocess_cohort(cohort, params.preprocessing, params.seed, execution, store, output, versions)
    return time.perf_counter() - begun


def same_volumes(one: Path, other: Path) -> bool:
    """Whether all subjects of the first output have the same network input in the other, byte for byte."""
    subjects = read_json(one / "summary.json")["subjects"]
    return all(
        path.read_bytes() == (other / subject / path.name).read_bytes()
        for subject in subjects
        for path in (one / subject).glob("*.npy")
    )


def main() -> None:
    """Measure, compare, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--subjects", type=int, default=46)
    parser.add_argument("--serial", type=int, help="subjects of the serial side; all by default")
    parser.add_argument("--keep", type=Path, help="a folder to leave all in, for preprocess_accuracy.py")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    params = read_params(PROJECT / "params.yaml")
    with tempfile.TemporaryDirectory(prefix="ricenet-benchmark-") as name:
        folder = arguments.keep or Path(name)
        larger = write_cohort(folder / "raw", arguments.subjects + 1, params)
        cohort = CheckedCohort.of(larger.root, larger.subjects[:-1])
        one, two = Store(folder / "one"), Store(folder / "two")
        fewer = CheckedCohort.of(larger.root, cohort.subjects[: arguments.serial])
        serial = seconds(fewer, params, SERIAL, one, folder / "serial")
        parallel = seconds(cohort, params, TWO_WORKERS, two, folder / "parallel")
        alike = same_volumes(folder / "serial", folder / "parallel")
        again = seconds(cohort, params, TWO_WORKERS, two, folder / "again")
        adding = seconds(larger, params, TWO_WORKERS, two, folder / "larger")
    a_subject, of_two = serial / len(fewer.subjects), parallel / len(cohort.subjects)
    ratio = a_subject / of_two
    told = f"{len(cohort.subjects)} subjects, {len(fewer.subjects)} of them serially, the same bytes: {alike}"
    print(f"serial {serial:.0f} s, {a_subject:.1f} s a subject; two workers {parallel:.0f} s, {of_two:.1f} s")
    print(f"one more subject {adding:.1f} s, none {again:.1f} s")
    report("preprocess_cohort_two_workers", ratio, ">= 1.7x", told, ratio >= 1.7 and alike)
    report(
        "preprocess_cohort_one_more", adding / a_subject, "< 2 subjects' time", told, adding < 2 * a_subject
    )


if __name__ == "__main__":
    main()
