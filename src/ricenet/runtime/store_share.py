"""Holding each large file once: in DVC's cache, with links in the store, in what is laid out from it, and in
MLflow's local artifacts.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
from configparser import ConfigParser
from pathlib import Path

from ricenet.runtime.store import STORE
from ricenet.runtime.temporary import partial_folder

DVC_CONFIG = Path(".dvc") / "config"
CACHE = Path(".dvc") / "cache" / "files" / "md5"
ARTIFACTS = Path("mlflow") / "artifacts"
LAID_OUT = Path("work") / "preprocessed"
"""Links into the store, which DVC replaces by copies beside a cohort of one's own."""
LEAST_BYTES = 65536
"""Smaller files are not worth a look."""


def links_are_allowed(project: Path) -> bool:
    """Whether the project's .dvc/config lets DVC lay files out as hard links."""
    config = ConfigParser()
    config.read(project / DVC_CONFIG)
    return "hardlink" in config.get("cache", "type", fallback="")


def share_with_cache(project: Path) -> int:
    """Replace files of the store, of preprocessing and of MLflow by links to equal ones of DVC's cache.

    Returns the bytes freed.
    """
    cache, store = project / CACHE, project / STORE
    files = (path for place in (store, project / LAID_OUT, project / ARTIFACTS) for path in place.rglob("*"))
    large = [path for path in files if path.is_file() and path.lstat().st_size >= LEAST_BYTES]
    store.mkdir(parents=True, exist_ok=True)
    return sum(_share(path, cache, store) for path in large)


def _share(path: Path, cache: Path, store: Path) -> int:
    # DVC names what it caches by MD5
    with path.open("rb") as stream:
        name = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    cached, found = cache / name[:2] / name[2:], path.stat()
    # the cache may be damaged, whatever its file is called
    if not cached.is_file() or cached.samefile(path) or not filecmp.cmp(path, cached, shallow=False):
        return 0
    # not beside it, where it would be taken for a file of the entry
    with partial_folder(store) as folder:
        try:
            os.link(cached, folder / path.name)
        except OSError:  # another disk, or one without links
            return 0
        (folder / path.name).replace(path)
    return found.st_size if found.st_nlink == 1 else 0
