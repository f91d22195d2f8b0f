"""What a network adds to the days since radiotherapy."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import held_out
from sklearn.metrics import roc_auc_score

from ricenet.evaluation.evidence.beyond_time import added_p_value, beyond_time


def cohort(n=80, seed=0):
    """Time in SD, labels that follow it, and noise of the images."""
    rng = np.random.default_rng(seed)
    time = rng.normal(size=n)
    is_rice = rng.random(n) < 1 / (1 + np.exp(2 * time))
    return time, is_rice, rng.normal(size=n)


def found(time, is_rice, logit):
    held = held_out(is_rice, {"event": 1 / (1 + np.exp(-logit))})
    days = 200 * np.exp(0.6 * time)
    scalars = {s: {"days_rt_end_to_event": d} for s, d in zip(held.subjects, days, strict=True)}
    return beyond_time(held, scalars, 7, 300)


def test_a_network_that_sees_time_alone_adds_nothing_however_well_it_ranks():
    time, is_rice, noise = cohort()
    logit = -2 * time + 0.5 * noise
    result = found(time, is_rice, logit)
    assert roc_auc_score(is_rice, logit) > 0.75
    assert not result.is_shown
    assert result.gain.low < 0.02
    assert result.sentence.startswith("is not shown to add to the days since radiotherapy (p = ")


def test_a_network_that_knows_more_is_found():
    time, is_rice, noise = cohort()
    result = found(time, is_rice, -time + 2 * (is_rice - 0.5) + noise)
    assert result.is_shown and result.gain.value > 0
    assert result.sentence.startswith("adds to the days since radiotherapy (p ")


def test_a_network_that_points_the_wrong_way_adds_nothing():
    time, is_rice, noise = cohort()
    assert found(time, is_rice, -3 * (is_rice - 0.5) + noise).p == 1


def test_the_test_is_that_of_the_likelihoods_ratio():
    import statsmodels.api as sm
    from scipy.stats import chi2

    time, is_rice, noise = cohort()
    less, more = time[:, np.newaxis], np.column_stack([time, (is_rice - 0.5) + noise])
    likelihood = [sm.Logit(is_rice, sm.add_constant(x)).fit(disp=0).llf for x in (less, more)]
    expected = chi2.sf(2 * (likelihood[1] - likelihood[0]), 1)
    assert added_p_value(less, more, is_rice) == pytest.approx(expected, rel=0.01)


def test_the_level_is_kept_where_time_is_all():
    shown = []
    for seed in range(60):
        time, is_rice, noise = cohort(seed=seed)
        less, more = time[:, np.newaxis], np.column_stack([time, time + noise])
        shown.append(added_p_value(less, more, is_rice) <= 0.05)
    # one side of a test at 5 %: 1.5 of 60 are expected, and 6 come with a chance below 0.5 %
    assert sum(shown) < 6


def test_subjects_without_a_known_time_do_not_count():
    _, is_rice, noise = cohort()
    held = held_out(is_rice, {"event": 1 / (1 + np.exp(-noise))})
    scalars = {
        s: {"days_rt_end_to_event": 100 + 10 * i if i < 70 else None} for i, s in enumerate(held.subjects)
    }
    assert beyond_time(held, scalars, 7, 300).n == 70
    for days in (None, 90.0):
        alike = {s: {"days_rt_end_to_event": days} for s in held.subjects}
        assert beyond_time(held, alike, 7, 300) is None
    few = {s: {"days_rt_end_to_event": 90.0 + i if i < 15 else None} for i, s in enumerate(held.subjects)}
    assert beyond_time(held, few, 7, 300) is None


def test_a_time_that_parts_the_labels_leaves_nothing_to_add():
    time, _, noise = cohort()
    result = found(time, time < 0, noise)
    assert result.time > 0.99 and not result.is_shown
