"""A finished project that one person pushes and another clones: each stage's outputs, noted as up to date."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloned_project import PROJECT, Clone
from configobj import ConfigObj
from registered_project import run_stage
from ruamel.yaml import YAML
from tracked_project import CUBE_VOXELS, PREFIX, make_project, store_of

from ricenet.runtime.files import write_json, write_text
from ricenet.runtime.store import Store
from ricenet.tracking.registry import make_champion, promotable_version

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
VOTED = "dose"


class Origin:
    """Anna's clone: a cohort of her own, trained, one champion that has voted; nothing is left to do.

    Results come from fixtures, and `dvc commit` notes them as it notes those of a run.
    """

    def __init__(self, folder: Path, cohort: Path) -> None:
        self.clone = Clone(folder, {})
        self.folder = folder
        make_project(folder)
        self.clone.set({"cohort": {"root": "data/mine"}})
        shutil.copytree(cohort, folder / "data/mine")
        self._from_the_store("sub-009")
        write_json(folder / "work/tuning/best.json", {})
        with pytest.MonkeyPatch.context() as patched:
            run_stage("register", folder, patched)
            store = store_of(folder)
            make_champion(store, promotable_version(store, PREFIX, VOTED))
            for stage in ("resolve", "vote", "ledger", "register"):
                run_stage(stage, folder, patched)
        self._fill_in()
        self.dvc("add", "--quiet", "data/mine")
        # not the demo's cohort, which is not made here
        self.dvc("commit", "--force", "--quiet", "dvc.yaml")
        self.commit()

    def dvc(self, *arguments: str, at: Path | None = None, check: bool = True) -> str:
        done = self.clone.run("dvc", *arguments, at=at, check=check)
        return done.stdout + done.stderr

    def configure(self, file: str, options: Mapping[str, str], remote: str = "s3") -> None:
        """Name another default remote: what `dvc remote add` and `modify` write, without their seconds."""
        config = ConfigObj(str(self.folder / ".dvc" / file))
        config[f'remote "{remote}"'] = dict(options)
        config["core"] = {**config.get("core", {}), "remote": remote}
        config.write()

    def commit(self) -> None:
        self.clone.run("git", "add", "--all")
        self.clone.run(*GIT, "commit", "--quiet", "--message", "finished")

    def cloned(self, folder: Path) -> Path:
        """What a colleague has after `git clone`."""
        self.clone.run("git", "clone", "--quiet", str(self.folder), str(folder), at=folder.parent)
        return folder

    def _from_the_store(self, subject: str) -> None:
        """Let a subject lie as preprocessing lays it out: as links into the store."""
        preprocessed, store = self.folder / "work/preprocessed", Store(self.folder / "work/store/subjects")
        made = preprocessed / subject
        large = np.random.default_rng(1).normal(size=[4 * CUBE_VOXELS] * 3).astype(np.float32)
        key = 64 * "a"

        def make(entry: Path) -> None:
            shutil.copytree(made, entry, dirs_exist_ok=True)
            np.save(entry / "brain.npy", large)

        store.get(key, make)
        shutil.rmtree(made)
        store.lay_out(key, made)

    def _fill_in(self) -> None:
        """Outputs that no later stage of these tests reads."""
        stages: dict[str, dict[str, Any]] = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]
        for name, stage in stages.items():
            for out in (*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())):
                path = self.folder / (out if isinstance(out, str) else next(iter(out)))
                if not path.exists():
                    write_text(path if path.suffix else path / "result.txt", f"of the stage {name}\n")
