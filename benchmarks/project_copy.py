"""A copy of the project at a commit, whose stages run in turn, as DVC would start them."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

PROJECT = Path(__file__).parents[1]
PROMOTE = "promote"
VIEWER = "src/ricenet/evaluation/occlusion/page/viewer.js"
FORMER_VIEWER = "src/ricenet/occlusion/page/viewer.js"
YAML_FILE = YAML()
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl(2)."""


@dataclass
class ProjectCopy:
    """A copy of the project, and the wall and CPU seconds of what ran there."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def at(cls, commit: str, folder: Path) -> ProjectCopy:
        """A clone at a commit, with git and DVC as in a fresh clone."""
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
        resolved = subprocess.run(
            ["git", "-C", str(PROJECT), "rev-parse", commit], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", resolved], check=True)
        if (PROJECT / VIEWER).exists():  # built by `make viewer`, not in git
            places = (folder / VIEWER, folder / FORMER_VIEWER)
            shutil.copy(PROJECT / VIEWER, next(place for place in places if place.parent.is_dir()))
        return cls(folder)

    def params(self) -> dict[str, Any]:
        """What params.yaml says."""
        return _read_yaml(self.folder / "params.yaml")

    def change_params(self, changes: Mapping[str, Any]) -> None:
        """Merge changes into params.yaml."""
        content = self.params()
        _merge(content, changes)
        with (self.folder / "params.yaml").open("w") as stream:
            YAML_FILE.dump(content, stream)

    def command(self, *words: str) -> None:
        """Run words in the copy with its own code; its output only where it fails."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TQDM_DISABLE": "1",
        }
        done = subprocess.run(
            words,
            check=False,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout[-4000:]}")

    def timed(self, name: str, *words: str) -> None:
        """Run words and keep their wall and CPU seconds under a name."""
        start, cpu = time.perf_counter(), _cpu_of_children()
        self.command(*words)
        self.seconds[name] = time.perf_counter() - start
        self.cpu_seconds[name] = _cpu_of_children() - cpu
        print(f"{self.folder.name} {name}: {self.seconds[name]:.1f} s", file=sys.stderr, flush=True)

    def stage(self, name: str) -> None:
        """Run a stage of dvc.yaml without DVC."""
        if name == PROMOTE:
            reason = ("--force", "--reason", "speed is measured, whatever was learned")
            self.timed(name, *ricenet("promote", "best", "--demo-only", "--if-none", *reason))
        else:
            self.timed(name, sys.executable, f"src/stages/{name}.py")

    def stages(self) -> list[str]:
        """In order; a set is promoted before the champions are looked for."""
        names = list(_read_yaml(self.folder / "dvc.yaml")["stages"])
        # models have to be registered before one can be promoted
        names.remove("register")
        at = names.index("resolve")
        return [*names[:at], "register", PROMOTE, *names[at:]]

    def gigabytes(self, *names: str) -> float:
        """Of the files in some of its folders, hard links once."""
        paths = [path for name in names for path in (self.folder / name).rglob("*")]
        sizes = {s.st_ino: s.st_blocks * 512 for p in paths if (s := p.lstat()) and not p.is_dir()}
        return sum(sizes.values()) / 1e9


def ricenet(*words: str) -> tuple[str, ...]:
    """A command of ricenet, by the code of the copy."""
    return (sys.executable, "-c", "from ricenet.cli import app; app()", *words)


def _read_yaml(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML_FILE.load(path.read_text())
    return loaded


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(content.get(name), dict):
            _merge(content[name], value)
        elif isinstance(value, list):
            # below a comment, ruamel.yaml can write a list in one line only
            content[name] = CommentedSeq(value)
            content[name].fa.set_flow_style()
        else:
            content[name] = value


def _cpu_of_children() -> float:
    """CPU seconds of all that this process started, of orphans too: those become children of this process."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
