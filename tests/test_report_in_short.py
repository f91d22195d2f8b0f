"""The report's first screen: what was asked, what came out, how sure, what not to believe, what is next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_evidence import estimate
from small_report import plain_page, write_project, write_vote

from ricenet.evaluation.evidence.record import Evidence
from ricenet.report.in_short import five_sentences, in_short_figure
from ricenet.report.results import Results, read_results
from ricenet.screening.guards.result import GuardResult


@pytest.fixture
def results(tmp_path: Path) -> Results:
    write_project(tmp_path)
    write_vote(tmp_path)
    return read_results(tmp_path, seed=7)


def changed(results: Results, **changes: object) -> Results:
    return replace(results, evidence=results.evidence.model_copy(update=changes))


def told(results: Results) -> dict[str, str]:
    return dict(five_sentences(results))


def with_table_gain(evidence: Evidence, p_macro_f1: float) -> object:
    """The audit, its one table held against the best network with this p."""
    baseline = max(evidence.audit.baselines, key=lambda b: b.scores.macro_f1.value)
    gain = next(iter(baseline.gains.values())).model_copy(
        update={"p_macro_f1": p_macro_f1, "macro_f1": estimate(0.2)}
    )
    sure = baseline.model_copy(update={"gains": dict.fromkeys(evidence.sets, gain)})
    return evidence.audit.model_copy(update={"baselines": (sure,)})


def test_there_are_five_and_they_stand_before_everything_else() -> None:
    page = plain_page()
    places = [
        page.index(word) for word in ("In short", "Asked", "Found", "How sure", "Do not believe", "Next")
    ]
    assert places == sorted(places)
    assert places[-1] < page.index("Summary")


def test_shares_are_told_as_so_many_in_ten(results: Results) -> None:
    scores = results.evidence.sets[results.evidence.best_set]
    assert f"{round(scores.sensitivity.value * 10, 1):g} in 10" in told(results)["Found"]


def test_a_network_that_may_be_guessing_is_called_so(results: Results) -> None:
    best = results.evidence.best_set
    scores = results.evidence.sets[best].model_copy(update={"macro_f1": estimate(0.6, 0.45, 0.75)})
    doubtful = changed(results, sets={best: scores}, chance_macro_f1=0.5)
    assert "better than guessing" in told(doubtful)["Do not believe"]
    sure = changed(results, sets={best: scores}, chance_macro_f1=0.4)
    assert "better than guessing" not in told(sure)["Do not believe"]


def test_a_table_that_is_not_beaten_is_named(results: Results) -> None:
    unsure = changed(results, audit=with_table_gain(results.evidence, p_macro_f1=0.3))
    assert "that a network is needed" in told(unsure)["Do not believe"]
    sure = changed(results, audit=with_table_gain(results.evidence, p_macro_f1=0.01))
    assert "that a network is needed" not in told(sure)["Do not believe"]


def test_a_failed_guard_comes_before_all_else(results: Results) -> None:
    failed = GuardResult(name="same_image", outcome="failed", found="twice", remedy="Look.", subjects=())
    leaking = changed(results, guards=(failed,))
    assert told(leaking)["Do not believe"].startswith("any score before the failed guards")
    assert "guards" in told(leaking)["Next"]


def test_a_synthetic_cohort_says_nothing_about_patients(results: Results) -> None:
    assert "synthetic" in told(replace(results, synthetic=True))["Do not believe"]
    assert "another hospital" in told(replace(results, synthetic=False))["Do not believe"]


def test_without_a_vote_promotion_is_next_for_real_patients(results: Results) -> None:
    own = replace(results, synthetic=False, votes={})
    assert "ricenet promote" in told(own)["Next"]
    assert "ricenet promote" not in told(replace(own, votes=results.votes))["Next"]


def test_the_picture_has_a_line_for_the_network_the_table_and_each_vote(results: Results) -> None:
    (axes,) = in_short_figure(results).axes
    titles = [text.get_text().split(":")[0] for text in axes.texts]
    assert titles == ["best network", "best table", "vote on the test set", "guessing"]
