"""A project with registered ensembles: dose twice, the second training at hand, and post_op+dose once."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from small_results import FOLDS, LABELS, p_rice_of, write_text
from tracked_project import PREFIX, make_project, store_of, train, write_gate
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.runtime.files import file_digest, write_json
from ricenet.runtime.tables import table_text
from ricenet.tracking.connection import mlflow_at
from ricenet.tracking.own_record import note_registered, own_ensembles
from ricenet.tracking.promotion import FORCED_PAST, PROMOTED, REASON, Gate
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import (
    RegisteredEnsemble,
    champions,
    make_champion,
    promotable_version,
    versions,
)
from ricenet.training.predictions import Prediction

WRONG = ("sub-001", "sub-002", "sub-005")
"""Subjects on which the first training of dose is wrong, and no other."""
STAGES = Path(__file__).parents[1] / "src" / "stages"
DOSE = "rice-net-dose"


def spoil(project: Path) -> None:
    """Let dose be wrong on some subjects, in the folds' predictions and in the gate's record."""
    rows = []
    for k, fold in enumerate(FOLDS):
        right = {subject: p_rice_of("dose", subject) for subject in fold}
        of_fold = [[s, LABELS[s], k, 1 - p if s in WRONG else p] for s, p in right.items()]
        text = table_text(["participant_id", "label", "fold", "p_rice"], of_fold)
        write_text(project / f"work/training/dose/fold-{k}/predictions.tsv", text)
        rows += of_fold
    write_gate(project, "dose", predictions=tuple(Prediction(*row) for row in rows))


class Registered:
    """The project's folder, its store, and what tests do with them."""

    def __init__(self, project: Path) -> None:
        make_project(project)
        spoil(project)
        self.project, self.store = project, store_of(project)
        register_ensembles(project, self.store, PREFIX)
        train(project, "dose", seed=8)
        register_ensembles(project, self.store, PREFIX)
        self._kept = project.with_name("kept")
        for name in ("work", "models"):
            shutil.copytree(project / name, self._kept / name)

    def reset(self) -> None:
        """No champions, no promotions, no votes, and the files as they were."""
        with mlflow_at(self.store.uri):
            # MLflow registers by the address that its process was told last, be it by another test
            client = self.store.client()
        for model in client.search_registered_models():
            for alias in model.aliases:
                client.delete_registered_model_alias(model.name, alias)
        for version in self.versions("dose") + self.versions("post_op+dose"):
            for tag in {FORCED_PAST, PROMOTED, REASON} & version.tags.keys():
                client.delete_model_version_tag(version.model, version.version, tag)
        for name in ("work", "models"):
            shutil.rmtree(self.project / name)
            shutil.copytree(self._kept / name, self.project / name)

    def versions(self, modality_set: str) -> list[RegisteredEnsemble]:
        return versions(self.store, f"{PREFIX}-{modality_set}")

    def champions(self) -> dict[str, str]:
        """Modality set -> the champion's version."""
        return {name: champion.version for name, champion in champions(self.store, PREFIX).items()}

    def tags(self, version: str, modality_set: str = "dose") -> dict[str, str]:
        return dict(self.store.client().get_model_version(f"{PREFIX}-{modality_set}", version).tags)

    def gate_in_run(self, version: str) -> Path:
        """Where MLflow keeps the gate's record of a version of dose."""
        run = self.store.client().get_run(str(self.versions("dose")[int(version) - 1].run_id))
        return Path(str(run.info.artifact_uri).removeprefix("file://")) / "gate/dose.json"

    def note_gate(self, version: str) -> None:
        """Let the project's own record hold what lies in the run, as if it had been registered so."""
        ensemble = self.versions("dose")[int(version) - 1]
        own = own_ensembles(self.project)[ensemble.digest]
        seal = file_digest(self.gate_in_run(version))
        note_registered(self.project, ensemble.digest, own.model_copy(update={"gate": seal}))

    @property
    def gate(self) -> Gate:
        return Gate(self.project, self.store, PREFIX, seed=7, resamples=300)

    def move_alias(self, version: int | None = None, modality_set: str = "dose") -> None:
        """As in the web page."""
        make_champion(self.store, promotable_version(self.store, PREFIX, modality_set, version))

    def resolve(self) -> None:
        """What the stage writes of the champions."""
        digests = {name: champion.digest for name, champion in champions(self.store, PREFIX).items()}
        write_json(self.project / "work/champions.json", digests)


def run_stage(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    runpy.run_path(str(STAGES / f"{name}.py"))["main"]()


def promote(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["promote", *arguments])
