"""Two commands at once: one wins or waits, the other says so; results are those of one after the other."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from dicom_trees import write_tiny_export
from outcomes import assert_same, contents, leftovers, store_entries, tracked
from project_runs import Done, Project, ended
from small_project import stage_step
from tally import OTHERS
from undisturbed import Reference

from ricenet.runtime.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def project(reference: Reference, tmp_path: Path) -> Project:
    """A finished project of one's own."""
    return reference.copy(reference.ended, tmp_path / "copy")


def both(one: subprocess.Popen[str], other: subprocess.Popen[str]) -> list[Done]:
    return [ended(one), ended(other)]


def test_two_dvc_repro(
    project: Project, reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    project.set({"quality": {"most_shift_mm": 79.0}})
    done = both(project.start("dvc", "repro"), project.start("dvc", "repro"))
    assert min(one.code for one in done) == 0, [one.said[-2000:] for one in done]
    for one in done:
        assert one.code == 0 or "lock" in one.said, one.said[-2000:]
        assert "Traceback" not in one.said
    assert project.ok("dvc", "repro").count("Running stage") == 3
    found = contents(project.folder)
    assert {
        name: digest for name, digest in reference.outcome.contents.items() if found.get(name) != digest
    } == {}
    names = [name for name, *_ in tracked(project.folder)["runs"]]
    assert names.count("quality") == 2 and len(names) == len(reference.outcome.tracked["runs"]) + 1
    assert leftovers(project.folder) == []
    record_property(OTHERS, "at once: dvc repro and dvc repro")


def promote(name: str) -> tuple[str, ...]:
    return ("ricenet", "promote", name, "--force", "--reason", "two at once")


@pytest.mark.parametrize("names", [("event+dose", "dose"), ("event+dose", "event+dose")])
def test_two_promotions(
    project: Project, names: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    done = both(*(project.start(*promote(name)) for name in names))
    assert [one.code for one in done] == [0, 0], [one.said[-2000:] for one in done]
    aliases = tracked(project.folder)["aliases"]
    assert aliases == [(f"rice-net-{name}", "champion", 1) for name in ("dose", "event+dose")]
    project.ok(*project.stage("resolve"))
    assert set(read_json(project.folder / "work/champions.json")) == {"dose", "event+dose"}
    record_property(OTHERS, "at once: promote and promote")


def test_a_promotion_during_register(
    project: Project, reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    # so that there is work: a version and a run have gone
    with closing(sqlite3.connect(project.folder / "mlflow/mlflow.db")) as database:
        database.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name LIKE 'event+dose fold%'")
        database.commit()
    done = both(project.start(*project.stage("register")), project.start(*promote("event+dose")))
    assert [one.code for one in done] == [0, 0], [one.said[-2000:] for one in done]
    project.ok(*stage_step("resolve").command)
    assert set(read_json(project.folder / "work/champions.json")) == {"dose", "event+dose"}
    before = reference.outcome.tracked
    now = tracked(project.folder)
    assert now["runs"] == before["runs"] and now["versions"] == before["versions"]
    record_property(OTHERS, "at once: promote and register")


def test_a_cohort_is_added_while_the_store_is_swept(
    project: Project, reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    add = ("ricenet", "cohort", "add", str(reference.cohort), "--name", "again")
    before = store_entries(project.folder)
    done = both(project.start(*add), project.start("ricenet", "store", "gc"))
    assert [one.code for one in done] == [0, 0], [one.said[-2000:] for one in done]
    assert store_entries(project.folder) == before
    mine, again = (
        (project.folder / f"data/{name}.dvc").read_text().replace(name, "") for name in ("mine", "again")
    )
    assert mine == again
    project.set({"cohort": {"root": "data/mine"}})
    assert_same(project.folder, reference.outcome)
    record_property(OTHERS, "at once: cohort add and store gc")


def test_two_imports_into_one_cohort(
    reference: Reference, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for patient in ("ANON-17", "ANON-18"):
        write_tiny_export(tmp_path / "export", patient)
    project = Project.at(reference.begun)

    def into(name: str) -> tuple[str, ...]:
        words = ("ricenet", "import", "dicom", str(tmp_path / "export"), str(tmp_path / name))
        return (*words, "--map", str(tmp_path / f"{name}.csv"))

    for name in ("alone", "mine"):
        project.ok(*into(name))
    project.ok(*into("alone"))
    done = both(project.start(*into("mine")), project.start(*into("mine")))
    assert min(one.code for one in done) == 0, [one.said[-2000:] for one in done]
    for one in done:
        assert one.code == 0 or "another import is using" in one.said, one.said[-2000:]
    for path in (tmp_path / "alone").rglob("*.nii.gz"):
        other = tmp_path / "mine" / path.relative_to(tmp_path / "alone")
        assert other.read_bytes() == path.read_bytes()
    assert leftovers(tmp_path) == []
    record_property(OTHERS, "at once: two imports")
