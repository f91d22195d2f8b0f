"""Quality control is a run in MLflow: pages, medians and limits, published once by content."""

from __future__ import annotations

from pathlib import Path

import pytest
from cohorts import write_tiny_cohort
from mlflow.entities import Run
from small_quality import PARAMS, checked, write_small_group
from tracked_project import store_of

from ricenet.cohort.checked import CheckedCohort
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.publish import publish
from ricenet.tracking.quality_run import quality_content


@pytest.fixture
def cohort(tmp_path: Path) -> CheckedCohort:
    return checked(write_tiny_cohort(tmp_path / "mine", 3))


@pytest.fixture
def project(tmp_path: Path, cohort: CheckedCohort) -> Path:
    write_small_group(tmp_path / "project" / "work", cohort)
    return tmp_path / "project"


def runs(store: TrackingStore) -> list[Run]:
    found: list[Run] = list(store.client().search_runs([store.experiment_id]))
    return found


def test_before_quality_control_there_is_no_run(tmp_path: Path) -> None:
    assert quality_content(tmp_path) is None


def test_the_run_holds_pages_medians_counts_and_limits(project: Path) -> None:
    store = store_of(project)
    assert publish(project, store).created == ("quality",)
    (run,) = runs(store)
    assert (run.info.run_name, run.info.status) == ("quality", "FINISHED")
    assert run.data.metrics["marked"] == 2 and run.data.metrics["median_rotation_deg"] == 12.0
    assert (
        run.data.params["least_brain_overlap"] == "0.92" and run.data.params["brain_ml"] == "[900.0, 1900.0]"
    )
    assert run.data.tags["ricenet.preprocessing_digest"] == "p" * 64
    listed = {item.path for item in store.client().list_artifacts(run.info.run_id, "quality")}
    assert {"quality/index.html", "quality/sub-001.html", "quality/measures.tsv"} <= listed


def test_publishing_again_writes_nothing(project: Path) -> None:
    store = store_of(project)
    publish(project, store)
    again = publish(project, store)
    assert (again.created, again.completed) == ((), ()) and len(runs(store)) == 1


def test_pages_that_only_look_different_are_replaced_in_their_run(project: Path) -> None:
    store = store_of(project)
    publish(project, store)
    page = project / "work" / "quality" / "index.html"
    page.write_text(page.read_text().replace("Quality control", "Control of quality"))
    again = publish(project, store)
    assert (again.created, again.completed) == ((), ("quality",))
    (run,) = runs(store)
    logged = store.client().download_artifacts(run.info.run_id, "quality/index.html")
    assert "Control of quality" in Path(logged).read_text()


def test_other_limits_are_another_run(project: Path, cohort: CheckedCohort) -> None:
    store = store_of(project)
    publish(project, store)
    write_small_group(project / "work", cohort, PARAMS.model_copy(update={"least_brain_overlap": 0.5}))
    assert publish(project, store).created == ("quality",)
    assert sorted(run.data.params["least_brain_overlap"] for run in runs(store)) == ["0.5", "0.92"]
