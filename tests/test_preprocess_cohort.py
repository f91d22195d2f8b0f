"""Preprocessing a cohort: each step once, failures by name, the others' results kept."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from cohorts import write_tiny_cohort

from ricenet.cohort.checked import CheckedCohort, ExcludedSubject
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import (
    BrainParams,
    ExecutionParams,
    PreprocessingParams,
    RegistrationParams,
    read_params,
)
from ricenet.preprocessing import cube, step_keys
from ricenet.preprocessing.brain import mask as brain_mask
from ricenet.preprocessing.cube import PreprocessedSubject
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.registration import event as event_registration
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import CohortError, ScanError
from ricenet.runtime.files import read_json
from ricenet.runtime.store import Store
from ricenet.volume import Grid, Volume

PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
VERSIONS = {"antspyx": "1", "torch": "2", "numpy": "3", "brain_precision": "float32"}
EVERYBODY = ["sub-001", "sub-002", "sub-003"]
GRID = Grid((2, 2, 2), np.diag([2.0 + 1e-9, 2.0, 2.0, 1.0]))


class Workbench:
    """A cohort, a store, and stand-ins for the steps that record whom they were given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = write_tiny_cohort(folder / "cohort", subjects=3)
        self.store = Store(folder / "store")
        self.output = folder / "preprocessed"
        self.steps: list[tuple[str, str]] = []
        self.faulty: dict[str, Exception] = {}
        self.similarity = 1.5
        monkeypatch.setattr(event_registration, "register_event", self.register)
        monkeypatch.setattr(brain_mask, "find_brain", self.find_brain)
        monkeypatch.setattr(cube, "make_cube", self.make_cube)

    def register(self, raw: RawSubject, params: RegistrationParams, seed: int) -> RigidResult:
        self.steps.append(("registration", raw.subject))
        if raw.subject in self.faulty:
            raise self.faulty[raw.subject]
        return RigidResult(np.eye(4) * (1 + 1e-15), self.similarity, 1.2, searched=True)

    def find_brain(self, raw: RawSubject, params: BrainParams) -> Volume:
        self.steps.append(("brain", raw.subject))
        return Volume(np.ones((2, 2, 2), bool), GRID)

    def make_cube(
        self, raw: RawSubject, params: PreprocessingParams, registration: RigidResult, brain: Volume
    ) -> PreprocessedSubject:
        self.steps.append(("cube", raw.subject))
        # the steps before arrive as they were made, to the last bit
        np.testing.assert_array_equal(registration.moving_from_fixed, np.eye(4) * (1 + 1e-15))
        np.testing.assert_array_equal(brain.grid.affine, GRID.affine)
        assert registration.searched and brain.data.dtype == bool and brain.data.all()
        values = Volume(np.full(GRID.shape, 30.0, np.float32), GRID)
        return PreprocessedSubject(values, values, values, brain, registration, 1.0)

    def cohort(self) -> CheckedCohort:
        return admit(check_cohort(self.root), exclude_faulty=False)

    def run(
        self,
        params: PreprocessingParams = PARAMS,
        seed: int = 7,
        versions: dict[str, str] = VERSIONS,
        exclude_faulty: bool = False,
    ) -> list[str]:
        """Preprocess, and return whose cube was made."""
        self.steps = []
        self.left_out = preprocess_cohort(
            self.cohort(),
            params,
            seed,
            SERIAL,
            self.store,
            self.output,
            versions,
            exclude_faulty=exclude_faulty,
        )
        return self.of("cube")

    def of(self, step: str) -> list[str]:
        return [subject for name, subject in self.steps if name == step]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    return Workbench(tmp_path, monkeypatch)


def test_every_subject_is_laid_out_with_its_provenance(bench: Workbench) -> None:
    assert bench.run() == EVERYBODY
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


def test_another_seed_or_a_changed_scan_is_done_again(bench: Workbench) -> None:
    bench.run()
    sidecar = RawSubject(bench.root, "sub-001").dose_sidecar
    sidecar.write_text(sidecar.read_text().replace("GY", "gy"))
    assert bench.run() == ["sub-001"] and bench.of("registration") == bench.of("brain") == []
    assert bench.run(seed=8) == EVERYBODY == bench.of("registration") and bench.of("brain") == []


def changed(section: str, key: str, value: object) -> PreprocessingParams:
    part = getattr(PARAMS, section).model_copy(update={key: value})
    return PARAMS.model_copy(update={section: part})


@pytest.mark.parametrize(
    ("params", "redone"),
    [
        (PARAMS.model_copy(update={"cube_voxels": 40}), {"cube"}),
        (PARAMS.model_copy(update={"spacing_mm": 5.0}), {"cube"}),
        (PARAMS.model_copy(update={"interpolation": "bspline"}), {"cube"}),
        (PARAMS.model_copy(update={"eqd2_alpha_beta_gy": 2.0}), {"cube"}),
        (changed("registration", "spacing_mm", 4.0), {"registration", "cube"}),
        (changed("registration", "transform", "affine"), {"registration", "cube"}),
        (changed("brain", "mode", "accurate"), {"brain", "cube"}),
        (changed("brain", "mirroring", True), {"brain", "cube"}),
    ],
)
def test_a_changed_setting_redoes_the_steps_that_it_changes_and_no_others(
    params: PreprocessingParams, redone: set[str], bench: Workbench
) -> None:
    bench.run()
    bench.run(params)
    assert {step for step, _ in bench.steps} == redone
    assert len(bench.steps) == 3 * len(redone)
    assert bench.run() == []  # and the way back costs nothing


@pytest.mark.parametrize(
    ("tool", "redone"),
    [
        ("antspyx", {"registration", "cube"}),
        ("torch", {"brain", "cube"}),
        ("brain_precision", {"brain", "cube"}),
        ("numpy", {"registration", "brain", "cube"}),
    ],
)
def test_another_version_of_a_tool_redoes_what_it_made(tool: str, redone: set[str], bench: Workbench) -> None:
    bench.run()
    bench.run(versions=VERSIONS | {tool: "next"})
    assert {step for step, _ in bench.steps} == redone


def test_a_changed_step_of_the_code_redoes_it(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    monkeypatch.setattr(step_keys, "_cube_code", lambda: "other code")
    assert bench.run() == EVERYBODY and bench.of("registration") == bench.of("brain") == []
    monkeypatch.setattr(step_keys, "_registration_code", lambda: "other code")
    assert bench.run() == EVERYBODY == bench.of("registration") and bench.of("brain") == []
    monkeypatch.setattr(step_keys, "_brain_code", lambda: "other code")
    assert bench.run() == EVERYBODY == bench.of("brain") and bench.of("registration") == []


def test_a_damaged_result_is_found_by_its_digest_and_made_again(bench: Workbench) -> None:
    bench.run()
    key = read_json(bench.output / "summary.json")["subjects"]["sub-002"]
    volumes = bench.store.path(key) / "volumes.npy"
    content = bytearray(volumes.read_bytes())
    content[-1] ^= 1
    volumes.chmod(0o644)
    volumes.write_bytes(content)
    assert bench.run() == ["sub-002"] and bench.of("registration") == []
    np.testing.assert_array_equal(np.load(bench.output / "sub-002" / "volumes.npy")[2], 0.5)


# ---- failures


REFUSED = ScanError("sub-002", "event", "every brain voxel is 0", "Check the overlap.")


def test_a_failing_subject_is_named_and_the_others_are_kept(bench: Workbench) -> None:
    bench.faulty["sub-002"] = REFUSED
    with pytest.raises(
        CohortError,
        match=r"1 of 3 subjects .* the others are kept:\n  - sub-002: .*Check the.*\nOr leave them out: set "
        r"cohort\.exclude_faulty",
    ):
        bench.run()
    assert sorted(p.name for p in bench.output.glob("sub-*")) == ["sub-001", "sub-003"]
    bench.faulty.clear()
    assert bench.run() == ["sub-002"]


def test_by_parameter_a_failing_subject_is_left_out_and_listed(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.faulty["sub-002"] = REFUSED
    assert bench.run(exclude_faulty=True) == ["sub-001", "sub-003"]
    assert bench.left_out == [
        ExcludedSubject(
            participant_id="sub-002", problems=("event: every brain voxel is 0. Check the overlap.",)
        )
    ]
    assert "1 of 3 subjects are left out:\n  - sub-002: event: every brain voxel is 0" in caplog.text
    assert sorted(read_json(bench.output / "summary.json")["subjects"]) == ["sub-001", "sub-003"]


def test_a_failed_registration_is_told_again_without_being_estimated_again(bench: Workbench) -> None:
    bench.similarity = 1.0
    for _ in range(2):
        with pytest.raises(CohortError, match=r"3 of 3 .*\n  - sub-001: event T1ce: registration .* failed"):
            bench.run(exclude_faulty=True)  # nobody would be left
    assert bench.steps == []


def test_a_crash_inside_a_tool_is_no_property_of_the_subject(bench: Workbench) -> None:
    bench.faulty["sub-003"] = MemoryError("no room")
    for exclude_faulty in (False, True):
        with pytest.raises(CohortError, match=r"1 of 3 .*\n  - sub-003: MemoryError: no room$"):
            bench.run(exclude_faulty=exclude_faulty)
    assert (bench.output / "sub-001" / "volumes.npy").is_file()


def test_a_full_disk_stops_whatever_the_parameter_says(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    bench.faulty["sub-002"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CohortError, match="sub-002: the store cannot be written: the disk is full"):
        bench.run(seed=8, exclude_faulty=True)
    assert sorted(p.name for p in bench.output.glob("sub-*")) == ["sub-001", "sub-003"]
    assert not list(bench.store.root.rglob(".partial-*"))


def test_subjects_that_left_the_cohort_leave_the_output(bench: Workbench) -> None:
    bench.run()
    cohort = bench.cohort()
    fewer = replace_subjects(cohort, 2)
    assert preprocess_cohort(fewer, PARAMS, 7, SERIAL, bench.store, bench.output, VERSIONS) == []
    assert sorted(p.name for p in bench.output.glob("sub-*")) == ["sub-001", "sub-002"]


def replace_subjects(cohort: CheckedCohort, count: int) -> CheckedCohort:
    return cohort.model_copy(update={"subjects": cohort.subjects[:count]})
