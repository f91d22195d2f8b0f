"""Gathers from work/ and models/ what the runs in MLflow shall hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ricenet.config.tuned import Searched, read_tuned
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import content_digest
from ricenet.runtime.formats import TOLD
from ricenet.runtime.records import read_result
from ricenet.runtime.tables import read_rows, require
from ricenet.tracking.descriptions import NOTE, fold_note, score_tags, set_note
from ricenet.tracking.evidence_content import evidence_artifacts, evidence_metrics
from ricenet.tracking.run_content import (
    ArtifactGroup,
    Epoch,
    RunContent,
    arithmetic_tags,
    code_tags,
    common_params,
    flat,
    fold_params,
    fold_run_name,
    set_key,
)
from ricenet.training.ensemble_record import RECORD, EnsembleRecord, read_record

_OF_RUNS = {
    "macro_f1_pooled": "macro_f1_pooled",
    "ci_low": "macro_f1_low",
    "ci_high": "macro_f1_high",
    "macro_f1_mean": "macro_f1_mean",
    "macro_f1_sd": "macro_f1_sd",
    "n": "n",
}
"""Numbers of metrics.json by their names in MLflow, in the order of logging."""

DIGESTS = ("data_digest", "preprocessing_digest", "splits_digest")


SEARCHED = "ricenet.settings_searched"
"""Tag of a set's run: how its settings were found (`ricenet.config.tuned.Searched`)."""


def trained_sets(project: Path) -> list[str]:
    """Modality sets of which all folds are trained, those of few volumes first."""
    found = [path.parent.name for path in (project / "models" / "ensembles").glob(f"*/{RECORD}")]
    return sorted(found, key=lambda name: (name.count("+"), name))


def read_ensemble(project: Path, modality_set: str) -> EnsembleRecord:
    """The description of a set's ensemble, with its digest and those of what it was trained on.

    Raises RegistryError: it is not of this version.
    """
    return read_record(ensemble_folder(project, modality_set))


@contextmanager
def made_by(stage: str) -> Iterator[None]:
    """Turn a failure to read the project's own files into a ResultError that names file and stage."""
    try:
        yield
    except OSError as error:
        raise ResultError(
            f"{error.filename} cannot be read: {error.strerror}. "
            f"The stage `{stage}` makes it: run `dvc repro`"
        ) from error


def set_content(project: Path, modality_set: str) -> RunContent:
    """The run of a modality set: settings, cross-validation, figures, occlusion, vote and report.

    Raises ResultError: a fold's record is missing.
    """
    ensemble = read_ensemble(project, modality_set)
    records = read_records(project, ensemble)
    params = set_params(ensemble, records)
    work = project / "work"
    vote_table = work / "vote" / f"{modality_set}.tsv"
    vote = _vote(project, modality_set, ensemble.digest)
    searched = searched_settings(project, modality_set)
    return RunContent(
        kind="set",
        name=modality_set,
        set_key=set_key(modality_set, ensemble.fold_keys),
        key=set_key(modality_set, ensemble.fold_keys),
        params=params,
        tags={
            **_tags(ensemble, content_digest(params), records),
            **score_tags(work, modality_set, ensemble.digest),
            **({} if searched is None else {SEARCHED: searched}),
            NOTE: set_note(work, modality_set, ensemble.digest, vote),
        },
        metrics={
            **_validation_metrics(work, modality_set),
            **evidence_metrics(work, modality_set, ensemble.digest),
            **vote,
        },
        artifacts=(
            ArtifactGroup.of_files("ensemble", {RECORD: ensemble_folder(project, modality_set) / RECORD}),
            ArtifactGroup.of_folder("figures", work / "evaluation" / "figures"),
            *evidence_artifacts(work, modality_set, ensemble.digest),
            ArtifactGroup.of_folder("occlusion", work / "explain" / modality_set),
            ArtifactGroup.of_files("vote", _if_there(vote_table) if vote else {}),
            ArtifactGroup.of_folder("report", work / "report"),
        ),
    )


def set_params(ensemble: EnsembleRecord, records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The settings of a set's training, as far as its folds share them. records: of fold.json."""
    described = ensemble.model_dump(mode="json", include={"network", "preprocessing"})
    return {**common_params(records), **flat(described), "folds": str(ensemble.folds)}


def searched_settings(project: Path, modality_set: str) -> Searched | None:
    """How the settings of a set were found; None where nothing of a search is at hand."""
    path = project / "work" / "tuning" / "best.json"
    return read_tuned(path).searched(modality_set) if path.is_file() else None


def fold_contents(project: Path, modality_set: str) -> list[RunContent]:
    """The child runs of a modality set: every fold's settings, epochs, weights and predictions.

    Raises ResultError: a fold's files are missing.
    """
    ensemble = read_ensemble(project, modality_set)
    scores = evaluated(project / "work", modality_set).get("macro_f1_folds", [])
    with made_by("train"):
        return [
            _fold_content(project, ensemble, record, {"macro_f1": scores[k]} if k < len(scores) else {})
            for k, record in enumerate(read_records(project, ensemble))
        ]


def read_records(project: Path, ensemble: EnsembleRecord) -> list[dict[str, Any]]:
    """The content of fold.json of every fold of an ensemble.

    Raises ResultError: one of them is missing.
    """
    folders = [_fold_folder(project, ensemble, fold) for fold in range(ensemble.folds)]
    with made_by("train"):
        return [read_result(folder / "fold.json", "train", TOLD) for folder in folders]


def _fold_folder(project: Path, ensemble: EnsembleRecord, fold: int) -> Path:
    return project / "work" / "training" / str(ensemble.modality_set) / f"fold-{fold}"


def _fold_content(
    project: Path, ensemble: EnsembleRecord, record: dict[str, Any], metrics: dict[str, float]
) -> RunContent:
    modality_set, fold = ensemble.modality_set, record["fold"]
    folder = _fold_folder(project, ensemble, fold)
    weights = require(ensemble_folder(project, modality_set) / f"fold-{fold}.safetensors", "train")
    tables = {name: folder / name for name in ("history.csv", "predictions.tsv", "fold.json")}
    return RunContent(
        kind="fold",
        name=fold_run_name(modality_set, fold),
        set_key=set_key(modality_set, ensemble.fold_keys),
        key=record["key"],
        params=fold_params(record),
        tags={
            **_tags(ensemble, content_digest(record["parameters"]), [record]),
            NOTE: fold_note(modality_set, record, metrics),
        },
        metrics=metrics,
        history=_read_history(folder / "history.csv"),
        artifacts=(
            ArtifactGroup.of_files("training", tables),
            # the ensemble's digest covers the weights, which are too large to be read at every run
            ArtifactGroup("checkpoint", {weights.name: weights}, ensemble.digest),
        ),
    )


def _tags(
    ensemble: EnsembleRecord, params_digest: str, records: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    digests = {f"ricenet.{name}": str(getattr(ensemble, name)) for name in DIGESTS}
    return {
        **digests,
        **code_tags(records),
        **arithmetic_tags(records),
        "ricenet.modality_set": ensemble.modality_set,
        "ricenet.ensemble_digest": ensemble.digest,
        "ricenet.params_digest": params_digest,
    }


def evaluated(work: Path, modality_set: str) -> dict[str, Any]:
    """A set's entry of metrics.json; empty where it is not evaluated yet."""
    path = work / "evaluation" / "metrics.json"
    with made_by("evaluate"):
        result: dict[str, Any] = read_result(path, "evaluate").get(modality_set, {}) if path.is_file() else {}
    return result


def _validation_metrics(work: Path, modality_set: str) -> dict[str, float]:
    """MLflow's page compares runs by the metric that was logged first: so the pooled macro-F1 comes first."""
    found = evaluated(work, modality_set)
    metrics = {
        of_run: float(found[name])
        for name, of_run in _OF_RUNS.items()
        if name in found and math.isfinite(found[name])
    }
    if "label_names" in found:
        metrics |= {
            f"confusion_{truth}_{said}": float(n)
            for truth, row in zip(found["label_names"], found["confusion"], strict=True)
            for said, n in zip(found["label_names"], row, strict=True)
        }
    elif "confusion" in found:
        (tn, fp), (fn, tp) = found["confusion"]
        metrics |= {"confusion_tn": tn, "confusion_fp": fp, "confusion_fn": fn, "confusion_tp": tp}
    return metrics


def vote_metrics(macro_f1: float, evaluation: int) -> dict[str, float]:
    """An ensemble's vote on the test set as metrics of its run, with the count of evaluations by then."""
    return {"test_macro_f1": macro_f1, "test_evaluations": float(evaluation)}


def _vote(project: Path, modality_set: str, digest: str) -> dict[str, float]:
    path = project / "work" / "vote" / "vote.json"
    vote = read_result(path, "vote").get(modality_set) if path.is_file() else None
    if vote is None or vote["digest"] != digest:
        return {}
    return vote_metrics(vote["macro_f1"], vote.get("evaluation", 1))


def _read_history(path: Path) -> list[Epoch]:
    return [
        (int(row["epoch"]), {name: float(text) for name, text in row.items() if name != "epoch"})
        for row in read_rows(path, delimiter=",")
    ]


def ensemble_folder(project: Path, modality_set: str) -> Path:
    """Where a set's weights and their description are kept."""
    return project / "models" / "ensembles" / modality_set


def _if_there(path: Path) -> dict[str, Path]:
    return {path.name: path} if path.is_file() else {}
