"""Finding what `ricenet compare` names: a modality set at hand, a registered version, or a run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ricenet.cohort.splits import read_splits
from ricenet.config.tuned import Searched
from ricenet.evaluation.evidence.paired import Side
from ricenet.evaluation.held_out import first_visits, read_out_of_fold
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.tables import read_rows
from ricenet.tracking.connection import TrackingStore, mlflow_errors, mlflow_failures
from ricenet.tracking.gather import (
    DIGESTS,
    SEARCHED,
    read_ensemble,
    read_records,
    searched_settings,
    set_params,
)
from ricenet.tracking.registry import find_registered
from ricenet.tracking.run_content import COMMIT, code_tags, set_key
from ricenet.tracking.runs import KIND, MODALITY_SET, PARENT, SET_KEY, runs_of_set, search_runs
from ricenet.training.ensemble_record import require_rice_task
from ricenet.training.predictions import Prediction, read_predictions
from ricenet.vocabulary import Volumes, volumes_and_recipe

if TYPE_CHECKING:
    from mlflow.entities import Run

RUN_ID = re.compile(r"[0-9a-f]{8,32}")
"""An MLflow run's id, or the beginning of one."""

_MODELS, _ENSEMBLE = "models:", "ricenet.ensemble_digest"
_TRAINING, _PREDICTIONS = "training", "predictions.tsv"
_SHORT = 8


def find_side(
    project: Path, given: str, prefix: str, volumes: Volumes, open_store: Callable[[], TrackingStore]
) -> Side:
    """What a name means, with its held-out predictions.

    given: a modality set (then work/training is read), models:/NAME@ALIAS, models:/NAME/VERSION, or a run by
    id, by 8 or more of its first digits, or by name. prefix: of registered models. open_store: called only
    where the name is no modality set.
    Raises ResultError, RegistryError, SplitError: nothing by this name, several, or no predictions in it.
    """
    if volumes_and_recipe(given)[0] in volumes.sets:
        return set_at_hand(project, given)
    store = open_store()
    if given.startswith(_MODELS):
        return registered_version(store, prefix, given)
    run = find_run(store, given, volumes)
    return _of_run(store, run, _run_title(run))


def set_at_hand(project: Path, modality_set: str) -> Side:
    """A modality set as it lies in work/training and models/ensembles.

    Raises ResultError, SplitError: predictions or records are missing, or do not fit the splits.
    """
    splits = read_splits(project / "work" / "splits" / "splits.json")
    ensemble = read_ensemble(project, modality_set)
    require_rice_task(ensemble, "`ricenet compare` compares")
    predictions = read_out_of_fold(project / "work" / "training", modality_set, splits)
    records = read_records(project, ensemble)
    if tuple(record["key"] for record in records) != ensemble.fold_keys:
        raise ResultError(f"{modality_set}: its ensemble is of another training. Run `dvc repro -f train`")
    return Side(
        name=f"{modality_set} (at hand)",
        modality_set=modality_set,
        training=set_key(modality_set, ensemble.fold_keys),
        predictions=tuple(predictions),
        digests={**{name: getattr(ensemble, name) for name in DIGESTS}, **_commit(code_tags(records))},
        parameters=set_params(ensemble, records),
        searched=searched_settings(project, modality_set),
    )


def registered_version(store: TrackingStore, prefix: str, uri: str) -> Side:
    """A registered version, with the predictions in its run.

    Raises RegistryError, ResultError: no such version; its run is gone, holds another training or none.
    """
    version = find_registered(store, prefix, uri)
    title = f"{version.model} version {version.version}"
    try:
        run = store.client().get_run(str(version.run_id))
    except mlflow_failures():
        raise RegistryError(
            f"{title}: its run is not in the store, and with it its held-out predictions. "
            "Compare another version"
        ) from None
    if run.data.tags.get(_ENSEMBLE) != version.digest:
        raise RegistryError(
            f"{title}: its run holds the predictions of another ensemble by now. Compare another version, or "
            f"the run itself ({run.info.run_id})"
        )
    return _of_run(store, run, title)


def find_run(store: TrackingStore, given: str, volumes: Volumes) -> Run:
    """The run of a modality set by its id, its name, or the beginning of its id, in this order.

    Raises RegistryError: none, or several.
    """
    with mlflow_errors(store.uri):
        runs = search_runs(store, "")
    of_sets = [run for run in runs if run.data.tags.get(KIND) == "set"]
    found = _named(of_sets, given)
    if len(found) > 1:
        several = ", ".join(f"{run.info.run_id} (of {_day(run)})" for run in found)
        raise RegistryError(f"{given!r} is the name of {len(found)} runs; name one by its id: {several}")
    if not found:
        raise RegistryError(_unknown(_named(runs, given), given, volumes))
    return found[0]


def _named(runs: Sequence[Run], given: str) -> list[Run]:
    digits = given.lower()
    found = [run for run in runs if run.info.run_id == digits]
    found = found or [run for run in runs if run.info.run_name == given]
    if not found and RUN_ID.fullmatch(digits):
        found = [run for run in runs if run.info.run_id.startswith(digits)]
    return found


def _of_run(store: TrackingStore, run: Run, title: str) -> Side:
    tags = run.data.tags
    with mlflow_errors(store.uri), tempfile.TemporaryDirectory(prefix="ricenet-compare-") as folder:
        predictions = _of_folds(store, run, title, Path(folder))
    known = {name: tags[f"ricenet.{name}"] for name in DIGESTS if f"ricenet.{name}" in tags}
    return Side(
        name=title,
        modality_set=tags.get(MODALITY_SET, "unknown set"),
        training=tags[SET_KEY],
        predictions=tuple(predictions),
        digests={**known, **_commit(tags)},
        parameters=dict(run.data.params),
        searched=_searched(tags),
    )


def _searched(tags: Mapping[str, str]) -> Searched | None:
    """How a run says that its settings were found; None in runs of earlier versions."""
    return next((found for found in get_args(Searched) if tags.get(SEARCHED) == found), None)


def _of_folds(store: TrackingStore, run: Run, title: str, folder: Path) -> list[Prediction]:
    """The predictions in the runs of a set's folds. Raises ResultError: not of all folds, or damaged."""
    children = [
        child for child in runs_of_set(store, run.data.tags[SET_KEY]).values()
        if child.data.tags.get(PARENT) == run.info.run_id
    ]  # fmt: skip
    predictions: dict[int, list[Prediction]] = {}
    for child in children:
        path = _artifact(store, child, _TRAINING, _PREDICTIONS, folder / child.info.run_id)
        if path is not None:
            predictions[int(child.data.params["fold"])] = _read(path, title)
    expected = run.data.params.get("folds", "all")
    if sorted(predictions) != list(range(int(expected) if expected.isdigit() else -1)) or not predictions:
        held = f"of {len(predictions)} fold(s) only, of {expected}" if predictions else "of none of its folds"
        raise ResultError(
            f"{title} holds held-out predictions {held}: it is still in training, or was stopped. "
            "Finish it with `dvc repro`"
        )
    return first_visits([p for fold in sorted(predictions) for p in predictions[fold]])


def _read(path: Path, title: str) -> list[Prediction]:
    try:
        columns = next(iter(read_rows(path)), {})
        if any(name.startswith("p_") and name != "p_rice" for name in columns):
            raise ResultError(
                f"{title} tells other labels apart than recurrence and rice, which `ricenet compare` knows. "
                "The report compares the sets of one run, whatever their labels (docs/labels.md)"
            )
        return read_predictions(path)
    except (KeyError, ValueError):
        raise ResultError(
            f"{title}: {_PREDICTIONS} of a fold's run is damaged. Publish it again: delete the run and "
            "run `dvc repro -f register`"
        ) from None


def _artifact(store: TrackingStore, run: Run, folder: str, name: str, target: Path) -> Path | None:
    client, path = store.client(), f"{folder}/{name}"
    if path not in {found.path for found in client.list_artifacts(run.info.run_id, folder)}:
        return None
    target.mkdir(exist_ok=True)
    return Path(client.download_artifacts(run.info.run_id, path, str(target)))


def _commit(tags: Mapping[str, str]) -> dict[str, str]:
    return {"commit": tags[COMMIT]} if COMMIT in tags else {}


def _unknown(others: Sequence[Run], given: str, volumes: Volumes) -> str:
    """Why nothing was found, with the likeliest remedy. others: runs of other kinds by this name."""
    for name in volumes.sets:
        if sorted(name.split("+")) == sorted(given.split("+")):
            return f"unknown modality set {given!r}; its name is {name}"
    if others:
        tags = others[0].data.tags
        kind, parent = tags.get(KIND, "another program"), tags.get(PARENT)
        whole = f" ({parent})" if kind == "fold" and parent else ""
        return (
            f"{given!r} is a run of kind {kind!r}, which has no predictions of a whole cross-validation. "
            f"Name the run of a modality set{whole}"
        )
    return (
        f"{given!r} is no modality set ({', '.join(volumes.sets)}), no model (models:/NAME@ALIAS or "
        "models:/NAME/VERSION), and no run of a modality set by its id, at least 8 digits of it, or its "
        "name. `ricenet ui` shows the runs"
    )


def _run_title(run: Run) -> str:
    modality_set, name = run.data.tags.get(MODALITY_SET, "unknown set"), run.info.run_name
    own = "" if name == modality_set else f"{modality_set}, "
    return f"{name} ({own}run {run.info.run_id[:_SHORT]})"


def _day(run: Run) -> str:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC).date().isoformat()
