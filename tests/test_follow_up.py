"""Which subjects to look at, and the ways to their pages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_report import ALL_THREE, PICTURES, protocol, without_buttons, write_project
from small_results import write_text

import ricenet
from ricenet.display.glossary import PLACE, TERMS, with_meanings
from ricenet.display.templates import template_text
from ricenet.evaluation.occlusion.page.ways import PLACE as WAYS
from ricenet.evaluation.occlusion.page.ways import ProjectPages, write_ways
from ricenet.report.follow_up import follow_ups
from ricenet.report.page import report_page
from ricenet.report.results import Results, Scored, read_results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """The best set with two wrong answers: a sure one for the first with RICE, an unsure one for another."""
    project = write_project(tmp_path)
    write_text(project / "work/explain" / ALL_THREE / "sub-001/index.html", "case")
    write_text(project / "work/quality/sub-001.html", "quality")
    write_text(project / "work/quality/index.html", "all")
    found = read_results(project, seed=7)
    best = found.evidence.best_set
    scored = found.out_of_fold[best]
    p_rice = list(scored.p_rice)
    recurrence = scored.is_rice.index(False)
    p_rice[scored.subjects.index("sub-001")] = 0.02
    p_rice[recurrence] = 0.55
    changed = Scored(scored.is_rice, tuple(p_rice), scored.subjects)
    return replace(found, out_of_fold={**found.out_of_fold, best: changed})


def test_the_surest_error_comes_first_with_its_pages(results: Results) -> None:
    found = follow_ups(results)
    assert [wrong.p_rice for wrong in found.wrong] == [0.02, 0.55]
    first, second = found.wrong
    assert (first.subject, first.label, first.predicted) == ("sub-001", "rice", "recurrence")
    assert list(first.cases.values()) == [f"../explain/{ALL_THREE}/sub-001/index.html"]
    assert first.quality == "../quality/sub-001.html"
    assert (second.cases, second.quality) == ({}, None), "no link to a page that there is not"
    assert found.n == 8


def test_an_error_says_its_calibrated_probability_and_what_marks_it(results: Results) -> None:
    scalars = {s: {"lesion_ml": 1.0 + i, "lesion_dose_gy": None} for i, s in enumerate(results.splits.labels)}
    marked = replace(results, marks={"sub-001": ("Rotation 31.0 ° above 30",)}, scalars=scalars)
    first, second = follow_ups(marked).wrong
    # temperature 0.5: twice the logit of 0.02
    assert first.p_rice_calibrated == pytest.approx(1 / (1 + (0.98 / 0.02) ** 2))
    assert first.marks == ("Rotation 31.0 ° above 30", "lesion 1 ml (among the lowest tenth)")
    assert second.marks == ("lesion 2 ml",)


def test_errors_are_ordered_by_the_calibrated_probability_of_the_answer(results: Results) -> None:
    """A fold that is made unsure loses its place to a fold that is not."""
    best = results.evidence.best_set
    calibrated = results.evidence.calibration[best]
    unsure = calibrated.recalibration.model_copy(update={"slope": 0.01})
    folds = tuple(unsure if "sub-001" in fold else calibrated.recalibration for fold in results.splits.folds)
    changed = calibrated.model_copy(update={"recalibrations": folds})
    p_rice = list(results.out_of_fold[best].p_rice)
    other = results.out_of_fold[best].subjects.index("sub-006")
    p_rice[other] = 0.7
    scored = results.out_of_fold[best]._replace(p_rice=tuple(p_rice))
    found = follow_ups(
        replace(
            results,
            out_of_fold={best: scored},
            evidence=results.evidence.model_copy(update={"calibration": {best: changed}}),
        )
    )
    first, *others = (one.subject for one in found.wrong)
    assert first == "sub-006" and set(others) == {"sub-001", "sub-002"}


def test_ten_errors_are_shown_and_the_others_folded(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    found = read_results(project, seed=7)
    best = found.evidence.best_set
    scored = found.out_of_fold[best]
    turned = scored._replace(is_rice=tuple(not rice for rice in scored.is_rice))
    page = report_of(replace(found, out_of_fold={**found.out_of_fold, best: turned}), project, surest=3)
    assert "The 3 surest errors of 8" in page
    assert "<summary>The other 5 wrong</summary>" in page


def report_of(results: Results, project: Path, surest: int) -> str:
    """The page with stand-ins for its figures."""
    drawn = {name: project / f"{name}.svg" for name in PICTURES}
    for path in drawn.values():
        path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ricenet.report.page.SUREST", surest)
        return without_buttons(report_page(results, drawn, protocol()))


def test_whom_the_vote_gives_no_answer_is_listed_the_least_sure_first(results: Results) -> None:
    sure = [max(one.p_rice, 1 - one.p_rice) for one in follow_ups(results).unsure]
    assert sure == sorted(sure)
    assert (
        follow_ups(replace(results, evidence=results.evidence.model_copy(update={"abstention": {}}))).unsure
        == ()
    )


def test_a_case_page_leads_to_its_neighbours_and_to_what_the_project_has(tmp_path: Path) -> None:
    gallery = tmp_path / "work/explain/dose"
    for subject in ("sub-1", "sub-2", "sub-3"):
        write_text(gallery / subject / "index.html", f"<body>{WAYS}</body>")
    (tmp_path / "work/quality").mkdir()
    pages = ProjectPages.seen_from(gallery, tmp_path / "work")
    assert pages == ProjectPages(quality="../../quality", report=None), "there is no report yet"
    write_ways(gallery, ["sub-1", "sub-2", "sub-3"], pages)
    first, middle, last = ((gallery / s / "index.html").read_text() for s in ("sub-1", "sub-2", "sub-3"))
    assert "../sub-1/index.html" in middle and "../sub-3/index.html" in middle
    assert "../../../quality/sub-2.html" in middle
    assert "../sub-2/index.html" in first and "sub-3" not in first
    assert "../sub-2/index.html" in last and "sub-1/" not in last
    assert all("../index.html" in page for page in (first, middle, last)), "to the gallery"


def test_a_term_opens_once_under_each_heading_and_means_the_same_everywhere() -> None:
    page = f"<h2>Scores</h2><p>The AUC and the AUC.</p><h2>More</h2><p>An AUC.</p>{PLACE}"
    made = with_meanings(page)
    assert made.count('popovertarget="term-auc"') == 2
    assert made.count('id="term-auc"') == 1
    assert made.count('id="term-') == 1, "no meaning of a term that the page does not name"


def test_no_term_opens_within_links_headings_or_code_nor_on_a_page_without_a_place() -> None:
    page = f"<h2>AUC</h2><a href='x'>AUC</a><code>AUC</code><p title='AUC'>.</p>{PLACE}"
    assert "popovertarget" not in with_meanings(page)
    assert with_meanings("<p>The AUC.</p>") == "<p>The AUC.</p>"
    assert "auc" in TERMS


def test_the_style_of_terms_touches_nothing_else_on_any_page() -> None:
    terms = template_text("ricenet.display", "terms.css")
    classes = set(re.findall(r"\.([a-z][\w-]*)(?=[\s{:,])", terms))
    assert classes == {"term", "term-meaning"}
    package = Path(ricenet.__file__).parent
    for page in package.rglob("templates/*"):
        if page.suffix in (".html", ".css") and page.name != "terms.css":
            own = page.read_text()
            used = set(" ".join(re.findall(r'class="([^"{]*)', own)).split())
            used |= set(re.findall(r"\.([a-z][\w-]*)(?=[\s{:,])", own)) if page.suffix == ".css" else set()
            assert not classes & used, page.name
