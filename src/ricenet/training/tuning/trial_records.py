"""What a search found, as plain values and files: scores of folds, trials, studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ricenet.config.tuned import Values
from ricenet.runtime.files import read_json, write_json, write_text
from ricenet.runtime.tables import read_rows, table_text
from ricenet.training.predictions import Prediction, macro_f1

TRIALS, STUDY = "trials.csv", "study.json"

TIE_WEIGHT = 1e-9
"""Weight of the log-loss: it decides ties and nothing else, for it moves a merit by less than this."""

LEAST_P = 1e-7
"""A certain and wrong prediction would have an infinite log-loss."""

State = Literal["complete", "pruned", "failed", "interrupted", "running", "waiting"]
"""Of a trial. failed: it cannot be trained. interrupted: its process ended; its values are tried again."""


@dataclass(frozen=True)
class FoldScore:
    """How well a fold's last epoch predicts its validation subjects. log_loss: mean, in nats."""

    macro_f1: float
    log_loss: float


@dataclass(frozen=True)
class TrialRecord:
    """One trial. scores: of its folds, in order, as far as it went. seconds: its duration."""

    number: int
    state: State
    values: Values
    scores: tuple[FoldScore, ...] = ()
    seconds: float | None = None
    reason: str | None = None

    @property
    def score(self) -> FoldScore | None:
        """The mean over the folds that were trained."""
        return mean_score(self.scores) if self.scores else None


@dataclass(frozen=True)
class StudyRecord:
    """One search. outer_fold: whose training subjects it is confined to; None for all of them.

    key: content address of everything that determines a trial's score. epochs: of a trial's folds.
    """

    key: str
    modality_set: str
    outer_fold: int | None
    folds: int
    epochs: int
    pruner: str
    ranges: Mapping[str, tuple[float, float]]

    @property
    def name(self) -> str:
        """What the study is called in the database, in MLflow and in logs."""
        where = "" if self.outer_fold is None else f" fold {self.outer_fold}"
        return f"{self.modality_set}{where} tuning {self.key[:12]}"


class TrialObserver:
    """Follows a search, and does nothing by itself.

    It is called in the process that trains, and has to be picklable.
    """

    def on_trial(self, study: StudyRecord, trial: TrialRecord) -> None:
        """A trial is complete, pruned or failed."""


def score_of(predictions: Sequence[Prediction]) -> FoldScore:
    """The score of a fold's predictions (N,)."""
    labels = [prediction.label for prediction in predictions]
    p_rice = np.array([prediction.p_rice for prediction in predictions])
    p_truth = np.where(np.array(labels) == "rice", p_rice, 1 - p_rice)
    log_loss = -np.log(np.clip(p_truth, LEAST_P, 1)).mean()
    return FoldScore(macro_f1(labels, p_rice), float(log_loss))


def mean_score(scores: Sequence[FoldScore]) -> FoldScore:
    """The mean over folds, each counting the same."""
    macro_f1, log_loss = np.mean([astuple(score) for score in scores], axis=0).tolist()
    return FoldScore(macro_f1, log_loss)


def merit(scores: Sequence[FoldScore]) -> float:
    """What a search maximises: the mean macro-F1, lowered by less than TIE_WEIGHT for the mean log-loss.

    Few subjects make ties of macro-F1 common, above all early. One number for both means that the sampler,
    which looks at ranks, sees the order within ties too.
    """
    score = mean_score(scores)
    return score.macro_f1 - TIE_WEIGHT * score.log_loss / (1 + score.log_loss)


def write_trials(trials: Sequence[TrialRecord], study: StudyRecord, path: Path) -> None:
    """Write a CSV with a row a trial, every digit of its values and scores; empty cells where unknown."""
    folds = [f"fold_{k}_{name}" for k in range(study.folds) for name in ("macro_f1", "log_loss")]
    columns = ["number", "state", "macro_f1", "log_loss", "seconds", *study.ranges, *folds, "reason"]
    rows = [[row.get(column, "") for column in columns] for row in map(_row, trials)]
    write_text(path, table_text(columns, rows, delimiter=","))


def _row(trial: TrialRecord) -> dict[str, Any]:
    row: dict[str, Any] = {"number": trial.number, "state": trial.state, **trial.values}
    if trial.score is not None:
        row |= asdict(trial.score)
    for fold, score in enumerate(trial.scores):
        row |= {f"fold_{fold}_{name}": value for name, value in asdict(score).items()}
    seconds = {} if trial.seconds is None else {"seconds": round(trial.seconds, 3)}
    return {**row, **seconds, "reason": trial.reason or ""}


def read_trials(path: Path, study: StudyRecord) -> list[TrialRecord]:
    """Read what `write_trials` wrote."""
    return [
        TrialRecord(
            number=int(row["number"]),
            state=row["state"],  # type: ignore[arg-type]
            values={name: _number(row[name]) for name in study.ranges if row[name]},
            scores=tuple(
                FoldScore(float(row[f"fold_{fold}_macro_f1"]), float(row[f"fold_{fold}_log_loss"]))
                for fold in range(study.folds)
                if row[f"fold_{fold}_macro_f1"]
            ),
            seconds=float(row["seconds"]) if row["seconds"] else None,
            reason=row["reason"] or None,
        )
        for row in read_rows(path, delimiter=",")
    ]


def _number(text: str) -> float | int:
    return int(text) if text.isdigit() else float(text)


def write_study(study: StudyRecord, best: TrialRecord, path: Path) -> None:
    """Write a study and the trial that it chose."""
    assert best.score is not None
    found = {"trial": best.number, "values": dict(best.values), **asdict(best.score)}
    write_json(path, {**asdict(study), "best": found})


def read_study(path: Path) -> tuple[StudyRecord, dict[str, Any]]:
    """Read a study, and its best trial as {trial, values, macro_f1, log_loss}."""
    content = read_json(path)
    best: dict[str, Any] = content.pop("best")
    content["ranges"] = {name: (low, high) for name, (low, high) in content["ranges"].items()}
    return StudyRecord(**content), best
