"""What the file system refuses, told without the paths that its own errors carry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ricenet.runtime.errors import CohortError


@contextlib.contextmanager
def file_errors_told(failed: str) -> Iterator[None]:
    """Tell a full disk, missing rights and the like. failed: what did, such as `map.csv: cannot be written`.

    Raises CohortError: in place of an OSError, whose text holds paths that may name patients.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CohortError(f"{failed} ({reason}). Mend the cause, and give the same command again") from None
