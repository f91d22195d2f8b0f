"""Errors of the program in commands that read what identifies patients."""

from __future__ import annotations

import sys
from types import TracebackType

from ricenet.runtime.errors import RicenetError


class PrivateErrors:
    """A block whose errors identify nobody, whatever file or function they come from.

    RicenetErrors pass, for they are written so. Of what the file system refuses the reason is told, without
    the file's name; of all others kind and frames, without the message.
    """

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise SystemExit in place of an error that no part of the program foresaw."""
        if not isinstance(error, Exception) or isinstance(error, RicenetError | BrokenPipeError):
            return
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            told = f"a file or folder could not be read or written ({reason}). Mend the cause, and try again"
        else:
            from ricenet.runtime.execution import trace_without_messages

            sys.stderr.write(f"{trace_without_messages(error)}\n")
            told = f"an unforeseen {type(error).__name__}, a fault of the program. Report the lines above"
        sys.stderr.write(f"error: {told}\n")
        raise SystemExit(1) from None
