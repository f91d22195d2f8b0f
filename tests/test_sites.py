"""What the best set knows within sites, and what baselines know of a site that they did not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ricenet.cohort.splits import Splits
from ricenet.evaluation.bootstrap import score_of
from ricenet.evaluation.evidence.audit import answers_of
from ricenet.evaluation.evidence.baselines import (
    ScalarModel,
    intensity_features,
    scalar_models,
    source_models,
)
from ricenet.evaluation.evidence.build import CrossValidation, EvidenceSettings, build_evidence
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.evaluation.evidence.site_record import Sites
from ricenet.evaluation.evidence.sites import (
    area_within_sites,
    folds_are_sites,
    gap_of_areas,
    judging_sites,
    site_evidence,
    verdict,
    within_sites,
)
from ricenet.evaluation.evidence.written import sites_table, write_evidence
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import PAPER_VOLUMES, Label

# two sites of four, one of two with RICE alone
IS_RICE = np.array([True, True, False, False, True, True, False, False, True, True])
P_RICE = np.array([0.9, 0.6, 0.7, 0.1, 0.8, 0.4, 0.3, 0.2, 0.5, 0.6])
SITE = np.array(["A"] * 4 + ["B"] * 4 + ["C"] * 2)


def case(
    sites: np.ndarray = SITE, folds: np.ndarray | None = None
) -> tuple[HeldOut, dict[str, dict[str, object]]]:
    names = tuple(f"sub-{i}" for i in range(len(IS_RICE)))
    fold = np.arange(len(IS_RICE)) % 2 if folds is None else folds
    scalars = {name: {"site": site} for name, site in zip(names, sites.tolist(), strict=True)}
    return HeldOut(names, IS_RICE, fold.astype(np.int64), {"dose": P_RICE}), scalars


def found_of(sites: np.ndarray = SITE, folds: np.ndarray | None = None) -> Sites | None:
    held, scalars = case(sites, folds)
    models = (ScalarModel("site", "site", ("site",)),)
    answers = lambda model, of: answers_of(model, of, scalars)  # noqa: E731
    return site_evidence(held, "dose", held, scalars, models, answers, 7, 300)  # type: ignore[arg-type]


def test_each_site_has_its_own_scores_and_one_of_a_single_label_says_why_not() -> None:
    found = found_of()
    assert found is not None
    a, b, c = found.rows
    assert (a.site, a.n, a.counts) == ("A", 4, {"recurrence": 2, "rice": 2})
    # of A's four pairs 0.6 against 0.7 is the wrong way round; three of four answers are right
    assert a.auc is not None and a.auc.value == pytest.approx(3 / 4)
    assert a.macro_f1 is not None and a.macro_f1.value == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert b.auc is not None and b.auc.value == 1 and b.auc.low < 1
    assert (c.n, c.macro_f1, c.auc, c.why) == (2, None, None, "no subject with recurrence")


def test_within_sites_only_pairs_of_one_site_count() -> None:
    # three of A's four, all four of B's
    expected = 7 / 8
    found = area_within_sites(P_RICE, IS_RICE, SITE, 7, 300)
    assert found is not None and found.value == pytest.approx(expected)
    slow = [
        float(P_RICE[i] > P_RICE[j]) + 0.5 * float(P_RICE[i] == P_RICE[j])
        for i in np.flatnonzero(IS_RICE)
        for j in np.flatnonzero(~IS_RICE)
        if SITE[i] == SITE[j]
    ]
    assert np.mean(slow) == pytest.approx(expected)
    assert judging_sites(SITE, IS_RICE) == ["A", "B"]


def test_a_drawn_subject_counts_as_often_as_it_is_drawn() -> None:
    counts = np.array([2, 0, 1, 1, 1, 1, 0, 2, 1, 1], dtype=np.float64)
    drawn = np.repeat(np.arange(10), counts.astype(int))
    again = score_of(within_sites(P_RICE[drawn], IS_RICE[drawn], SITE[drawn]), len(drawn))
    assert within_sites(P_RICE, IS_RICE, SITE)(counts[np.newaxis])[0] == pytest.approx(again)


def test_who_knows_the_site_alone_knows_nothing_within_sites() -> None:
    share = np.array([{"A": 0.9, "B": 0.1, "C": 0.9}[site] for site in SITE.tolist()])
    is_rice = np.array([True, True, False, False, True, False, False, False, True, True])
    found = area_within_sites(share, is_rice, np.where(SITE == "C", "A", SITE), 7, 300)
    # B has a single subject with RICE, so A alone judges
    assert found is not None and found.value == 0.5


def test_without_two_sites_there_is_nothing_to_say() -> None:
    assert found_of(np.array(["A"] * 10)) is None
    one_unknown = np.array([*SITE[:9].tolist(), None], dtype=object)
    found = found_of(one_unknown)
    assert found is not None and found.unknown == 1 and sum(row.n for row in found.rows) == 9


def test_baselines_are_refitted_with_each_site_left_out() -> None:
    rng = np.random.default_rng(3)
    site = np.array([["A", "B", "C"][i % 3] for i in range(90)])
    is_rice = rng.uniform(size=90) < np.array([{"A": 0.1, "B": 0.5, "C": 0.9}[s] for s in site.tolist()])
    value = rng.normal(size=90) + 1.5 * is_rice
    names = tuple(f"sub-{i:02d}" for i in range(90))
    held = HeldOut(names, is_rice, np.arange(90, dtype=np.int64) // 3 % 5, {"dose": np.full(90, 0.5)})
    scalars = {n: {"site": s, "dose_mean_gy": v} for n, s, v in zip(names, site.tolist(), value, strict=True)}
    models = (ScalarModel("site", "site", ("site",)), ScalarModel("dose", "dose", ("dose_mean_gy",)))
    answers = lambda model, of: answers_of(model, of, scalars)  # noqa: E731
    found = site_evidence(held, "dose", held, scalars, models, answers, 7, 300)  # type: ignore[arg-type]
    assert found is not None and not found.why_not_left_out
    by_site, by_dose = found.baselines
    # the site's share of RICE is all that the first knows: well in its folds, not at all without them
    assert by_site.macro_f1.low > 0.55 > by_site.left_out_macro_f1.value
    assert by_dose.macro_f1.low > 0.55 and by_dose.left_out_macro_f1.low > 0.55
    assert by_dose.left_out_within is not None and by_dose.left_out_within.low > 0.6


def test_where_folds_are_sites_already_baselines_are_not_told_twice() -> None:
    folds = np.array([0] * 4 + [1] * 4 + [2] * 2)
    found = found_of(folds=folds)
    assert found is not None and found.folds_are_sites
    assert (found.baselines, found.why_not_left_out) == ((), "the folds hold one site each already")
    assert not folds_are_sites(folds, np.array(["A"] * 8 + ["B"] * 2)), "two folds of one site"


def test_where_leaving_a_site_out_leaves_one_label_it_is_said() -> None:
    sites = np.where(IS_RICE, "A", "B")
    found = found_of(sites)
    assert found is not None and found.within is None
    assert found.why_not_left_out == "without one of the sites a single label is left"
    assert "nothing tells" in found.verdict


def estimate(value: float, low: float) -> Estimate:
    return Estimate(value=value, low=low, high=1.0, method="bca")


@pytest.mark.parametrize(
    ("pooled", "within", "gap", "are_sites", "said"),
    [
        (
            0.7,
            0.6,
            -0.1,
            False,
            "0.60 (0.60 to 1.00) over pairs from one site: it tells labels apart within sites too.",
        ),
        (
            0.7,
            0.6,
            0.1,
            True,
            "within sites too. The difference, +0.10 (+0.10 to +1.00), is what it knows of the site.",
        ),
        (
            0.7,
            0.4,
            0.1,
            False,
            "what it knows is the site. Judge it with every site left out (split.by: site).",
        ),
        (0.7, 0.4, 0.1, True, "what it knows is the site."),
        (0.7, 0.4, -0.1, False, "are too few to tell whether it knows more than the site."),
        (0.4, 0.2, 0.1, False, "it is not shown to know more than chance, in sites or across them."),
        (0.4, 0.4, -0.1, False, "it is not shown to know more than chance, in sites or across them."),
    ],
)
def test_the_verdict_says_what_follows(
    pooled: float, within: float, gap: float, are_sites: bool, said: str
) -> None:
    text = verdict(*(estimate(low, low) for low in (pooled, within, gap)), are_sites)
    assert text.endswith(said)


def test_the_gap_is_that_of_both_areas_and_counts_sites_of_one_label_among_all_pairs() -> None:
    found = gap_of_areas(P_RICE, IS_RICE, SITE, 7, 300)
    # of all 24 pairs: 0.9, 0.8 beat all; 0.6, 0.6, 0.5, 0.4 lose to 0.7
    assert found is not None and found.value == pytest.approx(20 / 24 - 7 / 8)
    assert found.low < found.value < found.high


def test_who_tells_the_sites_alone_has_a_gap_above_nothing() -> None:
    rng = np.random.default_rng(8)
    site = np.repeat(["A", "B"], 40)
    is_rice = rng.uniform(size=80) < np.where(site == "A", 0.15, 0.75)
    by_site = np.where(site == "A", 0.2, 0.7) + 0.05 * rng.normal(size=80)
    by_truth = 0.5 + 0.3 * (is_rice - 0.5) + 0.2 * rng.normal(size=80)
    shortcut, honest = (gap_of_areas(p, is_rice, site, 7, 500) for p in (by_site, by_truth))
    assert shortcut is not None and shortcut.low > 0
    assert honest is not None and honest.low < 0 < honest.high


def test_site_scanner_and_radiation_alone_are_told_where_no_other_model_is_the_same() -> None:
    others = scalar_models(PAPER_VOLUMES, ())
    only_site = {"sub-1": {"site": "A"}, "sub-2": {"site": "B"}}
    assert source_models(only_site, others) == ()
    all_three = {
        "sub-1": {"site": "A", "scanner": "X", "rt_modality": "photon"},
        "sub-2": {"site": "B", "scanner": "Y", "rt_modality": "proton"},
    }
    found = source_models(all_three, others)
    assert [model.name for model in found] == ["site_alone", "scanner_alone", "radiation_alone"]


def test_the_table_of_sites_says_where_a_score_is_not_computable() -> None:
    found = found_of()
    assert found is not None
    header, a, _, c = sites_table(found).splitlines()
    assert header == "site,n,n_recurrence,n_rice,macro_f1,macro_f1_low,macro_f1_high,auc,auc_low,auc_high,why"
    assert a.startswith("A,4,2,2,0.733333,")
    assert c == "C,2,0,2,n/a,n/a,n/a,n/a,n/a,n/a,no subject with recurrence"


def test_the_evidence_of_a_cohort_with_sites_is_written_with_its_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    names = [f"sub-{i:02d}" for i in range(24)]
    labels: dict[str, Label] = {name: ("rice" if i % 2 else "recurrence") for i, name in enumerate(names)}
    folds = tuple(tuple(names[k::3]) for k in range(3))
    rows = [
        Prediction(name, labels[name], k, float(rng.uniform(0.2, 0.8)))
        for k, fold in enumerate(folds)
        for name in fold
    ]
    scalars = {
        name: {"site": "AB"[i // 2 % 2], "event_mean": float(rng.normal() + 9 * (i // 2 % 2))}
        for i, name in enumerate(names)
    }
    of_sets = {"event": rows}
    made = build_evidence(
        CrossValidation(of_sets, scalars),
        (),
        None,
        Splits(labels, folds, ()),
        PAPER_VOLUMES,
        (),
        EvidenceSettings(7, 200, 0.1, 0.9, harmonisation="combat"),
    )
    assert made.sites is not None and [row.site for row in made.sites.rows] == ["A", "B"]
    assert {b.name for b in made.sites.baselines} == {"site", "intensity", "all", "grouped"}
    assert made.audit.harmonised == intensity_features(PAPER_VOLUMES) and made.audit.unharmonised == 0
    write_evidence(made, of_sets, scalars, (), tmp_path / "evidence")
    assert read_evidence(tmp_path / "evidence/evidence.json") == made
    assert (tmp_path / "evidence/sites.csv").read_text().count("\n") == 3
