"""From a DICOM export to the first prediction by what each command tells next, typed as it stands."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shlex
import shutil
from pathlib import Path

import pytest
from dicom_trees import write_tiny_export
from registered_project import run_stage
from test_cohort_commands import project as empty_project
from test_cohort_commands import template
from test_prediction import SMALL, case, quick_tools, registered
from test_prediction import project as trained_project
from tracked_project import PREFIX
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.inference.case import CaseFiles
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.registry import champions

__all__ = ["case", "empty_project", "quick_tools", "registered", "template", "trained_project"]

COMMANDS = ("import dicom", "import dicom", "cohort add", "dvc repro", "promote", "predict")
"""The whole way; `dvc repro` itself is walked in test_end_to_end."""


def typed(command: str) -> str:
    """What a command says that is typed as told."""
    program, *words = shlex.split(command)
    assert program == "ricenet"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(said: str, wanted: str) -> str:
    """The next command, of those that are told."""
    _, _, following = said.rpartition("Next:\n")
    (found,) = [line.strip() for line in following.splitlines() if line.strip().startswith(wanted)]
    return found


def test_an_export_becomes_the_projects_cohort_in_three_commands(empty_project: Path, tmp_path: Path) -> None:
    write_tiny_export(tmp_path / "an export")
    (tmp_path / "clinical.csv").write_text("patient_id,label\nANON-17,rice\n")
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("backend: processes", "backend: serial"))
    first = ["ricenet", "import", "dicom", str(tmp_path / "an export"), "data/mine"]
    first += ["--map", str(tmp_path / "map.csv"), "--clinical", str(tmp_path / "clinical.csv")]

    proposed = typed(shlex.join(first))
    imported = typed(told(proposed, "ricenet import dicom"))
    added = typed(told(imported, "ricenet cohort add"))

    assert told(added, "dvc") == "dvc repro"
    assert "root: data/mine" in params.read_text()
    assert "\trice\t" in Path("data/mine/participants.tsv").read_text()


def test_without_labels_the_proposal_says_how_they_are_given(empty_project: Path, tmp_path: Path) -> None:
    write_tiny_export(tmp_path / "export")

    said = typed(f"ricenet import dicom {tmp_path}/export data/mine --map {tmp_path}/map.csv")

    assert "Without --clinical FILE (patient_id, label, rt_end_date) nobody has a label.\n" in said


@pytest.mark.usefixtures("quick_tools")
def test_the_pipelines_last_line_leads_to_the_promotion_and_that_to_a_prediction(
    trained_project: Path,
    registered: tuple[Path, TrackingStore],
    case: CaseFiles,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, store = registered
    store.client().delete_registered_model_alias(f"{PREFIX}-{SMALL}", "champion")
    with contextlib.suppress(FileNotFoundError):
        (trained_project / "work/champions.json").unlink()

    with caplog.at_level(logging.INFO, "ricenet"):
        logging.getLogger("ricenet").propagate = True
        run_stage("register", trained_project, monkeypatch)
    *_, last = [record.getMessage() for record in caplog.records if "next: " in record.getMessage()]
    promote = re.findall(r"`(ricenet promote [^`]+)`", last)
    promoted = typed(promote[0])
    predict = told(promoted, "ricenet predict")
    for name, path in case.volumes.items():
        predict = predict.replace(f"{name}=FILE", f"{name}={shlex.quote(str(path))}")
    answer = json.loads(typed(predict))

    assert set(champions(store, PREFIX)) == {SMALL}
    assert answer["modality_set"] == SMALL
    assert answer["label"] in ("rice", "recurrence")


def test_the_whole_way_is_six_commands_at_most() -> None:
    assert len(COMMANDS) <= 6


def test_a_set_that_the_gate_refuses_is_not_told_to_be_promoted(
    trained_project: Path, tmp_path: Path
) -> None:
    from ricenet.report.status import next_step

    copy = tmp_path / "project"
    shutil.copytree(trained_project / "work", copy / "work")
    path = copy / f"work/evidence/gate/{SMALL}.json"
    record = read_json(path)
    record["macro_f1"]["low"] = 0.1
    path.write_text(json.dumps(record))

    said = next_step(copy, {})

    assert "the gate refuses the best set" in said and "chance" in said
    assert "ricenet promote" not in said
