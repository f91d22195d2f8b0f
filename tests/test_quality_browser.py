"""The pages in a browser, inside the kind of sandboxed frame in which MLflow shows artifacts."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cohorts import write_tiny_cohort
from small_quality import checked, write_small_group

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser on the path ({', '.join(BROWSERS)})"),
]

BEFORE = """<script>
const complaints = [];
addEventListener("error", (event) => complaints.push(event.message || "a file could not be loaded"), true);
for (const level of ["error", "warn"]) {
  console[level] = (...said) => complaints.push(said.join(" "));
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
</script>"""
AFTER = """<script>(async () => {
  let found = null;
  try { found = await (async () => { STEPS })(); } catch (error) { complaints.push(String(error)); }
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  parent.postMessage(JSON.stringify({found, complaints, loaded}), "*");
})();</script>"""
FRAME = """<!DOCTYPE html><title>frame</title><pre id="told"></pre>
<script>addEventListener("message", (event) => {
  document.getElementById("told").textContent = event.data;
});</script>
<iframe sandbox="allow-scripts" style="width: 1200px; height: 900px" src="page.html"></iframe>"""


@pytest.fixture(scope="module")
def quality(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    return write_small_group(folder, checked(write_tiny_cohort(folder / "mine", 3)))


def look(page: Path, folder: Path, steps: str) -> Any:
    """What some steps find in a page; they are the body of an asynchronous function.

    The test fails where the page complains on its console or loads anything but itself.
    """
    source = page.read_text(encoding="utf-8")
    source = source.replace("<head>", "<head>" + BEFORE, 1).replace("</body>", AFTER + "</body>", 1)
    (folder / "page.html").write_text(source.replace("STEPS", steps), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME, encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            # no name can be resolved, so that nothing could be loaded from elsewhere
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}"),
            # in a process of its own, the frame would not share the page's virtual time
            "--disable-features=IsolateSandboxedIframes",
            *("--virtual-time-budget=8000", "--dump-dom", (folder / "frame.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told is not None and told[1], f"the page told nothing: {done.stdout[-300:]} {done.stderr[-600:]}"
    answer = json.loads(html.unescape(told[1]))
    assert answer["complaints"] == []
    assert [name for name in answer["loaded"] if not name.startswith("data:")] == []
    return answer["found"]


def test_the_table_sorts_by_a_column_and_back_with_missing_values_last(quality: Path, tmp_path: Path) -> None:
    steps = """
      const order = () => [...document.querySelectorAll(".group tbody tr")].map((row) => row.dataset.subject);
      const header = (name) => [...document.querySelectorAll(".group thead th")].find(
        (th) => th.textContent.trim().startsWith(name));
      const click = (name) => {
        header(name).querySelector("button").click();
        return [order(), header(name).getAttribute("aria-sort")];
      };
      const found = {start: order(), rotation: click("Rotation"), again: click("Rotation"),
                     overlap: click("Overlap"), overlap_again: click("Overlap"), subject: click("subject")};
      found.sorted = document.querySelectorAll("[aria-sort]").length;
      return found;
    """
    found = look(quality / "index.html", tmp_path, steps)
    assert found["start"] == ["sub-001", "sub-002", "sub-003"]
    # rotation 20, 3 and 12 degrees
    assert found["rotation"] == [["sub-002", "sub-003", "sub-001"], "ascending"]
    assert found["again"] == [["sub-001", "sub-003", "sub-002"], "descending"]
    # overlap 0.98, 0.7 and n/a
    assert found["overlap"] == [["sub-002", "sub-001", "sub-003"], "ascending"]
    assert found["overlap_again"] == [["sub-001", "sub-002", "sub-003"], "descending"]
    assert found["subject"] == [["sub-001", "sub-002", "sub-003"], "ascending"] and found["sorted"] == 1


def test_the_table_can_show_the_marked_subjects_alone(quality: Path, tmp_path: Path) -> None:
    steps = """
      const shown = () => [...document.querySelectorAll(".group tbody tr")].filter(
        (row) => getComputedStyle(row).display !== "none").map((row) => row.dataset.subject);
      const told = () => document.querySelector("[data-shown]").textContent;
      const before = [shown(), told()];
      document.querySelector("[data-only-marked]").click();
      return {before, after: [shown(), told()]};
    """
    found = look(quality / "index.html", tmp_path, steps)
    assert found["before"] == [["sub-001", "sub-002", "sub-003"], "3 of 3 subjects shown"]
    assert found["after"] == [["sub-002", "sub-003"], "2 of 3 subjects shown"]


VIEWER = """
  const viewer = document.querySelectorAll("[data-viewer]")[NUMBER];
  const over = viewer.querySelector(".over");
  const play = viewer.querySelector("[data-play]");
  const blend = viewer.querySelector("[data-blend]");
  const showing = viewer.querySelector("[data-showing]");
  const state = () => [Number(getComputedStyle(over).opacity), showing.textContent];
"""


def test_the_pictures_alternate_until_paused(quality: Path, tmp_path: Path) -> None:
    steps = (
        VIEWER.replace("NUMBER", "1")
        + """
      const seen = [];
      const note = () => { seen.push(state()); };
      note(); play.click();
      for (let i = 0; i < 2; i += 1) { await wait(950); note(); }
      const label = play.textContent;
      play.click();
      const paused = String(state());
      await wait(2500);
      return {seen, label, stays: paused === String(state()), after: play.textContent};
    """
    )
    found = look(quality / "sub-001.html", tmp_path, steps)
    assert found["seen"] == [[0, "post-op T1ce"], [1, "event T1ce, registered"], [0, "post-op T1ce"]]
    assert (found["label"], found["after"], found["stays"]) == ("Pause", "Play", True)


def test_the_first_viewer_plays_by_itself(quality: Path, tmp_path: Path) -> None:
    steps = VIEWER.replace("NUMBER", "0") + "await wait(950); return [state(), play.textContent];"
    assert look(quality / "sub-001.html", tmp_path, steps) == [[1, "event T1ce, registered"], "Pause"]


def test_the_slider_blends_and_stops_the_alternation(quality: Path, tmp_path: Path) -> None:
    steps = (
        VIEWER.replace("NUMBER", "0")
        + """
      blend.value = 30;
      blend.dispatchEvent(new Event("input"));
      await wait(2000);
      return [state(), play.textContent];
    """
    )
    assert look(quality / "sub-001.html", tmp_path, steps) == [
        [0.3, "post-op T1ce and event T1ce, registered"],
        "Play",
    ]


def test_before_and_after_registration_can_be_chosen(quality: Path, tmp_path: Path) -> None:
    steps = (
        VIEWER.replace("NUMBER", "0")
        + """
      play.click();
      const before = over.getAttribute("href");
      viewer.querySelector('input[value="event_before"]').click();
      return [before, over.getAttribute("href"), state()];
    """
    )
    assert look(quality / "sub-001.html", tmp_path, steps) == [
        "#head-event",
        "#head-event_before",
        [1, "event T1ce, as the headers place it"],
    ]


def test_outlines_can_be_hidden(quality: Path, tmp_path: Path) -> None:
    steps = (
        VIEWER.replace("NUMBER", "1")
        + """
      const line = viewer.querySelector('[data-line="brain"]');
      const box = viewer.querySelector('[data-outline="brain"]');
      const seen = () => getComputedStyle(line).visibility;
      const before = seen();
      box.click();
      const hidden = seen();
      box.click();
      return [before, hidden, seen()];
    """
    )
    assert look(quality / "sub-001.html", tmp_path, steps) == ["visible", "hidden", "visible"]


@pytest.mark.parametrize("name", ["index.html", "sub-001.html"])
def test_controls_can_be_reached_by_keyboard_and_have_names(quality: Path, tmp_path: Path, name: str) -> None:
    steps = """
      const controls = [...document.querySelectorAll("button, input, .scroll, .sheet")];
      const nameless = controls.filter((c) => !(c.textContent.trim() || c.getAttribute("aria-label")
        || (c.labels && c.labels.length && c.labels[0].textContent.trim())));
      return [controls.length > 3, nameless.length, controls.every((c) => c.tabIndex >= 0)];
    """
    if name == "sub-001.html":
        steps = steps.replace(", .scroll", "")
    assert look(quality / name, tmp_path, steps) == [True, 0, True]


def test_pictures_are_drawn(quality: Path, tmp_path: Path) -> None:
    steps = """
      const images = [...document.querySelectorAll("defs image")];
      const sizes = await Promise.all(images.map((image) => new Promise((done) => {
        const picture = new Image();
        picture.onload = () => done([picture.naturalWidth, picture.naturalHeight]);
        picture.onerror = () => done(null);
        picture.src = image.getAttribute("href");
      })));
      const box = document.querySelector(".sheet svg use").getBoundingClientRect();
      return [sizes, box.width > 500 && box.height > 500];
    """
    sizes, visible = look(quality / "sub-001.html", tmp_path, steps)
    assert sizes == [[16, 36]] * 6 and visible
