"""The case page and the gallery in a real browser: from a file, and in a frame as MLflow shows artifacts."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from explained_cases import OTHER_VOLUMES, anatomy, blob, case
from test_case_page import gallery, tile

from ricenet.evaluation.occlusion.explained_case import TOGETHER
from ricenet.evaluation.occlusion.page.case_page import BUNDLE, case_page
from ricenet.runtime.files import write_text

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser on the path ({', '.join(BROWSERS)})"),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver on the path"),
    pytest.mark.skipif(
        not resources.files("ricenet.evaluation.occlusion.page").joinpath(BUNDLE).is_file(),
        reason=f"{BUNDLE} is not built: run `make viewer`",
    ),
]

PATIENCE_S = 180
"""How long a browser may take on a busy machine; no test fails for being slow before."""

OPTIONS = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--window-size=1000,900",
    ),
    # WebGL 2 without a GPU
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    # no name can be resolved, so that nothing could be loaded from elsewhere
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
FRAME = '<!DOCTYPE html><title>frame</title><iframe sandbox="allow-scripts" width="980" height="860" {}="{}">'

READY = "const done = arguments[0]; window.ricenetViewer.then((scene) => done(scene !== null));"
SCENE = """
  const done = arguments[arguments.length - 1];
  window.ricenetViewer.then(async (scene) => {
    const frames = async (n) => { for (let i = 0; i < n; i += 1) await new Promise(requestAnimationFrame); };
    const set = async (name, value) => {
      const control = document.querySelector(`[data-control="${name}"]`);
      if (control.type === "checkbox") control.checked = value; else control.value = value;
      control.dispatchEvent(new Event("input", { bubbles: true }));
      await frames(3);
    };
    // a copy of a panel's slices (drawn anew, since WebGL keeps no picture), and of the lines above
    const pixels = (panel, layer) => {
      const copy = document.createElement("canvas");
      const { canvas } = panel.viewer;
      [copy.width, copy.height] = [canvas.width, canvas.height];
      panel.draw();
      const paper = copy.getContext("2d");
      paper.drawImage(layer === "lines" ? panel.over : canvas, 0, 0);
      return paper.getImageData(0, 0, copy.width, copy.height);
    };
    // where in the first tile (as shares of its width) the map's warm colours lie, and how many pixels
    const warm = (panel, tile = 0) => {
      const { data, width } = pixels(panel, "slices");
      const [left, top, w, h] = panel.viewer.screenSlices[tile].leftTopWidthHeight;
      let [count, x, y] = [0, 0, 0];
      for (let v = Math.ceil(top); v < top + h - 1; v += 1) {
        for (let u = Math.ceil(left); u < left + w - 1; u += 1) {
          const at = 4 * (v * width + u);
          if (data[at] - data[at + 2] <= 80) continue;
          count += 1; x += (u + 0.5 - left) / w; y += (v + 0.5 - top) / h;
        }
      }
      return { count, x: x / count, y: y / count };
    };
    const shown = (name) => document.querySelector(`[data-value="${name}"]`).textContent;
    try { done(await (async () => { STEPS })()); } catch (error) { done(`failed: ${error.stack}`); }
  });
"""


RESET = """
  for (const c of document.querySelectorAll("[data-control], [data-line]")) {
    const now = [c.value, c.checked];
    if (c.tagName === "SELECT") c.selectedIndex = 0;
    else if (c.type === "checkbox") c.checked = c.defaultChecked;
    else c.value = c.defaultValue;
    if (String(now) !== String([c.value, c.checked])) c.dispatchEvent(new Event("input"));
  }
  document.activeElement.blur();
  await frames(4);
  scene.moveTo(scene.description.start);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE_S)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "case.html"
    write_text(path, case_page(case()))
    return path


def open_page(browser: Any, page: Path) -> Any:
    """Load a page, or set it back where it is loaded already, which takes a tenth of the time."""
    if browser.current_url == page.as_uri() and browser.execute_async_script(READY):
        run(browser, RESET)
        return browser
    browser.get(page.as_uri())
    assert browser.execute_async_script(READY) is True
    return browser


def run(browser: Any, steps: str) -> Any:
    found = browser.execute_async_script(SCENE.replace("STEPS", steps))
    assert not str(found).startswith("failed:"), found
    return found


def complaints(browser: Any) -> list[str]:
    # the software renderer remarks that reading its pixels is slow
    return [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING") and "GPU stall" not in entry["message"]
    ]


def forget(browser: Any) -> None:
    """Leave the page before, and drop what it said, its last words included."""
    browser.get("about:blank")
    complaints(browser)
    requests(browser)


def requests(browser: Any) -> set[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url for url in sent if not url.startswith(("data:", "blob:"))}


def click_tile(browser: Any, panel: str, tile: int) -> None:
    """Click with the mouse into the middle of a panel's slice."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    x, y = browser.execute_script(
        f"""const stage = document.querySelector('[data-panel="{panel}"]');
        stage.scrollIntoView();
        const box = stage.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height * ({tile} + 0.5) / 3];"""
    )
    actions = ActionBuilder(browser)
    actions.pointer_action.move_to_location(round(x), round(y)).click()
    actions.perform()


def test_the_page_opens_from_a_file_without_network_and_without_complaint(browser: Any, page: Path) -> None:
    forget(browser)
    open_page(browser, page)
    run(browser, "scene.moveTo([9, 9, 9]); await set('map', 'event'); await set('threshold', 60);")
    assert complaints(browser) == []
    assert requests(browser) == {page.as_uri()}


def test_slices_lines_and_map_are_drawn_the_patient_s_right_on_the_left(browser: Any, page: Path) -> None:
    steps = """
      const tiles = scene.panels.map((panel) => panel.viewer.screenSlices.length);
      const [axial, coronal, sagittal] = [0, 1, 2].map((tile) => warm(scene.panels[1], tile));
      return { tiles, axial, coronal, sagittal, limit: scene.limit };
    """
    found = run(open_page(browser, page), steps)
    assert found["tiles"] == [3, 3, 3]
    # the strongest change lies on the right, to the front and above the brain's middle
    assert found["axial"]["count"] > 200
    assert found["axial"]["x"] < 0.45 and found["axial"]["y"] < 0.45
    assert found["coronal"]["x"] < 0.45 and found["coronal"]["y"] < 0.48
    assert found["sagittal"]["x"] > 0.55 and found["sagittal"]["y"] < 0.48
    assert found["limit"] == pytest.approx(0.2, abs=0.001)


def test_crosshair_and_map_lie_upon_each_other_at_any_zoom(browser: Any, page: Path) -> None:
    steps = """
      const seen = [];
      await set("line-opacity", 0);
      for (const zoom of [100, 180]) {
        await set("zoom", zoom);
        for (const tile of [0, 1, 2]) {
          const panel = scene.panels[1];
          const { x, y } = warm(panel, tile);
          const { data, width } = pixels(panel, "lines");
          const [left, top, w, h] = panel.viewer.screenSlices[tile].leftTopWidthHeight.map(Math.round);
          const blue = (u, v) => data[4 * (v * width + u) + 2] > 150 && data[4 * (v * width + u)] < 120;
          const columns = [...Array(w - 2).keys()].filter((u) => blue(left + u + 1, top + 3));
          const rows = [...Array(h - 2).keys()].filter((v) => blue(left + 30, top + v + 1));
          seen.push([x * w, columns[0] + 1, y * h, rows[0] + 1]);
        }
      }
      return seen;
    """
    for warm_x, cross_x, warm_y, cross_y in run(open_page(browser, page), steps):
        assert warm_x == pytest.approx(cross_x, abs=4)
        assert warm_y == pytest.approx(cross_y, abs=4)


def test_a_click_moves_the_crosshair_in_all_volumes(browser: Any, page: Path) -> None:
    open_page(browser, page)
    before = run(
        browser,
        "return [scene.panels.map((p) => p.voxel), scene.panels.map((p) => pixels(p, 'lines').data.join())]",
    )
    click_tile(browser, "event", 1)  # the middle of the coronal slice, which is the middle of the brain
    after = run(
        browser,
        """await frames(2);
        return [scene.panels.map((p) => p.voxel), scene.panels.map((p) => pixels(p, 'lines').data.join()),
                ["x", "z", "event", "map-together"].map(shown)]""",
    )
    assert before[0] == [[13, 12, 11]] * 3
    assert after[0][0] == after[0][1] == after[0][2]
    x, y, z = after[0][0]
    assert y == 12 and x in (9, 10) and z in (9, 10)
    assert all(now != then for now, then in zip(after[1], before[1], strict=True))
    # voxel 9.5 is the grid's middle, at x = 3 mm and z = 12 mm
    assert after[2][0] == ("R 7.0 mm" if x == 10 else "L 1.0 mm")
    assert after[2][1] == ("S 16.0 mm" if z == 10 else "S 8.0 mm")
    assert after[2][2].endswith(" SD") and after[2][3][0] in "+\u2212"


def test_keys_move_the_crosshair_as_the_page_says(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    figure = open_page(browser, page).find_element(By.CSS_SELECTOR, "[data-figure]")
    seen = {}
    for name, key in (
        ("left", Keys.ARROW_LEFT),
        ("up", Keys.ARROW_UP),
        ("page up", Keys.PAGE_UP),
        ("five right", Keys.SHIFT + Keys.ARROW_RIGHT),
    ):
        figure.send_keys(key)
        seen[name] = run(browser, "return scene.panels.map((p) => p.voxel)")
    assert seen["left"] == [[14, 12, 11]] * 3  # to the patient's right
    assert seen["up"] == [[14, 13, 11]] * 3
    assert seen["page up"] == [[14, 13, 12]] * 3
    assert seen["five right"] == [[9, 13, 12]] * 3


def test_the_viewer_s_own_keys_are_silent(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_page(browser, page)
    click_tile(browser, "post_op", 0)
    state = "return [scene.voxel, scene.panels.map((p) => [p.viewer.opts.sliceType, p.viewer.opts.dragMode])]"
    before = run(browser, state)
    for key in "vhlc":  # NiiVue: next view, one voxel left, right, a clip plane
        ActionChains(browser).send_keys(key).perform()
    assert run(browser, state) == before


def test_the_crosshair_stays_within_the_volumes(browser: Any, page: Path) -> None:
    steps = "scene.moveTo([-4, 99, 5]); return [scene.voxel, shown('region'), shown('event')]"
    assert run(open_page(browser, page), steps) == [[0, 19, 5], "outside the brain", "\u2013"]


def test_the_wheel_scrolls_slices_once_an_image_was_clicked(browser: Any, page: Path) -> None:
    open_page(browser, page)
    wheel = """
      const canvas = scene.panels[0].viewer.canvas, box = canvas.getBoundingClientRect();
      canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 100, bubbles: true, cancelable: true,
        clientX: box.x + box.width / 2, clientY: box.y + box.height / 6 }));
      // before the frames: on a slow renderer the hint may be gone after them
      const hint = document.querySelector("[data-hint]").classList.contains("seen");
      await frames(2);
      return [scene.panels.map((p) => p.voxel), hint];
    """
    assert run(browser, wheel) == [[[13, 12, 11]] * 3, True]
    click_tile(browser, "post_op", 0)
    start = run(browser, "return scene.voxel")
    voxels, hint = run(browser, wheel)
    assert [voxels[0][:2], hint] == [start[:2], False]
    assert voxels[0] == voxels[1] == voxels[2] and abs(voxels[0][2] - start[2]) == 1


def test_sliders_change_the_map_over_every_volume(browser: Any, page: Path) -> None:
    steps = """
      const counts = () => scene.panels.map((panel) => warm(panel).count);
      const found = { start: counts() };
      await set("opacity", 0); found.clear = counts();
      await set("opacity", 75); found.back = counts();
      await set("threshold", 90); found.strong = counts();
      await set("below", "hard"); found.hard = counts();
      found.shown = document.querySelector('[data-output="threshold"]').textContent;
      await set("threshold", 25); await set("below", "soft");
      await set("map", ""); found.none = counts();
      await set("map", "event"); found.event = counts();
      await set("common", false); found.own = counts();
      return found;
    """
    found = run(open_page(browser, page), steps)
    start = found["start"]
    assert min(start) > 200 and found["back"] == start
    assert found["clear"] == found["none"] == [0, 0, 0]
    assert all(
        0 < hard < strong < all_of_it
        for hard, strong, all_of_it in zip(found["hard"], found["strong"], start, strict=True)
    )
    assert found["shown"] == "0.180 (90 %)"
    # half as strong: in the colours of all maps it is paler, in its own it looks the same
    assert all(event < all_of_it for event, all_of_it in zip(found["event"], start, strict=True))
    assert found["own"] == pytest.approx(start, rel=0.02)


def test_lines_can_be_hidden_and_made_fainter(browser: Any, page: Path) -> None:
    steps = """
      const ink = () => { const { data } = pixels(scene.panels[0], "lines");
        let sum = 0; for (let i = 3; i < data.length; i += 4) sum += data[i]; return sum; };
      const box = document.querySelector('[data-line="isodose-20"]');
      const found = [ink()];
      box.checked = false; box.dispatchEvent(new Event("input")); found.push(ink());
      await set("line-opacity", 40); found.push(ink());
      await set("line-opacity", 0); found.push(ink());
      return found;
    """
    shown, fewer, fainter, none = run(open_page(browser, page), steps)
    assert shown > fewer > fainter > none > 0  # crosshair and directions remain


def test_brightness_planes_and_colours_change_what_they_name(browser: Any, page: Path) -> None:
    steps = """
      await set("map", "");
      const mean = (panel) => { const { data } = pixels(panel, "slices");
        let [sum, colour] = [0, 0];
        for (let i = 0; i < data.length; i += 4) {
          sum += data[i]; colour += Math.abs(data[i] - data[i + 2]);
        }
        return [sum / data.length, colour / data.length]; };
      const [mri, , dose] = scene.panels;
      const found = { mri: mean(mri), dose: mean(dose) };
      await set("brightness", 180); found.brighter = mean(mri); found.same = mean(dose);
      await set("dose-colours", true); found.coloured = mean(dose);
      await set("dose-colours", false); found.grey = mean(dose);
      await set("planes", "coronal"); await frames(4);
      found.tiles = scene.panels.map((p) => p.viewer.screenSlices.map((t) => t.axCorSag));
      return found;
    """
    found = run(open_page(browser, page), steps)
    assert found["brighter"][0] > 1.2 * found["mri"][0]
    assert found["same"] == pytest.approx(found["dose"])
    assert found["dose"][1] == 0 and found["coloured"][1] > 5
    assert found["grey"] == pytest.approx(found["dose"])
    assert found["tiles"] == [[1], [1], [1]]


def test_buttons_lead_to_places(browser: Any, page: Path) -> None:
    steps = """
      const found = {};
      for (const name of ["cavity", "strongest", "dose", "lesion"]) {
        document.querySelector(`[data-go="${name}"]`).click();
        found[name] = [scene.voxel, shown("region")];
      }
      return found;
    """
    found = run(open_page(browser, page), steps)
    assert found["cavity"] == [[12, 10, 11], "cavity, lesion"]
    assert found["strongest"] == found["lesion"] == found["dose"] == [[13, 12, 11], "cavity, lesion"] or (
        found["strongest"] == found["lesion"] == found["dose"] == [[13, 12, 11], "lesion"]
    )


@pytest.mark.parametrize("attribute", ["src", "srcdoc"])
def test_the_page_works_in_a_frame_that_may_only_run_scripts(
    browser: Any, page: Path, attribute: str
) -> None:
    from selenium.webdriver.common.by import By

    frame = page.with_name("frame.html")
    content = page.name if attribute == "src" else html.escape(page.read_text(encoding="utf-8"))
    write_text(frame, FRAME.format(attribute, content))
    forget(browser)
    browser.get(frame.as_uri())
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    assert browser.execute_async_script(READY) is True
    found = run(
        browser,
        "scene.moveTo([10, 9, 8]); return [window.origin, scene.panels.map((p) => p.voxel)]",
    )
    browser.switch_to.default_content()
    assert found == ["null", [[10, 9, 8]] * 3]
    assert complaints(browser) == []


def test_without_webgl_the_page_says_so_and_shows_a_still_picture(browser: Any, page: Path) -> None:
    source = "const own = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
    source += "function (kind, ...more) { return kind === 'webgl2' ? null : own.call(this, kind, ...more); };"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        browser.get(page.as_uri())
        assert browser.execute_async_script(READY) is False
        why, picture, stage = browser.execute_script(
            """const image = document.querySelector(".failure img");
            return [document.querySelector(".failure").innerText, image.naturalWidth * image.offsetHeight,
                    document.querySelector(".figure").offsetHeight
                      + document.querySelector(".view").offsetHeight];"""
        )
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert "no WebGL 2" in why and "figure.png" in why
    assert picture > 0 and stage == 0


@pytest.mark.parametrize("width", [1000, 700])
def test_the_page_fits_a_narrow_frame_and_its_controls_have_names(
    browser: Any, page: Path, width: int
) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    open_page(browser, page)
    found = browser.execute_script(
        """const controls = [...document.querySelectorAll("button, input, select, [tabindex='0']")];
        const named = (c) => c.textContent.trim() || c.getAttribute("aria-label")
          || c.labels?.[0]?.textContent.trim();
        return [document.documentElement.scrollWidth, window.innerWidth, controls.length,
                controls.filter((c) => !named(c)).length, controls.every((c) => c.tabIndex >= 0)];"""
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert found[0] <= found[1]
    assert found[2] > 15 and found[3:] == [0, True]


def test_one_map_of_other_volumes_without_dose_or_masks_is_shown(browser: Any, tmp_path: Path) -> None:
    shown = anatomy("n/a", with_masks=False, declared=OTHER_VOLUMES)
    bare = case(shown, {TOGETHER: 0.1 * blob((6, 8, 9), 2.0)}, {}, modality_set="t1")
    page = tmp_path / "case.html"
    write_text(page, case_page(bare))
    forget(browser)
    values = """return [scene.voxel, shown('region'), shown('map-together'), scene.panels.map((p) => p.name),
                       shown('t1').slice(-3), shown('adc')];"""
    *found, sd, adc = run(open_page(browser, page), values)
    assert found == [[6, 8, 9], "brain", "+0.100", ["flair", "t1", "adc", "t2"]]
    assert sd == " SD" and float(adc) == pytest.approx(float(shown.images["adc"][6, 8, 9]), abs=0.006)
    assert complaints(browser) == []


def test_the_gallery_filters_by_label_and_by_wrong(browser: Any, tmp_path: Path) -> None:
    tiles = [tile("sub-001", 0.9), tile("sub-002", 0.2), tile("sub-003", 0.7, "recurrence")]
    page = tmp_path / "gallery.html"
    write_text(page, gallery(*tiles))
    forget(browser)
    browser.get(page.as_uri())
    found = browser.execute_script(
        """const tiles = [...document.querySelectorAll(".gallery > li")];
        const visible = () => tiles.filter((li) => li.offsetHeight > 0);
        const names = () => visible().map((li) => li.querySelector(".name").textContent);
        const shown = () => [names(), document.querySelector("[data-shown]").textContent];
        const set = (name, change) => { const c = document.querySelector(`[data-filter="${name}"]`);
          Object.assign(c, change); c.dispatchEvent(new Event("input")); return shown(); };
        return [shown(), set("label", { value: "rice" }), set("wrong", { checked: true }),
                set("label", { value: "" })];"""
    )
    assert found == [
        [["sub-001", "sub-003", "sub-002"], "3 of 3 subjects shown"],
        [["sub-001", "sub-002"], "2 of 3 subjects shown"],
        [["sub-002"], "1 of 3 subjects shown"],
        [["sub-003", "sub-002"], "2 of 3 subjects shown"],
    ]
    assert complaints(browser) == []
