"""Which files of the repository the wheel carries, so that `ricenet init` can write them.

The repository's own files are the only source: the build copies them into the package (setup.py, which runs
this module before anything is installed, so it needs nothing else), and a source tree is read where it lies.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "files"
"""In this package, of a wheel."""

VIEWER = "src/ricenet/evaluation/occlusion/page/viewer.js"
"""Built, and not in git; without it the stage `explain` stops."""

# mlflow/ is listed by name: beside them lie databases and secrets of whoever builds
CARRIED = (
    *("dvc.yaml", "params.yaml", "data.dvc", "requirements.lock", "pipeline.mk"),
    *(".gitignore", ".dvcignore", ".dvc/config"),
    *("src/stages/*.py", "src/stages/dvc.yaml", "src/stages/python.sh"),
    *("mlflow/README.md", "mlflow/Dockerfile", "mlflow/Dockerfile.dockerignore", "mlflow/basic_auth.ini"),
    *("mlflow/compose.env.example", "mlflow/compose.yaml", "mlflow/make_bucket.py"),
    "mlflow/users_database.sql",
    *("docs/*.md", "docs/images/*"),
)
"""Patterns of the paths."""


def carried_files(folder: Path) -> list[str]:
    """The paths below the repository, or below what a wheel holds of it, sorted.

    Raises FileNotFoundError: a pattern finds nothing, so this is neither.
    """
    found = list[str]()
    for pattern in CARRIED:
        paths = [path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file()]
        if not paths:
            raise FileNotFoundError(f"{pattern} is not in {folder.name or 'the current folder'}")
        found += paths
    return sorted(found)


def source_folder() -> Path:
    """Where the files lie for the ricenet that runs: in its package, or in the repository around it."""
    here = Path(__file__)
    packed = here.with_name(FOLDER)
    return packed if packed.is_dir() else here.parents[3]
