"""Which MLflow store is used: by params.yaml, by MLFLOW_TRACKING_URI, or the project's own."""

from __future__ import annotations

import functools
import logging
import os
import re
from pathlib import Path

from ricenet.config.validation import address_with_scheme
from ricenet.runtime.errors import RegistryError

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable that names the store where params.yaml does not."""
USER_INFO = re.compile(r"://[^\s'\"]*@")


def chosen_uri(uri: str | None) -> str | None:
    """The address of the store: that of params.yaml, or else of MLFLOW_TRACKING_URI; None: the local store.

    uri: of params.yaml. Where both are set and differ, a line says so, once.
    Raises RegistryError: the variable holds no address with a scheme, or the address holds a password.
    """
    given = os.environ.get(VARIABLE, "").strip() or None
    if uri is None and given is not None:
        try:
            address_with_scheme(given)
        except ValueError as error:
            raise RegistryError(f"{VARIABLE}: {error}, or unset it") from None
    refuse_credentials(given if uri is None else uri, VARIABLE if uri is None else "tracking.uri")
    if differs(uri):
        _say_once(
            f"MLflow: tracking.uri {redacted(str(uri))} of params.yaml counts; {VARIABLE} names another store"
        )
    return given if uri is None else uri


def differs(uri: str | None) -> bool:
    """Whether params.yaml and MLFLOW_TRACKING_URI name two stores. uri: of params.yaml."""
    given = os.environ.get(VARIABLE, "").strip()
    return uri is not None and given != "" and given.rstrip("/") != uri.rstrip("/")


@functools.cache
def _say_once(line: str) -> None:
    logger.warning("%s", line)


def is_server(uri: str | None) -> bool:
    """Whether an address is that of an MLflow server, not of a database."""
    return uri is not None and uri.lower().startswith(("http://", "https://"))


def refuse_credentials(uri: str | None, setting: str = "tracking.uri") -> None:
    """Refuse a server's address that holds a user's name or password, without repeating them.

    setting: where it stands.

    Raises RegistryError.
    """
    if uri is not None and is_server(uri) and "@" in uri:
        raise RegistryError(
            f"{setting} {redacted(uri)} holds a user name or password, which logs and reports would "
            "show. Leave it out up to the @, and set the environment variables MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD instead"
        )


def redacted(text: str) -> str:
    """A text without the user names and passwords of the addresses in it.

    >>> redacted("cannot reach postgresql://ann:secret@db.example.org/runs")
    'cannot reach postgresql://***@db.example.org/runs'
    """
    return USER_INFO.sub("://***@", text)


def address_of(uri: str | None, home: Path) -> str:
    """Where runs are recorded, as MLflow is told. uri: of params.yaml. home: the project's own folder."""
    if uri is None:
        return f"{SQLITE}{home / 'mlflow' / 'mlflow.db'}"
    if uri.startswith(SQLITE):
        return f"{SQLITE}{home / uri.removeprefix(SQLITE)}"
    return uri
