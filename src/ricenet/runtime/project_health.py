"""How a project's folder is: questions of `ricenet doctor` that read little and change nothing."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from ricenet.runtime.files import locked, read_json
from ricenet.runtime.git import CODE, has_changes, head_commit
from ricenet.runtime.last_failure import LAST_FAILURE, LastFailure
from ricenet.runtime.probe import Answer, place_text, sizes_text
from ricenet.runtime.store import CONTENTS, STAGE_LOCK, STORE
from ricenet.runtime.store_share import DVC_CONFIG
from ricenet.runtime.temporary import PARTIAL, is_held

LEAST_FREE_BYTES = 2e9
"""Below this a stage may end in the middle; the demo writes 5.5 GB in all."""

SECRETS = {
    "access_key_id",
    "secret_access_key",
    "session_token",
    "password",
    "token",
    "sas_token",
    "account_key",
}
"""Options of a remote that belong in .dvc/config.local, which git ignores."""

STORE_SECONDS = 1.0
"""What looking at the store may take; of a large one a part is looked at, and the answer says so."""


def commit(project: Path) -> Answer:
    """Which commit is checked out, and whether the code differs from it."""
    head = head_commit(project)
    if head is None:
        return Answer("no git repository here", "absent")
    changed = has_changes(project, *CODE, "params.yaml", "dvc.yaml")
    return Answer(head[:12] + (", with changes in code, params.yaml or dvc.yaml" if changed else ""))


def disk(project: Path) -> Answer:
    """Room for what stages write."""
    free = shutil.disk_usage(project).free
    if free < LEAST_FREE_BYTES:
        return Answer(f"{sizes_text(free)} free: make room (ricenet store gc)", "attention")
    return Answer(f"{sizes_text(free)} free")


def permission(folder: Path, *, write: bool = True) -> Answer:
    """Whether a folder is there and may be used."""
    where = place_text(folder)
    if not os.path.lexists(folder):
        return Answer(f"{where} is not there", "absent" if write else "attention")
    if not folder.is_dir():
        return Answer(f"{where} is no folder, or a link that leads nowhere", "attention")
    needed = os.R_OK | os.X_OK | (os.W_OK if write else 0)
    mode = f"mode {folder.stat().st_mode & 0o7777:04o}"
    if not os.access(folder, needed):
        kind = "writable" if write else "readable"
        return Answer(f"{where} is not {kind} for you ({mode}): give it to your user", "attention")
    if write and shutil.disk_usage(folder).free == 0:
        return Answer(f"{where} is on a full disk", "attention")
    return Answer(f"{where}, {mode}")


def store(project: Path) -> Answer:
    """Entries and size of the store, and entries that lack a file; their bytes are checked when used."""
    root = project / STORE
    if not root.is_dir():
        return Answer(f"{STORE} is not there: nothing was computed yet", "absent")
    until, size, entries, broken, partial = time.monotonic() + STORE_SECONDS, 0, 0, 0, 0
    complete = True
    for folder in _entries(root):
        if time.monotonic() > until:
            complete = False
            break
        if folder.name.startswith(PARTIAL):
            partial += not is_held(folder)
            continue
        entries += 1
        size += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        broken += not _is_whole(folder)
    text = f"{STORE}: {'' if complete else 'more than '}{entries} result(s), {sizes_text(size)}"
    if partial:
        text += f", {partial} left behind by killed runs (ricenet store gc)"
    if broken:
        return Answer(f"{text}, {broken} of them damaged: they are made again when needed", "attention")
    return Answer(text)


def running(project: Path) -> Answer:
    """Whether a stage is running at the moment."""
    lock = project / STORE / STAGE_LOCK
    if not lock.is_file():
        return Answer("no stage has run here", "absent")
    try:
        with locked(lock, wait=False):
            return Answer("no stage is running")
    except BlockingIOError:
        return Answer("a stage is running now")


def pipeline(project: Path) -> Answer:
    """How far DVC is, by its lock file; `dvc status` says what has changed since, which takes longer."""
    if not (project / "dvc.yaml").is_file():
        return Answer("no dvc.yaml here", "absent")
    if not (project / ".dvc").is_dir():
        return Answer("dvc.yaml, but no folder .dvc: git clone brings it, or dvc init", "attention")
    stages, done = stages_of(project / "dvc.yaml"), stages_of(project / "dvc.lock")
    lacking = [name for name in stages if name not in done]
    text = f"{len(stages) - len(lacking)} of {len(stages)} stages have run"
    return Answer(f"{text}, the next is {lacking[0]}" if lacking else text)


def remote(project: Path) -> Answer:
    """Whether DVC's remotes are set up so that damage is noticed and no secret lies in git."""
    shared, own = ConfigParser(interpolation=None), ConfigParser(interpolation=None)
    shared.read(project / DVC_CONFIG)
    own.read([project / DVC_CONFIG, (project / DVC_CONFIG).with_name("config.local")])
    remotes = [own[name] for name in own.sections() if name.startswith("'remote ")]
    if not remotes:
        return Answer("DVC has no remote", "absent")
    text = f"{len(remotes)} of DVC"
    if any(option in SECRETS for name in shared.sections() for option in shared[name]):
        return Answer(
            f"{text}; .dvc/config holds a password or key: move it to .dvc/config.local", "attention"
        )
    if any(section.get("verify") != "true" for section in remotes):
        return Answer(f"{text}; damage is not noticed: dvc remote modify NAME verify true", "attention")
    return Answer(f"{text}, files are verified as they arrive")


def last_failure(project: Path) -> Answer:
    """What failed last, by class and place."""
    if not (project / LAST_FAILURE).is_file():
        return Answer("none is noted", "absent")
    failure = LastFailure.read(project / LAST_FAILURE, "")
    return Answer(f"{failure.utc}, {failure.program}: {failure.kind} at {failure.place}")


def _entries(root: Path) -> Iterator[Path]:
    """Folders of results, and what killed runs left of some."""
    for folder in (path for kind in root.iterdir() if kind.is_dir() for path in kind.rglob("*")):
        is_entry = folder.name.startswith(PARTIAL) or re.fullmatch("[0-9a-f]{64}", folder.name)
        # empty files of the same names are locks
        if is_entry and folder.is_dir():
            yield folder


def _is_whole(folder: Path) -> bool:
    """Whether the files are there that an entry lists; a training that goes on lists none yet."""
    if not (folder / CONTENTS).exists():
        return True
    try:
        return all((folder / name).is_file() for name in read_json(folder / CONTENTS))
    except (OSError, ValueError, TypeError):
        return False


def stages_of(path: Path) -> list[str]:
    """Names of stages in dvc.yaml or dvc.lock, in its order; none where it is missing.

    Read as text, for its two first levels are plain.
    """
    if not path.is_file():
        return []
    _, _, text = path.read_text(encoding="utf-8").partition("stages:\n")
    return re.findall(r"^  ([\w-]+):$", text, re.MULTILINE)
