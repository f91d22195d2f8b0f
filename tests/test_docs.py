"""The documentation: links of its files as GitHub follows them, and the website that `make docs` builds."""

from __future__ import annotations

import functools
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), PROJECT / "mlflow/README.md"]
)
LOADS = ("script", "img", "link", "iframe", "source", "video", "audio", "object", "embed")
"""Elements whose address a browser asks for by itself."""
SKIPPED = {"pre", "code", "script", "style", "nav", "h1", "h2", "h3", "h4"}


def without_code(text: str) -> str:
    """Markdown without fenced blocks and code spans, in which nothing is a link or a heading."""
    return re.sub(r"`[^`\n]*`", "code", re.sub(r"(?ms)^( *)```.*?^\1```", "", text))


def anchors(text: str) -> set[str]:
    """Of all headings, as GitHub makes them: lower case, no punctuation, a hyphen for each blank."""
    found = set[str]()
    for heading in re.findall(r"(?m)^#+ +(.*?) *$", re.sub(r"(?ms)^( *)```.*?^\1```", "", text)):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = sum(1 for one in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one))
        found.add(f"{slug}-{count}" if slug in found else slug)
    return found


def dead_links(folder: Path, page: str) -> list[str]:
    """Links of a page to files or anchors that are not there; other hosts are not asked."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code((folder / page).read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = (
            folder / posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else None
        )
        path = path or folder / page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES)
def test_no_link_of_a_file_is_dead(page: str) -> None:
    assert dead_links(PROJECT, page) == []


def test_anchors_are_those_of_github() -> None:
    text = "# `ricenet doctor`, in short\n## A & B\n```\n# no heading\n```\n## A & B\n"
    text += "### [The](x.md) dose: Gy?\n"
    assert anchors(text) == {"ricenet-doctor-in-short", "a--b", "a--b-1", "the-dose-gy"}


def test_a_dead_file_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# There\n")
    text = "[a](other.md#there) [b](other.md#away) [c](gone.md) [d](https://example.org/x) `[e](code.md)`\n"
    (tmp_path / "page.md").write_text(text)
    assert dead_links(tmp_path, "page.md") == ["other.md#away", "gone.md"]


# the website


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=project,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


class Read(HTMLParser):
    """A page's ids, links, what it loads, and its text outside code, headings and menus."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links, self.loads = set[str](), list[str](), list[str]()
        self.text, self._skipped = "", 0
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = dict(attributes)
        self._skipped += tag in SKIPPED
        if name := of.get("id"):
            self.ids.add(name)
        if (address := of.get("href") or of.get("src") or of.get("data")) is not None:
            (self.loads if tag in LOADS else self.links).append(address)

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in SKIPPED

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skipped else data


@functools.cache
def read(path: Path) -> Read:
    return Read(path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(PROJECT, folder)
    assert done.returncode == 0, done.stderr
    assert "addresses of other hosts, not asked: https://" in done.stderr
    return folder


def pages_of(site: Path) -> list[Path]:
    # where the pages lie, nobody knows for a page that is not found
    return [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]


def test_every_file_is_a_page_of_the_website(site: Path) -> None:
    for page in PAGES:
        if page.startswith("docs/"):
            made = page.removeprefix("docs/").removesuffix(".md")
            assert (site / (f"{made}.html" if made != "README" else "index.html")).is_file()
    # what lies outside docs/ comes along where a page leads there
    assert (site / "repository/CONTRIBUTING.html").is_file()
    assert not list(site.rglob("*.py"))


def test_no_link_of_the_website_is_dead(site: Path) -> None:
    dead, followed = [], 0
    for page in pages_of(site):
        for link in read(page).links + read(page).loads:
            address = urllib.parse.urlsplit(link)
            if address.scheme or address.netloc:
                continue
            path = urllib.parse.unquote(address.path)
            target = (page.parent / path).resolve() if path not in {"", "."} else page
            target = target / "index.html" if target.is_dir() else target
            anchor = urllib.parse.unquote(address.fragment)
            of_a_page = target.suffix == ".html" and anchor and not anchor.startswith("__")
            if not target.is_file() or (of_a_page and anchor not in read(target).ids):
                dead.append(f"{page.relative_to(site)}: {link}")
            followed += 1
    assert dead == []
    assert followed > 1000


def test_the_website_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        assert not [address for address in read(page).loads if re.match(r"([a-z]+:)?//", address)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet
    # Material would fetch the drawings of such blocks
    assert not [page for page in pages_of(site) if 'class="mermaid"' in page.read_text()]


def test_lists_tables_and_code_are_read_as_on_github(site: Path) -> None:
    for page in pages_of(site):
        unread = re.findall(r"(?m)^\s*(?:[-*] |\d+\. |```|\|).*|.*\*\*.*|.*\]\(.*", read(page).text)
        assert not unread, page


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project of two pages that the navigation names one of, and of two files beside docs/."""
    shutil.copytree(PROJECT / "docs/assets", tmp_path / "docs/assets")
    shutil.copy(PROJECT / "docs/site_hooks.py", tmp_path / "docs")
    settings = YAML()
    content = settings.load(PROJECT / "mkdocs.yml")
    content["nav"] = [{"Start": ["README.md"]}]
    settings.dump(content, tmp_path / "mkdocs.yml")
    steps = "Steps:\n1. one\n   - below\n2. two\n\n   more\n3. three\n"
    (tmp_path / "docs/README.md").write_text(f"# Start\n{steps}\n[a part of\n it](../part/notes.md#one)\n")
    (tmp_path / "docs/unnamed.md").write_text("# Not named\n")
    (tmp_path / "part").mkdir()
    (tmp_path / "part/notes.md").write_text(
        "# Notes\n## One\n[licence](../LICENSE), [start](../docs/README.md)\n"
    )
    (tmp_path / "LICENSE").write_text("Apache-2.0\n")
    return tmp_path


def test_files_beside_the_docs_and_pages_that_nobody_named_come_along(small: Path) -> None:
    done = build(small, small / "site")
    assert done.returncode == 0, done.stderr
    start = (small / "site/index.html").read_text()
    assert 'href="repository/part/notes.html#one"' in start
    assert re.search(r"\sMore\s", start) and 'href="unnamed.html"' in start
    assert 'href="../../index.html"' in (small / "site/repository/part/notes.html").read_text()
    assert (small / "site/repository/LICENSE").read_text() == "Apache-2.0\n"
    assert start.count("<ol>") == 1 and start.count("<li>") >= 4


@pytest.mark.parametrize("link", ["gone.md", "unnamed.md#gone", "../part/gone.md"])
def test_a_dead_link_fails_the_build(small: Path, link: str) -> None:
    (small / "docs/unnamed.md").write_text(f"# Not named\n[x]({link})\n")
    done = build(small, small / "site")
    assert done.returncode != 0
    assert link.rsplit("#", maxsplit=1)[-1].removeprefix("../") in done.stderr


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
FOUND = """
  const done = arguments[arguments.length - 1];
  const query = document.querySelector("[data-md-component=search-query]");
  query.focus(); query.value = "macro-F1"; query.dispatchEvent(new Event("keyup", {bubbles: true}));
  const ask = () => {
    const links = [...document.querySelectorAll(".md-search-result__link")].map((link) => link.href);
    if (links.length) done(links);
    else setTimeout(ask, 100);
  };
  ask();
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser on the path ({', '.join(BROWSERS)})")
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromedriver on the path")
def test_the_search_answers_from_a_disk_and_asks_nobody(site: Path) -> None:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    assert BROWSER is not None
    options.binary_location = BROWSER
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.set_script_timeout(180)
        browser.get((site / "index.html").as_uri())
        links = browser.execute_async_script(FOUND)
        events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    finally:
        browser.quit()
    assert any("evidence.html" in link for link in links)
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert any(address.endswith("search_index.js") for address in asked)
    # data: is drawn from the style sheet itself
    assert {address.split(":")[0] for address in asked} <= {"file", "data"}
