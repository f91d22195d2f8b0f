"""The folder of an MLflow server: what lies where, what it was made with, and its generated secrets."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from ricenet.runtime.errors import ServerError
from ricenet.runtime.files import make_folder, put_in_place, read_json, write_json
from ricenet.runtime.strict_json import JsonError
from ricenet.runtime.temporary import partial_file

FORMAT = 1
"""Of a server's folder and of its backups; one of a later number was made by a later ricenet."""

DatabaseKind = Literal["postgresql", "sqlite"]
RUNS, USERS = "mlflow", "mlflow_users"
"""Databases in PostgreSQL, and the role's name: the first."""


class ServerRecord(BaseModel):
    """What a server was made with, which a later start keeps to.

    artifacts: the address of S3-compatible storage; None: a folder beside the database.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    database: DatabaseKind
    artifacts: str | None = None


@dataclass(frozen=True)
class ServerFolder:
    """Names of what a server's folder holds."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The folder with its absolute name, which other processes are told."""
        return cls(path.absolute())

    @property
    def record(self) -> Path:
        """What the server was made with; written last, so that a folder with one is complete."""
        return self.path / "server.json"

    @property
    def lock(self) -> Path:
        """Held by whoever uses the folder. Beside it, since a restored folder takes its place."""
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def cluster(self) -> Path:
        """PostgreSQL's files, log and socket."""
        return self.path / "postgresql"

    @property
    def password_file(self) -> Path:
        """The generated password of PostgreSQL's role, as libpq reads it: so it stands in no address."""
        return self.path / "pgpass"

    @property
    def secret_key(self) -> Path:
        """With which MLflow signs the forms of its sign-in."""
        return self.path / "secret_key"

    @property
    def sign_in(self) -> Path:
        """The settings of MLflow's basic-auth app."""
        return self.path / "basic_auth.ini"

    @property
    def artifacts(self) -> Path:
        """Files of runs and models, where no other storage is named."""
        return self.path / "artifacts"

    def sqlite(self, name: str) -> Path:
        """The sqlite file of a database. name: RUNS or USERS."""
        return self.path / f"{name}.db"

    def uri(self, kind: DatabaseKind, name: str) -> str:
        """The address of a database as SQLAlchemy reads it; it holds no password."""
        if kind == "sqlite":
            return f"sqlite:///{self.sqlite(name)}"
        return f"postgresql+psycopg://{RUNS}@/{name}?host={quote(str(self.cluster), safe='/')}"

    def read(self) -> ServerRecord | None:
        """What the server was made with; None where none was made here yet.

        Raises ServerError: the record is damaged, or of a later ricenet.
        """
        if not self.record.exists():
            return None
        try:
            content = read_json(self.record)
            if isinstance(content, dict) and isinstance(content.get("format"), int):
                require_format(content["format"], self.record.name)
            return ServerRecord.model_validate(content)
        except (JsonError, ValidationError):
            raise ServerError(
                f"{self.record.name} in {self.path.name} is no record of a server. Restore the server from "
                "a backup: `ricenet tracking restore`"
            ) from None

    def make(self, record: ServerRecord) -> None:
        """Write down what the server is made with."""
        write_json(self.record, record.model_dump(mode="json"))

    def make_secrets(self) -> None:
        """Generate the secrets that are missing; their files are their owner's alone, whatever the umask."""
        make_folder(self.path)
        if not self.secret_key.exists():
            write_secret(self.secret_key, secrets.token_urlsafe(48))
        if not self.password_file.exists():
            write_secret(self.password_file, f"*:*:*:{RUNS}:{secrets.token_urlsafe(32)}\n")


def write_secret(path: Path, text: str) -> None:
    """Write a file of mode 0600, whatever RICENET_UMASK lets others read."""
    with partial_file(path.parent, path.suffix) as temporary:
        temporary.write_text(text, encoding="utf-8")
        put_in_place(temporary, path, mode=0o600)


def require_format(found: int, name: str) -> None:
    """Raise ServerError where a later ricenet made a server's folder or a backup."""
    if found > FORMAT:
        raise ServerError(
            f"{name} is of format {found}, this ricenet reads up to {FORMAT}: a later ricenet made it. "
            "Install that one"
        )
