"""Cases that lack volumes: answered by the one network trained for that, from what there is, or refused by
name.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohorts import write_tiny_cohort, write_tiny_subject
from predicting_project import TINY, replace_tools
from small_ensembles import ensemble_record, write_untrained

from ricenet.cohort.layout import RawSubject
from ricenet.config.network_params import SmallCnnParams
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.evidence.calibration_record import (
    ConformalThresholds,
    Recalibration,
    SubsetDecision,
)
from ricenet.inference.case import CaseFiles
from ricenet.inference.missing_volumes import decision_from, volumes_of_case
from ricenet.inference.predict_cohort import predict_cohort
from ricenet.inference.predict_subject import Predictor
from ricenet.inference.three_way import DecisionThreshold
from ricenet.inference.training_ranges import unknown_ranges
from ricenet.runtime.errors import CohortError, RegistryError
from ricenet.service.submission import Fields
from ricenet.training.ensemble import Ensemble
from ricenet.vocabulary import PAPER_VOLUMES

ALL = "post_op+event+dose"
MAY_LACK = SmallCnnParams(widths=[2, 3, 4], channel_dropout=1.0)
AS_IT_IS = Recalibration(method="temperature", slope=1.0, intercept=0.0)
NO_SETS = ConformalThresholds(coverage=0.9, rice_from=None, recurrence_to=None)


def decision(least: float) -> SubsetDecision:
    return SubsetDecision(recalibration=AS_IT_IS, threshold=least, conformal=NO_SETS)


THRESHOLD = DecisionThreshold(
    recalibration=AS_IT_IS,
    least_confidence=0.9,
    subsets={"post_op": decision(0.6), "post_op+event": decision(0.7), "event": decision(0.5)},
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("may-lack") / "ensemble"
    record = ensemble_record(ALL, network=MAY_LACK, preprocessing=TINY.model_dump())
    write_untrained(folder, record)
    return folder


@pytest.fixture
def predictor(files: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    replace_tools(monkeypatch)
    return Predictor(files, 7, unknown_ranges("a test", PAPER_VOLUMES), THRESHOLD)


@pytest.fixture
def case(tmp_path: Path) -> CaseFiles:
    write_tiny_subject(tmp_path / "raw", "sub-001")
    raw = RawSubject(tmp_path / "raw", "sub-001")
    return CaseFiles({name: raw.scan(name) for name in PAPER_VOLUMES.names})


def without(case: CaseFiles, *names: str) -> CaseFiles:
    return replace(case, volumes={name: path for name, path in case.volumes.items() if name not in names})


def test_a_case_with_all_volumes_is_decided_as_ever(predictor: Predictor, case: CaseFiles) -> None:
    answer = predictor.case(case).as_json()
    assert (answer["used"], answer["missing"]) == (["post_op", "event", "dose"], [])
    assert answer["least_confidence"] == 0.9


def test_what_there_is_decides_by_the_thresholds_of_such_answers(
    predictor: Predictor, case: CaseFiles
) -> None:
    found = predictor.case(without(case, "dose"))
    answer = found.as_json()
    assert (answer["used"], answer["missing"]) == (["post_op", "event"], ["dose"])
    assert answer["least_confidence"] == 0.7
    assert (
        found.warnings[0]
        == "dose missing: answered from post_op, event alone, by the one network trained for that"
    )


def test_a_missing_volume_is_not_a_dark_one_for_the_folds(predictor: Predictor, case: CaseFiles) -> None:
    one, other = predictor.case(without(case, "dose")), predictor.case(case)
    assert one.vote.p_rice_folds != other.vote.p_rice_folds
    assert all(np.isfinite(one.vote.p_rice_folds))


def test_without_the_post_operative_mri_the_event_takes_its_place(
    predictor: Predictor, case: CaseFiles
) -> None:
    found = predictor.case(without(case, "post_op", "dose"))
    assert found.as_json()["used"] == ["event"]
    assert found.as_json()["least_confidence"] == 0.5
    assert found.warnings[1].startswith("preprocessed in the space of event, as post_op is missing")


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        (("post_op",), "no MRI of session postop is given, into whose space dose would have to be brought"),
        (("post_op", "event"), "no MRI of session postop is given, into whose space dose would"),
        (("post_op", "event", "dose"), "none of the volumes post_op, event, dose is given"),
    ],
)
def test_what_cannot_be_placed_is_refused(
    predictor: Predictor, case: CaseFiles, missing: tuple[str, ...], found: str
) -> None:
    with pytest.raises(CohortError, match=found):
        predictor.case(without(case, *missing))


def test_answers_without_evidence_are_said_to_be_uncalibrated(predictor: Predictor, case: CaseFiles) -> None:
    silent = replace(predictor, threshold=THRESHOLD.model_copy(update={"subsets": {}}))
    answer = silent.case(without(case, "dose")).as_json()
    assert (answer["three_way"], answer["p_rice_calibrated"]) == ("n/a", None)
    assert (
        answer["three_way_why"] == "uncalibrated: no evidence is at hand of answers from post_op+event alone"
    )


def test_where_the_crop_moves_with_what_is_missing_nothing_is_calibrated() -> None:
    record = ensemble_record(ALL, network=MAY_LACK, input="crop")
    threshold, otherwise = decision_from(record, THRESHOLD, ("dose",))
    assert threshold is None
    assert otherwise.why.startswith("uncalibrated: without dose the crop lies elsewhere than in training")
    assert (
        decision_from(record, THRESHOLD, ("event", "post_op"))[0] is None
    )  # dose alone: not in the evidence
    by_change = ensemble_record(ALL, network=MAY_LACK, input="crop_by_change")
    assert decision_from(by_change, THRESHOLD, ("dose",))[0] == THRESHOLD.with_volumes("post_op+event")


def test_networks_that_need_their_volumes_still_do(case: CaseFiles, tmp_path: Path) -> None:
    record = ensemble_record(ALL, preprocessing=TINY.model_dump())
    write_untrained(tmp_path / "all", record)
    assert volumes_of_case(record, ["post_op"], "case") is record.volumes
    strict = Predictor(tmp_path / "all", 7, unknown_ranges("a test", PAPER_VOLUMES))
    with pytest.raises(CohortError, match="--dose is missing"):
        strict.case(without(case, "dose"))
    with pytest.raises(RegistryError, match=r"a volume is missing \(NaN\) for the ensemble"):
        Ensemble.load(tmp_path / "all").predict(np.full((1, 3, 12, 12, 12), np.nan, np.float32))


def test_of_a_cohort_each_subject_is_answered_from_what_it_has(predictor: Predictor, tmp_path: Path) -> None:
    write_tiny_cohort(tmp_path / "cohort", subjects=2)
    shutil.rmtree(tmp_path / "cohort/sub-002/ses-event")
    serial = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
    first, second = (o.result for o in predict_cohort(tmp_path / "cohort", predictor, serial))
    assert first is not None
    assert second is not None
    assert (first.missing, second.missing) == ((), ("event",))


def test_the_service_asks_for_no_volume_that_may_be_missing() -> None:
    assert Fields.of(ensemble_record(ALL, network=MAY_LACK)).needed == ()
    assert Fields.of(ensemble_record(ALL)).needed == ("post_op", "event", "dose")
