"""ComBat by site: as its source writes it, and fitted within training, without labels."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import held_out
from numpy.typing import NDArray

from ricenet.evaluation.evidence.audit import audit
from ricenet.evaluation.evidence.baselines import ScalarModel, held_out_p_rice, scalar_models
from ricenet.evaluation.evidence.group_baselines import group_models, grouped_p_rice
from ricenet.evaluation.evidence.harmonisation import Combat, harmonised
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.vocabulary import PAPER_VOLUMES

Floats = NDArray[np.float64]
RNG = np.random.default_rng(11)
SITES = ["A"] * 9 + ["B"] * 6 + ["C"] * 5
SHIFTS, SPREADS = {"A": 0.0, "B": 4.0, "C": -3.0}, {"A": 1.0, "B": 3.0, "C": 0.5}
VALUES = np.array(
    [[10 * f + SHIFTS[s] + SPREADS[s] * RNG.normal() * (1 + f) for f in range(4)] for s in SITES]
)


def johnson(values: Floats, sites: list[str]) -> Floats:
    """Johnson et al. 2007, section 3.2, subject by subject and feature by feature."""
    names, features = sorted(set(sites)), range(values.shape[1])
    rows = {name: [i for i, s in enumerate(sites) if s == name] for name in names}
    z, alpha, sigma = np.empty_like(values), [], []
    for g in features:
        means = {name: sum(values[i, g] for i in rows[name]) / len(rows[name]) for name in names}
        alpha.append(sum(len(rows[name]) * means[name] for name in names) / len(sites))
        sigma.append(
            (sum((values[i, g] - means[name]) ** 2 for name in names for i in rows[name]) / len(sites)) ** 0.5
        )
        for i in range(len(sites)):
            z[i, g] = (values[i, g] - alpha[g]) / sigma[g]
    found = np.empty_like(values)
    for name in names:
        own = rows[name]
        gamma = [float(np.mean([z[i, g] for i in own])) for g in features]
        delta = [float(np.var([z[i, g] for i in own], ddof=1)) for g in features]
        gamma_bar, tau2 = float(np.mean(gamma)), float(np.var(gamma, ddof=1))
        v, s2 = float(np.mean(delta)), float(np.var(delta, ddof=1))
        lam, theta = (v**2 + 2 * s2) / s2, (v**3 + v * s2) / s2
        for g in features:
            gamma_star, delta_star = gamma[g], delta[g]
            for _ in range(5000):
                weight = len(own) * tau2
                gamma_star = (weight * gamma[g] + delta_star * gamma_bar) / (weight + delta_star)
                rest = sum((z[i, g] - gamma_star) ** 2 for i in own)
                delta_star = (theta + rest / 2) / (len(own) / 2 + lam - 1)
            for i in own:
                found[i, g] = sigma[g] / delta_star**0.5 * (z[i, g] - gamma_star) + alpha[g]
    return found


def test_features_become_what_the_source_says() -> None:
    assert Combat.fit(VALUES, SITES).apply(VALUES, SITES) == pytest.approx(johnson(VALUES, SITES), abs=1e-4)


def test_sites_become_alike_and_what_all_share_stays() -> None:
    fitted = Combat.fit(VALUES, SITES).apply(VALUES, SITES)
    names = np.array(SITES)

    def apart(values: Floats) -> Floats:
        means = np.array([values[names == site].mean(axis=0) for site in "ABC"])
        return np.ptp(means, axis=0) / values.std(axis=0)

    # of the fourth feature, which scatters most, sites hardly differ
    assert (apart(fitted) < 0.4 * apart(VALUES))[:3].all()
    assert (apart(fitted) < apart(VALUES)).all()
    assert fitted.mean(axis=0) == pytest.approx(VALUES.mean(axis=0), abs=1.5)


def test_a_single_feature_is_centred_and_scaled_without_any_shrinking() -> None:
    values = np.array([[1.0], [3.0], [11.0], [15.0]])
    found = Combat.fit(values, ["A", "A", "B", "B"]).apply(values, ["A", "A", "B", "B"])
    # centre 7.5; within sites sums of squares 2 and 8, so a scale of sqrt(10 / 4); both sites end alike
    half = np.sqrt(10 / 4) / np.sqrt(2)
    assert found.ravel() == pytest.approx([7.5 - half, 7.5 + half, 7.5 - half, 7.5 + half])


def test_an_unseen_site_and_an_unknown_one_keep_their_values() -> None:
    fitted = Combat.fit(VALUES, SITES)
    others = np.array([[1.0, 2.0, 3.0, 4.0]] * 2)
    assert fitted.apply(others, ["D", None]).tolist() == others.tolist()


def test_a_site_of_one_training_subject_is_not_fitted() -> None:
    assert Combat.fit(VALUES[:10], SITES[:10]).sites == ("A",)
    # then there is nothing to bring A's values to
    assert harmonised(VALUES[:10], SITES[:10], np.ones(10, bool)).tolist() == VALUES[:10].tolist()


def test_missing_and_equal_values_do_no_harm() -> None:
    values = VALUES.copy()
    values[3, 1], values[:, 2] = np.nan, 5.0
    found = Combat.fit(values, SITES).apply(values, SITES)
    assert np.isnan(found[3, 1]) and np.isfinite(np.delete(found[:, 1], 3)).all()
    assert found[:, 2].tolist() == [5.0] * len(SITES)


# --- within the folds ---

IS_RICE = np.arange(40) % 2 == 0
CASE = held_out(IS_RICE, {"event": np.where(IS_RICE, 0.6, 0.4)})
SITE_OF = ["A" if i % 4 < 2 else "B" for i in range(40)]
INTENSITY = ("event_mean", "event_sd")


def scalars(values: Floats, sites: list[str] | None = None) -> dict[str, dict[str, float | str | None]]:
    """Subject -> intensities and site."""
    return {
        subject: {"site": (sites or SITE_OF)[i], **dict(zip(INTENSITY, values[i].tolist(), strict=True))}
        for i, subject in enumerate(CASE.subjects)
    }


def drawn_intensities(shift: float = 50.0) -> Floats:
    values = np.random.default_rng(5).normal(size=(40, 2))
    values[:, 0] += 0.8 * IS_RICE
    return values + shift * np.array([[s == "B"] * 2 for s in SITE_OF])


def test_nobody_who_is_judged_has_a_part_in_the_fit() -> None:
    values = drawn_intensities()
    before = held_out_p_rice(INTENSITY, scalars(values), CASE, INTENSITY)
    changed = values.copy()
    changed[3] = 1e4
    after = held_out_p_rice(INTENSITY, scalars(changed), CASE, INTENSITY)
    same_fold = (CASE.fold == CASE.fold[3]) & (np.arange(40) != 3)
    assert after[same_fold] == pytest.approx(before[same_fold])
    assert not np.allclose(after[CASE.fold != CASE.fold[3]], before[CASE.fold != CASE.fold[3]])


def test_labels_have_no_part_in_the_fit() -> None:
    values = drawn_intensities()
    training = CASE.fold != 0
    found = harmonised(values, SITE_OF, training)
    assert (
        found.tolist()
        == Combat.fit(values[training], np.array(SITE_OF)[training].tolist()).apply(values, SITE_OF).tolist()
    )


def test_what_a_scanner_adds_is_taken_off_and_the_label_comes_out() -> None:
    values = drawn_intensities()
    model = ScalarModel("intensity", "intensities", INTENSITY)
    (grouped, *_) = group_models((model, model), ())
    for answer in (
        lambda harmonise: held_out_p_rice(INTENSITY, scalars(values), CASE, harmonise),
        lambda harmonise: grouped_p_rice(grouped, scalars(values), {}, CASE, harmonise),
    ):
        plain, taken_off = (
            scores_with_intervals(answer(names), IS_RICE, 7, 200).auc.value for names in ((), INTENSITY)
        )
        assert taken_off > plain
        # as where no scanner added anything
        clean = held_out_p_rice(INTENSITY, scalars(drawn_intensities(0.0)), CASE)
        assert taken_off == pytest.approx(scores_with_intervals(clean, IS_RICE, 7, 200).auc.value, abs=0.08)


def test_the_audit_says_what_was_harmonised_and_for_how_many_it_could_not_be() -> None:
    sites = ["C" if i == 39 else site for i, site in enumerate(SITE_OF)]
    networks = {"event": scores_with_intervals(CASE.p_rice["event"], IS_RICE, 7, 200)}
    models = [m for m in scalar_models(PAPER_VOLUMES, ()) if m.name == "intensity"]
    given = scalars(drawn_intensities(), sites)
    found = audit(
        {"event": CASE}, networks, CASE, given, models, PAPER_VOLUMES, 7, 200, harmonise=INTENSITY
    )  # fmt: skip
    assert (found.harmonised, found.unharmonised) == (INTENSITY, 1)
    plain = audit({"event": CASE}, networks, CASE, given, models, PAPER_VOLUMES, 7, 200)
    assert (plain.harmonised, plain.unharmonised) == ((), 0)
