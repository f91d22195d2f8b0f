"""Examining a cohort: each subject once, by content; failures by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from cohorts import write_tiny_cohort
from preprocessed_subjects import MEASUREMENTS, mask_of, save_measurements, save_summary
from small_quality import PARAMS, checked, write_examination

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import CohortError, ResultError, ScanError
from ricenet.screening.quality import examination, examine_cohort
from ricenet.screening.quality.own_brain import OwnBrain
from ricenet.screening.quality.pages import write_pages
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
EVERYBODY = ["sub-001", "sub-002", "sub-003"]


class Workbench:
    """A cohort, a store, and stand-ins for the examination that record whom they were given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = write_tiny_cohort(folder / "cohort", subjects=3)
        self.preprocessed = folder / "preprocessed"
        self.stores = folder / "store"
        self.output = folder / "quality"
        self.examined: list[str] = []
        self.extracted: list[str] = []
        self.faulty: dict[str, Exception] = {}
        self.keys = {f"sub-00{i}": str(i) * 64 for i in (1, 2, 3)}
        for subject in self.keys:
            self.preprocess(subject, MEASUREMENTS)
        self.brain = OwnBrain(Volume(np.ones((2, 2, 2), bool), Grid((2, 2, 2), np.eye(4))), "by a stand-in")
        monkeypatch.setattr(examination, "examine", self.examine)
        monkeypatch.setattr(examine_cohort, "find_own_brain", self.find)

    def preprocess(self, subject: str, measured: Measurements, least: int = 1) -> None:
        """Lay out a mask that begins at a voxel, and where the scans lie."""
        mask = np.zeros((4, 4, 4), bool)
        mask[least:] = True
        save_nifti(Volume(mask, Grid((4, 4, 4), np.eye(4))), mask_of(self.preprocessed / subject))
        save_measurements(self.preprocessed / subject, measured)

    def find(self, raw: RawSubject, preprocessed: Path, params: BrainParams) -> OwnBrain:
        assert preprocessed == self.preprocessed / raw.subject
        assert (params.mode, params.mirroring, params.engine) == ("fast", False, "minimal")
        self.extracted.append(raw.subject)
        return self.brain

    def examine(self, raw: RawSubject, preprocessed: Path, own_brain: OwnBrain, folder: Path) -> None:
        assert preprocessed == self.preprocessed / raw.subject
        assert own_brain.origin == self.brain.origin
        assert (own_brain.mask is None) == (self.brain.mask is None)
        self.examined.append(raw.subject)
        if raw.subject in self.faulty:
            raise self.faulty[raw.subject]
        write_examination(folder, raw.subject)

    def run(self, precision: Literal["float32", "bfloat16"] = "float32") -> list[str]:
        """Examine and write the pages; returns who was examined."""
        self.examined, self.extracted = [], []
        save_summary(self.preprocessed, subjects=self.keys)
        cohort = checked(self.root)
        brain = BrainParams(mode="accurate", mirroring=True, precision=precision)
        examined = examine_cohort.examine_cohort(cohort, self.preprocessed, brain, SERIAL, self.stores)
        write_pages(examined, cohort, PARAMS, "d" * 64, self.output)
        return self.examined


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    return Workbench(tmp_path, monkeypatch)


def test_every_subject_is_examined_once(bench: Workbench) -> None:
    assert bench.run() == EVERYBODY == bench.extracted
    assert bench.run() == [] == bench.extracted
    assert sorted(path.name for path in bench.output.glob("sub-*")) == [f"{s}.html" for s in EVERYBODY]


def test_a_brain_that_was_not_found_is_an_answer_that_is_kept(bench: Workbench) -> None:
    bench.brain = OwnBrain(None, "not found: no head in the image")
    assert bench.run() == EVERYBODY
    assert bench.run() == []


def test_who_is_preprocessed_anew_is_examined_anew(bench: Workbench) -> None:
    bench.run()
    bench.keys["sub-002"] = "f" * 64
    # such as another crop: neither mask nor registration is another
    bench.preprocess("sub-002", MEASUREMENTS.model_copy(update={"brain_ml": 1401.0}))
    assert (bench.run(), bench.extracted) == (["sub-002"], [])


@pytest.mark.parametrize("what", ["mask", "registration"])
def test_where_mask_or_registration_have_changed_the_brain_is_looked_for_there(
    bench: Workbench, what: str
) -> None:
    bench.run()
    bench.keys["sub-002"] = "f" * 64
    transform = np.diag([2.0, 2.0, 2.0, 1.0]).tolist()
    moved = MEASUREMENTS.mris["event"].model_copy(update={"world_from_reference": transform})
    if what == "mask":
        bench.preprocess("sub-002", MEASUREMENTS, least=2)
    else:
        mris = {**MEASUREMENTS.mris, "event": moved}
        bench.preprocess("sub-002", MEASUREMENTS.model_copy(update={"mris": mris}))
    assert bench.run() == ["sub-002"] == bench.extracted


def test_who_joins_without_a_label_is_examined_alone(bench: Workbench, tmp_path: Path) -> None:
    bench.run()
    joined, four = "sub-004", write_tiny_cohort(tmp_path / "four", subjects=4)
    shutil.copytree(four / joined, bench.root / joined)
    columns, *_, row = (four / "participants.tsv").read_text().splitlines()
    cells = zip(columns.split("\t"), row.split("\t"), strict=True)
    unlabelled = ["n/a" if name in ("label", "label_source", "subset") else cell for name, cell in cells]
    with (bench.root / "participants.tsv").open("a") as table:
        table.write("\t".join(unlabelled) + "\n")
    bench.keys[joined] = "4" * 64
    bench.preprocess(joined, MEASUREMENTS)
    assert bench.run() == [joined] == bench.extracted


def test_another_event_scan_is_searched_for_its_brain_again(bench: Workbench) -> None:
    bench.run()
    path = RawSubject(bench.root, "sub-003").scan("event")
    scan = load_nifti(path)
    save_nifti(Volume(scan.data[::-1].copy(), scan.grid), path)
    assert bench.run() == ["sub-003"] == bench.extracted


def test_a_planning_ct_that_comes_or_changes_is_examined(bench: Workbench) -> None:
    bench.run()
    path = RawSubject(bench.root, "sub-003").planning_ct
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for changed in (values, values + 1):
        save_nifti(Volume(changed, Grid((2, 2, 2), np.diag([15.0, 15.0, 15.0, 1.0]))), path)
        assert bench.run() == ["sub-003"] and bench.run() == []


def test_another_precision_of_the_network_finds_all_brains_again(bench: Workbench) -> None:
    bench.run("float32")
    assert bench.run("bfloat16") == EVERYBODY == bench.extracted


def test_a_changed_examination_is_done_again_without_the_network(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    real = examine_cohort.code_digest
    monkeypatch.setattr(
        examine_cohort, "code_digest", lambda name: real(name) + "x" * name.endswith("examination")
    )
    assert bench.run() == EVERYBODY and bench.extracted == []


def test_a_quarantined_subject_leaves_the_pages(bench: Workbench) -> None:
    bench.run()
    (bench.root / "exclude.tsv").write_text("participant_id\treason\nsub-002\tregistration\n")
    assert bench.run() == []
    assert not (bench.output / "sub-002.html").exists()
    assert "quarantined (registration)" in (bench.output / "index.html").read_text()


def test_a_failing_subject_is_named_and_the_others_are_kept(bench: Workbench) -> None:
    bench.faulty["sub-002"] = ScanError("sub-002", "dose", "is gone", "Put it back.")
    with pytest.raises(CohortError, match=r"quality: 1 of 3 .* kept.*:\n  - sub-002: .*Put it"):
        bench.run()
    bench.faulty.clear()
    assert bench.run() == ["sub-002"]


def test_without_preprocessing_the_stage_to_run_is_named(bench: Workbench) -> None:
    brain = BrainParams(mode="fast", mirroring=False, precision="float32")
    with pytest.raises(ResultError, match=r"summary\.json is missing\. The stage `preprocess` makes it"):
        examine_cohort.examine_cohort(checked(bench.root), bench.preprocessed, brain, SERIAL, bench.stores)
