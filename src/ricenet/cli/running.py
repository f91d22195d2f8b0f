"""What commands and stages share: logging to stderr, and errors without a traceback."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import typer

from ricenet.project.installed_code import require_recorded_code
from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import locked
from ricenet.runtime.full_disk import MAKE_ROOM, NO_ROOM, no_room_found
from ricenet.runtime.last_failure import note_failure
from ricenet.runtime.private_modes import close_folders, written_privately
from ricenet.runtime.stage_times import timed
from ricenet.runtime.store import STAGE_LOCK, STORE
from ricenet.runtime.strict_json import JsonError
from ricenet.runtime.temporary import WRITTEN, clear, left_behind

logger = logging.getLogger(__name__)

_CLI = Path(__file__).parent


def log_to_stderr() -> None:
    """Send the project's log lines to stderr, leaving stdout to results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("ricenet")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def mendable_errors(program: str | None = None) -> Iterator[None]:
    """Turn a RicenetError, or what the file system refuses, into a message on stderr and exit status 1.

    What failed is noted for `ricenet doctor`. program: by default the command.
    """
    try:
        with written_privately():
            yield
    except (BrokenPipeError, typer.Exit, typer.Abort, typer.BadParameter):
        # whoever read the output has gone, or the command says itself what is wrong
        raise
    except RicenetError as error:
        note_failure(error, program or _command(error))
        told = str(error)
    except JsonError as error:
        note_failure(error, program or _command(error))
        name = next(iter(getattr(error, "__notes__", ())), "a file")
        told = f"{name} {error}. Restore it, or delete it and run again where a stage made it"
    except OSError as error:
        note_failure(error, program or _command(error))
        # the name alone: where a file lies may say whose it is
        name = Path(error.filename).name if isinstance(error.filename, str) else "a file"
        if error.errno in NO_ROOM:
            told = f"{no_room_found(error)}. {MAKE_ROOM}"
        else:
            reason = error.strerror or type(error).__name__
            told = f"{name}: {reason}. Name a place that exists and is yours to use"
    except Exception as error:
        note_failure(error, program or _command(error))
        raise
    else:
        return
    sys.stderr.write(f"error: {told}\n")
    raise SystemExit(1)


def _command(error: BaseException) -> str:
    """The command that failed, by its function: its arguments may name patients."""
    frames = traceback.extract_tb(error.__traceback__)
    names = [f.name for f in frames if Path(f.filename).parent == _CLI and f.filename != __file__]
    return f"command {names[0]}" if names else "command"


class PrivateErrors:
    """A block whose errors identify nobody, whatever file or function they come from.

    RicenetErrors pass, for they are written so. Of what the file system refuses the reason is reported,
    without the file's name; of all others kind and frames, without the message.
    """

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise SystemExit in place of an error that no part of the program foresaw."""
        if not isinstance(error, Exception) or isinstance(error, RicenetError | BrokenPipeError):
            return
        note_failure(error, _command(error))
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            message = (
                f"a file or folder could not be read or written ({reason}). Mend the cause, and try again"
            )
        else:
            from ricenet.runtime.execution import trace_without_messages

            sys.stderr.write(f"{trace_without_messages(error)}\n")
            message = f"an unforeseen {type(error).__name__}, a fault of the program. Report the lines above"
        sys.stderr.write(f"error: {message}\n")
        raise SystemExit(1) from None


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's main function from the project's folder, as DVC does."""
    log_to_stderr()
    try:
        # held by all running stages together, so that nothing is swept from under them
        stage = Path(main.__code__.co_filename).stem
        with (
            mendable_errors(f"stage {stage}"),
            locked(STORE / STAGE_LOCK, shared=True),
            timed(stage),
        ):
            require_recorded_code(Path())
            close_folders(Path())
            _clear_left_behind()
            main()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what is done is kept, and `dvc repro` goes on from there\n")
        # as shells have it for a program that Ctrl-C ended
        raise SystemExit(130) from None


def _clear_left_behind() -> None:
    """Clear what killed runs left half written; what a living process holds stays."""
    if cleared := sum(clear(path) for folder in WRITTEN for path in left_behind(Path(folder))):
        logger.info("%d temporary file(s) or folder(s) of killed runs are cleared", cleared)
