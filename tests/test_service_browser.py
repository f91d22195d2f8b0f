"""The service's page in a real browser: from the token to the occlusion map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_cases import SECRET, app_of, live, tiny_files, work_of, write_ensemble
from test_case_page_browser import BROWSER, DRIVER, OPTIONS, PATIENCE_S, READY, pytestmark

from ricenet.service.cases import open_cases
from ricenet.service.settings import ServiceSettings

__all__ = ["pytestmark"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    files = write_ensemble(folder / "ensemble")
    with open_cases(folder, work_of(files), ServiceSettings()) as cases, live(app_of(cases, files)) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        if not option.startswith("--host-resolver-rules"):
            options.add_argument(option)
    # no name can be resolved, so that nothing could be loaded from elsewhere
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE_S)
    yield driver
    driver.quit()


def named(browser: Any, name: str) -> Any:
    from selenium.webdriver.common.by import By

    return browser.find_element(By.ID, name)


def shown(browser: Any, name: str, seconds: float = PATIENCE_S) -> Any:
    """An element once it is visible."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, seconds, 0.1).until(lambda _: named(browser, name).is_displayed())
    return named(browser, name)


def test_a_case_goes_from_the_token_to_its_occlusion_map(browser: Any, address: str, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(address)
    named(browser, "token").send_keys("another-token-of-tests", Keys.ENTER)
    assert "token is missing or wrong" in shown(browser, "sign-in-problem").text
    assert not named(browser, "service").is_displayed()
    named(browser, "token").clear()
    named(browser, "token").send_keys(SECRET, Keys.ENTER)
    shown(browser, "service")
    # the first thing to do has the focus, and every control a name
    assert browser.switch_to.active_element.get_attribute("id") == "volume-post_op"
    unnamed = browser.execute_script(
        """return [...document.querySelectorAll("#case input, #case select, button")]
        .filter((c) => c.offsetHeight && !(c.textContent.trim() || c.labels?.[0]?.textContent.trim()))
        .length;"""
    )
    assert unnamed == 0
    for name, content in tiny_files(tmp_path / "raw").items():
        path = tmp_path / f"Sibylle-{name}.nii.gz"
        path.write_bytes(b"no head" if name == "event" else content)
        named(browser, f"volume-{name}").send_keys(str(path))
    named(browser, "send").send_keys(Keys.ENTER)
    problems = shown(browser, "problems").text
    assert problems.startswith("event (event.nii.gz): cannot be read") and "Sibylle" not in problems
    (tmp_path / "sound.nii.gz").write_bytes(tiny_files(tmp_path / "raw")["event"])
    named(browser, "volume-event").send_keys(str(tmp_path / "sound.nii.gz"))
    named(browser, "variable.age_years").send_keys("55")
    named(browser, "send").send_keys(Keys.ENTER)
    answer = shown(browser, "answer")
    assert named(browser, "verdict").text in ("rice", "recurrence", "indeterminate")
    for text in (
        "folds vote for rice",
        "p_rice, calibrated",
        "set of labels",
        "Research use only",
        "not compared",
        "digest",
    ):
        assert text in answer.text
    assert not named(browser, "problems-box").is_displayed()
    assert browser.switch_to.active_element.get_attribute("id") == "answer-title"
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    named(browser, "explain").click()
    WebDriverWait(browser, PATIENCE_S, 0.1).until(
        lambda _: named(browser, "explained").text == "Open the occlusion map"
    )
    assert browser.execute_script("return [document.cookie, localStorage.length, sessionStorage.length]") == [
        "",
        0,
        0,
    ]
    (link,) = browser.find_elements(By.CSS_SELECTOR, "#explained a")
    link.send_keys(Keys.ENTER)
    WebDriverWait(browser, PATIENCE_S).until(lambda _: len(browser.window_handles) == 2)
    browser.switch_to.window(browser.window_handles[1])
    WebDriverWait(browser, PATIENCE_S).until(lambda _: "occlusion map" in browser.title)
    assert browser.execute_async_script(READY) is True
    refused = [entry["message"] for entry in browser.get_log("browser") if "401" not in entry["message"]]
    assert refused == []
