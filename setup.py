"""What the build adds to pyproject.toml: a project's files go into the wheel (ricenet/project/carried.py)."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

# by its path: nothing is installed yet that the package could be imported with
carried = runpy.run_path("src/ricenet/project/carried.py")


class BuildWithProject(build_py):
    """Copies the project's files; an editable installation reads them where they lie."""

    def run(self) -> None:
        """Build the package, then copy. Raises SetupError: the viewer is missing."""
        super().run()
        if self.editable_mode:
            return
        if not Path(carried["VIEWER"]).is_file():
            raise SetupError(
                f"{carried['VIEWER']} is missing, and without it the stage `explain` stops: such a wheel "
                "would not run the pipeline. Build it with `make viewer` (Node.js from PyPI, packages from "
                "npm), then repeat"
            )
        packed = Path(self.build_lib, "ricenet", "project", carried["FOLDER"])
        # what an earlier build left would go along
        shutil.rmtree(packed, ignore_errors=True)
        for name in carried["carried_files"](Path()):
            self.mkpath(str((packed / name).parent))
            self.copy_file(name, str(packed / name))

    def get_source_files(self) -> list[str]:
        """What a source distribution needs for that."""
        return [*super().get_source_files(), *carried["carried_files"](Path())]


setup(cmdclass={"build_py": BuildWithProject})
