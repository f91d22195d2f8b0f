"""`ricenet init`: a new folder with the pipeline, its settings, git and DVC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ricenet import __version__
from ricenet.project.record import WRITTEN, ProjectRecord
from ricenet.project.template import project_files
from ricenet.runtime.errors import ProjectError
from ricenet.runtime.files import make_folder, put_folder_in_place, write_bytes, write_text
from ricenet.runtime.private_modes import folder_mode
from ricenet.runtime.temporary import PARTIAL, clear, partial_folder

PYTHON = Path(".ricenet/python")
"""Git-ignored: this machine's python with ricenet, for `dvc repro` without an environment on the path."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""By these git would work on another repository, as within a hook of that one."""


def create_project(name: str, parent: Path = Path()) -> str | None:
    """Make a project in a new folder, or in an empty one. name: the folder's, below `parent`.

    The folder appears when it is complete, with all files in git's first commit.
    Returns why there is no commit, None where there is one.
    Raises ProjectError: the name is refused, the folder holds something, git is missing, or git or DVC fails;
    nothing is changed then.
    """
    _require_free(name, parent / name)
    if shutil.which("git") is None:
        raise ProjectError("git was not found. Install it (Debian: apt install git), then repeat the command")
    for path in parent.glob(f"{PARTIAL}{name}-*"):
        clear(path)
    with partial_folder(parent, name) as folder:
        _run(folder, "git", "init", "--quiet")
        _run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
        write_project(folder, name)
        _run(folder, "git", "add", "--all")
        not_committed = _commit(folder)
        folder.chmod(folder_mode())
        # somebody may have put something there meanwhile
        _require_free(name, parent / name)
        # takes the place of an empty folder, and of no other
        put_folder_in_place(folder, parent / name)
    return not_committed


def write_project(folder: Path, name: str) -> None:
    """Write every file of a project, and the record of them."""
    files = project_files(name)
    for path, content in files.items():
        write_bytes(folder / path, content)
    note_python(folder)
    ProjectRecord.of(name, files).write(folder)


def note_python(project: Path) -> None:
    """Note the python that runs, which stages take where the path has none with ricenet."""
    make_folder((project / PYTHON).parent)
    write_text(project / PYTHON, f"{sys.executable}\n")


def _require_free(name: str, folder: Path) -> None:
    if not _NAME.fullmatch(name):
        raise ProjectError(
            f"the name {name!r} cannot be a project's: expected up to 64 letters, digits, dots, _ and -, a "
            "letter or digit first. The folder is made in the current one, so change to where it belongs"
        )
    if (folder / WRITTEN).is_file():
        raise ProjectError(
            f"{name} is a project already. Change to it; `ricenet upgrade` brings it to this version"
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ProjectError(f"{name} exists and is a file or a link. Choose another name, or move it away")
    if folder.is_dir() and (held := len(list(folder.iterdir()))):
        raise ProjectError(
            f"{name} exists and holds {held} file(s) or folder(s), which stay as they are. Choose another "
            "name, or an empty folder"
        )


def _commit(folder: Path) -> str | None:
    """Make the first commit, unless git does not know whose it is; why there is none."""
    if not all(_git_knows(folder, who) for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")):
        return "git does not know who you are (git config --global user.name, user.email)"
    try:
        _run(folder, "git", "commit", "--quiet", "-m", f"A project of ricenet {__version__}")
    except ProjectError as error:
        # a hook or a signature of the user's own
        return str(error)
    return None


def _git_knows(folder: Path, who: str) -> bool:
    """Whether git has a name and an address for an author or committer, and does not make them up."""
    asked = ["git", "-c", "user.useConfigOnly=true", "var", who]
    done = subprocess.run(asked, cwd=folder, env=_environment(), capture_output=True, check=False)
    return done.returncode == 0


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        words = " ".join(word for word in command if word != sys.executable)
        raise ProjectError(f"`{words}` failed: {said}. Mend the cause, then repeat the command")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    # the project's own setting is not there yet when DVC begins
    return kept | {"DVC_NO_ANALYTICS": "true"}
