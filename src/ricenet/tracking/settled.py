"""Answers of the project's own MLflow store that still hold, since nothing that they depend on has changed.

Loading MLflow and opening its database take seconds, looking at what changed takes hundredths of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ricenet.config.params import PARAMS_FILE, TrackingParams
from ricenet.runtime.files import read_known, write_json
from ricenet.runtime.formats import FIRST
from ricenet.runtime.git import home_of
from ricenet.tracking.address import chosen_uri

T = TypeVar("T")

MEMORY = Path("work") / "settled"
CODE = Path(__file__).parents[1]
TRIES = 2
CHAMPIONS = Path("work") / "champions.json"
"""Modality set -> the digest of its champion, as the stage `resolve` found it."""
ENSEMBLES = Path("work") / "store" / "ensembles"
"""Ensembles that were fetched, by their digests."""
NO_CHAMPION = (
    "No champion yet: compare the runs with `make ui`, then `ricenet promote MODALITY_SET` and `dvc repro`"
)


def unless_unchanged(name: str, uri: str | None, seen: Sequence[Path], ask: Callable[[], T]) -> T:
    """What `ask` answers, or answered when all that it sees was as it is now.

    name: under which the answer, which JSON has to hold, is remembered below the working folder. uri: of
    params.yaml; whatever is not the project's own store is asked each time. seen: what the answer depends
    on beside the store and the code; missing files count as such.

    An answer is remembered only if nothing changed while it was given: whoever promotes a model
    meanwhile is heard the next time. A first answer that itself wrote into the store is therefore asked
    for once more.
    """
    if chosen_uri(uri) is not None:
        return ask()
    # not all of mlflow/, where a server of other projects may work too
    own = [home_of(Path()) / "mlflow" / name for name in ("mlflow.db", "mlflow.db-wal", "artifacts")]
    path, seen = MEMORY / f"{name}.json", [*own, CODE, *seen]
    state = state_of(seen)
    known: dict[str, Any] = read_known(path, dict) or {}
    if known.get("state") == state and "answer" in known:
        answer: T = known["answer"]
        return answer
    for _ in range(TRIES):
        answer = ask()
        before, state = state, state_of(seen)
        if state == before:
            write_json(path, {"state": state, "answer": answer})
            break
    return answer


def settled_champions(tracking: TrackingParams) -> dict[str, dict[str, str]]:
    """Modality set -> the digest of its champion, and the champion in words (`said`)."""
    return unless_unchanged("champions", tracking.uri, [Path(PARAMS_FILE)], lambda: _champions(tracking))


def _champions(tracking: TrackingParams) -> dict[str, dict[str, str]]:
    # they take as long to load as all else that an unchanged project needs
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.register_models import bring_champions_back
    from ricenet.tracking.registry import champions

    store = open_store(Path(), tracking.uri, tracking.experiment)
    known = read_known(CHAMPIONS, dict) or {}
    former = FIRST.content(known, CHAMPIONS.name, "Delete it, and run `dvc repro`")
    bring_champions_back(Path(), store, tracking.model_prefix, former)
    found = champions(store, tracking.model_prefix)
    return {name: {"digest": ensemble.digest, "said": str(ensemble)} for name, ensemble in found.items()}


def state_of(places: Sequence[Path]) -> str:
    """A digest of the names, sizes and times of change of files, folders being read to their end.

    Locks and compiled code, which come and go by themselves, do not count.
    """
    digest = hashlib.sha256()
    for place in places:
        for path, size, changed in sorted(_files(place)):
            digest.update(f"{path}\0{size}\0{changed}\n".encode())
    return digest.hexdigest()


def _files(place: Path) -> Iterator[tuple[str, int, int]]:
    # journals of a database, and whatever others write meanwhile, come and go
    with contextlib.suppress(FileNotFoundError):
        found = place.stat()
        if stat.S_ISREG(found.st_mode):
            yield str(place), found.st_size, found.st_mtime_ns
        elif stat.S_ISDIR(found.st_mode):
            for path in place.iterdir():
                if path.suffix != ".lock" and path.name != "__pycache__":
                    yield from _files(path)
