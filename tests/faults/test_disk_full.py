"""Where the disk is full, each stage and command says so; with room again it goes on to the same end.

The project lies on a file system of its own in memory, which a file fills up to a few pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dicom_trees import write_tiny_export
from outcomes import assert_same, leftovers
from project_runs import Done, Project
from small_project import PASSES, SMALL
from tally import OTHERS
from undisturbed import Reference

from ricenet.runtime.randomness import generator_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SIZE_MB, PAGE_BYTES, SEED = 400, 4096, 20261130
LARGE = ("preprocess", "quality", "train", "evidence", "explain", "register")
"""Stages that write much, and are tried with some room as well."""
TOLD = re.compile(r"the disk is full: [^/\n]+ (needs|finds no room)[^\n]* are free")
STEPS = {step.name: step for step in PASSES}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a file system in memory may not be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("disk") / "full") as folder:
        yield folder


@pytest.fixture(scope="module")
def project(reference: Reference, disk: Path) -> Project:
    return reference.copy(reference.begun, disk / "of stages")


@contextmanager
def filled(disk: Path, pages: int) -> Iterator[None]:
    """All room taken but some pages."""
    filler = disk / "filler"
    with filler.open("wb") as stream:
        free = shutil.disk_usage(disk).free - pages * PAGE_BYTES
        block = bytes(PAGE_BYTES)
        for _ in range(free // PAGE_BYTES):
            stream.write(block)
    try:
        yield
    finally:
        filler.unlink()


def assert_told(done: Done) -> None:
    assert done.code == 1, done.said[-3000:]
    assert TOLD.search(done.said), done.said[-3000:]
    assert "Traceback" not in done.said, done.said[-3000:]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_says_that_the_disk_is_full_and_goes_on_with_room(
    project: Project, disk: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    stage = name.removesuffix(" again")
    command = STEPS[name].command if name == "promote" else project.stage(stage)
    with filled(disk, 0):
        assert_told(project.done(*command))
    record_property(OTHERS, f"disk full: {name}")
    if name in LARGE:
        with filled(disk, int(generator_for("disk", SEED, name).integers(2, 64))):
            done = project.done(*command)
            if done.code != 0:
                assert_told(done)
    project.ok(*command)
    assert leftovers(project.folder) == []


def test_with_room_all_came_to_what_it_comes_to_undisturbed(project: Project, reference: Reference) -> None:
    assert_same(project.folder, reference.outcome)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.3])
def test_a_cohort_is_added_once_there_is_room(
    disk: Path, reference: Reference, share: float, record_property: Callable[[str, object], None]
) -> None:
    """share: of the cohort's size that finds room; with more than 1 the copy does, DVC's cache does not."""
    place = disk / f"adding {share}"
    place.mkdir()
    project = Project(place / "project", {**SMALL, "cohort": {"root": "data/demo"}})
    size = sum(path.stat().st_size for path in reference.cohort.rglob("*") if path.is_file())
    add = ("ricenet", "cohort", "add", str(reference.cohort))
    with filled(disk, int(share * size / PAGE_BYTES)):
        done = project.done(*add)
        assert done.code == 1 and "Traceback" not in done.said, done.said
        assert "disk is full" in done.said or "No space left on device" in done.said, done.said
    record_property(OTHERS, "disk full: ricenet cohort add")
    project.ok(*add)
    assert (project.folder / "data/mine.dvc").read_bytes() == (reference.begun / "data/mine.dvc").read_bytes()
    assert leftovers(project.folder) == []
    shutil.rmtree(place)


@pytest.mark.parametrize("pages", [0, 3, 6])
def test_an_import_goes_on_once_there_is_room(
    disk: Path,
    reference: Reference,
    tmp_path: Path,
    pages: int,
    record_property: Callable[[str, object], None],
) -> None:
    export = tmp_path / "export"
    write_tiny_export(export, "ANON-17")
    place = disk / f"import {pages}"
    place.mkdir()
    project = Project.at(reference.begun)

    def into(folder: Path) -> tuple[str, ...]:
        mapped = str(tmp_path / f"{folder.parent.name}.map.csv")
        return ("ricenet", "import", "dicom", str(export), str(folder), "--map", mapped)

    for folder in (tmp_path / "whole", place / "mine"):
        project.ok(*into(folder))
    project.ok(*into(tmp_path / "whole"))
    with filled(disk, pages):
        done = project.done(*into(place / "mine"))
        assert done.code == 1 and "Traceback" not in done.said, done.said
        assert "disk is full" in done.said, done.said
    record_property(OTHERS, "disk full: ricenet import dicom")
    project.ok(*into(place / "mine"))
    for path in (tmp_path / "whole").rglob("*.nii.gz"):
        other = place / "mine" / path.relative_to(tmp_path / "whole")
        assert other.read_bytes() == path.read_bytes()
    assert leftovers(place) == []
