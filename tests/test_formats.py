"""Files of an earlier or a later version of ricenet: each is told by its number, none by a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cohorts import write_tiny_cohort
from small_evidence import write_robustness
from tracked_project import make_project
from typer.testing import CliRunner

from ricenet import __version__
from ricenet.cli import app
from ricenet.cli.running import mendable_errors
from ricenet.cohort import description
from ricenet.cohort.checked import read_checked_cohort, read_usable_cohort
from ricenet.cohort.checks import check_cohort
from ricenet.cohort.settled_places import PLACES_FILE, SettledPlaces, read_places
from ricenet.cohort.splits import read_splits
from ricenet.config.tuned import read_tuned
from ricenet.evaluation.evidence.curve_points import CurveTrainings
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.record import Repeats, read_evidence, read_repeats
from ricenet.evaluation.robustness.effects import read_robustness
from ricenet.inference.test_ledger import LedgerRow, ledger_path, read_ledger, record_evaluation
from ricenet.preprocessing.derivative_dataset import FORMAT as LAID_OUT
from ricenet.runtime import store as store_module
from ricenet.runtime.errors import FormatError
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.formats import FIRST, TOLD, TRAINED, Format
from ricenet.runtime.records import read_result
from ricenet.runtime.store import CONTENTS, Store
from ricenet.screening.guards.result import read_guards, write_guards
from ricenet.study.accepted import (
    accepted_validations,
    sealed_studies,
    studies_path,
    validations_path,
)
from ricenet.tracking.gather import evaluated, read_ensemble, read_records
from ricenet.tracking.own_record import OwnEnsemble, note_registered, own_ensembles
from ricenet.tracking.promotion import data_at_hand
from ricenet.tracking.registry import RegisteredEnsemble, require_readable
from ricenet.training.checkpoint import CheckpointFiles
from ricenet.training.task import CHECKPOINT
from ricenet.training.tensors_file import write_tensors

KEY = 64 * "a"
ROW = LedgerRow("", "dose", "rice-net-dose", "1", "d" * 12, 6, "0.5", 0, "t" * 12)
LATER = "made by a later version of ricenet. Install the version that wrote it, or a later one (`git pull`"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a file of every format, as they are written today."""
    project = make_project(tmp_path_factory.mktemp("formats"))
    write_guards([], [], project / "work/guards/guards.json", project / "work/guards/verdict.json")
    write_robustness(project)
    write_json(project / "work/repeats/repeats.json", Repeats().model_dump(mode="json"))
    write_json(project / "work/learning_curve/learning_curve.json", CurveTrainings().model_dump(mode="json"))
    write_json(project / "work/tuning/best.json", {})
    write_json(project / "work/vote/vote.json", {})
    splits = read_splits(project / "work/splits/splits.json")
    places = SettledPlaces(
        cohort="data/mine", seed=7, test_fraction=0.2, folds=splits.folds, test=splits.test
    )
    places.write(project / PLACES_FILE)
    note_registered(project, KEY, OwnEnsemble(modality_set="dose"))
    record_evaluation(ledger_path(project), ROW)
    write_json(studies_path(project), {"studies": {}})
    write_json(validations_path(project), {"validations": []})
    Store(project / "work/store").get(KEY, lambda folder: write_json(folder / "result.json", 1))
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "project")


Read = Callable[[Path], object]
FILES: dict[str, tuple[Format, Read]] = {
    "work/cohort/cohort.json": (FIRST, lambda p: read_checked_cohort(p / "work/cohort/cohort.json")),
    "work/cohort/excluded.json": (
        FIRST,
        lambda p: read_usable_cohort(p / "work/cohort/cohort.json", p / "work/cohort/excluded.json"),
    ),
    "work/splits/splits.json": (FIRST, lambda p: read_splits(p / "work/splits/splits.json")),
    "work/preprocessed/summary.json": (LAID_OUT, data_at_hand),
    "work/guards/guards.json": (FIRST, lambda p: read_guards(p / "work/guards/guards.json")),
    "work/tuning/best.json": (FIRST, lambda p: read_tuned(p / "work/tuning/best.json")),
    "work/repeats/repeats.json": (FIRST, lambda p: read_repeats(p / "work/repeats")),
    "work/learning_curve/learning_curve.json": (
        FIRST,
        lambda p: CurveTrainings.read(p / "work/learning_curve/learning_curve.json", "learning_curve"),
    ),
    "work/evaluation/metrics.json": (FIRST, lambda p: evaluated(p / "work", "dose")),
    "work/evidence/evidence.json": (FIRST, lambda p: read_evidence(p / "work/evidence/evidence.json")),
    "work/evidence/gate/dose.json": (
        FIRST,
        lambda p: GateRecord.read(p / "work/evidence/gate/dose.json", "evidence"),
    ),
    "work/robustness/robustness.json": (
        FIRST,
        lambda p: read_robustness(p / "work/robustness/robustness.json"),
    ),
    "work/vote/vote.json": (FIRST, lambda p: read_result(p / "work/vote/vote.json", "vote")),
    f"work/store/aa/{KEY}/{CONTENTS}": (FIRST, lambda p: Store(p / "work/store").is_intact(KEY)),
    "models/folds.json": (FIRST, lambda p: read_places(p / PLACES_FILE)),
    "models/registered.json": (FIRST, own_ensembles),
    "models/studies.json": (FIRST, sealed_studies),
    "models/validations.json": (FIRST, accepted_validations),
    "models/test_ledger.json": (FIRST, lambda p: read_ledger(ledger_path(p))),
    "models/ensembles/dose/ensemble.json": (TRAINED, lambda p: read_ensemble(p, "dose")),
    "work/training/dose/fold-0/fold.json": (
        TOLD,
        lambda p: read_records(p, read_ensemble(p, "dose")),
    ),
}
"""By the place in a project: the format, and what reads the file."""


def with_number(path: Path, number: object) -> None:
    content = {name: value for name, value in read_json(path).items() if name != "format"}
    path.write_text(json.dumps(content if number is None else {**content, "format": number}))


@pytest.mark.parametrize("name", FILES)
def test_a_number_that_is_read_changes_nothing_and_any_other_is_told(name: str, project: Path) -> None:
    known, read = FILES[name]
    found = read(project)
    # what carries no number is of format 1
    with_number(project / name, None if known.oldest == 1 else known.number)
    assert read(project) == found
    with_number(project / name, known.number)
    assert read(project) == found
    # the error says file, number, what is read, and what to do
    file = Path(name).name
    for number, words in ((known.number + 1, LATER), (known.oldest - 1, "made by an earlier version")):
        with_number(project / name, number)
        with pytest.raises(FormatError) as told:
            read(project)
        said = str(told.value)
        assert file in said.partition(" is of format ")[0] and words in said
        assert f"is of format {number}, and this version of ricenet ({__version__}) reads" in said
    for damaged in ("2", None, True):
        with_number(project / name, 1)
        content = {**read_json(project / name), "format": damaged}
        (project / name).write_text(json.dumps(content))
        with pytest.raises(FormatError, match="its format is no number, so it is damaged"):
            read(project)


def test_what_an_earlier_version_made_says_which_stage_makes_it_again(project: Path) -> None:
    for name, stage in (
        ("work/cohort/cohort.json", "check_cohort"),
        ("work/guards/guards.json", "guard"),
        ("work/splits/splits.json", "split"),
        ("work/evaluation/metrics.json", "evaluate"),
    ):
        with_number(project / name, 0)
        with pytest.raises(FormatError, match=rf"Write it again: dvc repro -f {stage}$"):
            FILES[name][1](project)
    # these are no stage's to make again: git holds them
    for name in ("models/folds.json", "models/registered.json", "models/test_ledger.json"):
        with_number(project / name, 0)
        with pytest.raises(FormatError, match=r"git checkout"):
            FILES[name][1](project)


def test_a_later_ledger_is_told_by_its_number_and_not_as_a_changed_row(project: Path) -> None:
    """A column more would change what every row's chain is computed from."""
    table = ledger_path(project)
    table.write_text("\n".join(f"{line}\tnew" for line in table.read_text().splitlines()) + "\n")
    with_number(table.with_suffix(".json"), 2)
    with pytest.raises(FormatError, match=r"test_ledger\.json is of format 2, .* later version"):
        read_ledger(table)


def test_an_entry_of_a_later_store_is_neither_used_nor_replaced(project: Path) -> None:
    contents = project / f"work/store/aa/{KEY}/{CONTENTS}"
    contents.chmod(0o600)
    with_number(contents, 2)
    with pytest.raises(FormatError, match=r"contents\.json in work/store is of format 2"):
        Store(project / "work/store").get(KEY, lambda folder: write_json(folder / "result.json", 2))
    assert read_json(contents.with_name("result.json")) == 1


def test_the_two_versions_of_a_checkpoint_are_told_apart(tmp_path: Path) -> None:
    for header, words in (({}, "format 1, .* an earlier"), ({"format": "3"}, "format 3, .* a later")):
        write_tensors({"network/a": torch.zeros(1)}, tmp_path / CHECKPOINT, {"progress": "{}", **header})
        with pytest.raises(FormatError, match=rf"checkpoint\.safetensors is of {words} version"):
            CheckpointFiles(tmp_path).read()


def test_a_registered_version_of_a_later_ricenet_names_which_one_to_install() -> None:
    tags = {"ricenet.format": "3", "ricenet.version": "9.1.0"}
    registered = RegisteredEnsemble("dose", "rice-net-dose", "4", KEY, None, tags)
    with pytest.raises(FormatError, match=r"version 4 .* is of format 3, .*Install at least ricenet 9\.1\.0"):
        require_readable(registered)
    for earlier in ({}, {"ricenet.format": "1"}):
        with pytest.raises(FormatError, match=r"is of format 1, .*Train and register it again"):
            require_readable(replace(registered, tags=earlier))
    with pytest.raises(FormatError, match="its format is no number"):
        require_readable(replace(registered, tags={"ricenet.format": "new"}))


def test_a_cohort_states_its_layout_in_its_description(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort")
    path = cohort / "dataset_description.json"
    described = read_json(path) if path.is_file() else {"Name": "tiny"}
    write_json(path, {**described, description.LAYOUT_FORMAT: 1})
    assert check_cohort(cohort).problems == ()
    for number, words in ((2, "Install the version that wrote it"), (0, "Import the cohort again")):
        write_json(path, {**described, description.LAYOUT_FORMAT: number})
        (problem,) = check_cohort(cohort).problems
        assert f"dataset_description.json: the cohort's layout is of format {number}" in str(problem)
        assert words in problem.remedy
        done = CliRunner().invoke(app, ["check", str(cohort)])
        assert done.exit_code == 1 and str(problem) in done.output and "Traceback" not in done.output


def test_a_command_says_so_without_a_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_number(project / "models/registered.json", 2)
    with pytest.raises(SystemExit) as ended, mendable_errors("stage vote"):
        own_ensembles(project)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.startswith("error: registered.json is of format 2")
    assert "Traceback" not in said


def test_a_format_that_reads_several_numbers_names_both_ends() -> None:
    several = Format(number=3, oldest=2)
    assert [several.reads(number) for number in (1, 2, 3, 4)] == [False, True, True, False]
    with pytest.raises(FormatError, match=r"x\.json is of format 4, .* reads 2 to 3"):
        several.require(4, "x.json", "")


def test_whoever_changes_a_format_meets_this_test() -> None:
    """The numbers of docs/formats.md."""
    text = (Path(__file__).parents[1] / "docs/formats.md").read_text()
    numbers: dict[str, Any] = {"checkpoint.safetensors": TRAINED, "store": store_module.FORMAT}
    for name, known in numbers.items():
        row = next(line for line in text.splitlines() if line.startswith("|") and name in line)
        assert row.split("|")[2].strip() == str(known.number)
