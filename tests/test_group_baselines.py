"""Group-wise regressions in the audit: what they know, and that no leak reaches them."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn, held_out
from preprocessed_subjects import head_of
from sklearn.metrics import roc_auc_score

from ricenet.evaluation.evidence.audit import audit
from ricenet.evaluation.evidence.baselines import scalar_models
from ricenet.evaluation.evidence.group_baselines import (
    cohort_convolutions,
    group_models,
    grouped_p_rice,
)
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.preprocessing.network_input import write_volume
from ricenet.training.group_regression import FeatureGroup, fit_group_regression
from ricenet.vocabulary import PAPER_VOLUMES

PLAIN = scalar_models(PAPER_VOLUMES, ())
GROUPED, CONVOLVED = group_models(PLAIN, ("post_op",))


def a_case():
    p_rice, is_rice = drawn(1.0)
    return held_out(is_rice, {"dose": p_rice})


def told(case, dose=None, convolved=None):
    """(scalars, convolutions): by subject, the mean dose, and 3 convolutions of the post_op."""
    noise = np.random.default_rng(1).normal(size=(80, 4))
    dose = noise[:, 0] if dose is None else dose
    convolved = noise[:, 1:] if convolved is None else convolved
    nothing = dict.fromkeys(PLAIN[-1].features)
    scalars = {s: nothing | {"dose_mean_gy": float(dose[i])} for i, s in enumerate(case.subjects)}
    return scalars, {s: {"post_op": convolved[i]} for i, s in enumerate(case.subjects)}


@pytest.mark.parametrize("where", ["dose", "convolved"])
def test_a_feature_that_is_the_label_of_those_judged_alone_tells_nothing(where):
    case = a_case()
    inside, is_rice = case.fold == 0, case.is_rice
    noise = np.random.default_rng(2).normal(size=80)
    leak = np.where(inside, 3.0 * is_rice, noise)
    given = {where: leak if where == "dose" else np.stack([leak, noise, -noise], axis=1)}
    p_rice = grouped_p_rice(CONVOLVED, *told(case, **given), case)[inside]
    # with the judged among the training subjects it would tell all
    group = FeatureGroup("leak", ("leak",), leak[inside, None])
    leaked = fit_group_regression([group], is_rice[inside]).p_rice([group])
    assert roc_auc_score(is_rice[inside], leaked) == 1
    # their labels have no part in their answers: with the others' labels exchanged these stay
    flipped = held_out(is_rice ^ inside, case.p_rice)
    again = grouped_p_rice(CONVOLVED, *told(case, **given), flipped)
    assert again[inside] == pytest.approx(p_rice, abs=1e-12)
    assert not np.allclose(again[~inside], grouped_p_rice(CONVOLVED, *told(case, **given), case)[~inside])


@pytest.mark.parametrize("where", ["dose", "convolved"])
def test_an_absurd_value_of_one_who_is_judged_scales_nobody_else(where):
    case = a_case()
    related = case.is_rice + np.random.default_rng(3).normal(size=80)
    before = related if where == "dose" else np.stack([related] * 3, axis=1)
    after = np.array(before)
    after[5] = 1e6
    first, second = (grouped_p_rice(CONVOLVED, *told(case, **{where: v}), case) for v in (before, after))
    others = (case.fold == case.fold[5]) & (np.arange(80) != 5)
    assert np.array_equal(first[others], second[others])
    assert not np.allclose(first[case.fold != case.fold[5]], second[case.fold != case.fold[5]])


def test_a_lacking_value_is_the_median_of_the_training_subjects():
    case = a_case()
    related = case.is_rice + np.random.default_rng(4).normal(size=80)
    values = np.stack([related] * 2, axis=1)
    scalars, convolutions = told(case, convolved=values)
    convolutions[case.subjects[7]] = {}
    lacking = grouped_p_rice(CONVOLVED, scalars, convolutions, case)[7]
    training = case.fold != case.fold[7]
    values[7] = np.median(values[training], axis=0)
    assert lacking == pytest.approx(grouped_p_rice(CONVOLVED, *told(case, convolved=values), case)[7])


def test_where_nothing_helps_both_classes_are_as_likely():
    # 32 of 80 are rice, but training is counted as balanced
    case = a_case()
    scalars, _ = told(case, dose=np.arange(80) // 5 % 2)
    p_rice = grouped_p_rice(GROUPED, scalars, {}, case)
    assert np.abs(p_rice - 0.5).max() < 0.2


def test_the_audit_sees_what_only_the_volumes_know():
    case = a_case()
    known = 4.0 * case.is_rice + np.random.default_rng(5).normal(size=80)
    scalars, convolutions = told(case, convolved=np.stack([known] * 3, axis=1))
    networks = {"dose": scores_with_intervals(case.p_rice["dose"], case.is_rice, 7, 300)}
    models = (*PLAIN, GROUPED, CONVOLVED)
    found = audit({"dose": case}, networks, case, scalars, models, PAPER_VOLUMES, 7, 300, convolutions)
    of = {b.name: b for b in found.baselines}
    assert of["convolutions"].scores.auc.value > 0.95
    assert of["grouped"].scores.auc.value < 0.7
    assert of["convolutions"].gains["dose"].auc.high < 0
    assert "random convolutions" in found.verdict


def test_convolutions_are_read_from_the_preprocessed_volumes(tmp_path):
    random = np.random.default_rng(6)
    volumes = random.normal(size=(2, 64, 64, 64)).astype(np.float16).astype(np.float32)
    for i, volume in enumerate(volumes):
        (tmp_path / f"sub-{i}").mkdir()
        write_volume(volume, tmp_path / f"sub-{i}", f"sub-{i}", "post_op")
    found = cohort_convolutions(tmp_path, {"sub-0": ["post_op"], "sub-1": []}, head_of(64), 4, 7)
    from ricenet.training.random_convolutions import random_convolutions

    coarse = np.array([[[volumes[0, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].mean()
                         for z in range(32)] for y in range(32)] for x in range(32)], np.float32)  # fmt: skip
    expected = random_convolutions(coarse[None], "post_op", 4, 7).values[0]
    assert found["sub-1"] == {}
    assert found["sub-0"]["post_op"] == pytest.approx(expected, abs=1e-4)
