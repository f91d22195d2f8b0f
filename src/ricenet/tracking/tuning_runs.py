"""Searches in MLflow: one run per study, and in it one per trial, from files and while the search goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.files import content_digest
from ricenet.tracking.connection import TrackingStore, mlflow_failures, one_line
from ricenet.tracking.descriptions import NOTE
from ricenet.tracking.gather import made_by
from ricenet.tracking.run_content import ArtifactGroup, RunContent
from ricenet.tracking.runs import fill_run, find_or_create, runs_of_set
from ricenet.training.tuning.trial_records import (
    STUDY,
    TRIALS,
    StudyRecord,
    TrialObserver,
    TrialRecord,
    read_study,
    read_trials,
)

logger = logging.getLogger(__name__)

SHOWN = ("complete", "pruned", "failed")
"""States of trials that have a run; of interrupted ones the values are tried again."""


def tuning_contents(project: Path) -> Iterator[tuple[RunContent, list[RunContent]]]:
    """Every study below work/tuning, with its trials; none where nothing is tuned.

    Raises ResultError: a study's files are missing.
    """
    for path in sorted((project / "work" / "tuning").rglob(STUDY)):
        with made_by("tune"):
            study, _ = read_study(path)
            trials = [trial for trial in read_trials(path.parent / TRIALS, study) if trial.state in SHOWN]
        yield study_content(project, study), [trial_content(study, trial) for trial in trials]


def study_content(project: Path, study: StudyRecord) -> RunContent:
    """The run of a study. Its results are there once they are laid out below work/tuning."""
    name = "" if study.outer_fold is None else f"fold-{study.outer_fold}"
    folder = project / "work" / "tuning" / study.modality_set / name
    metrics: dict[str, float] = {}
    files: dict[str, Path] = {}
    if (folder / STUDY).is_file() and read_study(folder / STUDY)[0].key == study.key:
        best = read_study(folder / STUDY)[1]
        metrics = {f"best_{quantity}": best[quantity] for quantity in ("macro_f1", "log_loss", "trial")}
        # of the folder alone: below that of a set lie those of its folds
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    where = {} if study.outer_fold is None else {"outer_fold": str(study.outer_fold)}
    ranges = {f"space.{key}": f"{low:g} to {high:g}" for key, (low, high) in study.ranges.items()}
    return RunContent(
        kind="tuning",
        name=study.name,
        set_key=study.key,
        key=study.key,
        params={"folds": str(study.folds), "training.epochs": str(study.epochs), **where, **ranges},
        tags={
            "ricenet.modality_set": study.modality_set,
            "ricenet.pruner": study.pruner,
            NOTE: _note(study, metrics),
        },
        metrics=metrics,
        artifacts=(ArtifactGroup.of_files("tuning", files),),
    )


def _note(study: StudyRecord, best: Mapping[str, float]) -> str:
    of_fold = "" if study.outer_fold is None else f", inside fold {study.outer_fold}"
    found = f"best macro-F1 {best['best_macro_f1']:.2f} in trial {best['best_trial']:.0f}" if best else "open"
    return f"Search for settings of {study.modality_set}{of_fold}: {found}. Each trial is a run below it."


def trial_content(study: StudyRecord, trial: TrialRecord) -> RunContent:
    """The run of a trial: its values, its mean scores, and those of its folds as steps."""
    values = {name: str(value) for name, value in trial.values.items()}
    score = trial.score
    reason = {} if trial.reason is None else {"ricenet.reason": trial.reason}
    return RunContent(
        kind="trial",
        name=f"{study.modality_set} trial {trial.number}",
        set_key=study.key,
        key=content_digest({"study": study.key, "trial": trial.number, "values": values}),
        params=values,
        tags={"ricenet.modality_set": study.modality_set, "ricenet.state": trial.state, **reason},
        metrics={} if score is None else {"macro_f1": score.macro_f1, "log_loss": score.log_loss},
        history=[
            (fold, {"fold_macro_f1": of_fold.macro_f1, "fold_log_loss": of_fold.log_loss})
            for fold, of_fold in enumerate(trial.scores)
        ],
    )


@dataclass(frozen=True)
class LiveTrials(TrialObserver):
    """A TrialObserver that shows each trial when it ends; the search goes on without MLflow when it fails."""

    store: TrackingStore
    project: Path = Path()

    def start(self, studies: Sequence[StudyRecord]) -> None:
        """Make the studies' runs, before several workers look for them."""
        for study in studies:
            self._show(study, [])

    def on_trial(self, study: StudyRecord, trial: TrialRecord) -> None:
        """Show a trial that has ended."""
        self._show(study, [trial])

    def _show(self, study: StudyRecord, trials: Sequence[TrialRecord]) -> None:
        try:
            self.store.require_database()
            known = runs_of_set(self.store, study.key)
            of_study = find_or_create(self.store, study_content(self.project, study), None, known)
            for trial in trials:
                content = trial_content(study, trial)
                run = find_or_create(self.store, content, of_study.info.run_id, known)
                fill_run(self.store, run, content)
        except mlflow_failures() as error:
            logger.warning("MLflow fails, so this appears when the search has ended: %s", one_line(error))
