"""Sweeping the store: what no stage's last run asked for goes, and what killed runs left half written."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import locked, read_known
from ricenet.runtime.store import IN_USE, LOCKS, STAGE_LOCK, STORE
from ricenet.runtime.temporary import clear, found_left_behind

_KEY = re.compile(r"[0-9a-f]{64}")

_DAY_S = 86_400


@dataclass(frozen=True)
class Sweep:
    """What was swept, or would be, in one kind of results. left_behind: by killed runs."""

    kind: str
    kept: int
    unused: tuple[Path, ...]
    left_behind: tuple[Path, ...]
    freed_bytes: int


def sweep(project: Path, *, older_than_days: float = 0.0, dry_run: bool = False) -> list[Sweep]:
    """Delete what no stage's last run asked for, and temporary files, that are older than some days.

    A kind of results whose stage has not said yet what it uses is kept whole.
    Raises StoreError: a stage is running, or there is no store.
    """
    store = project / STORE
    if not store.is_dir():
        raise StoreError(
            f"{STORE} is not here: run the command in the project's folder, after its first `dvc repro`"
        )
    before_s = time.time() - older_than_days * _DAY_S
    try:
        with locked(store / STAGE_LOCK, wait=False):
            kinds = sorted(path for path in store.iterdir() if path.is_dir())
            swept = [_sweep_kind(kind, before_s, dry_run) for kind in kinds]
            return [*swept, _sweep_left_behind(project, before_s, dry_run)]
    except BlockingIOError:
        raise StoreError("a stage is running and may use any result: sweep when it has finished") from None


def _sweep_kind(kind: Path, before_s: float, dry_run: bool) -> Sweep:
    entries = list(_entries(kind))
    used = _keys_in_use(kind)
    unused = [e for e in entries if used is not None and e.name not in used and _is_older(e, before_s)]
    freed = _size_bytes(unused)
    if not dry_run:
        _delete(unused)
        shutil.rmtree(kind / LOCKS, ignore_errors=True)
    return Sweep(kind.name, len(entries) - len(unused), tuple(unused), (), freed)


def _sweep_left_behind(project: Path, before_s: float, dry_run: bool) -> Sweep:
    old = [path for path in found_left_behind(project) if _is_older(path, before_s)]
    freed = _size_bytes(old)
    if not dry_run:
        # somebody may have cleared it in the meantime
        old = [path for path in old if clear(path)]
    return Sweep("temporary files", 0, (), tuple(old), freed)


def _entries(kind: Path) -> Iterator[Path]:
    """Results lie by their key, or by it in a folder named after its first two digits."""
    for path in sorted([*kind.glob("*"), *kind.glob("??/*")]):
        if path.is_dir() and _KEY.fullmatch(path.name):
            yield path


def _keys_in_use(kind: Path) -> set[str] | None:
    known = read_known(kind / IN_USE, list)
    return None if known is None else set(known)


def _is_older(path: Path, before_s: float) -> bool:
    return path.stat().st_mtime <= before_s


def _size_bytes(paths: Iterable[Path]) -> int:
    """What deleting frees: a file that another folder links stays."""
    files = (f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file())
    return sum(f.stat().st_size for f in files if f.stat().st_nlink == 1)


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
