"""Preprocessing a cohort: each subject once, failures by name, the others' results kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohorts import write_tiny_cohort

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config import ExecutionParams, PreprocessingParams, read_params
from ricenet.errors import CohortError, ScanError
from ricenet.files import read_json
from ricenet.preprocessing import pipeline
from ricenet.preprocessing.cohort import preprocess_cohort
from ricenet.preprocessing.pipeline import PreprocessedSubject
from ricenet.preprocessing.registration import RigidResult
from ricenet.store import Store
from ricenet.volume import Grid, Volume

PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
VERSIONS = {"antspyx": "1"}


class Workbench:
    """A cohort, a store, and a stand-in for the tools that records whom it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = write_tiny_cohort(folder / "cohort", subjects=3)
        self.store = Store(folder / "store")
        self.output = folder / "preprocessed"
        self.worked_on: list[str] = []
        self.faulty: dict[str, Exception] = {}
        monkeypatch.setattr(pipeline, "preprocess", self.preprocess)

    def preprocess(self, raw: RawSubject, params: PreprocessingParams, seed: int) -> PreprocessedSubject:
        self.worked_on.append(raw.subject)
        if raw.subject in self.faulty:
            raise self.faulty[raw.subject]
        grid = Grid.cube(np.zeros(3), 2.0, 2)
        values = Volume(np.full(grid.shape, 30.0, np.float32), grid)
        brain = Volume(np.ones(grid.shape, bool), grid)
        return PreprocessedSubject(values, values, values, brain, RigidResult(np.eye(4), 1.5, 1.2), 1.0)

    def cohort(self) -> CheckedCohort:
        return admit(check_cohort(self.root), exclude_faulty=False)

    def run(self, params: PreprocessingParams = PARAMS, seed: int = 7) -> list[str]:
        """Preprocess, and return who was worked on."""
        self.worked_on = []
        preprocess_cohort(self.cohort(), params, seed, SERIAL, self.store, self.output, VERSIONS)
        return self.worked_on


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    return Workbench(tmp_path, monkeypatch)


def test_every_subject_is_laid_out_with_its_provenance(bench: Workbench) -> None:
    assert bench.run() == ["sub-001", "sub-002", "sub-003"]
    volumes = np.load(bench.output / "sub-002" / "volumes.npy")
    np.testing.assert_allclose(volumes[2], 0.5)  # 30 Gy in units of 60 Gy
    provenance = read_json(bench.output / "sub-002" / "provenance.json")
    assert provenance["key"] == read_json(bench.output / "summary.json")["subjects"]["sub-002"]
    assert provenance["dose_max_gy"] == 30.0 and provenance["versions"] == VERSIONS


def test_unchanged_subjects_are_not_done_again(bench: Workbench) -> None:
    bench.run()
    assert bench.run() == []


def test_adding_a_subject_works_on_that_subject_alone(bench: Workbench, tmp_path: Path) -> None:
    bench.run()
    digest = read_json(bench.output / "summary.json")["digest"]
    write_tiny_cohort(tmp_path / "larger", subjects=4)
    bench.root = tmp_path / "larger"
    assert bench.run() == ["sub-004"]
    assert read_json(bench.output / "summary.json")["digest"] != digest


def test_a_changed_scan_setting_or_seed_is_done_again(bench: Workbench) -> None:
    bench.run()
    sidecar = RawSubject(bench.root, "sub-001").dose_sidecar
    sidecar.write_text(sidecar.read_text().replace("GY", "gy"))
    assert bench.run() == ["sub-001"]
    assert len(bench.run(params=PARAMS.model_copy(update={"spacing_mm": 5.0}))) == 3
    assert len(bench.run(seed=8)) == 3


def test_a_failing_subject_is_named_and_the_others_are_kept(bench: Workbench) -> None:
    bench.faulty["sub-002"] = ScanError("sub-002", "event", "every brain voxel is 0", "Check the overlap.")
    with pytest.raises(
        CohortError, match=r"1 of 3 subjects .* the others are kept:\n  - sub-002: .*Check the"
    ):
        bench.run()
    assert sorted(p.name for p in bench.output.glob("sub-*")) == ["sub-001", "sub-003"]
    bench.faulty.clear()
    assert bench.run() == ["sub-002"]


def test_a_crash_inside_a_tool_is_reported_with_its_subject(bench: Workbench) -> None:
    bench.faulty["sub-003"] = MemoryError("no room")
    with pytest.raises(CohortError, match="sub-003: MemoryError: no room"):
        bench.run()
    assert (bench.output / "sub-001" / "volumes.npy").is_file()


def test_subjects_that_left_the_cohort_leave_the_output(bench: Workbench) -> None:
    bench.run()
    cohort = bench.cohort()
    fewer = replace_subjects(cohort, 2)
    preprocess_cohort(fewer, PARAMS, 7, SERIAL, bench.store, bench.output, VERSIONS)
    assert sorted(p.name for p in bench.output.glob("sub-*")) == ["sub-001", "sub-002"]


def replace_subjects(cohort: CheckedCohort, count: int) -> CheckedCohort:
    return cohort.model_copy(update={"subjects": cohort.subjects[:count]})
