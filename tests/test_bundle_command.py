"""`ricenet export bundle` in a project: which version goes into the bundle, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from registered_project import Registered
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.runtime.files import file_digest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Outside the project, which others use too."""
    return tmp_path / "out"


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", "bundle", *arguments])


def test_the_champion_becomes_a_bundle(registered: Registered, out: Path) -> None:
    registered.move_alias(2)
    answer = export("dose", str(out))
    assert answer.exit_code == 0, answer.stderr
    version = registered.versions("dose")[1]
    found = json.loads((out / "configs/metadata.json").read_text())
    assert found["version"] == "2.0.0" and version.digest in found["changelog"]["2.0.0"]
    trained = registered.project / "models/ensembles/dose"
    for fold in range(2):
        name = f"fold-{fold}.safetensors"
        assert file_digest(out / "models" / name) == file_digest(trained / name)
    assert f"rice-net-dose version 2 (ensemble {version.digest[:12]}), 2 folds" in answer.output


def test_the_evidence_at_hand_is_that_of_the_bundle(registered: Registered, out: Path) -> None:
    registered.move_alias(2)
    export("dose", str(out))
    readme = (out / "docs/README.md").read_text()
    found = json.loads((out / "configs/metadata.json").read_text())
    # of SCORES in tracked_project
    assert found["eval_metrics"]["cross_validated_macro_f1"] == 0.74
    assert "## Calibration and three-way vote" in readme and "p_rice_calibrated" in readme
    assert "synthetic phantoms" in readme


def test_a_version_in_mlflow_alone_is_fetched_and_has_no_scores(registered: Registered, out: Path) -> None:
    registered.note_gate("1")
    answer = export("dose", str(out), "--version", "1")
    assert answer.exit_code == 0, answer.stderr
    found = json.loads((out / "configs/metadata.json").read_text())
    assert registered.versions("dose")[0].digest in found["changelog"]["1.0.0"]
    assert found["eval_metrics"] == {}
    assert "was not at hand" in (out / "docs/README.md").read_text()


def test_another_sets_champion_is_not_taken(registered: Registered, out: Path) -> None:
    registered.move_alias(modality_set="post_op+dose")
    answer = export("dose", str(out))
    assert answer.exit_code == 1 and not out.exists()
    assert "rice-net-dose has no champion" in answer.stderr
    assert "`ricenet promote dose`" in answer.stderr and "--version 2" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["event", "{out}"], "no model is registered for event (but for dose, post_op+dose)"),
        (["dose", "{out}", "--version", "7"], "rice-net-dose has no version 7; it has 1, 2"),
        (["dose", "work", "--version", "2"], "work is not an empty folder"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    registered: Registered, out: Path, arguments: list[str], said: str
) -> None:
    before = sorted((registered.project / "work").rglob("*"))
    answer = export(*(argument.format(out=out) for argument in arguments))
    assert answer.exit_code == 1 and said in answer.stderr and not out.exists()
    made = set((registered.project / "work").rglob("*")) - set(before)
    # what `ricenet doctor` tells
    assert {path.name for path in made} <= {"last_failure.json"}


def test_a_champion_whose_weights_were_changed_is_refused(registered: Registered, out: Path) -> None:
    registered.move_alias(2)
    in_mlflow = registered.project / "mlflow"
    version = registered.versions("dose")[1]
    changed = [
        *(registered.project / "models/ensembles/dose").glob("fold-1.safetensors"),
        *(
            path
            for record in in_mlflow.rglob("ensemble.json")
            if json.loads(record.read_text())["digest"] == version.digest
            for path in record.parent.glob("fold-1.safetensors")
        ),
    ]
    assert len(changed) == 2
    kept = {path: path.read_bytes() for path in changed}
    try:
        for path, content in kept.items():
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        answer = export("dose", str(out))
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert answer.exit_code == 1 and not out.exists()
    assert "its files in MLflow are not those that were registered" in answer.stderr
