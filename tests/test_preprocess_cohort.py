"""Preprocessing a cohort: each step once, failures by name, the others' results kept."""

from __future__ import annotations

import errno
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cohorts import write_tiny_cohort
from preprocessed_subjects import MEASUREMENTS

from ricenet.cohort.checked import CheckedCohort, CheckedSubject, ExcludedSubject
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams, read_params
from ricenet.config.preprocessing import BrainParams, PreprocessingParams, RegistrationParams
from ricenet.preprocessing import preprocess_subject, step_keys
from ricenet.preprocessing.brain import extraction
from ricenet.preprocessing.brain.extraction import FoundBrain
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.preprocess_subject import PreprocessedSubject, Registrations
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.code_digest import SOURCE, import_closure, module_file
from ricenet.runtime.errors import CohortError, FormatError, ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.store import Store
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
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
        monkeypatch.setattr(preprocess_subject, "register_mri", self.register)
        monkeypatch.setattr(extraction, "find_brain", self.find_brain)
        monkeypatch.setattr(preprocess_subject, "make_cube", self.make_cube)

    def register(
        self, raw: RawSubject, spec: VolumeSpec, params: RegistrationParams, seed: int
    ) -> RigidResult:
        self.steps.append(("registration", raw.subject))
        assert spec.name == "event"
        if raw.subject in self.faulty:
            raise self.faulty[raw.subject]
        return RigidResult(np.eye(4) * (1 + 1e-15), self.similarity, 1.2, searched=True)

    def find_brain(self, raw: RawSubject, params: BrainParams) -> FoundBrain:
        self.steps.append(("brain", raw.subject))
        return FoundBrain(Volume(np.ones((2, 2, 2), bool), GRID), "given")

    def make_cube(
        self, raw: RawSubject, params: PreprocessingParams, registrations: Registrations, found: FoundBrain
    ) -> PreprocessedSubject:
        self.steps.append(("cube", raw.subject))
        brain = found.mask
        assert found.source == "given"
        # the steps before arrive as they were made, to the last bit
        np.testing.assert_array_equal(registrations["event"].moving_from_fixed, np.eye(4) * (1 + 1e-15))
        np.testing.assert_array_equal(brain.grid.affine, GRID.affine)
        assert registrations["event"].searched and brain.data.dtype == bool and brain.data.all()
        values = Volume(np.full(GRID.shape, 30.0, np.float32), GRID)
        return PreprocessedSubject(dict.fromkeys(PAPER_VOLUMES.names, values), brain, brain, MEASUREMENTS)

    def cohort(self) -> CheckedCohort:
        return admit(check_cohort(self.root), exclude_faulty=False)

    def run(
        self,
        params: PreprocessingParams = PARAMS,
        seed: int = 7,
        versions: dict[str, str] = VERSIONS,
        exclude_faulty: bool = False,
        cohort: CheckedCohort | None = None,
    ) -> list[str]:
        """Preprocess, and return whose cube was made."""
        self.steps = []
        cohort = cohort or self.cohort()
        rest = (params, seed, SERIAL, self.store, self.output, versions)
        self.excluded = preprocess_cohort(cohort, *rest, exclude_faulty=exclude_faulty)
        return self.of("cube")

    def of(self, step: str) -> list[str]:
        return [subject for name, subject in self.steps if name == step]

    def laid_out(self) -> list[str]:
        return sorted(path.name for path in self.output.glob("sub-*"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    return Workbench(tmp_path, monkeypatch)


def test_every_subject_is_laid_out_once_with_its_provenance(bench: Workbench) -> None:
    assert bench.run() == EVERYBODY
    np.testing.assert_allclose(np.load(bench.output / "sub-002" / "dose.npy"), 0.5)  # 30 Gy in units of 60 Gy
    provenance = read_json(bench.output / "sub-002" / "provenance.json")
    assert provenance["key"] == read_json(bench.output / "summary.json")["subjects"]["sub-002"]
    assert provenance["versions"] == VERSIONS and provenance["parameters"]["cube_voxels"] == 32
    assert bench.run() == []


def test_files_are_links_into_the_store(bench: Workbench) -> None:
    bench.run()
    key = read_json(bench.output / "summary.json")["subjects"]["sub-001"]
    laid_out = bench.output / "sub-001"
    files = [path.relative_to(laid_out) for path in laid_out.rglob("*") if path.is_file()]
    assert Path("dose.npy") in files
    for file in files:
        assert (laid_out / file).stat().st_ino == (bench.store.path(key) / file).stat().st_ino


def test_the_folder_says_where_its_cohort_lies_and_moves_with_it(bench: Workbench, tmp_path: Path) -> None:
    bench.run()
    links = read_json(bench.output / "dataset_description.json")["DatasetLinks"]
    assert links == {"raw": "../cohort"} and (bench.output / links["raw"]).samefile(bench.root)
    assert read_summary(bench.output)["subjects"].keys() == set(EVERYBODY)


def test_what_an_earlier_version_laid_out_is_named_with_the_command(bench: Workbench) -> None:
    bench.run()
    summary = read_json(bench.output / "summary.json")
    write_json(bench.output / "summary.json", {k: v for k, v in summary.items() if k != "format"})
    with pytest.raises(FormatError, match=r"is of format 1.*reads 2: .*dvc repro -f preprocess"):
        read_summary(bench.output)


def test_files_that_would_be_called_otherwise_are_made_again(bench: Workbench) -> None:
    """Session and suffix are in the names of files and sources, so they are in the cube's key."""
    flair = PAPER_VOLUMES["event"].model_copy(update={"suffix": "FLAIR"})
    other = Volumes([PAPER_VOLUMES["post_op"], flair, PAPER_VOLUMES["dose"]])
    subject = bench.cohort().subjects[0]
    one, two = (step_keys.step_keys(subject, v, PARAMS, 7, VERSIONS) for v in (PAPER_VOLUMES, other))
    assert one.cube != two.cube and (one.registrations, one.brain) == (two.registrations, two.brain)


def test_adding_a_subject_works_on_that_subject_alone(bench: Workbench, tmp_path: Path) -> None:
    bench.run()
    digest = read_json(bench.output / "summary.json")["digest"]
    bench.root = write_tiny_cohort(tmp_path / "larger", subjects=4)
    assert bench.run() == ["sub-004"]
    assert read_json(bench.output / "summary.json")["digest"] != digest


def test_subjects_that_left_the_cohort_leave_the_output(bench: Workbench) -> None:
    bench.run()
    cohort = bench.cohort()
    assert bench.run(cohort=cohort.model_copy(update={"subjects": cohort.subjects[:2]})) == []
    assert bench.laid_out() == ["sub-001", "sub-002"]


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


@pytest.mark.parametrize(
    ("module", "redone"),
    [
        ("subject_files", {"cube"}),
        ("registration.rigid_registration", {"registration", "cube"}),
        ("brain.extraction", {"brain", "cube"}),
    ],
)
def test_a_changed_step_of_the_code_redoes_it(
    bench: Workbench, module: str, redone: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    real = step_keys.code_digest

    def digest(*modules: str) -> str:
        return "other code" if modules == (f"ricenet.preprocessing.{module}",) else real(*modules)

    monkeypatch.setattr(step_keys, "code_digest", digest)
    bench.run()
    assert {step for step, _ in bench.steps} == redone


def test_the_cubes_code_is_that_of_its_steps_and_of_its_files() -> None:
    reached = import_closure(frozenset({module_file("ricenet.preprocessing.subject_files")}))
    names = {path.relative_to(SOURCE).as_posix() for path in reached}
    steps = ("subject_files", "preprocess_subject", "cube", "dose_cube")
    assert {f"preprocessing/{step}.py" for step in steps} <= names


FLAIR = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR", required=False)
MORE = Volumes([*PAPER_VOLUMES, FLAIR])
SCANS = {name: name[0] * 64 for name in ("post_op", "event", "dose", "dose_sidecar")}


def keys(scans: dict[str, str], volumes: Volumes = MORE) -> step_keys.StepKeys:
    subject = CheckedSubject.model_construct(participant_id="sub-001", scans=scans)
    return step_keys.step_keys(subject, volumes, PARAMS, 7, VERSIONS)


def test_a_further_volume_costs_no_other_registration_and_no_brain() -> None:
    without, declared, with_flair = keys(SCANS, PAPER_VOLUMES), keys(SCANS), keys(SCANS | {"flair": "f" * 64})
    assert declared == without
    assert list(with_flair.registrations) == ["event", "flair"]
    assert with_flair.registrations["event"] == without.registrations["event"]
    assert with_flair.brain == without.brain and with_flair.cube != without.cube
    # an event scan that changed moves what is registered to it
    moved = keys(SCANS | {"flair": "f" * 64, "event": "x" * 64}).registrations
    assert not set(moved.values()) & set(with_flair.registrations.values())


def test_a_given_mask_takes_the_place_of_the_network_in_the_keys() -> None:
    given = keys(SCANS | {"brain_mask": "b" * 64})
    assert given.brain != keys(SCANS).brain and given.registrations == keys(SCANS).registrations
    assert keys(SCANS | {"brain_mask": "c" * 64}).brain != given.brain
    # the planning CT is for people to look at; no result depends on it
    assert keys(SCANS | {"planning_ct": "p" * 64}) == keys(SCANS)


def test_a_damaged_result_is_found_by_its_digest_and_made_again(bench: Workbench) -> None:
    bench.run()
    key = read_json(bench.output / "summary.json")["subjects"]["sub-002"]
    volume = bench.store.path(key) / "dose.npy"
    content = bytearray(volume.read_bytes())
    content[-1] ^= 1
    volume.chmod(0o644)
    volume.write_bytes(content)
    assert bench.run() == ["sub-002"] and bench.of("registration") == []
    np.testing.assert_array_equal(np.load(bench.output / "sub-002" / "dose.npy"), 0.5)


# ---- failures


REFUSED = ScanError("sub-002", "event", "every brain voxel is 0", "Check the overlap.")


def test_a_failing_subject_is_named_and_the_others_are_kept(bench: Workbench) -> None:
    bench.faulty["sub-002"] = REFUSED
    with pytest.raises(CohortError, match=r"1 of 3 .* kept:\n  - sub-002: .*Check the.*\nOr exclude them"):
        bench.run()
    assert bench.laid_out() == ["sub-001", "sub-003"]
    bench.faulty.clear()
    assert bench.run() == ["sub-002"]


def test_by_parameter_a_failing_subject_is_excluded_and_listed(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.faulty["sub-002"] = REFUSED
    assert bench.run(exclude_faulty=True) == ["sub-001", "sub-003"]
    why = "event: every brain voxel is 0. Check the overlap."
    assert bench.excluded == [ExcludedSubject(participant_id="sub-002", problems=(why,))]
    assert f"1 of 3 subjects are excluded:\n  - sub-002: {why}" in caplog.text
    assert sorted(read_json(bench.output / "summary.json")["subjects"]) == ["sub-001", "sub-003"]


def test_a_failed_registration_is_reported_again_without_being_estimated_again(bench: Workbench) -> None:
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
    assert bench.laid_out() == ["sub-001", "sub-002"]


def test_a_full_disk_stops_whatever_the_parameter_says(bench: Workbench) -> None:
    bench.run()
    bench.faulty["sub-002"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CohortError, match="sub-002: the store cannot be written: the disk is full"):
        bench.run(seed=8, exclude_faulty=True)
    assert bench.laid_out() == ["sub-001", "sub-003"]
    assert not list(bench.store.root.rglob(".partial-*"))


# ---- DVC


DVC_YAML = """
stages:
  preprocess:
    cmd: {python} lay_out.py
    deps: [input.txt]
    outs: [work/preprocessed]
  train:
    cmd: cat input.txt work/preprocessed/sub-001/volume.npy > trained.txt
    deps: [work/preprocessed]
    outs: [trained.txt]
"""
LAY_OUT = """
from pathlib import Path
from ricenet.runtime.files import atomic_folder
from ricenet.runtime.store import Store

content = Path("input.txt").read_text()
store = Store(Path("work/store").absolute())
key = content.strip() * 64
store.get(key, lambda folder: (folder / "volume.npy").write_text(content))
with atomic_folder(Path("work/preprocessed")) as folder:
    store.lay_out(key, folder / "sub-001")
"""


def test_dvc_caches_preprocessed_volumes_as_links_to_the_stores_and_brings_them_back(tmp_path: Path) -> None:
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML.format(python=sys.executable))
    (tmp_path / "lay_out.py").write_text(LAY_OUT)
    dvc = [sys.executable, "-m", "dvc"]
    run([*dvc, "init", "--no-scm", "--quiet"])
    # how the project lets DVC lay files out
    shutil.copy(Path(__file__).parents[1] / ".dvc/config", tmp_path / ".dvc/config")
    run([*dvc, "config", "core.no_scm", "true"])
    laid_out = tmp_path / "work/preprocessed/sub-001/volume.npy"
    for content in ("a", "b"):
        (tmp_path / "input.txt").write_text(content)
        run([*dvc, "repro"])
        (kept,) = (tmp_path / f"work/store/{content * 2}").rglob("volume.npy")
        # one file: in the store, in DVC's cache and where the stages read it
        assert laid_out.samefile(kept) and kept.stat().st_nlink == 3
        assert laid_out.stat().st_mode & 0o777 == 0o444
        # a changed output is seen by the stage after it
        assert (tmp_path / "trained.txt").read_text() == 2 * content
    shutil.rmtree(tmp_path / "work")
    run([*dvc, "checkout"])
    assert laid_out.read_text() == "b"
    assert b"Running stage" not in run([*dvc, "repro"]).stdout


def test_the_pipeline_keeps_preprocessed_volumes_in_dvcs_cache() -> None:
    """What a remote takes is what the cache holds; the store stays on its machine."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(Path(__file__).parents[1] / "dvc.yaml")["stages"]
    assert "work/preprocessed" in stages["preprocess"]["outs"]
