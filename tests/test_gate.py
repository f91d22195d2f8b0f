"""The gate before promotion: each condition refuses with its reason, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn

from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.evidence.gate import (
    SHARED,
    GateFold,
    GatePrediction,
    GateRecord,
    failed_conditions,
    refusal,
    worse_than,
)
from ricenet.runtime.errors import ResultError
from ricenet.screening.guards.result import GuardResult

SUBJECTS = [f"sub-{i}" for i in range(6)]
DIGESTS = dict.fromkeys(SHARED, "a")


def fold(k, **changes):
    validation = SUBJECTS[2 * k : 2 * k + 2]
    training = [s for s in SUBJECTS if s not in validation]
    given = {"fold": k, "digests": DIGESTS, "training": training, "validation": validation, **changes}
    return GateFold.model_validate(given)


def record(**changes):
    given = {
        "modality_set": "dose",
        "ensemble_digest": "e" * 64,
        "folds": tuple(fold(k) for k in range(3)),
        "failed_guards": (),
        "macro_f1": Estimate(value=0.7, low=0.55, high=0.8, method="bca"),
        "chance_macro_f1": 0.5,
        "temperature": 2.0,
        "threshold": None,
        "predictions": (),
        **changes,
    }
    return GateRecord(**given)


def predictions(p_rice, is_rice):
    return tuple(
        GatePrediction(
            participant_id=f"sub-{i}", label="rice" if rice else "recurrence", fold=i % 3, p_rice=float(p)
        )
        for i, (p, rice) in enumerate(zip(p_rice, is_rice, strict=True))
    )


def only_failure(given):
    (failure,) = failed_conditions(given)
    return str(failure)


def test_an_ensemble_in_order_passes_and_survives_json(tmp_path):
    assert failed_conditions(record()) == []
    (tmp_path / "dose.json").write_text(record().model_dump_json())
    assert GateRecord.read(tmp_path / "dose.json", "evidence") == record()


@pytest.mark.parametrize("name", SHARED)
def test_folds_from_other_settings_or_data_are_refused(name):
    unlike = fold(2, digests={**DIGESTS, name: "b"})
    told = only_failure(record(folds=(fold(0), fold(1), unlike)))
    assert told.startswith(f"folds: fold(s) 2 were trained with other {name} than fold 0. Train all folds")


def test_a_fold_that_saw_a_subject_that_it_judges_is_refused():
    leaking = fold(1, training=[s for s in SUBJECTS if s != "sub-2"])
    told = only_failure(record(folds=(fold(0), leaking, fold(2))))
    assert "fold 1 was not trained on exactly the subjects that the other folds hold out" in told


def test_folds_of_other_divisions_are_refused():
    of_another = fold(2, validation=["sub-0", "sub-5"], training=SUBJECTS[1:5])
    told = [str(f) for f in failed_conditions(record(folds=(fold(0), fold(1), of_another)))]
    assert any("a subject is held out by two folds" in line for line in told)


def test_folds_that_do_not_say_what_they_saw_are_refused():
    silent = fold(0, digests={}, training=[], validation=[])
    assert "fold(s) 0 do not say from what they were trained" in only_failure(
        record(folds=(silent, fold(1), fold(2)))
    )


def test_a_failed_guard_is_named_with_what_it_found():
    guard = GuardResult(name="same_image", outcome="failed", found="sub-1 is sub-2.", remedy="Leave one out.")
    assert only_failure(record(failed_guards=(guard,))) == "guard same_image: sub-1 is sub-2. Leave one out"


@pytest.mark.parametrize(("low", "passes"), [(0.501, True), (0.5, False), (0.2, False)])
def test_the_lower_bound_has_to_be_above_chance(low, passes):
    given = record(macro_f1=Estimate(value=0.6, low=low, high=0.8, method="bca"))
    assert (failed_conditions(given) == []) == passes
    if not passes:
        assert "0.60" in only_failure(given)
        assert "not shown to be above the 0.50 that chance gives" in only_failure(given)


def test_all_failures_are_told_together():
    guard = GuardResult(name="same_image", outcome="failed", found="a copy")
    given = record(failed_guards=(guard,), macro_f1=Estimate(value=0.3, low=0.2, high=0.5, method="bca"))
    told = refusal("rice-net-dose version 2", failed_conditions(given))
    assert told.splitlines()[0] == "rice-net-dose version 2 does not pass the gate:"
    assert [line.split(":")[0] for line in told.splitlines()[1:]] == ["  - guard same_image", "  - chance"]


def test_a_version_significantly_worse_than_the_champion_is_refused():
    good, is_rice = drawn(4.0)
    poor, _ = drawn(0.0, seed=3)
    better, worse = (
        record(predictions=predictions(good, is_rice)),
        record(predictions=predictions(poor, is_rice)),
    )
    found = worse_than(worse, better, "version 1", seed=7, resamples=500)
    assert found is not None
    assert found.condition == "worse_than_champion"
    assert "from that of version 1, on 80 common subjects" in found.found
    assert worse_than(better, worse, "version 1", seed=7, resamples=500) is None
    assert worse_than(worse, worse, "version 1", seed=7, resamples=500) is None


def test_only_common_subjects_with_the_same_label_are_compared():
    good, is_rice = drawn(4.0)
    better = predictions(good, is_rice)
    elsewhere = tuple(p.model_copy(update={"participant_id": f"other-{p.participant_id}"}) for p in better)
    poor = record(predictions=predictions(1 - good, is_rice))
    with pytest.raises(ResultError, match=r"only 0 of its held-out subjects are version 1's too"):
        worse_than(poor, record(predictions=elsewhere), "version 1", 7, 300)
    relabelled = predictions(good, np.ones(80, bool))
    # common are the 32 with RICE alone, so there is nothing to compare
    with pytest.raises(ResultError, match=r"only 32 of its held-out"):
        worse_than(poor, record(predictions=relabelled), "version 1", 7, 300)


def test_another_file_is_no_record(tmp_path):
    (tmp_path / "dose.json").write_text("{}")
    with pytest.raises(ResultError, match=r"dose\.json is not of this version\. .*dvc repro -f evidence"):
        GateRecord.read(tmp_path / "dose.json", "evidence")
