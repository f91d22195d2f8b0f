"""What other labels do not have: each refusal says so, names the model's labels, and where to read on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cloned_project import merge
from labelled_project import NAMES, write_params
from small_ensembles import ensemble_record, write_untrained
from small_folds import PROJECT
from typer.testing import CliRunner

from ricenet.bundle.metadata import Exported
from ricenet.bundle.write_bundle import write_bundle
from ricenet.cli.main import app
from ricenet.cohort.splits import Splits, write_splits
from ricenet.config.params import Params, parse_params
from ricenet.config.yaml_file import read_yaml
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.inference.predict_subject import Predictor
from ricenet.inference.training_ranges import TrainingRanges
from ricenet.runtime.errors import ParamsError, RegistryError
from ricenet.study.plan import AnalysisPlan
from ricenet.study.write_package import StudyContent, write_package
from ricenet.tracking import exported_version as exporting
from ricenet.tracking.compared import set_at_hand
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import read_record

# --- settings ---


def of_three(**changes: Any) -> Params:
    """The delivered parameters with three labels, without what they would be refused for already."""
    content = read_yaml(PROJECT / "params.yaml")
    content |= {"labels": list(NAMES), "controls": ["stable"], "modality_sets": ["dose", "event+dose"]}
    content["explain"] = {**content["explain"], "modality_sets": []}
    for name, changed in changes.items():
        # settings of one network are none of another
        if "name" in changed:
            content[name] = {}
        merge(content, {name: changed})
    return parse_params(content, "params.yaml")


SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "fusion of the main recipe": (
        {"training": {"fusion": "mean"}},
        "training.fusion: mean joins",
        "write none",
    ),
    "fusion of one set": (
        {"training": {"overrides": {"dose": {"fusion": "fitted"}}}},
        "training.overrides.dose.fusion: fitted joins",
        "write none",
    ),
    "channel dropout": ({"network": {"channel_dropout": 0.5}}, "network.channel_dropout: is of", "write 0"),
    "the network of visits": (
        {"network": {"name": "visits"}},
        "network.name: visits tells recurrence and rice apart alone",
        "choose another network",
    ),
    "learning curves": (
        {"evidence": {"learning_curve": {"sets": ["dose"]}}},
        "evidence.learning_curve.sets: dose: it knows recurrence and rice alone",
        "write []",
    ),
    "harmonisation": (
        {"evidence": {"harmonisation": "combat"}},
        "evidence.harmonisation: combat is of recurrence and rice alone",
        "write none",
    ),
    "a search for settings": (
        {"tuning": {"modality_sets": ["dose"]}},
        "tuning.modality_sets: dose: a search judges recurrence and rice alone",
        "write []",
    ),
    "occlusion maps": (
        {"explain": {"modality_sets": ["dose"]}},
        "explain.modality_sets: dose: occlusion explains recurrence and rice alone",
        "write []",
    ),
}


def test_the_delivered_parameters_without_what_is_refused_are_accepted() -> None:
    assert of_three().labels == NAMES


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_two_labels_is_refused_with_what_to_write(setting: str) -> None:
    changes, said, remedy = SETTINGS[setting]
    with pytest.raises(ParamsError) as refused:
        of_three(**changes)
    (line,) = (line for line in str(refused.value).splitlines() if said in line)
    assert remedy in line


# --- commands ---


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose set `dose` tells three labels apart."""
    project = tmp_path_factory.mktemp("refused")
    write_untrained(project / "models/ensembles/dose", ensemble_record("dose", label_names=NAMES))
    labels = {f"sub-{k}": name for k, name in enumerate(NAMES)}
    write_splits(Splits(labels, (tuple(labels),), (), {}, NAMES), project / "work/splits/splits.json")
    write_params(project)
    return project / "models/ensembles/dose"


def predictor(files: Path) -> Predictor:
    return Predictor(files, 7, TrainingRanges((), {}, 0))


def explain(files: Path, out: Path) -> None:
    nothing = cast(Any, None)
    Explainer(Ensemble.load(files), nothing, nothing, out, nothing, 7)


def export_bundle(files: Path, out: Path) -> None:
    write_bundle(out / "bundle", files, Exported("rice-net-dose", "1", read_record(files)))


def export_study(files: Path, out: Path) -> None:
    content = StudyContent(
        "rice-net-dose",
        "1",
        files,
        AnalysisPlan(),
        None,
        None,
        predictor(files).ranges,
        "passed",
        True,
        7,
        {},
    )
    write_package(out / "study.zip", content, {})


def export_version(files: Path, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "ensemble_files", lambda *_: files)
        patched.setattr(exporting, "_trained_on_phantoms", lambda *_: True)
        exporting.exported_version(out, cast(Any, None), cast(Any, None))


COMMANDS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "explain": (explain, "occlusion explains"),
    "compare": (lambda files, _: set_at_hand(files.parents[2], "dose"), "`ricenet compare` compares"),
    "export bundle": (export_bundle, "a MONAI bundle gives"),
    "export study": (export_study, "a study validates"),
    "export of a version": (export_version, "`ricenet export` gives"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_a_model_of_three_labels_by_their_names(
    files: Path, tmp_path: Path, command: str
) -> None:
    run, said = COMMANDS[command]
    with pytest.raises(RegistryError) as refused:
        run(files, tmp_path)
    assert str(refused.value).startswith(f"{said} answers of the labels recurrence and rice alone")
    assert "tells recurrence, rice, stable apart" in str(refused.value)
    assert "docs/labels.md" in str(refused.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "--dose", "dose.nii.gz", "--dicom-out", "out"], "--dicom-out writes answers"),
        (["serve"], "the service gives answers"),
    ],
)
def test_no_dicom_and_no_service_of_three_labels(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(files.parents[2])
    monkeypatch.setenv("RICENET_SERVE_TOKEN", "a" * 64)
    of = {"model": "rice-net-dose", "version": "1", "digest": "0" * 64, "modality_set": "dose"}
    registered = SimpleNamespace(**of)
    for module in ("predict", "serve"):
        monkeypatch.setattr(
            f"ricenet.cli.{module}.loaded_predictor", lambda *_: (registered, predictor(files))
        )
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert said in result.output and "tells recurrence, rice, stable apart" in result.output
    assert not Path("out").exists()
