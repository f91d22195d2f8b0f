"""All kinds of pages of a small project in a real browser: links, a phone's width, terms, accessibility."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cohorts import write_tiny_cohort
from explained_cases import case
from small_quality import checked, write_small_group
from small_report import ALL_THREE, page_of, write_project
from test_case_page import gallery, tile
from test_case_page_browser import browser, pytestmark

from ricenet.evaluation.occlusion.page.case_page import case_page
from ricenet.evaluation.occlusion.page.ways import IN_PROJECT, write_ways
from ricenet.runtime.files import write_text
from ricenet.service.page import page_text

__all__ = ["browser", "pytestmark"]

AXE = Path(__file__).parents[1] / "viewer/node_modules/axe-core/axe.min.js"
FAULTS = """
  const done = arguments[0];
  axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)}`)));
"""
PAGES = {
    "report": "work/report/index.html",
    "gallery": f"work/explain/{ALL_THREE}/index.html",
    "case": f"work/explain/{ALL_THREE}/sub-001/index.html",
    "quality": "work/quality/index.html",
    "subject": "work/quality/sub-001.html",
    "service": "service.html",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with all of its pages."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    write_small_group(folder / "work", checked(write_tiny_cohort(folder / "mine", 3)))
    explained = folder / "work/explain" / ALL_THREE
    for subject in ("sub-001", "sub-002"):
        write_text(explained / subject / "index.html", case_page(case(participant_id=subject)))
    write_text(
        explained / "index.html",
        gallery(tile("sub-001", 0.9), tile("sub-002", 0.2), pages=IN_PROJECT.of_gallery()),
    )
    write_ways(explained, ["sub-001", "sub-002"], IN_PROJECT)
    (folder / "work/report").mkdir()
    write_text(folder / "work/report/index.html", page_of(folder, buttons=True))
    write_text(folder / "service.html", page_text())
    return folder


def open_page(browser: Any, path: Path, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    browser.execute_script('for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;')


def test_every_link_between_pages_leads_to_a_file(project: Path) -> None:
    reached, waiting = set[Path](), [project / PAGES["report"]]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for href in re.findall(r'<a [^>]*?href="([^"#]+)', page.read_text(encoding="utf-8")):
            if not re.match("[a-z]+:", href):
                target = (page.parent / unquote(href)).resolve()
                assert target.is_file(), f"{page.name} leads to {href}"
                if target not in reached:
                    waiting.append(target)
    assert {project / path for name, path in PAGES.items() if name != "service"} <= reached


@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_out_of_a_phones_screen(browser: Any, project: Path, name: str) -> None:
    open_page(browser, project / PAGES[name], 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: run `make viewer`")
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_fault_of_accessibility(browser: Any, project: Path, name: str) -> None:
    open_page(browser, project / PAGES[name], 1280)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    assert browser.execute_async_script(FAULTS) == []


def test_a_term_opens_and_closes_by_keyboard(browser: Any, project: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, project / PAGES["report"], 390)
    term = browser.find_element(By.CSS_SELECTOR, '[popovertarget="term-macro-f1"]')
    meaning = browser.find_element(By.ID, "term-macro-f1")
    assert not meaning.is_displayed()
    term.send_keys(Keys.ENTER)
    assert meaning.is_displayed() and "harmonic mean" in meaning.text
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not meaning.is_displayed()
