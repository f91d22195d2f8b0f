"""What MLflow's page says first: scores with intervals and the gate, and descriptions in words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registered_project import Registered
from test_case_page_browser import BROWSER, DRIVER, OPTIONS, PATIENCE_S
from tracking_servers import free_port, wait_until

from ricenet.tracking.descriptions import AUC, MACRO_F1, NOTE, set_note
from ricenet.tracking.evidence_content import GATE
from ricenet.tracking.runs import search_runs
from ricenet.tracking.scores_view import TAG, page_of


def notes(registered: Registered) -> dict[str, str]:
    """By the runs' names, of the newest of each."""
    runs = search_runs(registered.store, "")
    return {str(run.info.run_name): run.data.tags.get(NOTE, "") for run in runs}


def test_a_sets_run_shows_its_scores_with_intervals_and_the_gate(registered: Registered) -> None:
    tags = search_runs(registered.store, "tags.`ricenet.kind` = 'set'")[-1].data.tags

    # by hand, in tracked_project: a score of 0.74, from 0.3 below to 0.2 above
    assert (tags[MACRO_F1], tags[AUC], tags[GATE]) == ("0.74 (0.44 to 0.94)",) * 2 + ("passed",)


def test_the_first_metric_of_a_run_by_which_pages_compare_is_the_macro_f1(registered: Registered) -> None:
    for run in search_runs(registered.store, "tags.`ricenet.kind` = 'set'"):
        assert next(iter(run.data.metrics)) == "macro_f1_pooled"


def test_a_sets_description_says_result_gate_and_what_comes_next(registered: Registered) -> None:
    first, *lines = notes(registered)["post_op+dose"].splitlines()

    score = "0.79 (0.49 to 0.99)"
    assert first == f"post_op+dose: macro-F1 {score}, AUC {score}, 8 held-out subjects; gate passed."
    assert "- Next: `ricenet promote post_op+dose`, then `dvc repro` lets it vote on the test set" in lines


def test_a_fold_says_whose_it_is_and_its_score(registered: Registered) -> None:
    assert notes(registered)["dose fold 1"] == "Fold 1 of dose: macro-F1 0.80 on 4 held-out subjects."


def test_a_set_that_the_gate_refuses_is_not_said_to_be_promotable(registered: Registered) -> None:
    path = registered.project / "work/evidence/gate/dose.json"
    record = json.loads(path.read_text())
    record["macro_f1"]["low"] = 0.1
    path.write_text(json.dumps(record))

    note = set_note(registered.project / "work", "dose", record["ensemble_digest"], {})

    assert "gate failed: chance" in note
    assert "the gate refuses to promote it" in note and "`ricenet promote" not in note


def test_a_version_begins_with_its_result(registered: Registered) -> None:
    version = registered.store.client().get_model_version("rice-net-dose", "2")

    assert str(version.description).startswith("dose: macro-F1 0.74 (0.44 to 0.94)")


def test_the_experiment_names_the_best_set_first(registered: Registered) -> None:
    experiment = registered.store.client().get_experiment(registered.store.experiment_id)

    assert experiment.tags[NOTE].startswith("Best of 2 set(s): post_op+dose, macro-F1 0.79 (0.49 to 0.99)")


def test_the_view_shows_sets_alone_with_their_scores(registered: Registered) -> None:
    experiment = registered.store.client().get_experiment(registered.store.experiment_id)
    view = json.loads(experiment.tags[TAG])

    columns = [f"tags.`{name}`" for name in (MACRO_F1, AUC, GATE)]
    assert view["selectedColumns"] == columns
    found = search_runs(registered.store, view["searchFilter"])
    assert {run.info.run_name for run in found} == {"dose", "post_op+dose"}


@pytest.fixture
def page(registered: Registered) -> Iterator[str]:
    """The address at which `ricenet ui` serves the project."""
    port = free_port()
    command = [sys.executable, "-c", "from ricenet.cli import app; app()", "ui", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=registered.project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:  # fmt: skip
        try:
            wait_until(lambda: _listens(port), 90)
            yield f"http://127.0.0.1:{port}/{page_of(registered.store.experiment_id)}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="no browser or chromedriver on the path")
def test_at_1440_pixels_the_page_opens_on_interval_auc_and_gate(page: str, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    ours = [option for option in OPTIONS if not option.startswith(("--host-resolver", "--window-size"))]
    own = [f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    for option in (*ours, *own, "--window-size=1440,1000"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page)
        values = (MACRO_F1, AUC, GATE, "0.79 (0.49 to 0.99)", "0.74 (0.44 to 0.94)", "passed")
        # the page fills its cells one after the other, and slowly on a busy machine
        deadline = time.monotonic() + PATIENCE_S
        missing, shown = list(values), ""
        while missing and time.monotonic() < deadline:
            time.sleep(0.5)
            shown = driver.find_element("tag name", "body").text
            missing = [value for value in values if value not in shown]
        assert not missing
        assert "dose fold 0" not in shown
        gate = driver.find_element("xpath", f"//*[text()='{GATE}']")
        assert gate.location["x"] + gate.size["width"] <= 1440
    finally:
        driver.quit()
