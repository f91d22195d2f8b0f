"""Scores by visit: intervals are those of patients, and time alone stands beside the networks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from small_report import page_of
from small_report import write_project as write_reported

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.evidence.visits import (
    DAYS,
    NUMBER,
    VISITS_FILE,
    Clusters,
    VisitTime,
    visit_evidence,
    visits_table,
)
from ricenet.evaluation.held_out import first_visits
from ricenet.runtime.files import write_json
from ricenet.training.predictions import Prediction

RESAMPLES = 400


def answers(patients: int, seed: int = 1) -> list[Prediction]:
    """First visits: labels by turns, p_rice of an AUC of some 0.8."""
    drawn = np.random.default_rng(seed).normal(size=patients)
    return [
        Prediction(
            f"sub-{i:03d}",
            "rice" if i % 2 else "recurrence",
            i % 5,
            float(1 / (1 + np.exp(-x - i % 2 + 0.5))),
        )
        for i, x in enumerate(drawn)
    ]


def again(rows: list[Prediction], number: int, **changes: object) -> list[Prediction]:
    """The same patients at a later visit."""
    return [replace(p, participant_id=f"{p.participant_id}v{number}", **changes) for p in rows]  # type: ignore[arg-type]


def times_of(rows: list[Prediction]) -> dict[str, VisitTime]:
    """The n-th visit is 100 n days after radiotherapy."""
    named = [(p.participant_id, *p.participant_id.partition("v")[::2]) for p in rows]
    return {s: VisitTime(patient, int(n or 1), 100 * int(n or 1)) for s, patient, n in named}


def test_visits_that_repeat_the_first_make_no_interval_narrower() -> None:
    first = answers(40)
    rows = first + again(first, 2) + again(first, 3)
    found = visit_evidence(
        {"dose": rows}, {p.participant_id for p in first}, times_of(rows), 7, RESAMPLES
    ).sets["dose"]
    assert (found.first_event.n, found.all_visits.n, found.all_visits.patients) == (40, 120, 40)
    assert found.all_visits.auc == found.first_event.auc
    assert found.all_visits.macro_f1 is not None and found.first_event.macro_f1 is not None
    assert found.all_visits.macro_f1.low == pytest.approx(found.first_event.macro_f1.low)
    # visits drawn one by one would seem to say more
    p_rice = np.array([p.p_rice for p in rows])
    is_rice = np.array([p.label == "rice" for p in rows])
    (naive,) = Resampling.of(is_rice, 7, RESAMPLES).estimates([scores.auc(p_rice, is_rice)])
    auc = found.all_visits.auc
    assert auc is not None and naive.high - naive.low < 0.75 * (auc.high - auc.low)


def test_a_drawn_patient_comes_with_all_visits() -> None:
    patients, numbers = ["b", "a", "a", "c", "b"], [2, 1, 2, 1, 1]
    clusters = Clusters.of(patients, numbers)
    # a: rows 1 and 2; b: 0 and 4, of which 4 is the first; c: 3
    assert clusters.owner.tolist() == [1, 0, 0, 2, 1]
    assert clusters.first.tolist() == [1, 4, 3]
    p_rice, is_rice = np.array([0.9, 0.2, 0.7, 0.4, 0.6]), np.array([True, False, False, True, False])
    counts = np.array([[1.0, 2.0, 1.0], [3.0, 1.0, 2.0]])
    by_patient = [clusters._by_patient(s(p_rice, is_rice)) for s in (scores.macro_f1, scores.auc)]
    for drawn, macro_f1, auc in zip(counts, *(score(counts) for score in by_patient), strict=True):
        # a slow twin: each patient's rows as often as it was drawn
        rows = np.repeat(np.arange(5), drawn[clusters.owner].astype(int))
        assert macro_f1 == pytest.approx(f1_score(is_rice[rows], p_rice[rows] >= 0.5, average="macro"))
        assert auc == pytest.approx(roc_auc_score(is_rice[rows], p_rice[rows]))


def test_where_time_gives_the_label_away_it_alone_is_as_good_as_it_looks() -> None:
    early = [replace(p, label="rice") for p in answers(30)]
    late = again(early, 2, label="recurrence")
    rows = early + [replace(p, p_rice=0.9) for p in late]
    found = visit_evidence({"dose": rows}, {p.participant_id for p in early}, times_of(rows), 7, RESAMPLES)
    for name in (DAYS, NUMBER):
        # first visits are all of one label here, so that no interval by label can be drawn
        assert found.time[name].all_visits.auc is None
    others = [replace(p, participant_id=f"sub-1{i}", label="recurrence") for i, p in enumerate(early[:10])]
    mixed = rows + others
    times = times_of(mixed) | {f"sub-1{i}": VisitTime(f"sub-1{i}", 1, 250) for i in range(10)}
    found = visit_evidence({"dose": mixed}, {p.participant_id for p in early}, times, 7, RESAMPLES)
    by_days, by_number = (found.time[name].all_visits.auc for name in (DAYS, NUMBER))
    assert by_days is not None and by_days.value == 1.0
    # the number mistakes the ten late first visits: (30 * 30 + 0.5 * 30 * 10) of 30 * 40 pairs
    assert by_number is not None and by_number.value == pytest.approx((900 + 150) / 1200)
    gain = found.sets["dose"].gains[DAYS].auc
    assert gain is not None and gain.value < 0


def test_scores_are_counted_by_the_number_of_the_visit_and_unknown_days_are_no_baseline() -> None:
    first = answers(20)
    second = again([p for i, p in enumerate(first) if i < 3], 2)
    times = {s: replace(time, days=None) for s, time in times_of(first + second).items()}
    found = visit_evidence({"dose": first + second}, {p.participant_id for p in first}, times, 7, RESAMPLES)
    assert (found.patients, found.several, found.visits) == (20, 3, 23)
    by_number = found.sets["dose"].by_number
    assert {n: (s.n, s.rice) for n, s in by_number.items()} == {1: (20, 10), 2: (3, 1)}
    # of one RICE no interval can be drawn
    assert by_number[1].auc is not None and by_number[2].auc is None
    assert DAYS not in found.time and NUMBER in found.time
    table = visits_table({"dose": first + second}, times).splitlines()
    assert table[-1].startswith("sub-002\t2\tn/a\tsub-002v2\trecurrence")


def test_the_report_has_a_section_of_visits_only_where_there_are_any(tmp_path: Path) -> None:
    project = write_reported(tmp_path)
    assert "all visits" not in page_of(project)
    first = answers(20)
    rows = first + again(first[:10], 2)
    found = visit_evidence({"dose": rows}, {p.participant_id for p in first}, times_of(rows), 7, RESAMPLES)
    write_json(project / VISITS_FILE, found.model_dump(mode="json"))
    page = page_of(project)
    assert re.search(r'<h2 id="visits-title">\d+\. Visits</h2>', page)
    assert "10 of 20 subjects of the cross-validation have several labelled follow-up visits, 30 in" in page
    assert "time alone: days since radiotherapy" in page


def test_published_predictions_are_cut_to_each_patients_first_visit() -> None:
    first = answers(4)
    rows = [*first[1:], *again(first, 2), *again(first, 3)]
    assert [p.participant_id for p in first_visits(rows)] == ["sub-001", "sub-002", "sub-003", "sub-000v2"]
    # participants who are called so, in a cohort of one visit each
    assert first_visits(again(first, 2)) == again(first, 2)
