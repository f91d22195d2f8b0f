"""What the report says of sites: scores by site, what is left within them, and how they were divided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_evidence import estimate, evidence, write_evidence
from small_report import page_of, plain_page, protocol, table_of, write_project

from ricenet.cohort.splits import read_splits
from ricenet.config.params import SplitParams
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.evidence.site_record import LeftOutBaseline, Sites, SiteScores
from ricenet.report.in_short import five_sentences
from ricenet.report.methods import methods_paragraphs
from ricenet.report.results import read_results
from ricenet.report.sentences import summary_sentences

NORTH = SiteScores(
    site="north", n=7, counts={"recurrence": 4, "rice": 3}, macro_f1=estimate(0.7), auc=estimate(0.8)
)
SOUTH = SiteScores(
    site="south",
    n=5,
    counts={"recurrence": 0, "rice": 5},
    macro_f1=None,
    auc=None,
    why="no subject with recurrence",
)
WEST = SiteScores(
    site="west", n=4, counts={"recurrence": 2, "rice": 2}, macro_f1=estimate(0.6), auc=estimate(0.5)
)
TINY = SiteScores(
    site="Dr Tiny", n=2, counts={"recurrence": 1, "rice": 1}, macro_f1=None, auc=None, why="one"
)
BASELINE = LeftOutBaseline(
    name="site", title="site or scanner", macro_f1=estimate(0.71), within=estimate(0.5),
    left_out_macro_f1=estimate(0.31), left_out_within=None,
)  # fmt: skip
SITES = Sites(
    unknown=1, folds_are_sites=False, rows=(NORTH, SOUTH, WEST, TINY), pooled=estimate(0.8),
    within=estimate(0.5), gap=estimate(0.3), judging=2, baselines=(BASELINE,),
    verdict="What it knows is the site.",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(write_project(tmp_path))


def with_sites(project: Path, sites: Sites | None = SITES, **audit: object) -> Evidence:
    made = evidence(read_splits(project / "work/splits/splits.json").digest)
    changed = {"sites": sites, "audit": made.audit.model_copy(update=audit)}
    return write_evidence(project, made.model_copy(update=changed))


def test_sites_have_their_scores_or_why_they_have_none(project: Path) -> None:
    with_sites(project)
    html = page_of(project).replace("\xa0", " ")
    assert "What it knows is the site." in html
    rows = table_of(html, "Held-out scores by site")
    assert rows["north"][1:4] == ["7", "3", "0.70 (0.60 to 0.80)"]
    assert rows["south"][1:] == ["5", "5", *["not computable: no subject with recurrence"] * 2]
    # as words, which wrap
    assert "<td>not computable: no subject with recurrence</td>" in html
    # as everywhere on the page, nothing is told of fewer than three
    assert rows["west"][1:] == ["4", "not told", *["not computable: fewer than 3 of a label"] * 2]
    assert "Dr Tiny" not in html
    assert "1 held-out subject(s) without a site" in html


def test_baselines_stand_beside_themselves_with_sites_left_out(project: Path) -> None:
    with_sites(project)
    row = table_of(page_of(project).replace("\xa0", " "), "Baselines in the networks")["site or scanner"]
    assert row[1:] == ["0.71 (0.61 to 0.81)", "0.31 (0.21 to 0.41)", "0.50 (0.40 to 0.60)", "none"]
    with_sites(project, SITES.model_copy(update={"baselines": (), "why_not_left_out": "the folds are sites"}))
    assert "Baselines with sites left out: none, since the folds are sites." in page_of(project)


def test_harmonisation_is_said_with_those_whom_it_could_not_reach(project: Path) -> None:
    with_sites(project, harmonised=("event_mean",), unharmonised=2)
    html = page_of(project)
    assert "harmonised by site (ComBat) within the training folds; 2 subject(s) come from a site" in html
    results = read_results(project, seed=7)
    assert any(
        "fitted to the training folds without labels" in text
        for text in methods_paragraphs(results, protocol())
    )


def test_without_sites_the_section_says_so() -> None:
    assert "Fewer than two sites of the held-out subjects are known" in plain_page()


def test_sentences_tell_of_sites_and_of_the_hospitals_that_were_tried(project: Path) -> None:
    with_sites(project)
    assert ("sites", "4 sites, dose: What it knows is the site.") in summary_sentences(
        read_results(project, seed=7)
    )
    with_sites(project, SITES.model_copy(update={"folds_are_sites": True}))
    results = read_results(project, seed=7)
    said = " ".join(map(str, five_sentences(results)))
    assert results.synthetic or "unlike the 4 that were left out in turn" in said


def test_methods_say_how_subjects_were_divided(project: Path) -> None:
    results, made = read_results(project, seed=7), protocol()
    (subjects, *_) = methods_paragraphs(results, made)
    assert (
        "-fold cross-validation, stratified by outcome" in subjects and "Division was by subject" in subjects
    )
    by_site = made.params.model_copy(update={"split": SplitParams(by="site", folds=5, test_fraction=0.1)})
    (subjects, *_) = methods_paragraphs(results, replace(made, params=by_site))
    assert "a leave-one-site-out cross-validation over 2 sites" in subjects
    assert "stratified" not in subjects and "Division was by site" in subjects
