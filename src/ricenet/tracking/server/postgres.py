"""A PostgreSQL cluster of the server's own, reached by a socket in its folder and by nothing else.

Authentication is scram-sha-256 with a generated password; fsync and data checksums are on. PostgreSQL refuses
to run as root, so that root lets the system's user `postgres` run it.
Source: https://www.postgresql.org/docs/15/app-initdb.html and app-pg-ctl.html.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import ServerError
from ricenet.runtime.files import atomic_folder
from ricenet.runtime.full_disk import MAKE_ROOM, full_disk
from ricenet.tracking.server.postgres_programs import installed, listed
from ricenet.tracking.server.server_folder import RUNS

logger = logging.getLogger(__name__)

USER = "postgres"
"""Whom root lets run PostgreSQL."""
SOCKET_BYTES = 107
"""The longest name of a Unix socket that Linux takes."""
START_S, STOP_S = 120, 120
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "200",
}


@dataclass(frozen=True)
class Cluster:
    """The programs of one version, and the folder with what they keep. password_file: as libpq reads it."""

    folder: Path
    password_file: Path
    programs: Path

    @property
    def data(self) -> Path:
        """What initdb makes."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """By which programs of PostgreSQL's reach the cluster."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return kept | {
            "LC_ALL": "C",
            "PGHOST": str(self.folder),
            "PGUSER": RUNS,
            "PGPASSFILE": str(self.password_file),
        }

    def make(self) -> None:
        """Make the cluster; it appears whole or not at all. Raises ServerError: initdb refuses."""
        self._let_user_in()
        password = self.password_file.read_text(encoding="utf-8").strip().rpartition(":")[2]
        with atomic_folder(self.folder) as temporary:
            secret = temporary / "password"
            secret.touch(mode=0o600)
            secret.write_text(password, encoding="utf-8")
            _give(temporary, secret)
            options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"]
            # the whole folder is synced before it takes its name
            options += ["--no-sync"]
            options += ["--username", RUNS, "--pwfile", str(secret), "--pgdata", str(temporary / "data")]
            self._run_owned("initdb", options, f"the cluster in {self.folder.parent.name} cannot be made")
            secret.unlink()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let it run for the block and stop it after that, also what a killed command had left running."""
        try:
            if not self.is_running():
                self.start()
            yield
        finally:
            if self.is_running():
                self.stop()

    def is_running(self) -> bool:
        """Whether a living process has the cluster."""
        return self._pg_ctl("status", check=False).returncode == 0

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises ServerError: the folder's name is too long for a socket, its user cannot enter it, or
        PostgreSQL refuses.
        """
        if len(os.fsencode(self.folder)) + len("/.s.PGSQL.5432") > SOCKET_BYTES:
            raise ServerError(
                f"the server's folder {self.folder.parent.name} has too long a path for PostgreSQL's socket "
                f"(more than {SOCKET_BYTES} bytes). Name a shorter one with --folder"
            )
        self._let_user_in()
        # RICENET_UMASK may have opened it wider than PostgreSQL takes
        self.folder.chmod(0o700)
        self.data.chmod(0o700)
        settings = {**SETTINGS, "unix_socket_directories": str(self.folder)}
        options = shlex.join(word for item in settings.items() for word in ("-c", "=".join(item)))
        log = str(self.folder / "postgresql.log")
        self._pg_ctl("start", "--log", log, "--wait", "--timeout", str(START_S), "--options", options)

    def stop(self) -> None:
        """Stop it, ending whatever connections there are."""
        self._pg_ctl("stop", "--mode", "fast", "--wait", "--timeout", str(STOP_S))

    def make_database(self, name: str) -> None:
        """Make a database where it is missing."""
        with self._connection() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(f'CREATE DATABASE "{name}"')

    def dump(self, name: str, file: Path) -> None:
        """Write a database as of one moment, in PostgreSQL's own format. Raises ServerError."""
        self._client("pg_dump", ["--format=custom", "--file", str(file), name], f"{name} cannot be dumped")

    def load(self, name: str, file: Path) -> None:
        """Fill an empty database from a dump, whole or not at all. Raises ServerError."""
        options = ["--exit-on-error", "--single-transaction", "--no-owner", "--dbname", name, str(file)]
        self._client("pg_restore", options, f"{file.name} cannot be restored")

    def _connection(self) -> Any:
        import psycopg

        return psycopg.connect(
            host=str(self.folder),
            user=RUNS,
            dbname="postgres",
            passfile=str(self.password_file),
            autocommit=True,
        )

    def _client(self, program: str, options: Sequence[str], failed: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *options],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        _require(done, failed, self.folder)

    def _pg_ctl(self, action: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        arguments = [action, "--pgdata", str(self.data), *options]
        failed = f"PostgreSQL does not {action}; {self.folder.name}/postgresql.log may say more"
        return self._run_owned("pg_ctl", arguments, failed, check)

    def _run_owned(
        self, program: str, options: Sequence[str], failed: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run what has to be done by the cluster's owner."""
        done = subprocess.run(
            [str(self.programs / program), *options],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            # a folder that every user can enter
            cwd="/", **_owner(),
        )  # fmt: skip
        if check:
            _require(done, failed, self.folder)
        return done

    def _let_user_in(self) -> None:
        """Let the cluster's owner into the server's folder. Raises ServerError: it cannot be reached."""
        if not (owner := _owner()):
            return
        home = self.folder.parent
        os.chown(home, -1, _ids()[1])
        home.chmod(0o710)
        if subprocess.run(["test", "-x", str(home)], cwd="/", check=False, **owner).returncode:
            raise ServerError(
                f"PostgreSQL does not run as root, and the user {USER}, who runs it instead, may not enter "
                f"the server's folder {home.name}. Start the server as another user, or name a folder with "
                "--folder that everybody can reach, such as one under /srv or /var/lib"
            )


def find_cluster(folder: Path, password_file: Path) -> Cluster | None:
    """A cluster in a folder, there or not, with the programs that fit it; None where PostgreSQL is absent.

    Raises ServerError: another major version of PostgreSQL made the cluster, or Python's driver is missing.
    """
    if not (found := installed()):
        return None
    if importlib.util.find_spec("psycopg") is None:
        raise ServerError(
            "PostgreSQL is installed, but not Python's driver for it, psycopg. Install ricenet's extra "
            "`postgres`, or choose --database sqlite"
        )
    made_by = folder / "data" / "PG_VERSION"
    major = int(made_by.read_text(encoding="ascii")) if made_by.exists() else max(found)
    if major not in found:
        raise ServerError(
            f"PostgreSQL {major} made the server's database, but {listed(found)} is installed. Install "
            f"PostgreSQL {major}; to change to another version, back up with the old one and restore with "
            "the new one (docs/server.md)"
        )
    return Cluster(folder, password_file, found[major])


def require_postgresql(folder: Path, password_file: Path) -> Cluster:
    """A cluster in a folder. Raises ServerError: as `find_cluster`, or PostgreSQL is not installed."""
    cluster = find_cluster(folder, password_file)
    if cluster is None:
        raise ServerError(
            "PostgreSQL is not installed: initdb is neither in the path nor below /usr/lib/postgresql. "
            "Install it (Debian: apt install postgresql), or choose --database sqlite for a new server"
        )
    return cluster


def major_version(cluster: Cluster) -> int:
    """Of the programs that run a cluster."""
    return next(major for major, programs in installed().items() if programs == cluster.programs)


def _owner() -> dict[str, Any]:
    """As whom PostgreSQL runs, for `subprocess.run`; nothing where that is who runs this."""
    if os.geteuid() != 0:
        return {}
    user, group = _ids()
    return {"user": user, "group": group, "extra_groups": []}


def _ids() -> tuple[int, int]:
    import pwd

    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        raise ServerError(
            f"PostgreSQL does not run as root, and there is no user {USER} to run it instead. Start the "
            "server as another user, or choose --database sqlite"
        ) from None
    return found.pw_uid, found.pw_gid


def _give(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, *_ids())


def _require(done: subprocess.CompletedProcess[str], failed: str, folder: Path) -> None:
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.split())
    if "No space left" in said:
        raise ServerError(f"{failed}: {full_disk(folder)}. {MAKE_ROOM}")
    raise ServerError(f"{failed}: {said[:500] or f'exit status {done.returncode}'}")
