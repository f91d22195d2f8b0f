"""From a project's files to its robustness: who answers for whom, raw scans' scale, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from preprocessed_subjects import (
    MEASUREMENTS,
    head_of,
    image_of,
    save_measurements,
    save_volumes,
    saved_volumes,
)
from small_ensembles import ensemble_record, untrained, write_untrained
from small_results import GRID, LABELS, ball, write_splits

from ricenet.cohort.checked import (
    CHECKED_COHORT_FILE,
    EXCLUDED_FILE,
    CheckedCohort,
    CheckedSubject,
    read_checked_cohort,
    write_checked_cohort,
    write_excluded,
)
from ricenet.cohort.splits import Splits, read_splits
from ricenet.cohort.splits import write_splits as write_splits_file
from ricenet.config.evidence import RobustnessParams
from ricenet.config.network_params import SmallCnnParams
from ricenet.config.params import ExecutionParams
from ricenet.config.preset import change_settings
from ricenet.evaluation.robustness.cohort_answers import cohort_answers, open_ensembles
from ricenet.evaluation.robustness.donors import draw_donors
from ricenet.evaluation.robustness.effects import Robustness, read_robustness
from ricenet.evaluation.robustness.perturbations import Given, perturbations
from ricenet.evaluation.robustness.perturbed_answers import Source, SubjectAnswers, held_out_answers
from ricenet.runtime.errors import CohortError, RegistryError, ResultError, ScanError
from ricenet.runtime.store import Store
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import write_ensemble
from ricenet.training.networks import p_rice
from ricenet.training.tensors_file import write_tensors
from ricenet.training.variables import SubjectVariables, VariableEncoder
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec
from ricenet.volume import Volume, save_nifti

SETS = ("dose", "post_op+dose")
CPU = torch.device("cpu")
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
NOTHING = RobustnessParams(
    modality_sets=None, dose_shift_mm=[], dose_rotation_degrees=[], noise_sd=[], bias_field=[], batch_size=4
)
"""But other subjects' doses and missing volumes."""
MISSING_DOSE = [way.name for way in perturbations(NOTHING, PAPER_VOLUMES)].index("missing_dose")
ROOT = Path(__file__).parents[1]
STATISTICS: dict[str, object] = {"resamples": 999}


def write_subject(project: Path, subject: str) -> None:
    """What preprocessing leaves of MRIs whose brain lies 5 and 4 SDs above intensity 0."""
    rng = np.random.default_rng(int(subject[-3:]))
    brain, folder = ball((9.5, 9.5, 9.5), 8.5), project / "work/preprocessed" / subject
    mris = np.where(brain, rng.normal(size=(2, *GRID.shape)), 0)
    save_nifti(Volume(brain, GRID), image_of(folder, "brain"))
    save_volumes(folder, np.stack([*mris, rng.random(GRID.shape)]).astype(np.float16))
    scales = {"post_op": 5.0, "event": 4.0}
    measured = {n: MEASUREMENTS.mris[n].model_copy(update={"mean_in_sds": sd}) for n, sd in scales.items()}
    save_measurements(folder, MEASUREMENTS.model_copy(update={"mris": measured}))


def write_networks(project: Path, name: str, splits_digest: str, cube: int = 20) -> None:
    settings = {"cube_voxels": cube, "spacing_mm": 8.0}
    record = ensemble_record(name, splits_digest=splits_digest, preprocessing=settings)
    write_untrained(project / "models/ensembles" / name, record)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    write_splits(project)
    for subject in LABELS:
        write_subject(project, subject)
    for name in SETS:
        write_networks(project, name, splits_of(project).digest)
    scans = dict.fromkeys(PAPER_VOLUMES.names, "digest")
    checked = [CheckedSubject(participant_id=s, label=label, scans=scans) for s, label in LABELS.items()]
    write_checked_cohort(CheckedCohort.of("data", checked), project / CHECKED_COHORT_FILE)
    write_excluded([], project / EXCLUDED_FILE)
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def splits_of(project: Path) -> Splits:
    return read_splits(project / "work/splits/splits.json")


def source(project: Path, cube: int = 20, **having: list[str]) -> Source:
    """having: the subjects with all volumes, where not everyone has them."""
    everyone = {name: list(LABELS) for name in PAPER_VOLUMES.sets}
    grids = dict.fromkeys(everyone, head_of(cube))
    return Source(project / "work/preprocessed", PAPER_VOLUMES, everyone | having, {}, grids, seed=7)


def given(project: Path, cube: int = 20) -> Given:
    return source(project, cube).given("sub-001", ["post_op+event+dose"], {"same": "sub-003"}, CPU)


def asked(
    project: Path,
    store: Path,
    asking: Source | None = None,
    params: RobustnessParams = NOTHING,
    execution: ExecutionParams = SERIAL,
    sets: tuple[str, ...] = SETS,
) -> list[SubjectAnswers]:
    splits = splits_of(project)
    ensembles = open_ensembles(project / "models/ensembles", sets, splits)
    return cohort_answers(ensembles, splits, asking or source(project), params, execution, Store(store))


def test_a_subject_is_given_with_its_raw_scale_and_its_donor_s_dose(finished: Path) -> None:
    found = given(finished)
    assert found.brain_mean_sd == {"post_op": 5.0, "event": 4.0}
    assert found.spacing_mm == 8.0
    donor = np.load(finished / "work/preprocessed/sub-003/dose.npy")
    assert np.array_equal(found.donor_doses["same"], donor)


def test_everyone_outside_the_test_set_is_answered_by_the_network_that_held_them_out(
    finished: Path, tmp_path: Path
) -> None:
    splits = splits_of(finished)
    answers = asked(finished, tmp_path)
    assert [a.subject for a in answers] == [s for fold in splits.folds for s in fold]
    for fold, subjects in enumerate(splits.folds):
        network = Ensemble.load(finished / "models/ensembles/post_op+dose").networks[fold]
        for subject in subjects:
            volumes = saved_volumes(finished / "work/preprocessed" / subject, ["post_op", "dose"]).astype(
                np.float32
            )
            with torch.no_grad():
                expected = p_rice(network(torch.from_numpy(volumes)[None]))
                volumes[1] = 0
                without = p_rice(network(torch.from_numpy(volumes)[None]))
            (found,) = [a for a in answers if a.subject == subject]
            assert found.given["post_op+dose"] == pytest.approx(expected.item(), abs=1e-6)
            assert found.perturbed["post_op+dose"][MISSING_DOSE] == pytest.approx(without.numpy(), abs=1e-6)


def test_a_subject_that_lacks_a_volume_is_asked_of_the_other_sets_alone(
    finished: Path, tmp_path: Path
) -> None:
    partial = source(finished, **{"post_op+dose": [s for s in LABELS if s != "sub-002"]})
    assert {a.subject: set(a.given) for a in asked(finished, tmp_path, partial)} == {
        s: {"dose"} if s == "sub-002" else set(SETS) for s in splits_of(finished).development
    }


def test_only_the_volumes_of_the_asked_sets_are_read(finished: Path) -> None:
    only_dose = source(finished).given("sub-001", ["dose"], {}, CPU)
    assert list(only_dose.volumes) == ["dose"]


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        (None, RegistryError, "no ensemble in .*event: .* `dvc repro train` makes it"),
        (("another digest", 20), ResultError, "ensemble event: trained with splits another dige.*dvc repro"),
        ((None, 16), ResultError, r"different cubes \(dose: 20 voxels of 8 mm; event: 16 voxels of 8 mm"),
    ],
)
def test_ensembles_that_do_not_fit_are_refused(
    project: Path, event: tuple[str | None, int] | None, error: type[Exception], message: str
) -> None:
    splits = splits_of(project)
    if event is not None:
        digest, cube = event
        write_networks(project, "event", digest or splits.digest, cube=cube)
    with pytest.raises(error, match=message):
        open_ensembles(project / "models/ensembles", ["dose", "event"], splits)


def test_volumes_of_another_size_than_the_networks_are_refused(finished: Path) -> None:
    with pytest.raises(
        ScanError, match=r"sub-001: post_op.npy: shape \(20, 20, 20\).*expected \(16, 16, 16\)"
    ):
        given(finished, cube=16)


def run_stage(project: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Robustness:
    shutil.copy(ROOT / "params.yaml", project)
    cohort = {"root": "data"}
    serial = {"backend": "serial", "workers": 1}
    changes = {"robustness": settings, "cohort": cohort, "evidence": STATISTICS, "execution": serial}
    change_settings(project / "params.yaml", changes)
    monkeypatch.chdir(project)
    runpy.run_path(str(ROOT / "src/stages/robustness.py"), run_name="__main__")
    return read_robustness()


def test_the_stage_writes_json_table_and_figure_alike_every_time(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run_stage(project, monkeypatch, modality_sets=list(SETS), batch_size=5)
    folder = project / "work/robustness"
    names = ("robustness.json", "effects.csv", "figures/robustness.png")
    first = [(folder / name).read_bytes() for name in names]
    assert run_stage(project, monkeypatch, modality_sets=list(SETS), batch_size=5) == found
    assert [(folder / name).read_bytes() for name in names] == first
    # 3 shifts, 2 rotations, 2 swaps, missing; with an MRI also 2 of noise, 2 of bias, and the MRI missing
    assert [len(found.effects[name]) for name in SETS] == [8, 13]
    assert all(e.subjects == 8 for effects in found.effects.values() for e in effects)


def test_the_stage_goes_on_where_each_fold_has_one_subject_of_a_label(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = splits_of(project)
    rice = {fold[0] for fold in (*given.folds, given.test)}
    labels = {subject: "rice" if subject in rice else "recurrence" for subject in given.labels}
    write_splits_file(Splits(labels, given.folds, given.test), project / "work/splits/splits.json")
    write_networks(project, "dose", splits_of(project).digest)
    subjects = {
        e.perturbation: e.subjects
        for e in run_stage(project, monkeypatch, modality_sets=["dose"]).effects["dose"]
    }
    # the two RICE have no donor of their label, everybody has one of the other
    assert (subjects["dose_of_same_label"], subjects["dose_of_other_label"]) == (6, 8)


def test_without_modality_sets_the_stage_finds_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_stage(project, monkeypatch, modality_sets=[]).effects == {}
    assert json.loads((project / "work/robustness/robustness.json").read_text())["seed"] == 7


def test_a_missing_or_foreign_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "robustness.json"
    with pytest.raises(ResultError, match="The stage `robustness` makes it"):
        read_robustness(path)
    path.write_text('{"effects": 3}')
    with pytest.raises(
        ResultError, match=r"is not of this version\. Write it again: dvc repro -f robustness"
    ):
        read_robustness(path)


def test_a_network_that_uses_variables_gets_each_subjects_own(project: Path, tmp_path: Path) -> None:
    splits = splits_of(project)
    spec = VariableSpec(name="age_years", kind="number", unit="years")
    ages: dict[str, SubjectVariables] = {s: {"age_years": 40.0 + 5 * i} for i, s in enumerate(LABELS)}
    encoder = VariableEncoder.fitted([spec], list(ages.values()))
    record = ensemble_record(
        "dose",
        network=SmallCnnParams(widths=[2, 2, 2], variables=True),
        variables=(spec,),
        encoders=(encoder, encoder),
        splits_digest=splits.digest,
        preprocessing={"cube_voxels": 20, "spacing_mm": 8.0},
    )
    write_untrained(project / "models/ensembles/dose", record)
    ensemble = Ensemble.load(project / "models/ensembles/dose")
    asking = dataclasses.replace(source(project), variables=ages)
    for answer in asked(project, tmp_path / "store", asking, sets=("dose",)):
        volumes = saved_volumes(project / "work/preprocessed" / answer.subject, ["dose"])[None]
        fold = next(k for k, held_out in enumerate(splits.folds) if answer.subject in held_out)
        expected = ensemble.predict(volumes, {answer.subject: ages[answer.subject]})[0, fold]
        assert answer.given["dose"] == pytest.approx(expected, abs=1e-6)


def content(answers: list[SubjectAnswers]) -> list[tuple[object, ...]]:
    """To the last bit."""
    return [
        (a.subject, a.given, {n: {k: p.tolist() for k, p in of.items()} for n, of in a.perturbed.items()})
        for a in answers
    ]


def made(store: Path) -> set[Path]:
    return {path.parent for path in store.rglob("answers.json")}


@pytest.mark.parametrize("workers", [1, 2])
def test_kept_answers_are_those_of_every_subject_asked_alone_in_this_process(
    finished: Path, tmp_path: Path, workers: int
) -> None:
    params = NOTHING.model_copy(update={"noise_sd": [0.3], "dose_shift_mm": [3.0]})
    splits, asking, ways = splits_of(finished), source(finished), perturbations(params, PAPER_VOLUMES)
    ensembles = {name: Ensemble.load(finished / "models/ensembles" / name) for name in SETS}
    donors = draw_donors(splits, list(LABELS), asking.seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = [
        held_out_answers(subject, fold, ensembles, donors[subject], asking, ways, params.batch_size)
        for fold, subjects in enumerate(splits.folds)
        for subject in subjects
    ]
    torch.set_num_threads(threads)
    processes = ExecutionParams(backend="processes", workers=workers, threads_per_worker="auto")
    for _ in range(2):
        assert content(asked(finished, tmp_path, None, params, processes)) == content(expected)


def test_a_donors_changed_dose_asks_those_again_who_are_given_it(project: Path, tmp_path: Path) -> None:
    store, donor = tmp_path / "store", "sub-005"
    before = asked(project, store)
    kept = made(store)
    path = project / "work/preprocessed" / donor / "dose.npy"
    np.save(path, np.load(path)[::-1].copy())
    after = asked(project, store)
    donors = draw_donors(splits_of(project), list(LABELS), 7)
    concerned = {s for s, given in donors.items() if donor in given.values()} | {donor}
    assert 1 < len(concerned) < len(before)
    assert len(made(store) - kept) == len(concerned)
    old, new = ({row[0]: row[1:] for row in content(answers)} for answers in (before, after))
    assert {subject for subject in old if old[subject] != new[subject]} == concerned


def test_of_another_ensemble_only_the_fold_that_changed_is_asked_again(project: Path, tmp_path: Path) -> None:
    store, folder = tmp_path / "store", project / "models/ensembles/dose"
    asked(project, store)
    kept, record = made(store), Ensemble.load(folder).record
    with tempfile.TemporaryDirectory() as name:
        weights = [Path(shutil.copy(path, name)) for path in sorted(folder.glob("*.safetensors"))]
        write_tensors(untrained("dose", 1, seed=99, network=record.network).state_dict(), weights[1])
        write_ensemble(folder, record.model_copy(update={"data_digest": "of other subjects"}), weights)
    asked(project, store)
    assert len(made(store) - kept) == len(splits_of(project).folds[1])


def test_who_joins_without_a_label_and_other_resamples_ask_nobody_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, store = run_stage(project, monkeypatch, modality_sets=["dose"]), project / "work/store/robustness"
    kept = made(store)
    assert len(kept) == len(splits_of(project).development)
    cohort = read_checked_cohort()
    scans = dict.fromkeys(PAPER_VOLUMES.names, "another")
    joined = CheckedSubject(participant_id="sub-099", label=None, scans=scans)
    write_checked_cohort(CheckedCohort.of("data", [*cohort.subjects, joined]))
    write_subject(project, "sub-099")
    assert run_stage(project, monkeypatch, modality_sets=["dose"]) == before
    monkeypatch.setitem(STATISTICS, "resamples", 499)
    assert run_stage(project, monkeypatch, modality_sets=["dose"]) != before
    assert made(store) == kept


def test_a_damaged_answer_is_made_again_with_a_warning(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = content(asked(finished, tmp_path))
    damaged = next(iter(sorted(made(tmp_path)))) / "answers.json"
    damaged.chmod(0o600)
    damaged.write_text("{}")
    assert content(asked(finished, tmp_path)) == expected
    assert f"the result {damaged.parent.name[:12]} is damaged; it is replaced" in caplog.text


def test_who_cannot_be_asked_is_named_and_the_others_are_kept(project: Path, tmp_path: Path) -> None:
    store, path = tmp_path / "store", project / "work/preprocessed/sub-002/dose.npy"
    path.write_bytes(b"no array")
    with pytest.raises(CohortError, match=r"(?s)robustness: . of 8 subjects .*sub-002: dose.npy: cannot"):
        asked(project, store)
    assert made(store)


def test_where_everything_is_kept_no_network_is_loaded(finished: Path, tmp_path: Path) -> None:
    asked(finished, tmp_path)
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
from ricenet.cohort.splits import read_splits
from ricenet.config.inputs import InputGrid
from ricenet.config.evidence import RobustnessParams
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.robustness.cohort_answers import cohort_answers, open_ensembles
from ricenet.evaluation.robustness.perturbed_answers import Source
from ricenet.runtime.store import Store
from ricenet.vocabulary import PAPER_VOLUMES
project = Path({str(finished)!r})
splits = read_splits(project / "work/splits/splits.json")
ensembles = open_ensembles(project / "models/ensembles", {SETS!r}, splits)
everyone = {{name: sorted(splits.labels) for name in PAPER_VOLUMES.sets}}
grids = {{name: ensemble.record.grid for name, ensemble in ensembles.items()}}
source = Source(project / "work/preprocessed", PAPER_VOLUMES, everyone, {{}}, grids, seed=7)
params = RobustnessParams.model_validate_json({NOTHING.model_dump_json()!r})
execution = ExecutionParams(backend="processes", workers=1, threads_per_worker=1)
print(len(cohort_answers(ensembles, splits, source, params, execution, Store(Path({str(tmp_path)!r})))))
assert not {{"torch", "monai", "matplotlib"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
