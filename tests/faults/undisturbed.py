"""The project that nothing disturbed, made once, to copy and to compare with."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outcomes import Outcome
from project_runs import Project
from small_project import PASSES, SMALL, Step, write_small_cohort


class Reference:
    """A small project: as it is before its first stage (`begun`), and after its last one (`ended`)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cohort = folder, folder / "mine"
        self.begun, self.ended = folder / "begun/project", folder / "ended/project"

    def make(self) -> None:
        write_small_cohort(self.cohort)
        project = Project(self.begun, SMALL)
        project.ok("ricenet", "cohort", "add", str(self.cohort))
        copied(self.begun.parent, self.ended.parent)
        project = Project.at(self.ended)
        with read_only(self.ended / "data/mine") as is_read_only:
            for step in PASSES:
                project.ok(*step.command, fault={"program": step.program, "log": str(self._log(step))})
        (self.folder / "read_only").write_text(json.dumps(is_read_only))
        Outcome.of(self.ended).write(self.folder / "outcome.json")

    @property
    def outcome(self) -> Outcome:
        return Outcome.read(self.folder / "outcome.json")

    @property
    def was_read_only(self) -> bool:
        """Whether the system let the cohort be mounted so that nobody could write into it."""
        return bool(json.loads((self.folder / "read_only").read_text()))

    def changes(self, step: Step) -> list[str]:
        """Each change of a file of the project that a step's program made, in order."""
        return self._log(step).read_text().splitlines()

    def copy(self, source: Path, folder: Path) -> Project:
        """A project of one's own. source: `begun` or `ended`."""
        copied(source.parent, folder)
        return Project.at(folder / source.name)

    def _log(self, step: Step) -> Path:
        return self.folder / f"changes of {step.name}"


def copied(source: Path, target: Path) -> None:
    """A folder with its times of change, which DVC and the project's memory go by."""
    shutil.copytree(source, target, symlinks=True)


@contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """Let nobody write into a folder, not even root; whether the system allowed that."""
    place = str(folder)
    mounted = (
        subprocess.run(["mount", "--bind", place, place], check=False, capture_output=True).returncode == 0
    )
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", place], check=True)
