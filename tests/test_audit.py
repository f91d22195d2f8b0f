"""The shortcut audit: what a table of scalars knows, and what is said about it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from held_out_cases import drawn, held_out

from ricenet.evaluation.evidence.audit import audit, majority_scores, verdict
from ricenet.evaluation.evidence.baselines import held_out_p_rice, scalar_models
from ricenet.evaluation.evidence.record import Baseline, Gain
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.scores import Scores, scores_with_intervals
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec, Volumes, VolumeSpec

MODELS = scalar_models(PAPER_VOLUMES, ())
FEATURES = MODELS[-1].features


def scalars_of(case, **known):
    """Every subject's scalars; those that are not named are not known. known: feature -> values."""
    return {
        subject: dict.fromkeys(FEATURES) | {name: values[i] for name, values in known.items()}
        for i, subject in enumerate(case.subjects)
    }


def a_case(network=1.0, seed=0):
    p_rice, is_rice = drawn(network, seed=seed)
    return held_out(is_rice, {"dose": p_rice})


def audited(case, models=MODELS, everyone=None, **known):
    """everyone: the subjects of the baselines, if other than the network's."""
    networks = {"dose": scores_with_intervals(case.p_rice["dose"], case.is_rice, 7, 300)}
    everyone = everyone or case
    scalars = scalars_of(everyone, **known)
    return audit({"dose": case}, networks, everyone, scalars, models, PAPER_VOLUMES, 7, 300)


def test_no_subject_has_a_part_in_the_model_that_judges_it():
    case = a_case()
    values = np.random.default_rng(1).normal(size=80)
    before = held_out_p_rice(("dose_mean_gy",), scalars_of(case, dose_mean_gy=values), case)
    # another label and an absurd value of one subject change nobody in its own fold but itself
    changed = np.array(values)
    changed[2] = 1e6
    flipped = held_out(case.is_rice ^ (np.arange(80) == 2), case.p_rice)
    after = held_out_p_rice(("dose_mean_gy",), scalars_of(case, dose_mean_gy=changed), flipped)
    same_fold = (case.fold == case.fold[2]) & (np.arange(80) != 2)
    assert after[same_fold] == pytest.approx(before[same_fold])
    assert not np.allclose(after[case.fold == 0], before[case.fold == 0])


def test_a_site_that_tells_the_label_beats_the_network():
    case = a_case(network=0.5)
    found = audited(case, site=["North" if rice else "South" for rice in case.is_rice])
    site = next(b for b in found.baselines if b.name == "site")
    assert site.scores.macro_f1.value == 1
    assert site.gains["dose"].macro_f1.high < 0
    assert "on site or scanner" in found.verdict
    assert found.verdict.endswith("A table of scalars knows more than the network does.")


def test_scalars_without_a_meaning_are_beaten_by_a_good_network():
    case = a_case(network=5.0)
    found = audited(case, dose_mean_gy=np.random.default_rng(2).normal(size=80))
    dose = next(b for b in found.baselines if b.name == "dose")
    assert dose.scores.auc.low < 0.5 < dose.scores.auc.high
    assert dose.gains["dose"].macro_f1.low > 0
    assert "beats chance" in found.verdict
    assert found.verdict.endswith("It knows more than a table of scalars does.")


def test_a_baseline_that_cannot_be_had_is_named_with_the_reason():
    case = a_case()
    found = audited(case, site=["North"] * 80, dose_mean_gy=np.arange(80.0))
    assert found.skipped == {
        "time": "no subject has it",
        "site": "it is the same in all",
        "masks": "no subject has it",
        "intensity": "no subject has it",
        "variables": "no subject has it",
    }
    assert [b.name for b in found.baselines] == ["majority", "dose", "all"]


def test_missing_values_are_filled_and_counted():
    case = a_case()
    values = [None if i < 10 else float(rice) for i, rice in enumerate(case.is_rice)]
    scalars = scalars_of(case, days_rt_end_to_event=values)
    assert model("time").incomplete(scalars) == 10
    p_rice = held_out_p_rice(("days_rt_end_to_event",), scalars, case)
    assert np.isfinite(p_rice).all()
    known = np.arange(80) >= 10
    assert ((p_rice >= 0.5) == case.is_rice)[known].all()


def test_features_that_never_differ_are_not_used():
    known = {"v20": [0.5] * 80, "v40": np.arange(80.0)}
    assert model("dose").usable(scalars_of(a_case(), **known)) == ("v40",)


def test_models_follow_the_declared_volumes_and_variables():
    flair = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR")
    age = VariableSpec(name="age_years", kind="number", unit="years")
    models = {m.name: m.features for m in scalar_models(Volumes([*PAPER_VOLUMES.mris, flair]), (age,))}
    assert models["dose"] == ()
    assert models["intensity"][-2:] == ("flair_mean", "flair_sd")
    assert models["variables"] == ("age_years",)
    assert models["all"][-1] == "age_years"


def test_a_declared_variable_that_gives_the_label_away_beats_the_network():
    case = a_case(network=0.5)
    models = scalar_models(PAPER_VOLUMES, (VariableSpec(name="rt_modality", kind="category"),))
    found = audited(case, models, rt_modality=["proton" if rice else "photon" for rice in case.is_rice])
    assert [b.name for b in found.baselines] == ["majority", "variables", "all"]
    assert "on declared variables" in found.verdict


def test_a_gain_is_on_the_subjects_of_its_network():
    everyone = a_case(network=2.0)
    part = held_out(everyone.is_rice[:60], {"dose": everyone.p_rice["dose"][:60]})
    found = audited(part, everyone=everyone, v20=np.arange(80.0))
    assert {b.name: (b.scores.n, b.gains["dose"].n) for b in found.baselines} == {
        "majority": (80, 60), "dose": (80, 60), "all": (80, 60)
    }  # fmt: skip


def model(name):
    return next(m for m in MODELS if m.name == name)


def test_the_majority_label_has_no_chance_in_it():
    found = majority_scores(a_case())
    # 48 recurrences of 80: F1 of 96/128 and 0
    assert found.macro_f1 == Estimate(value=0.375, low=0.375, high=0.375, method="constant")
    assert (found.auc.value, found.sensitivity.value, found.specificity.value) == (0.5, 0, 1)


def test_a_majority_that_turns_over_between_folds_is_scored_as_it_answered():
    # 3 of 6 have RICE: fold 0 judges one of them, so that those it learns from are mostly RICE
    case = held_out([True, True, False, True, False, False], {"dose": [0.5] * 6}, folds=2)
    case = dataclasses.replace(case, fold=np.array([0, 1, 0, 1, 0, 1]))
    found = majority_scores(case)
    assert (found.sensitivity.value, found.specificity.value) == pytest.approx((1 / 3, 1 / 3))
    assert found.balanced_accuracy.value == pytest.approx(1 / 3)


def test_guessing_networks_seldom_beat_chance():
    beaten = 0
    for cohort in range(40):
        p_rice, is_rice = np.random.default_rng(cohort).random(92), np.arange(92) < 35
        beaten += "is not shown to beat chance" not in audited(held_out(is_rice, {"dose": p_rice})).verdict
    assert beaten <= 4


def test_the_gain_of_a_faultless_network_is_not_certain():
    is_rice = np.arange(40) < 16
    case = held_out(is_rice, {"dose": np.where(is_rice, 0.9, 0.1)})
    gain = audited(case).baselines[0].gains["dose"].macro_f1
    assert gain.value == pytest.approx(1 - 0.375)
    assert (gain.method, gain.low < gain.value - 0.1, gain.high == gain.value) == ("exact bound", True, True)


def estimate(value, half=0.1):
    return Estimate(value=value, low=value - half, high=value + half, method="bca")


def scores(macro_f1):
    names = ("macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier")
    return Scores(n=80, **dict.fromkeys(names, estimate(macro_f1)))


def baseline(name, macro_f1, gain):
    p = 0.01 if gain else 0.8
    gains = {"dose": Gain(n=80, macro_f1=estimate(gain), auc=estimate(gain), p_macro_f1=p)}
    return Baseline(name=name, title=name, features=(), incomplete=0, scores=scores(macro_f1), gains=gains)


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        (0.2, "and it beats the best of 1 logistic regressions, on dose scalars"),
        (0.0, "but is not shown to beat the best"),
        (-0.2, "but it is worse than the best"),
    ],
)
def test_the_verdict_is_said_in_words(gain, outcome):
    baselines = [baseline("majority", 0.4, 0.3), baseline("dose scalars", 0.6, gain)]
    found = verdict("dose", "dose", scores(0.7), baselines, 0.5)
    assert outcome in found
    assert (
        "(dose, macro-F1 0.70 (0.60 to 0.80)) beats chance (0.50 for guessing, 0.40 for the more frequent "
        in found
    )


def test_a_network_that_knows_nothing_is_not_praised():
    found = verdict("dose", "dose", scores(0.55), [baseline("majority", 0.4, 0.05)], 0.5)
    assert "is not shown to beat chance" in found
    assert found.endswith("There are no scalars to compare it with.")
