"""Running a project's stages and commands in a group of processes of their own, which can be killed whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from cloned_project import Clone
from tracking_servers import wait_until

SEAMS = Path(__file__).parent / "seams"
LIBRARY = Path(__file__).parents[2] / "src"
KILLED = -signal.SIGKILL

Fault = Mapping[str, Any]
"""As tests/faults/seams/sitecustomize.py takes it."""


@dataclass(frozen=True)
class Done:
    """How a group of processes ended."""

    code: int
    said: str

    @property
    def is_killed(self) -> bool:
        return self.code == KILLED


class Project(Clone):
    """A project whose commands can be made to meet a fault."""

    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        self.scratch = folder.parent / "tmp"
        self.scratch.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, params)

    @classmethod
    def at(cls, folder: Path) -> Project:
        """A project that is there already."""
        found = cls.__new__(cls)
        found.folder, found.scratch = folder, folder.parent / "tmp"
        found.scratch.mkdir(exist_ok=True)
        return found

    def start(self, *command: str, fault: Fault | None = None, **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{SEAMS}{os.pathsep}{LIBRARY}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "dvc-site-cache"),
            "TMPDIR": str(self.scratch),
            "OMP_NUM_THREADS": "1",
            "RICENET_FAULT_HOME": str(self.folder),
            "RICENET_FAULT": json.dumps(fault) if fault else "",
            **variables,
        }
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def done(self, *command: str, fault: Fault | None = None, **variables: str) -> Done:
        """What a command did; nobody of its group is left afterwards."""
        return ended(self.start(*command, fault=fault, **variables))

    def ok(self, *command: str, fault: Fault | None = None, **variables: str) -> str:
        done = self.done(*command, fault=fault, **variables)
        assert done.code == 0, f"{command}: {done.said[-6000:]}"
        return done.said

    def killed(self, *command: str, fault: Fault) -> Done:
        """The same, with the certainty that the kill came before the end."""
        done = self.done(*command, fault=fault)
        assert done.is_killed, f"{command} was not killed at {fault}: {done.code}, {done.said[-3000:]}"
        return done

    def stage(self, name: str) -> tuple[str, ...]:
        return ("sh", "src/stages/python.sh", f"src/stages/{name}.py")


def ended(process: subprocess.Popen[str], seconds: float = 600) -> Done:
    said, _ = process.communicate(timeout=seconds)
    # workers follow their parent within moments
    wait_until(lambda: not living(process.pid), 20)
    return Done(process.returncode, said)


def living(group: int) -> list[int]:
    """Processes of a group that still do something."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def kill_group(process: subprocess.Popen[str]) -> Done:
    os.killpg(process.pid, signal.SIGKILL)
    return ended(process)
