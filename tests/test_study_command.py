"""From the sealed package to the report: another process, without the project, validates."""

from __future__ import annotations

import json
import re
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohorts import FILES, change_cell, read_table, write_participants
from predicting_project import SMALL, replace_tools
from sealed_studies import (
    PLAN,
    SUBJECTS,
    export,
    read_result,
    run,
    run_elsewhere,
    write_cohort_elsewhere,
    write_home,
)
from small_report import page_of, table_of, write_project

from ricenet.config.params import ExecutionParams
from ricenet.evaluation.evidence.weak_calibration import weak_calibration
from ricenet.evaluation.intervals import share_of
from ricenet.evaluation.metrics import confusion_matrix, macro_f1_estimate
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.inference.predict_cohort import predict_cohort
from ricenet.inference.predict_subject import Predictor
from ricenet.inference.test_vote import SubjectVote
from ricenet.inference.training_ranges import unknown_ranges
from ricenet.runtime.files import content_digest
from ricenet.study.accepted import accepted_validations, sealed_studies
from ricenet.study.open_package import opened_package
from ricenet.vocabulary import PAPER_VOLUMES

HERE = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


@dataclass(frozen=True)
class Study:
    """home: the project. cohort, there: of the other hospital, with its result in `out`."""

    home: Path
    package: Path
    cohort: Path
    there: Path
    said: str

    @property
    def result(self) -> dict[str, Any]:
        return read_result(self.there / "out")

    def validate(self, cohort: Path, out: str, *options: object) -> Any:
        """Once more there; finished subjects are in the private folder already."""
        private = self.there / "ricenet-private"
        return run(
            "validate", self.package, cohort, "--out", out, "--private", private, "--workers", 1, *options
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A package that another process evaluated, in an empty folder and without the project."""
    folder = tmp_path_factory.mktemp("study")
    home = write_home(folder / "home")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        done = export(home, folder / "study.zip")
    assert done.exit_code == 0, done.output
    cohort, there = write_cohort_elsewhere(folder / "theirs"), folder / "there"
    there.mkdir()
    said = run_elsewhere(there, ["validate", folder / "study.zip", cohort, "--out", "out", "--workers", 1])
    return Study(home, folder / "study.zip", cohort, there, said)


@pytest.fixture
def private(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The same, with a copy of the private folder, in an empty working folder, tools replaced."""
    replace_tools(monkeypatch)
    there = tmp_path / "there"
    shutil.copytree(study.there, there)
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return Study(study.home, study.package, study.cohort, there, study.said)


@pytest.fixture
def home(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the notes of the home project alone, entered."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "models").mkdir()
    shutil.copy(study.home / "models/studies.json", project / "models")
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="module")
def votes(study: Study) -> list[SubjectVote]:
    """What home's own prediction of the other cohort gives, from the project's ensemble."""
    with pytest.MonkeyPatch.context() as patched, opened_package(study.package) as package:
        replace_tools(patched)
        files = study.home / "models/ensembles" / SMALL
        predictor = Predictor(files, 7, unknown_ranges("a test", PAPER_VOLUMES), package.decision)
        outcomes = predict_cohort(study.cohort, predictor, HERE)
    return [outcome.result.vote for outcome in outcomes if outcome.result is not None]


def cohort_copy(study: Study, tmp_path: Path) -> Path:
    return shutil.copytree(study.cohort, tmp_path / "cohort")


# --- the same numbers as at home ---


def test_numbers_computed_elsewhere_are_those_of_home(study: Study, votes: list[SubjectVote]) -> None:
    result = study.result
    rows = read_table(study.cohort)
    labels = [row["label"] for row in rows]
    is_rice, p_rice = np.array(labels) == "rice", np.array([vote.p_rice for vote in votes])
    assert len(votes) == SUBJECTS and 2 < sum(vote.predicted == "rice" for vote in votes) < SUBJECTS - 2
    found = {(n["part"], n["name"]): n["estimate"] for n in result["numbers"] if n["estimate"]}
    of_p = scores_with_intervals(p_rice, is_rice, PLAN["seed"], PLAN["resamples"])
    of_votes = macro_f1_estimate(labels, [v.predicted for v in votes], PLAN["seed"], PLAN["resamples"])
    raw = weak_calibration(p_rice, is_rice, PLAN["seed"], PLAN["resamples"])
    calibrated = np.array([vote.p_rice_calibrated for vote in votes], np.float64)
    again = weak_calibration(calibrated, is_rice, PLAN["seed"], PLAN["resamples"])
    answered = np.array([vote.three_way != "indeterminate" for vote in votes])
    expected = {
        ("performance", "macro_f1"): of_votes,
        ("performance", "auc"): of_p.auc,
        ("performance", "brier"): of_p.brier,
        ("calibration as given", "slope"): raw.slope,
        ("calibration as given", "intercept"): raw.intercept,
        ("calibration once recalibrated", "slope"): again.slope,
        ("three-way vote", "answered"): share_of(answered),
    }
    for place, estimate in expected.items():
        assert estimate is not None
        for end in ("value", "low", "high"):
            assert found[place][end] == pytest.approx(getattr(estimate, end), abs=1e-6), (place, end)
    assert result["confusion"] == [
        list(row) for row in confusion_matrix(labels, [v.predicted for v in votes])
    ]
    assert result["n"] == {"recurrence": SUBJECTS // 2, "rice": SUBJECTS // 2}


def test_a_subgroup_has_the_numbers_of_its_own_subjects(study: Study, votes: list[SubjectVote]) -> None:
    (by_sex, by_age) = study.result["subgroups"]
    assert [group["mark"] for group in by_sex["groups"]] == ["", "", ""]
    rows = read_table(study.cohort)
    right = [vote.predicted == "rice" for vote, row in zip(votes, rows, strict=True)
             if row["sex"] == "F" and row["label"] == "rice"]  # fmt: skip
    assert by_sex["groups"][0]["n"] == {"recurrence": SUBJECTS // 4, "rice": SUBJECTS // 4}
    assert by_sex["groups"][0]["sensitivity"]["value"] == pytest.approx(np.mean(right))
    assert by_age["column"] == "age_years" and by_age["planned"]


# --- what a result holds and does not hold ---


def test_nothing_of_a_single_patient_is_in_a_result(study: Study, votes: list[SubjectVote]) -> None:
    whole = (study.there / "out/result.json").read_text() + (study.there / "out/result.html").read_text()
    assert not re.search(r"sub-\w", whole)
    values = [p for vote in votes for p in (*vote.p_rice_folds, vote.p_rice, vote.p_rice_calibrated or 0.0)]
    for text in {f"{p:.6f}" for p in values} | {repr(p) for p in values}:
        assert text not in whole
    files = {path.name for path in study.cohort.rglob("*") if path.is_file()}
    ledger = json.loads((study.there / "ricenet-private/ledger.json").read_text())
    words = {"2021-03-17", "centre A", socket.gethostname(), str(study.cohort), str(study.there)}
    words |= files | {ledger["salt"], ledger["entries"][0]["cohort"]}
    ages = {row["age_years"] for row in read_table(study.cohort)}
    for word in words | ages:
        assert word not in whole, word


def test_the_scan_of_these_tests_does_find_predictions(study: Study, votes: list[SubjectVote]) -> None:
    private = (study.there / "ricenet-private/predictions.tsv").read_text()
    assert all(vote.participant_id in private and f"{vote.p_rice:.6f}" in private for vote in votes)


def test_predictions_stay_in_a_private_folder_that_says_so(study: Study) -> None:
    private = study.there / "ricenet-private"
    assert {path.name for path in (study.there / "out").iterdir()} == {"result.json", "result.html"}
    for path in private.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path.name
    assert "nothing here is to be sent" in (private / "README.txt").read_text()
    assert "Aggregates alone" in study.said and "ricenet-private stays here" in study.said


def test_a_result_tells_of_what_and_by_which_plan_it_is(study: Study) -> None:
    result, (seal,) = study.result, sealed_studies(study.home)
    assert result["seal"] == seal and result["plan"] == sealed_studies(study.home)[seal].plan
    assert all(number["planned"] for number in result["numbers"])
    assert result["overlap"].startswith("not examined")
    page = (study.there / "out/result.html").read_text()
    assert "Primary outcome: macro-F1" in page and "evaluation 1 of this cohort" in page
    assert "in the sealed plan" in page and "at home, held-out subjects" in page
    # loads nothing, runs nothing
    assert not re.search(r"<(script|img|link|iframe)\b", page)


def test_each_evaluation_is_counted_and_what_was_added_is_marked(private: Study) -> None:
    first = private.validate(private.cohort, "again", "--also", "subgroup=site:centre A,centre B")
    assert first.exit_code == 0, first.output
    assert "16 of 16 subjects are in the store" in first.output
    result = read_result(Path("again"))
    later = [one for one in result["subgroups"] if not one["planned"]]
    assert [one["column"] for one in later] == ["site"]
    assert [one["also"] for one in result["evaluations"]] == [[], ["subgroup=site:centre A,centre B"]]
    assert all(one["same_cohort"] for one in result["evaluations"])
    assert "decided after the package was sealed" in Path("again/result.html").read_text()
    assert result["cohort"] == private.result["cohort"] and result["numbers"] == private.result["numbers"]


def test_another_cohort_is_told_apart(private: Study, tmp_path: Path) -> None:
    cohort = cohort_copy(private, tmp_path)
    rows = read_table(cohort)
    shutil.rmtree(cohort / rows[-1]["participant_id"])
    write_participants(cohort, rows[:-1])
    assert private.validate(cohort, "other").exit_code == 0
    result = read_result(Path("other"))
    assert [one["same_cohort"] for one in result["evaluations"]] == [False, True]
    assert result["cohort"] != private.result["cohort"]
    assert result["n"] == {"recurrence": 8, "rice": 7}


def test_a_cohort_of_one_label_is_answered_in_words(private: Study, tmp_path: Path) -> None:
    cohort = cohort_copy(private, tmp_path)
    write_participants(cohort, [row | {"label": "rice"} for row in read_table(cohort)])
    assert private.validate(cohort, "one").exit_code == 0
    text = Path("one/result.json").read_text()
    assert "NaN" not in text and "not defined: no subject has recurrence" in text
    assert "not defined: no subject has recurrence" in Path("one/result.html").read_text()


def test_a_damaged_ledger_stops_before_anything_is_computed(private: Study) -> None:
    path = private.there / "ricenet-private/ledger.json"
    content = json.loads(path.read_text())
    content["entries"][0]["also"] = ["metric=auc"]
    path.write_text(json.dumps(content))
    done = private.validate(private.cohort, "again")
    assert done.exit_code == 1 and "entry 1 does not follow from those before" in done.output
    assert not Path("again").exists()


# --- cohorts that cannot be used ---


def without_volume(cohort: Path) -> None:
    (cohort / FILES["event"]).unlink()


def few(cohort: Path) -> None:
    rows = read_table(cohort)
    write_participants(cohort, [row | {"label": "n/a"} if i > 10 else row for i, row in enumerate(rows)])


def other_label(cohort: Path) -> None:
    change_cell(cohort, "sub-003", label="necrosis")


def no_table(cohort: Path) -> None:
    (cohort / "participants.tsv").unlink()


def no_labels(cohort: Path) -> None:
    write_participants(cohort, [row | {"label": "n/a"} for row in read_table(cohort)])


COHORTS: list[tuple[Callable[[Path], None], str]] = [
    (without_volume, "file is missing"),
    (few, "11 labelled subject(s) with all volumes of post_op+dose, and the plan asks for 12 at least"),
    (other_label, "sub-003 - participants.tsv: label is none of recurrence, rice, n/a (line 4)"),
    (no_table, "participants.tsv: not found"),
    (no_labels, "0 labelled subject(s)"),
]


@pytest.mark.parametrize(("spoil", "said"), COHORTS, ids=[spoil.__name__ for spoil, _ in COHORTS])
def test_a_cohort_that_cannot_be_used_is_told_and_not_counted(
    private: Study, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    cohort = cohort_copy(private, tmp_path)
    spoil(cohort)
    before = (private.there / "ricenet-private/ledger.json").read_bytes()
    done = private.validate(cohort, "out")
    assert done.exit_code == 1 and said in " ".join(done.output.split()), done.output
    assert "Traceback" not in done.output and not Path("out").exists()
    assert (private.there / "ricenet-private/ledger.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--also", "metric=f7"], "expected metric=NAME"),
        (["--also", "subgroup=mgmt:methylated"], "participants.tsv has no column mgmt"),
        (["--also", "subgroup=sex:F"], "sex is in the plan"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_what_cannot_be_asked_for_is_told(private: Study, options: list[str], said: str) -> None:
    done = private.validate(private.cohort, "out", *options)
    assert done.exit_code in (1, 2) and said in done.output and not Path("out").exists()


def test_a_folder_in_use_and_a_result_for_a_package_are_told(private: Study) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    assert "full is not an empty folder" in private.validate(private.cohort, "full").output
    done = run("validate", private.there / "out/result.json", private.cohort)
    assert done.exit_code == 1 and "A result goes to `ricenet validation add`" in done.output


def test_what_is_private_and_what_is_sent_lie_apart(private: Study) -> None:
    for out in (private.there / "ricenet-private/out", private.there / "ricenet-private"):
        done = run("validate", private.package, private.cohort, "--out", out, "--private", out.parent)
        assert done.exit_code == 1 and not (private.there / "ricenet-private/out").exists()
    (private.there / "ricenet-private").chmod(0o755)
    done = private.validate(private.cohort, "out")
    assert done.exit_code == 1 and "may be opened by others (mode 755)" in done.output


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"metrics": ["f7"]}, "metrics.0: Input should be 'macro_f1'"),
        (
            {"subgroups": [{"column": "hospital", "groups": ["a"]}]},
            "hospital is no column that divides subjects",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_not_sealed(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(study.home)
    before = sealed_studies(study.home)
    done = export(study.home, tmp_path / "study.zip", plan)
    assert done.exit_code == 1 and said in done.output
    assert not (tmp_path / "study.zip").exists() and sealed_studies(study.home) == before


# --- back at home ---


def add(study: Study, *options: object) -> Any:
    return run("validation", "add", study.there / "out/result.json", *options)


def test_a_result_is_taken_once(study: Study, home: Path) -> None:
    done = add(study, "--name", "site B")
    assert done.exit_code == 0 and "site B is in models/validations.json" in done.output
    again = add(study, "--name", "site C")
    assert again.exit_code == 0 and "there already; nothing was added" in again.output
    (found,) = accepted_validations(home)
    assert found.name == "site B" and found.result.model_dump(mode="json") == study.result


def edited(result: dict[str, Any]) -> None:
    result["numbers"][0]["estimate"]["value"] = 0.99


def with_a_digest_of_its_own(result: dict[str, Any]) -> None:
    """Of another package, and intact."""
    result["seal"] = "e" * 64
    del result["digest"]
    result["digest"] = content_digest(result)


def newer(result: dict[str, Any]) -> None:
    result["format"] = 2


def half(result: dict[str, Any]) -> None:
    del result["numbers"]


RESULTS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (edited, "was changed since it was written (its digest does not fit)"),
    (with_a_digest_of_its_own, "of the package eeeeeeeeeeee, which was not sealed in this project"),
    (newer, "is of format 2, and this version of ricenet"),
    (half, "is no result of `ricenet validate`, or not all of one"),
]


@pytest.mark.parametrize(("change", "said"), RESULTS, ids=[change.__name__ for change, _ in RESULTS])
def test_a_result_that_was_changed_is_refused(
    study: Study, home: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    result = study.result
    change(result)
    Path("changed.json").write_text(json.dumps(result))
    done = run("validation", "add", "changed.json")
    assert done.exit_code == 1 and said in done.output and "Traceback" not in done.output
    assert not (home / "models/validations.json").exists()


def test_a_package_is_no_result(study: Study, home: Path) -> None:
    done = run("validation", "add", study.package)
    assert done.exit_code == 1 and "is an archive, such as a package: expected result.json" in done.output


def test_two_results_have_two_names(
    study: Study, private: Study, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(study, "--name", "site B")
    assert private.validate(private.cohort, "again").exit_code == 0
    done = run("validation", "add", "again/result.json", "--name", "site B")
    assert done.exit_code == 1 and "another result is called site B here" in done.output
    assert run("validation", "add", "again/result.json").exit_code == 0
    assert accepted_validations(home)[1].name.endswith("evaluation 2")


def test_kept_results_that_were_edited_are_found(study: Study, home: Path) -> None:
    add(study)
    path = home / "models/validations.json"
    path.write_text(path.read_text().replace('"rice": 8', '"rice": 80'))
    done = add(study)
    assert done.exit_code == 1 and "was changed. Restore it from git" in done.output


def test_the_report_shows_home_and_elsewhere_side_by_side(
    study: Study, private: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert private.validate(private.cohort, "again", "--also", "subgroup=site:centre A").exit_code == 0
    project = write_project(tmp_path / "reported")
    (project / "models").mkdir(exist_ok=True)
    shutil.copy(study.home / "models/studies.json", project / "models")
    later = Path("again/result.json").absolute()
    monkeypatch.chdir(project)
    assert "No result of another hospital was added" in page_of(project)
    add(study, "--name", "site <B>")
    run("validation", "add", later, "--name", "site B, again")
    page = page_of(project)
    rows = re.findall(r"<tr>.*?</tr>", page[page.index("Home and other hospitals") :], re.S)[:4]
    cells = [
        [re.sub("<[^>]+>", "", c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in rows
    ]
    assert [row[1] for row in cells] == [
        "cohort",
        "home, held-out subjects",
        "site &lt;B&gt;",
        "site B, again",
    ]
    assert cells[2][2:4] == ["8", "8"]
    expected = next(n for n in study.result["numbers"] if n["name"] == "macro_f1")["estimate"]
    assert cells[2][4].startswith(f"{expected['value']:.2f} (") and cells[1][4].startswith("0.79")
    assert table_of(page, "Decided after the package")["site B, again"][1] == "AUC by site"
    assert "In another hospital (site &lt;B&gt;), by a plan that was sealed before" in page
    assert "which was not tested" not in page
