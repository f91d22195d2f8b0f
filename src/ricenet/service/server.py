"""Running the service: the socket, the worker, the web server, and an end that leaves nothing behind."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.runtime.errors import RicenetError
from ricenet.service.case_work import CaseWork
from ricenet.service.cases import open_cases
from ricenet.service.settings import ServiceSettings
from ricenet.training.ensemble_record import read_record

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

_CONNECTIONS = 128
_GRACE_SECONDS = 5


def run_service(
    project: Path, work: CaseWork, settings: ServiceSettings, token: str, host: str, port: int
) -> None:
    """Serve until the process is told to end.

    project: its folder; temporary files lie in work/service. work: of the model.
    Raises RicenetError: the address is taken or not this machine's, or the model cannot be loaded.
    """
    import uvicorn

    from ricenet.service.access import Service
    from ricenet.service.app import build_app
    from ricenet.service.served_model import model_answer
    from ricenet.service.submission import Fields

    record = read_record(work.predictor.files)
    fields = Fields.of(record)
    with _listening(host, port) as listener, _ended_by_signal():
        logger.info("loading %s version %s (digest %s)", *_named(work))
        with _told_at_the_end(), open_cases(project, work, settings) as cases:
            app = build_app(Service(cases, token, model_answer(work, record, settings), fields))
            shown = f"[{host}]" if ":" in host else host
            logger.info("ready: http://%s:%d/ (Ctrl-C stops it)", shown, port)
            uvicorn.Server(uvicorn_settings(app)).run(sockets=[listener])


def uvicorn_settings(app: ASGIApp) -> uvicorn.Config:
    """How the web server runs the application."""
    import uvicorn

    return uvicorn.Config(
        app,
        # its own log would hold paths, queries and messages of errors
        access_log=False,
        log_config=None,
        log_level="critical",
        server_header=False,
        lifespan="off",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


@contextmanager
def _told_at_the_end() -> Iterator[None]:
    try:
        yield
    finally:
        logger.info("stopped; every case is removed")


def _named(work: CaseWork) -> tuple[str, str, str]:
    return work.origin["model"], work.origin["version"], work.origin["digest"][:12]


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address; asked for before the model is loaded, which takes long."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RicenetError(
            f"cannot listen at {host}, port {port}: {reason}. Choose another --port, or an address of this "
            "machine as --host"
        ) from None
    with listener:
        yield listener


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the process by way of every `finally`, as Ctrl-C does."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        # uvicorn raises it again once it has ended by it
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
