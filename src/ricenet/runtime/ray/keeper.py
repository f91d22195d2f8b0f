"""The process beside the driver that keeps what workers send: files of their tasks, and lines for the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.ray.travel import Changes, Files, apply, read_folder


@dataclass(frozen=True)
class Line:
    """One line of a worker's log."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True)
class Ticket:
    """Which task, by position, and which attempt at it, from 1; the latest counts."""

    position: int
    attempt: int


class SupersededError(RicenetError):
    """A worker that was given up for lost is still at work; its task has begun elsewhere."""


class Keeper:
    """Keeps what the latest attempt at each task sends, in the tasks' folders.

    A machine may be cut off and come back: what an attempt sends after another one has begun is refused.
    """

    def __init__(self, folders: Sequence[Path | None]) -> None:
        self._folders = folders
        self._latest: dict[int, tuple[int, str]] = {}
        self._lines: list[Line] = []

    def begin(self, ticket: Ticket, node: str) -> Files:
        """From now on this attempt counts. Returns what earlier ones have left."""
        self._require_latest(ticket, beginning=True)
        self._latest[ticket.position] = ticket.attempt, node
        folder = self._folders[ticket.position]
        return Files() if folder is None else read_folder(folder)

    def take(self, ticket: Ticket, changes: Changes | None, lines: Sequence[Line]) -> None:
        """Repeat what changed in the task's folder.

        Raises SupersededError; RicenetError: the folder cannot be written.
        """
        self._require_latest(ticket)
        self._lines += lines
        folder = self._folders[ticket.position]
        if folder is None or changes is None:
            return
        try:
            apply(changes, folder)
        except OSError as error:
            raise RicenetError(
                f"what a worker sent cannot be kept on the driver's machine ({error.strerror}): make room or "
                "give the folder to the user who started Ray there, and run again; what came before is kept"
            ) from None

    def hear(self) -> list[Line]:
        """The lines that came since this was last asked."""
        lines, self._lines = self._lines, []
        return lines

    def node_of(self, ticket: Ticket) -> str | None:
        """Where an attempt began, None if it did not."""
        attempt, node = self._latest.get(ticket.position, (0, ""))
        return node if attempt == ticket.attempt else None

    def _require_latest(self, ticket: Ticket, beginning: bool = False) -> None:
        latest, _ = self._latest.get(ticket.position, (0, ""))
        if ticket.attempt < latest or not (beginning or ticket.attempt == latest):
            raise SupersededError("this task has begun again on another node")
