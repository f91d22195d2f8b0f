"""The last failure of a stage or a command, as a support person asks for it: what kind, where, when.

Neither the error's message nor the command's arguments are kept, since both may name patients.
"""

from __future__ import annotations

import contextlib
import traceback
from datetime import UTC, datetime
from pathlib import Path

from ricenet.runtime.files import write_json
from ricenet.runtime.records import Record

LAST_FAILURE = Path("work/last_failure.json")

_SOURCE = Path(__file__).parents[2]
"""The folder that holds the library, and the stages beside it."""


class LastFailure(Record):
    """program: a stage or a command without arguments. kind: the error's class. place: module and line."""

    utc: str
    program: str
    kind: str
    place: str


def note_failure(error: BaseException, program: str, project: Path = Path()) -> None:
    """Write what failed into the project's work folder; outside a project nothing, and never an error."""
    if not (project / "params.yaml").is_file():
        return
    failure = LastFailure(
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        program=program,
        kind=type(error).__name__,
        place=place_of(error),
    )
    # the failure itself may be a full disk
    with contextlib.suppress(OSError):
        write_json(project / LAST_FAILURE, failure.model_dump())


def place_of(error: BaseException) -> str:
    """The innermost line of this project that an error came through, as `ricenet/volume.py:12`."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).absolute()
        if path.is_relative_to(_SOURCE) and path.relative_to(_SOURCE).parts[0] in ("ricenet", "stages"):
            return f"{path.relative_to(_SOURCE).as_posix()}:{frame.lineno}"
    return "outside ricenet"
