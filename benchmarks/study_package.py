"""External validation: the same numbers elsewhere as at home, and nothing of single subjects in a result.

    python benchmarks/study_package.py                # 12 phantoms, five minutes on an idle core
    python benchmarks/study_package.py --subjects 6   # to try it out

Phantoms of a seed of their own are one hospital's cohort. At home they go through the stages' preprocessing,
two untrained networks whose answers are spread answer them, and the evaluation's own functions give the
numbers. The same networks are sealed; `ricenet validate` runs in another process, in an empty folder, with
ANTs and HD-BET. Then result and page are searched for whatever belongs to a single phantom.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from figure import report
from numpy.typing import NDArray

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.config.network_params import SmallCnnParams
from ricenet.config.params import ExecutionParams, read_params
from ricenet.evaluation.evidence.calibration_record import ConformalThresholds, Recalibration
from ricenet.evaluation.evidence.weak_calibration import logits_of, weak_calibration
from ricenet.evaluation.intervals import Estimate, share_of
from ricenet.evaluation.metrics import macro_f1_estimate
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.inference.test_vote import SubjectVote, count_votes
from ricenet.inference.three_way import DecisionThreshold
from ricenet.inference.training_ranges import unknown_ranges
from ricenet.phantom.mechanism import mechanism_named
from ricenet.phantom.write_cohort import with_rice_share, write_phantom
from ricenet.preprocessing.network_input import read_volumes
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.report.protocol import package_versions
from ricenet.runtime.store import Store
from ricenet.study.plan import AnalysisPlan, SubgroupPlan
from ricenet.study.write_package import StudyContent, write_package
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import EnsembleRecord, write_ensemble
from ricenet.training.networks import SmallCnn, initial_network
from ricenet.training.tensors_file import write_tensors
from ricenet.vocabulary import PAPER_VOLUMES

PROJECT = Path(__file__).parents[1]
COHORT_SEED, SEED, SET, FOLDS = 61_813, 7, "post_op+event+dose", 2
ONE = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
DECISION = DecisionThreshold(
    recalibration=Recalibration(method="temperature", slope=0.8, intercept=0.0),
    least_confidence=0.7,
    conformal=ConformalThresholds(coverage=0.9, rice_from=0.3, recurrence_to=0.7),
)
ELSEWHERE = "import sys; from ricenet.cli import app; app(sys.argv[1:])"


def write_networks(folder: Path, record: EnsembleRecord, middles: NDArray[np.float64] | None) -> Ensemble:
    """Untrained networks, their answers spread around the middle logits (folds,), once these are known."""
    paths = []
    for fold in range(FOLDS):
        network = cast(SmallCnn, initial_network(record.network, SET, fold, SEED, len(record.members)))
        with torch.no_grad():
            network.head.weight *= 40
            network.head.bias *= 40
            if middles is not None:
                network.head.bias[1] -= middles[fold]
        paths.append(folder / f"{fold}.safetensors")
        write_tensors(network.state_dict(), paths[-1])
    write_ensemble(folder / "ensemble", record, paths)
    return Ensemble.load(folder / "ensemble")


def answers(ensemble: Ensemble, preprocessed: Path, cohort: CheckedCohort) -> NDArray[np.float64]:
    """Each fold's p_rice (N, folds), as the vote on a test set reads them."""
    names = [spec.name for spec in ensemble.members]
    subjects = [subject.participant_id for subject in cohort.subjects]
    volumes = [read_volumes(preprocessed / name, name, names, ensemble.record.grid) for name in subjects]
    return np.concatenate([ensemble.predict(one[np.newaxis]) for one in volumes])


def numbers_at_home(votes: list[SubjectVote], plan: AnalysisPlan) -> dict[tuple[str, str], Estimate]:
    """By the functions of the evaluation."""
    labels, predicted = [vote.label for vote in votes], [vote.predicted for vote in votes]
    is_rice, p_rice = np.array(labels) == "rice", np.array([vote.p_rice for vote in votes])
    scores = scores_with_intervals(p_rice, is_rice, plan.seed, plan.resamples)
    raw = weak_calibration(p_rice, is_rice, plan.seed, plan.resamples)
    calibrated = np.array([vote.p_rice_calibrated for vote in votes], np.float64)
    again = weak_calibration(calibrated, is_rice, plan.seed, plan.resamples)
    assert raw.slope is not None and again.slope is not None
    return {
        ("performance", "macro_f1"): macro_f1_estimate(labels, predicted, plan.seed, plan.resamples),
        ("performance", "auc"): scores.auc,
        ("performance", "brier"): scores.brier,
        ("calibration as given", "slope"): raw.slope,
        ("calibration as given", "intercept"): raw.intercept,
        ("calibration once recalibrated", "slope"): again.slope,
        ("calibration once recalibrated", "intercept"): again.intercept,
        ("three-way vote", "answered"): share_of(np.array([v.three_way != "indeterminate" for v in votes])),
    }


def largest_difference(home: Mapping[tuple[str, str], Estimate], result: Mapping[str, Any]) -> float:
    """Of all numbers and the ends of their intervals."""
    there = {
        (n["part"], n["name"]): Estimate.model_validate(n["estimate"])
        for n in result["numbers"]
        if n["estimate"] is not None
    }
    pairs = [
        (getattr(there[place], end), getattr(one, end))
        for place, one in home.items()
        for end in ("value", "low", "high")
    ]
    # an open end is infinite on both sides
    return max(0.0 if a == b else abs(a - b) for a, b in pairs)


def found_of_single_subjects(text: str, cohort: Path, votes: list[SubjectVote]) -> Iterator[str]:
    """What of single subjects stands in a text: names, probabilities to six digits, cells, files, places."""
    yield from re.findall(r"sub-\w+", text)
    values = [p for vote in votes for p in (*vote.p_rice_folds, vote.p_rice, vote.p_rice_calibrated or 0.0)]
    words = {f"{p:.6f}"[1:] for p in values} | {path.name for path in cohort.rglob("*") if path.is_file()}
    with (cohort / "participants.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    words |= {row[name] for row in rows for name in ("age_years", "days_rt_end_to_event") if "." in row[name]}
    words |= {str(cohort), cohort.parent.name}
    yield from (word for word in words if word in text)


def main() -> None:
    """Both sides, compared and searched."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--subjects", type=int, default=12)
    arguments = parser.parse_args()
    log_to_stderr()
    demo = read_params(PROJECT / "params.yaml")
    coarse = {
        "cube_voxels": 24,
        "spacing_mm": 8.0,
        "crop": None,
        "registration": demo.preprocessing.registration.model_copy(update={"spacing_mm": 4.0}),
        "brain": demo.preprocessing.brain.model_copy(update={"spacing_mm": 3.0}),
    }
    preprocessing = demo.preprocessing.model_copy(update=coarse)
    plan = AnalysisPlan(
        resamples=2_000,
        least_subjects=arguments.subjects,
        smallest_cell=3,
        subgroups=(SubgroupPlan(column="sex", groups=("F", "M")),),
    )
    with tempfile.TemporaryDirectory(prefix="ricenet-benchmark-") as name:
        folder = Path(name)
        cohort, there = folder / "theirs", folder / "empty"
        there.mkdir()
        mechanism = with_rice_share(mechanism_named("dose_height"), 0.5, arguments.subjects, COHORT_SEED)
        kind = {"test_fraction": 0.0, "spacing_mm": 3.0, "single_fraction_share": 0.0}
        write_phantom(cohort, arguments.subjects, COHORT_SEED, mechanism, **kind)
        checked = admit(check_cohort(cohort), exclude_faulty=False)
        begun = time.perf_counter()
        versions = tool_versions(preprocessing.brain)
        preprocess_cohort(
            checked, preprocessing, SEED, ONE, Store(folder / "store"), folder / "preprocessed", versions
        )
        record = EnsembleRecord(
            modality_set=SET,
            folds=FOLDS,
            network=SmallCnnParams(),
            fold_keys=("a", "b"),
            data_digest="d" * 64,
            preprocessing_digest="p" * 64,
            splits_digest="s" * 64,
            preprocessing=preprocessing.model_dump(),
        )
        given = answers(write_networks(folder, record, None), folder / "preprocessed", checked)
        ensemble = write_networks(folder, record, np.median(logits_of(given), axis=0))
        folds = answers(ensemble, folder / "preprocessed", checked)
        labels = [str(subject.label) for subject in checked.subjects]
        names = [subject.participant_id for subject in checked.subjects]
        votes = count_votes(names, labels, folds, DECISION)
        home = numbers_at_home(votes, plan)
        print(f"home: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        content = StudyContent(
            model="rice-net",
            version="1",
            files=folder / "ensemble",
            plan=plan,
            home=None,
            decision=DECISION,
            ranges=unknown_ranges("a benchmark", PAPER_VOLUMES),
            gate="not asked",
            synthetic=True,
            seed=SEED,
            versions=package_versions(),
        )
        package = folder / "study.zip"
        write_package(package, content, {})
        begun = time.perf_counter()
        words = ["validate", str(package), str(cohort), "--out", "out", "--workers", "1"]
        subprocess.run([sys.executable, "-W", "ignore", "-c", ELSEWHERE, *words], cwd=there, check=True)
        print(f"elsewhere: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        result = json.loads((there / "out/result.json").read_text())
        both = (there / "out/result.json").read_text() + (there / "out/result.html").read_text()
        leaks = list(found_of_single_subjects(both, cohort, votes))
        private = (there / "ricenet-private/predictions.tsv").read_text()
        seen = len(set(found_of_single_subjects(private, cohort, votes)))
    difference = largest_difference(home, result)
    called = sum(vote.predicted == "rice" for vote in votes)
    told = (
        f"{len(votes)} phantoms, {called} called RICE; {len(home)} numbers with intervals, from the stages' "
        "preprocessing and from the command in another process"
    )
    report("study_same_numbers", difference, "<= 1e-6", told, difference <= 1e-6)
    told = f"the same search finds {seen} in the predictions that stay; {len(both)} characters searched"
    report("study_single_subjects_in_result", len(leaks), "0", told, not leaks and seen > len(votes))


if __name__ == "__main__":
    main()
