"""A copy of the project in a folder and repository of its own, where commands and `dvc repro` run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from ricenet.runtime.files import read_json

PROJECT = Path(__file__).parents[1]
OF_EVERY_RUN = {"ledger", "register", "resolve"}
"""Stages that run whatever changed."""

NAMES_OF_RUNS = "SELECT name FROM runs WHERE lifecycle_stage = 'active' ORDER BY name"


class Clone:
    """A copy of the project's files, with other parameters."""

    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        self.folder = folder
        # where `make repro` has run, its results are files that git may not know
        listed = self.run(
            *("git", "-C", str(PROJECT), "ls-files", "-co", "--exclude-standard"),
            *("--", ".", ":!*dvc.lock", ":!models"),
            at=PROJECT,
        )
        for name in listed.stdout.splitlines():
            if (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)
        self.set(params)
        self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "scratch")

    def set(self, changes: Mapping[str, object]) -> None:
        yaml = YAML()
        content = yaml.load(self.folder / "params.yaml")
        merge(content, changes)
        yaml.dump(content, self.folder / "params.yaml")

    def run(
        self, *command: str, at: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "dvc-site-cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            command, cwd=at or self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done

    def json(self, name: str) -> Any:
        return read_json(self.folder / name)

    def runs(self) -> list[str]:
        """Names of all runs in MLflow, from its database: a client here would keep one that is deleted."""
        with closing(sqlite3.connect(self.folder / "mlflow/mlflow.db")) as database:
            return [str(name) for (name,) in database.execute(NAMES_OF_RUNS)]


def stages_run(output: str) -> set[str]:
    """Names of the stages that DVC ran."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage '")]
    return {line.split("'")[1].removesuffix("'").split(":")[-1] for line in lines}


def merge(content: dict[str, Any], changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and value and isinstance(content.get(name), dict):
            merge(content[name], value)
        else:
            content[name] = in_one_line(value)


def in_one_line(value: object) -> object:
    """A list as [a, b]: below a comment, ruamel.yaml cannot write it otherwise."""
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line
