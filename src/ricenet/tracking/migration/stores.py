"""What both sides of a migration hold, and by what an entry of one is known in the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from ricenet.runtime.errors import RegistryError
from ricenet.tracking.address import SQLITE
from ricenet.tracking.connection import REBUILD, TrackingStore
from ricenet.tracking.runs import KEY, PARENT, PUBLISHED, SET_KEY, search_runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

MIGRATED_FROM = "ricenet.migrated_from"
"""Tag of what was copied: the id of its source."""
WHOLE = "ricenet.migrated"
"""Tag of what was copied to its end."""
PER_CALL = 100


def own_store_uri(project_home: Path) -> str:
    """The address of the project's own store. Raises RegistryError: there is none."""
    database = project_home / "mlflow" / "mlflow.db"
    if not database.is_file():
        raise RegistryError(
            "mlflow/mlflow.db is not there, so there is nothing to migrate. Run the command in the folder of "
            "the project whose runs are to be copied"
        )
    return f"{SQLITE}{database}"


def parents_first(runs: Sequence[Run]) -> list[Run]:
    """The runs, each behind the one that it lies below."""
    parents = {run.info.run_id: run.data.tags.get(PARENT) for run in runs}

    def depth(run_id: str | None) -> int:
        seen: list[str] = []
        while run_id in parents and run_id not in seen:
            seen.append(str(run_id))
            run_id = parents[str(run_id)]
        return len(seen)

    return sorted(runs, key=lambda run: depth(run.info.run_id))


class Counterparts:
    """Which runs of an experiment on the server stand for which of the project's own.

    Either they were copied from them, or `register` published the same content there.
    """

    def __init__(self, target: TrackingStore | None) -> None:
        runs = [] if target is None else search_runs(target, "")
        self._copies: dict[str, list[Run]] = defaultdict(list)
        self._published: dict[tuple[str, str], Run] = {}
        for run in runs:
            tags = run.data.tags
            if MIGRATED_FROM in tags:
                self._copies[tags[MIGRATED_FROM]].append(run)
            if KEY in tags:
                self._published.setdefault((tags.get(SET_KEY, ""), tags[KEY]), run)

    def of(self, source: Run) -> Run | None:
        """The run on the server that stands for one; None where there is none."""
        tags = source.data.tags
        copies = sorted(self._copies.get(source.info.run_id, ()), key=lambda run: WHOLE not in run.data.tags)
        return copies[0] if copies else self._published.get((tags.get(SET_KEY, ""), tags.get(KEY, "")))

    def surplus(self) -> list[Run]:
        """Copies of a run beside the first: an answer was lost on its way, and the request repeated."""
        by_state = (
            sorted(runs, key=lambda run: WHOLE not in run.data.tags) for runs in self._copies.values()
        )
        return [run for runs in by_state for run in runs[1:]]


def is_whole(source: Run, target: Run) -> bool:
    """Whether a run on the server needs nothing from its source; one that `register` began, it also ends."""
    tags = target.data.tags
    if WHOLE in tags or MIGRATED_FROM not in tags:
        return True
    return PUBLISHED in tags and tags[PUBLISHED] == source.data.tags.get(PUBLISHED)


def artifact_folder(location: str | None, what: str, needed: bool) -> Path | None:
    """The folder of artifacts at a file:// address; None where there are none.

    needed: something says that there are. Raises RegistryError: there are, and the folder is gone.
    """
    address = urlparse(location or "")
    folder = Path(unquote(address.path)) if address.scheme == "file" else None
    if folder is not None and folder.is_dir():
        return folder
    if needed:
        raise RegistryError(f"the files of {what} are not in mlflow/artifacts. {REBUILD}, then migrate again")
    return None


def files_below(folder: Path | None) -> list[Path]:
    """All files of a run or model."""
    return [] if folder is None else sorted(path for path in folder.rglob("*") if path.is_file())


def logged_models(store: TrackingStore) -> list[LoggedModel]:
    """All models that runs of an experiment have logged."""
    client, token = store.client(), None
    found: list[LoggedModel] = []
    while True:
        page = client.search_logged_models([store.experiment_id], max_results=PER_CALL, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def registered_models(store: TrackingStore) -> Iterator[tuple[RegisteredModel, list[ModelVersion]]]:
    """Every registered model of a store with its versions, oldest first."""
    client, token = store.client(), None
    while True:
        page = client.search_registered_models(max_results=PER_CALL, page_token=token)
        for model in page:
            found = client.search_model_versions(f"name = '{model.name}'", max_results=1000)
            yield model, sorted(found, key=lambda version: int(version.version))
        token = page.token
        if not token:
            return


def by_tag(entries: Sequence[LoggedModel], tag: str) -> Mapping[str, LoggedModel]:
    """Models by the value of a tag, those that have it."""
    return {model.tags[tag]: model for model in entries if tag in model.tags}
