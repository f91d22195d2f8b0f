"""How an MLflow server is started: its settings, and the administrator's password from the environment."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ricenet.runtime.errors import ServerError
from ricenet.tracking.server.server_folder import DatabaseKind

PASSWORDS = ("RICENET_SERVER_PASSWORD", "MLFLOW_TRACKING_PASSWORD")
"""Environment variables that may hold the administrator's password; the first that is set counts."""
LEAST_PASSWORD = 12
SIGN_IN_KEPT_S = 60
"""So long a checked password is taken again without hashing it: logging is ten times as fast. A password that
was withdrawn may live as long in workers other than the one that withdrew it."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Permission = Literal["READ", "EDIT", "MANAGE", "NO_PERMISSIONS"]


class ServerSettings(BaseModel):
    """Of one start.

    database: None for what the server was made with, or for a new one PostgreSQL where it is installed, else
    sqlite. artifacts: an s3:// address for a new server, or None for its folder. allowed_hosts: names by
    which browsers and programs may ask for it; none for MLflow's own choice, this computer and private
    networks. workers: None for 1 with sqlite, which takes one writer at a time, and 2 with PostgreSQL.
    permission: what each user may do with others' experiments and models, unless told otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 5000
    database: DatabaseKind | None = None
    artifacts: Annotated[str, Field(pattern=r"^s3://[A-Za-z0-9.-]+(/[^@\s]*)?$")] | None = None
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.*\[\]:_-]+$")], ...] = ()
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    permission: Permission = "READ"
    admin: Annotated[str, Field(min_length=1)] = "admin"
    upgrade: bool = False

    @property
    def reached_at(self) -> str:
        """The host by which this computer itself reaches the server."""
        if self.host == "::1":
            return "[::1]"
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host

    @property
    def address(self) -> str:
        """The page's address on this computer."""
        return f"http://{self.reached_at}:{self.port}"

    def hosts_and_origins(self) -> tuple[list[str], list[str]]:
        """What MLflow's checks of the headers Host and Origin take; nothing for MLflow's own choice.

        A name stands for itself with any port, and for pages that a proxy serves under it with TLS.
        """
        if not self.allowed_hosts:
            return [], []
        names = dict.fromkeys((*self.allowed_hosts, "localhost", self.reached_at))
        hosts = [form for name in names for form in ((name,) if _has_port(name) else (name, f"{name}:*"))]
        return hosts, [f"{scheme}://{name}" for name in self.allowed_hosts for scheme in ("https", "http")]


def admin_password() -> str | None:
    """The administrator's password; None where no variable holds one.

    Raises ServerError: it is too short.
    """
    for variable in PASSWORDS:
        if password := os.environ.get(variable):
            if len(password) < LEAST_PASSWORD:
                raise ServerError(
                    f"{variable} holds {len(password)} characters; expected at least {LEAST_PASSWORD}. "
                    "Choose a longer password"
                )
            return password
    return None


def require_password(password: str | None) -> str:
    """The password that a new server needs. Raises ServerError: there is none."""
    if password is None:
        raise ServerError(
            f"the server has no administrator yet, and neither {PASSWORDS[0]} nor {PASSWORDS[1]} is set. Set "
            f"one of these environment variables to a password of at least {LEAST_PASSWORD} characters; none "
            "is shipped"
        )
    return password


def _has_port(name: str) -> bool:
    return name.rpartition("]")[2].count(":") == 1
