"""New cases: fed as in training, compared with it, refused by name, and none of a folder's lost."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cohorts import SIDECAR, change_header, change_voxels, one_voxel, write_tiny_cohort, write_tiny_subject
from heads import copy_head
from predicting_project import DEMO, HEAD, SMALL, TINY, WHOLE, replace_tools, write_trained
from preprocessed_subjects import DOSE, MEASUREMENTS, REGISTRATION, save_measurements, saved_volumes
from small_ensembles import ensemble_record, write_untrained
from tracked_project import CUBE_VOXELS, PREFIX, make_project, store_of, write_gate
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.problems import Finding
from ricenet.config.inputs import Box
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.importing.dose.statement import DoseStatement
from ricenet.inference.case import CASE, CaseFiles, course_of, laid_out, option, sidecar_of
from ricenet.inference.predict_subject import Prediction, Predictor
from ricenet.inference.training_ranges import TrainingRanges, quantities, training_ranges, unknown_ranges
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.preprocess_subject import Began, PreprocessedSubject
from ricenet.preprocessing.subject_files import write_subject
from ricenet.runtime.errors import CohortError, RegistryError, ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import champions, make_champion, promotable_version
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

NO_RANGES = unknown_ranges("a test", PAPER_VOLUMES)
SIMILARITY = "event_similarity"
WORDS = quantities(PAPER_VOLUMES)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrackingStore]:
    project = make_project(tmp_path_factory.mktemp("registered") / "project")
    shutil.rmtree(project / "models/ensembles/dose")
    write_trained(project, SMALL, TINY)
    write_gate(project, SMALL)
    write_trained(project, WHOLE, HEAD)
    write_tiny_cohort(project / "data/demo", subjects=10)
    for number in range(1, 11):
        event = MEASUREMENTS.mris["event"].model_copy(
            update={"registration": REGISTRATION.model_copy(update={"similarity": 1.2 + number / 100})}
        )
        measured = {
            "brain_ml": 1000.0 + number,
            "dose": DOSE.model_copy(update={"dose_max_gy": 60.0 + number}),
            "mris": MEASUREMENTS.mris | {"event": event},
        }
        folder = project / f"work/preprocessed/sub-{number:03d}"
        save_measurements(folder, MEASUREMENTS.model_copy(update=measured))
    register_ensembles(project, store_of(project), PREFIX)
    return project, store_of(project)


@pytest.fixture
def project(registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, entered, with the small set's champion alone."""
    path, store = registered
    for champion in champions(store, PREFIX).values():
        store.client().delete_registered_model_alias(champion.model, "champion")
    make_champion(store, promotable_version(store, PREFIX, SMALL))
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def small(project: Path) -> Predictor:
    return Predictor(project / "models/ensembles" / SMALL, 7, NO_RANGES)


@pytest.fixture
def quick_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brain of `replace_tools` has 216 voxels of 16 mm, 884.736 ml."""
    replace_tools(monkeypatch)


@pytest.fixture
def case(tmp_path: Path) -> CaseFiles:
    """Three sound files without a sidecar, under names of their own."""
    write_tiny_subject(tmp_path / "raw", "sub-001")
    raw, folder = RawSubject(tmp_path / "raw", "sub-001"), tmp_path / "files"
    folder.mkdir()
    files = {name: folder / f"{name}.nii.gz" for name in PAPER_VOLUMES.names}
    for name, path in files.items():
        shutil.copy(raw.scan(name), path)
    return CaseFiles(files)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def predict(case: CaseFiles, *options: object) -> Result:
    volumes = [part for name, path in case.volumes.items() for part in (option(name), path)]
    return run("predict", *volumes, *options)


# --- what the dose means ---


def stating(case: CaseFiles, **statement: Any) -> CaseFiles:
    return replace(case, stated=DoseStatement(**statement))


def course(case: CaseFiles) -> DoseSidecar | list[Finding]:
    return course_of(case.volumes["dose"], case.stated)


def factor(case: CaseFiles) -> float:
    found = course(case)
    assert isinstance(found, DoseSidecar), found
    return found.factor


def write_sidecar(case: CaseFiles, **changes: object) -> None:
    write_json(sidecar_of(case.volumes["dose"]), SIDECAR | changes)


def test_a_dose_is_the_whole_courses_unless_stated_or_written_otherwise(case: CaseFiles) -> None:
    assert factor(case) == 1.0
    assert factor(stating(case, fractions=30)) == 30.0
    assert factor(stating(case, fractions=30, dose_of="fraction")) == 30.0
    assert factor(stating(case, fractions=30, dose_of="course")) == 1.0
    write_sidecar(case, DoseSummationType="FRACTION", NumberOfFractions=33)
    assert factor(case) == 33.0
    repeated = {"fractions": 33, "prescription_gy": 60.0}
    assert factor(stating(case, **repeated)) == 33.0
    assert factor(stating(case, **repeated, dose_of="fraction")) == 33.0


def test_a_stated_prescription_completes_a_sidecar(case: CaseFiles) -> None:
    write_sidecar(case, PrescriptionGy=None, NumberOfFractions=None)
    found = course(stating(case, prescription_gy=60.0, fractions=30))
    assert isinstance(found, DoseSidecar)
    assert (found.prescription_gy, found.fractions, found.factor) == (60.0, 30, 1.0)


@pytest.mark.parametrize(
    ("sidecar", "stated", "message"),
    [
        ({}, {"dose_of": "fraction"}, "DoseSummationType is PLAN, but --dose-of fraction is stated"),
        (
            {"DoseSummationType": "FRACTION"},
            {"dose_of": "course"},
            "FRACTION, but --dose-of course is stated",
        ),
        ({}, {"fractions": 33}, "NumberOfFractions is 30, but 33 is stated. Correct the file or --fractions"),
        (None, {"fractions": 30}, "without a prescription 20 to 150 Gy is expected"),
        (None, {"dose_of": "fraction"}, "not of how many. State the number of fractions of the course"),
        (None, {"dose_of": "fraction", "fractions": 30}, r"without a prescription 20 to 150 Gy is expected"),
        ({"DoseSummationType": "FRACTION"}, {"fractions": 33}, "NumberOfFractions is 30, but 33 is stated"),
        ({}, {"prescription_gy": 54.0}, "PrescriptionGy is 60, but 54 is stated. Correct the file or --pre"),
        ({"DoseUnits": "CGY"}, {}, r"dose.json: DoseUnits is 'CGY'\. Export the dose in Gy"),
        (None, {"fractions": 0}, "0 fractions are stated. State a positive whole number"),
        (None, {"prescription_gy": float("nan")}, "a prescription of nan Gy is stated. State the prescribed"),
        (None, {"prescription_gy": 20.0}, r"dose \(dose.nii.gz\): the course's dose reaches 59.7 Gy"),
        (
            None,
            {"fractions": 30, "dose_of": "fraction", "prescription_gy": 60.0},
            r"reaches 178\d\.\d Gy \(59.66 Gy in the file times",
        ),
    ],
)
def test_contradictions_about_the_dose_are_refused(
    case: CaseFiles, sidecar: dict[str, object] | None, stated: dict[str, Any], message: str
) -> None:
    if sidecar is not None:
        write_sidecar(case, **sidecar)
    with pytest.raises(CohortError, match=message), laid_out(stating(case, **stated), PAPER_VOLUMES):
        pass


# --- files that cannot be used ---


def moved(affine: np.ndarray) -> Callable[[Path], object]:
    return lambda path: save_nifti(Volume(load_nifti(path).data, Grid((12, 12, 12), affine)), path)


def four_dimensional(path: Path) -> None:
    nib.nifti1.Nifti1Image(np.ones((3, 3, 3, 2), np.float32), np.eye(4)).to_filename(path)


@pytest.mark.parametrize(
    ("modality", "spoil", "message"),
    [
        ("post_op", Path.unlink, "post_op (post_op.nii.gz): file is missing"),
        ("event", lambda path: path.write_bytes(b"no NIfTI"), "event (event.nii.gz): cannot be read ("),
        ("event", four_dimensional, "expected three dimensions"),
        (
            "event",
            lambda path: change_voxels(path, one_voxel(np.nan)),
            "event (event.nii.gz): 1 NaN voxel(s)",
        ),
        ("post_op", lambda path: change_header(path, 252, bytes(4)), "post_op.nii.gz): no spatial reference"),
        (
            "dose",
            lambda path: change_voxels(path, one_voxel(-2.0)),
            "1 voxel(s) of negative dose, down to -2 Gy",
        ),
        ("dose", moved(np.eye(4)), "dose (dose.nii.gz): written without its geometry"),
        (
            "dose",
            moved(np.diag([16.0, 16.0, 18.0, 1.0])),
            "dose lies 16 mm away from post_op (post_op.nii.gz)",
        ),
        ("dose", lambda path: change_header(path, 123, b"\x01"), "lengths in metres"),
        ("dose", lambda path: change_voxels(path, one_voxel(4e9)), "unscaled stored integers of the RTDOSE"),
    ],
)
def test_a_faulty_file_ends_the_command_with_its_name_and_reason(
    project: Path, case: CaseFiles, modality: str, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(case.volumes[modality])
    outcome = predict(case)
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("error: case: 1 problem(s)\n") and message in outcome.stderr


def test_all_problems_of_a_case_are_told_together(case: CaseFiles) -> None:
    case.volumes["post_op"].unlink()
    change_voxels(case.volumes["dose"], one_voxel(np.inf))
    sidecar_of(case.volumes["dose"]).write_text("no JSON")
    with pytest.raises(CohortError, match=r"case: 3 problem\(s\)"), laid_out(case, PAPER_VOLUMES):
        pass


def test_an_event_scan_that_is_the_post_op_scan_once_more_is_refused(project: Path, case: CaseFiles) -> None:
    shutil.copy(case.volumes["post_op"], case.volumes["event"])
    outcome = predict(case)
    assert outcome.exit_code == 1 and outcome.stdout == ""
    assert "event (event.nii.gz): has the same voxels as post_op (post_op.nii.gz)" in outcome.stderr


def test_a_case_without_compression_is_taken(case: CaseFiles) -> None:
    plain = {name: path.with_suffix("") for name, path in case.volumes.items()}
    for name, path in plain.items():
        path.write_bytes(gzip.decompress(case.volumes[name].read_bytes()))
    write_sidecar(case)
    assert sidecar_of(plain["dose"]) == sidecar_of(case.volumes["dose"])
    with laid_out(CaseFiles(plain), PAPER_VOLUMES) as raw:
        assert raw.scan("dose").read_bytes() == plain["dose"].read_bytes()


# --- which model ---


def test_a_model_of_unknown_preprocessing_is_refused() -> None:
    settings = TINY.model_dump() | {"cube_voxels": "wide", "histogram": True}
    record = ensemble_record("dose", digest="d" * 64, preprocessing=settings)
    with pytest.raises(RegistryError, match=r"model dose \(dddd.*does not know \(cube_voxels, histogram\)"):
        record.known_preprocessing()


# --- the prediction ---


@pytest.mark.usefixtures("quick_tools")
def test_a_case_is_fed_as_a_training_subject_of_its_name_would_be(
    small: Predictor, case: CaseFiles, tmp_path: Path
) -> None:
    prediction = small.case(stating(case, fractions=2, dose_of="fraction"))
    write_tiny_subject(tmp_path / "raw", CASE)
    raw = RawSubject(tmp_path / "raw", CASE)
    for name, path in case.volumes.items():
        shutil.copy(path, raw.scan(name))
    write_json(raw.dose_sidecar, SIDECAR | {"DoseSummationType": "FRACTION", "NumberOfFractions": 2})
    result = preprocess_subject.preprocess(raw, TINY, 7)
    write_subject(result, tmp_path / "out", raw, TINY.dose_unit_gy)
    volumes = saved_volumes(tmp_path / "out", ("post_op", "dose"))[np.newaxis]
    assert prediction.vote.p_rice_folds == tuple(small.ensemble.predict(volumes)[0])
    assert prediction.measurements["dose_factor"] == 2.0
    assert result.measurements.dose is not None
    assert prediction.measurements["dose_max_gy"] == result.measurements.dose.dose_max_gy


@pytest.mark.usefixtures("quick_tools")
def test_a_brain_that_reaches_beyond_the_box_of_the_training_is_cut_and_that_is_said(
    small: Predictor, case: CaseFiles, tmp_path: Path
) -> None:
    def predicted(box: Box) -> Prediction:
        record = small.ensemble.record.model_copy(update={"input": "brain", "box": box})
        folder = tmp_path / f"ensemble-{box.first[0]}"
        write_untrained(folder, record, seed=7)
        return replace(small, files=folder).case(case)

    whole = Box(first=(0, 0, 0), shape=(CUBE_VOXELS,) * 3)
    assert predicted(whole).warnings == NO_RANGES.not_compared
    # the brain lies in the middle of the cube, and the box begins there: half of 884.736 ml lie beyond
    low = CUBE_VOXELS // 2
    box = Box(first=(low, 0, 0), shape=(CUBE_VOXELS - low, CUBE_VOXELS, CUBE_VOXELS))
    warning, *others = predicted(box).warnings
    assert warning.startswith("442 ml of the brain are cut off") and tuple(others) == NO_RANGES.not_compared
    inside = predicted(box).vote.p_rice_folds
    assert inside != predicted(whole).vote.p_rice_folds


@pytest.mark.usefixtures("quick_tools")
def test_settings_come_from_the_model_and_the_seed_is_that_of_a_subject_called_case(
    small: Predictor, case: CaseFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    real = preprocess_subject.preprocess

    def preprocess(
        raw: RawSubject, params: PreprocessingParams, seed: int, began: Began
    ) -> PreprocessedSubject:
        given.extend([raw.subject, params, seed])
        return real(raw, params, seed, began)

    monkeypatch.setattr(preprocess_subject, "preprocess", preprocess)
    replace(small, seed=11).case(case)
    assert given == ["case", TINY, 11]


@pytest.mark.usefixtures("quick_tools")
def test_the_command_prints_json_alone_and_warns_on_stderr(project: Path, case: CaseFiles) -> None:
    outcome = predict(case, "--prescription", 60)
    assert outcome.exit_code == 0, outcome.stderr
    answer = json.loads(outcome.stdout)
    assert answer["notice"] == "Research use only: not a medical device, not for clinical use."
    assert (answer["model"], answer["version"], answer["modality_set"]) == (f"rice-net-{SMALL}", "1", SMALL)
    assert answer["digest"] == read_json(project / f"models/ensembles/{SMALL}/ensemble.json")["digest"]
    folds = np.array([answer["p_rice_folds"]])
    assert answer["p_rice"] == pytest.approx(folds.mean(), abs=1e-4) and answer["folds"] == 2
    # nothing that a person reads has more than four places
    assert all(value == round(value, 4) for value in [answer["p_rice"], *answer["p_rice_folds"]])
    assert answer["three_way_why"].endswith("for an answer") or "is enough for" in answer["three_way_why"]
    least = read_json(project / f"work/evidence/gate/{SMALL}.json")["threshold"]
    assert answer["least_confidence"] == least
    p_rice = answer["p_rice_calibrated"]
    assert answer["confidence"] == pytest.approx(max(p_rice, 1 - p_rice))
    assert answer["votes_rice"] == (folds >= 0.5).sum()
    assert answer["label"] == ("rice" if majority_vote(folds)[0] else "recurrence")
    assert (answer["measurements"][SIMILARITY], answer["seed"]) == (1.25, 7)
    assert answer["warnings"][0] == "brain volume in ml is 884.736, but 900 to 2000 is plausible"
    assert all(f"warning: {warning}\n" in outcome.stderr for warning in answer["warnings"])


# --- declared volumes and variables ---


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--flair", "{file}"), 1, "case: flair: no volume of the model post_op+dose, whose volumes are"),
        (("--volume", "flair={file}"), 1, "case: flair: no volume of the model"),
        (("--volume", "dose"), 2, "--volume 'dose'; expected NAME="),
        (("--volume", "dose={file}"), 2, "dose is given twice"),
        (("--flair",), 2, "--flair needs a path"),
        (("{file}",), 2, "unexpected argument"),
        (
            ("--variable", "weight=60"),
            1,
            "case: weight: not declared; the model knows age_years",
        ),
        (("--variable", "age_years=old"), 1, "case: age_years: 'old' is no number"),
        (("--variable", "rt_modality=ion"), 1, "'ion' was not seen in training, which knows photon, proton"),
    ],
)
def test_what_the_model_does_not_know_is_refused(
    project: Path, case: CaseFiles, options: tuple[str, ...], status: int, message: str
) -> None:
    file = case.volumes["event"]
    outcome = predict(case, *(text.format(file=file) for text in options))
    assert outcome.exit_code == status
    assert message in " ".join(outcome.output.replace("│", " ").split())


def test_volumes_that_are_missing_are_named_together(project: Path, case: CaseFiles) -> None:
    outcome = predict(CaseFiles({"dose": case.volumes["dose"]}))
    assert outcome.exit_code == 1
    assert "case: --post-op, --event is missing. The model post_op+dose needs post_op" in outcome.stderr


@pytest.mark.usefixtures("quick_tools")
def test_volumes_are_named_either_way_and_the_answer_says_what_was_used(
    project: Path, case: CaseFiles
) -> None:
    named = [f"{name}={path}" for name, path in case.volumes.items()]
    volumes = [part for pair in named for part in ("--volume", pair)]
    outcome = run("predict", *volumes, "--variable", "age_years=61", "--variable", "rt_modality=n/a")
    assert outcome.exit_code == 0, outcome.stderr
    answer = json.loads(outcome.stdout)
    assert answer["used"] == ["post_op", "dose"]
    assert answer["variables"] == {"age_years": 61.0, "rt_modality": None}
    assert answer["p_rice_folds"] == json.loads(predict(case).stdout)["p_rice_folds"]


# --- the training subjects' ranges ---


def test_ranges_are_those_of_the_training_subjects_without_the_test_set(
    project: Path, small: Predictor
) -> None:
    ranges = training_ranges(project, small.ensemble.record)
    assert (ranges.subjects, ranges.not_compared) == (8, ())
    assert ranges.limits["brain_ml"] == (1001.0, 1008.0)  # sub-009 and sub-010 are the test set
    assert ranges.limits["dose_max_gy"] == (61.0, 68.0)
    # the tiny cohort's voxels are 16 x 16 x 16, 16 x 16 x 17 and 16 x 16 x 18 mm
    coarsest = [ranges.limits[f"{modality}_coarsest_spacing_mm"] for modality in PAPER_VOLUMES.names]
    assert coarsest == [(16.0, 16.0), (17.0, 17.0), (18.0, 18.0)]


def test_a_case_is_warned_of_below_and_above_a_range_but_not_at_its_ends() -> None:
    ranges = TrainingRanges(WORDS, {"brain_ml": (1000.0, 1500.0), "dose_max_gy": (60.0, 66.0)}, 40)
    assert ranges.warnings({"brain_ml": 1000.0, "dose_max_gy": 66.0}) == ()
    assert ranges.warnings({"brain_ml": 998.5, "dose_max_gy": 70.0}) == (
        "brain volume in ml is 998.5, outside the range of the 40 training subjects, 1000 to 1500",
        "largest dose in Gy is 70, outside the range of the 40 training subjects, 60 to 66",
    )


def test_the_last_digits_of_a_header_are_no_reason_to_warn() -> None:
    ranges = TrainingRanges(WORDS, {"dose_finest_spacing_mm": (3.75, 3.75)}, 5)
    assert ranges.warnings({"dose_finest_spacing_mm": 3.7499998}) == ()


def test_what_no_head_can_be_is_told_even_where_no_training_subject_is_known() -> None:
    ranges = NO_RANGES.with_plausible(DEMO.quality)
    sound = {"brain_ml": 1400.0, SIMILARITY: 1.3}
    assert ranges.warnings(sound) == NO_RANGES.not_compared
    assert ranges.warnings(sound | {"brain_ml": 641.0, SIMILARITY: 1.081})[:2] == (
        "brain volume in ml is 641, but 900 to 2000 is plausible",
        "similarity of event T1ce and post-op T1ce once registered is 1.081, but 1.1 or more is plausible",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"preprocessing_digest": "q" * 64}, r"what the model was trained on \(preprocessing_digest\)"),
        ({"splits_digest": "q" * 64}, r"what the model was trained on \(splits_digest\)"),
    ],
)
def test_ranges_of_other_data_are_not_used(
    project: Path, small: Predictor, change: dict[str, str], reason: str
) -> None:
    ranges = training_ranges(project, small.ensemble.record.model_copy(update=change))
    (warning,) = ranges.warnings({})
    assert warning.startswith("not compared with the training subjects: work/ is not ") and not ranges.limits
    assert reason.replace("\\", "") in warning


def test_what_is_missing_in_work_is_told_and_not_compared(small: Predictor, tmp_path: Path) -> None:
    bare = training_ranges(tmp_path, small.ensemble.record)
    assert bare.not_compared[0].startswith("not compared with the training subjects: ")
    assert "splits.json" in bare.not_compared[0]


def test_without_the_raw_cohort_all_but_the_spacing_is_compared(
    project: Path, small: Predictor, tmp_path: Path
) -> None:
    shutil.copytree(project / "work", tmp_path / "work")
    told = "voxel spacing is not compared with the training subjects: "
    missing = training_ranges(tmp_path, small.ensemble.record)
    assert missing.not_compared == (f"{told}sub-001_ses-postop_ce-gadolinium_T1w.nii.gz cannot be read",)
    assert missing.limits["brain_ml"] == (1001.0, 1008.0)
    other = training_ranges(project, small.ensemble.record.model_copy(update={"data_digest": "q" * 64}))
    assert other.not_compared == (f"{told}work/cohort is not what the model was trained on (data_digest)",)
    assert not any("spacing" in name for name in other.limits)


# --- a folder of subjects ---


@pytest.fixture
def serial(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("backend: processes", "backend: serial"))


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.mark.usefixtures("quick_tools", "serial")
def test_a_failing_subject_neither_stops_the_others_nor_vanishes(
    small: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = write_tiny_cohort(tmp_path / "new", subjects=4)
    (cohort / "participants.tsv").unlink()
    RawSubject(cohort, "sub-002").scan("event").unlink()
    real = preprocess_subject.preprocess

    def preprocess(
        raw: RawSubject, params: PreprocessingParams, seed: int, began: Began
    ) -> PreprocessedSubject:
        if raw.subject == "sub-003":
            raise ScanError("sub-003", "event T1ce", "registration failed", "Look at both.")
        return real(raw, params, seed, began)

    monkeypatch.setattr(preprocess_subject, "preprocess", preprocess)
    outcome = run("predict-cohort", cohort, "--output", tmp_path / "out/predictions.tsv")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "error: 2 of 4 subjects could not be predicted:\n  - sub-002: sub-002: 1 problem" in outcome.stderr
    assert "predicting: 4 of 4" in outcome.stderr and "not for clinical use" in outcome.stderr
    rows = {row["participant_id"]: row for row in rows_of(tmp_path / "out/predictions.tsv")}
    assert list(rows) == ["sub-001", "sub-002", "sub-003", "sub-004"]
    assert rows["sub-002"]["error"].endswith("file is missing. Add it, or leave the subject out.")
    assert rows["sub-003"]["error"] == "sub-003: event T1ce: registration failed. Look at both."
    assert rows["sub-003"]["label"] == rows["sub-003"]["fold_1"] == rows["sub-001"]["error"] == "n/a"
    assert {row["digest"] for row in rows.values()} == {small.ensemble.digest}
    assert "brain volume in ml is 884.736" in rows["sub-001"]["warnings"]
    assert "warning: sub-001: brain volume in ml" in outcome.stderr
    folds = [float(rows["sub-004"][name]) for name in ("fold_0", "fold_1")]
    assert float(rows["sub-004"]["p_rice"]) == pytest.approx(np.mean(folds), abs=1e-6)
    assert int(rows["sub-004"]["votes_rice"]) == sum(p >= 0.5 for p in folds)
    assert "is needed for" in rows["sub-004"]["three_way_why"] and rows["sub-003"]["three_way_why"] == "n/a"


@pytest.mark.usefixtures("quick_tools", "serial")
def test_a_folder_without_a_fault_ends_well(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "data/demo/sub-001", tmp_path / "new/sub-001")
    outcome = run("predict-cohort", tmp_path / "new", "--output", tmp_path / "out.tsv")
    assert outcome.exit_code == 0, outcome.stderr
    assert [row["error"] for row in rows_of(tmp_path / "out.tsv")] == ["n/a"]


@pytest.mark.usefixtures("quick_tools", "serial")
def test_variables_of_a_folder_come_from_its_table_where_there_is_one(project: Path, tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "new", subjects=3)
    table = "participant_id\tage_years\trt_modality\nsub-001\t50\tion\nsub-002\t60\tphoton\n"
    (cohort / "participants.tsv").write_text(table + "sub-003\tn/a\tn/a\n")
    outcome = run("predict-cohort", cohort, "--output", tmp_path / "out.tsv")
    assert outcome.exit_code == 1
    errors = [row["error"] for row in rows_of(tmp_path / "out.tsv")]
    assert "sub-001: rt_modality: 'ion' was not seen in training" in errors[0]
    assert errors[1:] == ["n/a", "n/a"]


def test_a_folder_that_holds_no_subjects_is_refused(project: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.tsv"
    (tmp_path / "empty").mkdir()
    (tmp_path / "named/sub-Hans_Mueller").mkdir(parents=True)
    messages = {
        "absent": "absent: no such folder of subjects",
        "empty": "empty: no folder sub-* in it; docs/own-cohort.md shows the layout",
        "named": "named: 1 folder(s) not named sub-<letters and digits>. Rename to a pseudonym",
    }
    for name, message in messages.items():
        outcome = run("predict-cohort", tmp_path / name, "--output", table)
        assert outcome.exit_code == 1 and message in outcome.stderr and "Mueller" not in outcome.stderr
    as_folder = run("predict-cohort", tmp_path / "named", "--output", tmp_path / "empty")
    assert as_folder.exit_code == 1 and "empty is a folder; name the table to write" in as_folder.stderr
    assert not table.exists()


# --- the real tools ---


@pytest.mark.slow
def test_a_real_head_is_predicted_as_the_training_pipeline_would_feed_it(
    project: Path, phantom_head: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = copy_head(phantom_head, tmp_path / "phantom", CASE)
    result = preprocess_subject.preprocess(raw, HEAD, 7)
    write_subject(result, tmp_path / "out", raw, HEAD.dose_unit_gy)
    volumes = saved_volumes(tmp_path / "out")
    expected = Ensemble.load(project / "models/ensembles" / WHOLE).predict(volumes[np.newaxis])

    capfd.readouterr()
    files = CaseFiles({name: raw.scan(name) for name in PAPER_VOLUMES.names})
    outcome = predict(files, "--model", f"models:/rice-net-{WHOLE}/1")

    assert outcome.exit_code == 0, outcome.stderr
    assert capfd.readouterr().out == ""  # compiled tools write past Python
    answer = json.loads(outcome.stdout)
    assert answer["p_rice_folds"] == pytest.approx(list(expected[0]), abs=1e-4)
    assert volumes.shape == (3, 24, 24, 24) and 1000 < answer["measurements"]["brain_ml"] < 2000
