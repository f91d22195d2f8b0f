"""MLflow's server as a process that ends with this one."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from ricenet.runtime.errors import ServerError
from ricenet.tracking.server.settings import LOOPBACK, ServerSettings

logger = logging.getLogger(__name__)

START_S, STOP_S, EVERY_S = 180.0, 20.0, 0.2


def run_until_it_ends(
    command: list[str],
    environment: dict[str, str],
    settings: ServerSettings,
    password: str | None,
    ready: Callable[[str], None],
) -> None:
    """Run MLflow's server, call `ready` once it answers, and end it with the block, by force if need be.

    password: of the administrator, tried once. Raises ServerError: it does not start, or ends by itself.
    """
    # a session of its own: Ctrl-C reaches this process alone, which stops MLflow before its database
    process = subprocess.Popen(command, env=environment, start_new_session=True, cwd=Path("/"))
    try:
        _wait_until_it_answers(process, settings)
        if settings.host not in LOOPBACK:
            logger.warning("without TLS passwords travel readably: put a proxy before it (docs/server.md)")
        if password is not None and not _signs_in(settings, password):
            logger.warning(
                "the password in the environment is not that of the user %s, which was set before",
                settings.admin,
            )
        ready(settings.address)
        status = process.wait()
    finally:
        _stop(process)
    raise ServerError(f"MLflow's server stopped by itself (status {status}); its last lines above say why")


def _wait_until_it_answers(process: subprocess.Popen[bytes], settings: ServerSettings) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{settings.address}/health", timeout=5):
            return
        if time.monotonic() > end:
            raise ServerError(f"MLflow's server does not answer after {START_S:.0f} s; try again")
        time.sleep(EVERY_S)
    raise ServerError(
        f"MLflow's server does not start (status {process.returncode}); its last lines above say why"
    )


def _signs_in(settings: ServerSettings, password: str) -> bool:
    request = urllib.request.Request(f"{settings.address}/api/2.0/mlflow/users/current")
    credentials = base64.b64encode(f"{settings.admin}:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 401


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End MLflow and its workers, by force where they do not end in time."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        logger.warning("MLflow's server does not end; it is stopped by force")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, and let neither interrupt what is done at its end."""
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in stopping}

    def end(_number: int, _frame: object) -> None:
        for number in stopping:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in stopping:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
