"""What whoever starts the service decides."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.records import Record

TOKEN = "RICENET_SERVE_TOKEN"
"""The environment variable that holds the token by which clients prove themselves."""

LEAST_TOKEN_CHARACTERS = 16
LOCAL_HOSTS = ("127.0.0.1", "localhost")

_Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ServiceSettings(Record):
    """Limits of the service.

    hosts: names under which clients may address it. waiting: cases that may wait beside the one that is
    computed. upload_mb: of one request. upload_seconds, case_seconds, kept_seconds: how long an upload, a
    prediction or explanation, and what is kept of a finished case may last.
    """

    hosts: Annotated[tuple[str, ...], Field(min_length=1)] = LOCAL_HOSTS
    waiting: Annotated[int, Field(ge=0, le=1000)] = 8
    upload_mb: Annotated[float, Field(gt=0, le=16_384)] = 1024.0
    upload_seconds: _Seconds = 600.0
    case_seconds: _Seconds = 1800.0
    kept_seconds: _Seconds = 3600.0

    @property
    def upload_bytes(self) -> int:
        """The largest body of a request."""
        return int(self.upload_mb * 2**20)


def token_of_environment() -> str:
    """The token that clients have to know, taken from the environment, which child processes inherit.

    Raises RicenetError: it is not set, too short, or no text that a header can carry.
    """
    token = os.environ.pop(TOKEN, "")
    remedy = (
        f"Set {TOKEN} to at least {LEAST_TOKEN_CHARACTERS} characters, such as those that "
        '`python -c "import secrets; print(secrets.token_urlsafe(32))"` prints'
    )
    if not token:
        raise RicenetError(f"{TOKEN} is not set, and nobody is served without a token. {remedy}")
    if len(token) < LEAST_TOKEN_CHARACTERS:
        raise RicenetError(f"{TOKEN} has {len(token)} characters, which is too short. {remedy}")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RicenetError(f"{TOKEN} holds blanks or characters that no header can carry. {remedy}")
    return token
