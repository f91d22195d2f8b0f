"""Examining a cohort: each subject once, by content; failures by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from cohorts import write_tiny_cohort
from small_quality import PARAMS, checked, write_examination

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams, ExecutionParams
from ricenet.runtime.errors import CohortError, ResultError, ScanError
from ricenet.runtime.files import write_json
from ricenet.runtime.store import Store
from ricenet.screening.quality import examination
from ricenet.screening.quality import examine_cohort as quality_cohort
from ricenet.screening.quality.examine_cohort import examine_cohort
from ricenet.screening.quality.pages import write_pages
from ricenet.volume import Grid, Volume, save_nifti

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


class Workbench:
    """A cohort, a store, and a stand-in for the examination that records whom it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = write_tiny_cohort(folder / "cohort", subjects=3)
        self.preprocessed = folder / "preprocessed"
        self.store = Store(folder / "store")
        self.output = folder / "quality"
        self.worked_on: list[str] = []
        self.faulty: dict[str, Exception] = {}
        self.keys = {f"sub-00{i}": str(i) * 64 for i in (1, 2, 3)}
        monkeypatch.setattr(examination, "examine", self.examine)

    def examine(self, raw: RawSubject, preprocessed: Path, brain: BrainParams, folder: Path) -> None:
        assert preprocessed == self.preprocessed / raw.subject
        self.worked_on.append(raw.subject)
        if raw.subject in self.faulty:
            raise self.faulty[raw.subject]
        write_examination(folder, raw.subject)

    def run(self, precision: Literal["float32", "bfloat16"] = "float32") -> list[str]:
        """Examine and write the pages; returns who was worked on."""
        self.worked_on = []
        write_json(self.preprocessed / "summary.json", {"digest": "d" * 64, "subjects": self.keys})
        cohort = checked(self.root)
        brain = BrainParams(mode="fast", mirroring=False, precision=precision)
        examined = examine_cohort(cohort, self.preprocessed, brain, SERIAL, self.store)
        write_pages(examined, cohort, PARAMS, "d" * 64, self.output)
        return self.worked_on


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    return Workbench(tmp_path, monkeypatch)


def test_every_subject_is_examined_once(bench: Workbench) -> None:
    assert bench.run() == ["sub-001", "sub-002", "sub-003"]
    assert bench.run() == []
    assert sorted(path.name for path in bench.output.glob("sub-*")) == [f"sub-00{i}.html" for i in (1, 2, 3)]


def test_who_is_preprocessed_anew_is_examined_anew(bench: Workbench) -> None:
    bench.run()
    bench.keys["sub-002"] = "f" * 64
    assert bench.run() == ["sub-002"]


def test_a_planning_ct_that_comes_or_changes_is_examined(bench: Workbench) -> None:
    bench.run()
    path = RawSubject(bench.root, "sub-003").planning_ct
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    save_nifti(Volume(values, Grid((2, 2, 2), np.eye(4))), path)
    assert bench.run() == ["sub-003"]
    save_nifti(Volume(values + 1, Grid((2, 2, 2), np.eye(4))), path)
    assert bench.run() == ["sub-003"] and bench.run() == []


def test_another_precision_of_the_network_is_another_examination(bench: Workbench) -> None:
    bench.run("float32")
    assert len(bench.run("bfloat16")) == 3


def test_a_changed_examination_is_done_again(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    monkeypatch.setattr(quality_cohort, "_code_digest", lambda: "other code")
    assert len(bench.run()) == 3


def test_a_quarantined_subject_leaves_the_pages(bench: Workbench) -> None:
    bench.run()
    (bench.root / "exclude.tsv").write_text("participant_id\treason\nsub-002\tregistration\n")
    assert bench.run() == []
    assert not (bench.output / "sub-002.html").exists()
    assert "quarantined (registration)" in (bench.output / "index.html").read_text()


def test_a_failing_subject_is_named_and_the_others_are_kept(bench: Workbench) -> None:
    bench.faulty["sub-002"] = ScanError("sub-002", "dose", "is gone", "Put it back.")
    with pytest.raises(
        CohortError, match=r"1 of 3 subjects could not be examined; .* kept:\n  - sub-002: .*Put it"
    ):
        bench.run()
    bench.faulty.clear()
    assert bench.run() == ["sub-002"]


def test_without_preprocessing_the_stage_to_run_is_named(bench: Workbench) -> None:
    with pytest.raises(ResultError, match=r"summary\.json is missing\. The stage `preprocess` makes it"):
        examine_cohort(checked(bench.root), bench.preprocessed, "float32", SERIAL, bench.store)
