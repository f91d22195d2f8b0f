"""The group-wise regression: its mean and evidence by brute force, and what noise does to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ricenet.training import group_regression
from ricenet.training.group_regression import FeatureGroup, GroupRegression, fit_group_regression
from ricenet.training.laplace import BIAS_VARIANCE, Laplace


def group(name: str, values: np.ndarray) -> FeatureGroup:
    return FeatureGroup(name, tuple(f"{name}_{i}" for i in range(values.shape[1])), values)


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def subjects(seed: int, n: int, strength: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """One feature that is related to the label."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 1))
    return x, random.random(n) < expit(strength * x[:, 0])


def test_the_evidence_and_the_mean_are_those_of_the_integral() -> None:
    # 60 subjects, a weight of variance 1 and the bias of variance 100, summed over a grid of both
    x, is_rice = subjects(1, 60)
    x, y = standard(x), is_rice.astype(float)
    b, w = np.meshgrid(np.linspace(-6, 6, 601), np.linspace(-5, 7, 601), indexing="ij")
    logits = b[..., None] + w[..., None] * x[:, 0]
    log_joint = -np.logaddexp(0, (1 - 2 * y) * logits).sum(axis=-1)
    log_joint += -0.5 * w**2 - 0.5 * np.log(2 * np.pi)
    log_joint += -0.5 * b**2 / BIAS_VARIANCE - 0.5 * np.log(2 * np.pi * BIAS_VARIANCE)
    joint = np.exp(log_joint - log_joint.max()) * 0.02**2
    evidence = np.log(joint.sum()) + log_joint.max()
    laplace = Laplace.of([x @ x.T], np.array([1.0]), y)
    assert laplace.log_evidence == pytest.approx(evidence, abs=0.05)
    mode = np.unravel_index(log_joint.argmax(), log_joint.shape)
    assert float(x[:, 0] @ laplace.slope) == pytest.approx(w[mode], abs=0.011)
    assert float(BIAS_VARIANCE * laplace.slope.sum()) == pytest.approx(b[mode], abs=0.011)
    assert float(x[:, 0] @ laplace.slope) == pytest.approx((w * joint).sum() / joint.sum(), abs=0.1)


def test_the_prediction_is_the_mean_over_the_posterior() -> None:
    x, is_rice = subjects(2, 60)
    model = fit_group_regression([group("a", x)], is_rice)
    z, y, variance = standard(x)[:, 0], is_rice.astype(float), model.groups[0].variance
    b, w = np.meshgrid(np.linspace(-6, 6, 401), np.linspace(-5, 7, 401), indexing="ij")
    log_joint = -np.logaddexp(0, (1 - 2 * y) * (b[..., None] + w[..., None] * z)).sum(axis=-1)
    joint = np.exp(log_joint - 0.5 * w**2 / variance - 0.5 * b**2 / BIAS_VARIANCE)
    for new in (-3.0, -0.5, 0.4, 2.5):
        expected = (joint * expit(b + w * new)).sum() / joint.sum()
        found = model.p_rice([group("a", np.array([[new * x.std() + x.mean()]]))])
        assert found[0] == pytest.approx(expected, abs=0.02)


def test_the_gradient_of_the_evidence_is_its_difference_quotient() -> None:
    random = np.random.default_rng(3)
    blocks = [random.normal(size=(12, 3)), random.normal(size=(12, 20))]
    kernels = [x @ x.T / x.shape[1] for x in blocks]
    y, at, step = (np.arange(12) % 3 == 0).astype(float), np.log([0.7, 2.0]), 1e-4
    for i, gradient in enumerate(Laplace.of(kernels, np.exp(at), y).gradient):
        up, down = (
            Laplace.of(kernels, np.exp(at + sign * step * np.eye(2)[i]), y).log_evidence for sign in (1, -1)
        )
        assert gradient == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shape", [(40, 5), (15, 60)])
def test_at_a_given_variance_the_weights_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(4)
    x = standard(random.normal(size=shape))
    y = (x[:, 0] + random.normal(size=shape[0]) > 0).astype(float)
    variance = 0.3
    laplace = Laplace.of([x @ x.T], np.array([variance]), y)
    # its penalty on the bias, as a column of its own: sqrt(variance of the bias / of a weight)
    column = np.full((shape[0], 1), np.sqrt(BIAS_VARIANCE / variance))
    reference = LogisticRegression(C=variance, fit_intercept=False, tol=1e-10, max_iter=10_000)
    reference.fit(np.hstack([x, column]), y)
    assert variance * x.T @ laplace.slope == pytest.approx(reference.coef_[0, :-1], abs=1e-4)


def test_200_features_of_noise_cost_next_to_nothing() -> None:
    with_noise, without, plain = [], [], []
    for seed in range(12):
        random = np.random.default_rng(100 + seed)
        x, is_rice = subjects(seed, 240)
        noise = random.normal(size=(240, 200))
        train, test = np.arange(240) < 40, np.arange(240) >= 40
        own, other = group("own", x), group("noise", noise)
        for groups, areas in (([own, other], with_noise), ([own], without)):
            model = fit_group_regression([g.rows(train) for g in groups], is_rice[train])
            areas.append(roc_auc_score(is_rice[test], model.p_rice([g.rows(test) for g in groups])))
        both = standard(np.hstack([x, noise]))
        reference = LogisticRegression(max_iter=1000).fit(both[train], is_rice[train])
        plain.append(roc_auc_score(is_rice[test], reference.predict_proba(both[test])[:, 1]))
    assert np.mean(without) - np.mean(with_noise) < 0.02
    # and it is no matter of course
    assert np.mean(without) - np.mean(plain) > 0.05


def test_the_order_of_subjects_does_not_matter() -> None:
    random = np.random.default_rng(5)
    x, is_rice = subjects(5, 40)
    groups = [group("a", x), group("b", random.normal(size=(40, 30)))]
    order = random.permutation(40)
    first = fit_group_regression(groups, is_rice)
    second = fit_group_regression([g.rows(order) for g in groups], is_rice[order])
    assert second.p_rice(groups) == pytest.approx(first.p_rice(groups), abs=1e-4)


def test_a_record_and_back_predicts_the_same() -> None:
    random = np.random.default_rng(6)
    x, is_rice = subjects(6, 40)
    groups = [group("a", x), group("b", random.normal(size=(40, 60)) + 0.5 * is_rice[:, None])]
    model = fit_group_regression(groups, is_rice)
    back = GroupRegression.model_validate(json.loads(json.dumps(model.model_dump(mode="json"))))
    assert model.outcome == "converged" and all(g.variance > 0 for g in model.groups)
    assert np.array_equal(back.p_rice(groups), model.p_rice(groups))


def test_scale_and_unit_of_a_feature_do_not_matter() -> None:
    x, is_rice = subjects(7, 40)
    first = fit_group_regression([group("a", x)], is_rice).p_rice([group("a", x)])
    other = group("a", x * 1000 - 70)
    assert fit_group_regression([other], is_rice).p_rice([other]) == pytest.approx(first, abs=1e-6)


def test_constant_features_are_left_out_and_recorded() -> None:
    x, is_rice = subjects(8, 40)
    groups = [group("a", np.hstack([np.full((40, 1), 0.1), x])), group("flat", np.ones((40, 3)))]
    model = fit_group_regression(groups, is_rice)
    assert model.groups[0].constant == ("a_0",) and model.groups[0].features == ("a_1",)
    assert model.groups[1].constant == ("flat_0", "flat_1", "flat_2") and model.groups[1].variance == 0
    alone = fit_group_regression([group("a", x)], is_rice)
    assert model.p_rice(groups) == pytest.approx(alone.p_rice([group("a", x)]))


def test_where_nothing_helps_the_answer_is_the_share() -> None:
    # the feature is the same in both classes: -1 and 1, each 3 of 12 rice
    x = np.tile([[-1.0], [1.0]], (12, 1))
    is_rice = np.arange(24) < 6
    model = fit_group_regression([group("a", x)], is_rice)
    assert model.outcome == "share of the classes"
    assert model.p_rice([group("a", x * 5)]) == pytest.approx(np.full(24, 0.25))
    flat = fit_group_regression([group("a", np.ones((24, 1)))], is_rice)
    assert flat.outcome == "share of the classes" and flat.p_rice([group("a", x)])[0] == pytest.approx(0.25)


def test_a_climb_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.optimize

    real = scipy.optimize.minimize

    def short(*args: object, **kwargs: object) -> object:
        return real(*args, **{**kwargs, "options": {"maxiter": 1}})  # type: ignore[call-overload]

    monkeypatch.setattr(scipy.optimize, "minimize", short)
    x, is_rice = subjects(9, 40)
    assert fit_group_regression([group("a", x)], is_rice).outcome == "not converged"


def test_separable_subjects_have_finite_answers() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    is_rice = x[:, 0] > 0
    model = fit_group_regression([group("a", x)], is_rice)
    assert roc_auc_score(is_rice, model.p_rice([group("a", x)])) == 1
    assert model.groups[0].variance <= group_regression.LOGIT_VARIANCES[1] * 1.0001
    assert np.abs(model.logits([group("a", x * 1000)])).max() < 20


def test_what_cannot_be_fitted_is_refused() -> None:
    x, is_rice = subjects(10, 20)
    with pytest.raises(ValueError, match=r"groups with features, found \['empty'\]"):
        fit_group_regression([group("a", x), group("empty", np.empty((20, 0)))], is_rice)
    with pytest.raises(ValueError, match="both classes, found 20 of one"):
        fit_group_regression([group("a", x)], np.ones(20, dtype=bool))
    with pytest.raises(ValueError, match=r"not finite in the groups \['a'\]"):
        fit_group_regression([group("a", np.where(x > 0, np.nan, x))], is_rice)
    with pytest.raises(ValueError, match="same name"):
        fit_group_regression([group("a", x), group("a", x)], is_rice)
    model = fit_group_regression([group("a", x)], is_rice)
    with pytest.raises(ValueError, match="expected the groups"):
        model.p_rice([group("b", x)])
