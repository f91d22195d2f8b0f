"""A content-addressed store of finished results: one folder a key, complete or absent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ricenet.files import atomic_folder


@dataclass(frozen=True)
class Store:
    """Results by content key below `root`; a key's folder appears by one rename when it is complete."""

    root: Path

    def path(self, key: str) -> Path:
        """Where the result of a key lies or would lie."""
        return self.root / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the result of a key is there."""
        return self.path(key).is_dir()

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A temporary folder that becomes the key's result when the block ends well."""
        with atomic_folder(self.path(key)) as folder:
            yield folder
