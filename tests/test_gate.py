"""The gate before promotion: each condition refuses with its reason, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from held_out_cases import drawn, predictions_of

from ricenet.evaluation.evidence.gate import (
    SHARED,
    GateFold,
    GateRecord,
    failed_conditions,
    refusal,
    worse_than,
)
from ricenet.evaluation.intervals import Estimate
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


def of_dose(p_rice, is_rice):
    return tuple(predictions_of(is_rice, {"dose": p_rice}, folds=3)["dose"])


def reasons(given):
    return [str(failure) for failure in failed_conditions(given)]


GUARD = GuardResult(name="same_image", outcome="failed", found="sub-1 is sub-2.", remedy="Exclude one.")
LEAKING = fold(1, training=[s for s in SUBJECTS if s != "sub-2"])
OF_ANOTHER = fold(2, validation=["sub-0", "sub-5"], training=SUBJECTS[1:5])
SILENT = fold(0, digests={}, training=[], validation=[])


def test_an_ensemble_in_order_passes_and_survives_json(tmp_path):
    given = record(predictions=of_dose(*drawn(1.0)))
    assert failed_conditions(given) == []
    (tmp_path / "dose.json").write_text(given.model_dump_json())
    assert GateRecord.read(tmp_path / "dose.json", "evidence") == given
    (tmp_path / "dose.json").write_text("{}")
    with pytest.raises(ResultError, match=r"dose\.json is not of this version\. .*dvc repro -f evidence"):
        GateRecord.read(tmp_path / "dose.json", "evidence")


@pytest.mark.parametrize("name", SHARED)
def test_folds_from_other_settings_or_data_are_refused(name):
    unlike = fold(2, digests={**DIGESTS, name: "b"})
    (reason,) = reasons(record(folds=(fold(0), fold(1), unlike)))
    assert reason.startswith(f"folds: fold(s) 2 were trained with other {name} than fold 0. Train all folds")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"folds": ()}, "folds: it has none"),
        ({"folds": (fold(0), LEAKING, fold(2))}, "fold 1 was not trained on exactly the subjects that the"),
        ({"folds": (fold(0), fold(1), OF_ANOTHER)}, "a subject is held out by two folds"),
        ({"folds": (SILENT, fold(1), fold(2))}, "fold(s) 0 do not say from what they were trained"),
        ({"failed_guards": (GUARD,)}, "guard same_image: sub-1 is sub-2. Exclude one"),
        ({"chance_macro_f1": 0.55}, "of 0.70 (0.55 to 0.80) is not shown to be above the 0.55 that chance"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_reason(changes, reason):
    assert any(reason in found for found in reasons(record(**changes)))


@pytest.mark.parametrize(("low", "passes"), [(0.501, True), (0.5, False), (0.2, False)])
def test_the_lower_bound_has_to_be_above_chance(low, passes):
    given = record(macro_f1=Estimate(value=0.6, low=low, high=0.8, method="bca"))
    assert (failed_conditions(given) == []) == passes


def test_all_failures_are_reported_together():
    given = record(failed_guards=(GUARD,), chance_macro_f1=0.6)
    lines = refusal("rice-net-dose version 2", failed_conditions(given)).splitlines()
    assert lines[0] == "rice-net-dose version 2 does not pass the gate:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  - guard same_image", "  - chance"]


def test_a_version_significantly_worse_than_the_champion_is_refused():
    good, is_rice = drawn(4.0)
    better = record(predictions=of_dose(good, is_rice))
    worse = record(predictions=of_dose(drawn(0.0, seed=3)[0], is_rice))
    found = worse_than(worse, better, "version 1", seed=7, resamples=500)
    assert found is not None
    assert found.condition == "worse_than_champion"
    assert "from that of version 1, on 80 common subjects" in found.found
    assert worse_than(better, worse, "version 1", seed=7, resamples=500) is None
    assert worse_than(worse, worse, "version 1", seed=7, resamples=500) is None


def test_only_common_subjects_with_the_same_label_are_compared():
    good, is_rice = drawn(4.0)
    poor = record(predictions=of_dose(1 - good, is_rice))
    elsewhere = tuple(replace(p, participant_id=f"other-{p.participant_id}") for p in poor.predictions)
    relabelled = of_dose(good, np.ones(80, bool))
    # of the relabelled, the 32 with RICE alone are common, so there is nothing to compare
    for champion, common in ((elsewhere, 0), (relabelled, 32)):
        with pytest.raises(ResultError, match=f"only {common} of its held-out subjects are version 1's too"):
            worse_than(poor, record(predictions=champion), "version 1", 7, 300)
