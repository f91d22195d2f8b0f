"""The files of a project as the installed version writes them, from the repository's own."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from ricenet import __version__
from ricenet.project.carried import carried_files, source_folder
from ricenet.project.installed_code import CODE, installed_digest
from ricenet.runtime.errors import ProjectError

LIBRARY, STAGES = "src/ricenet/", "src/stages/"
"""Where the repository has the library and the stages."""

_OWN = ("Makefile", "README.md")
_PIPELINES = ("dvc.yaml", "src/stages/dvc.yaml")
_WITH_PATHS = (*_PIPELINES, "src/stages/python.sh")


def project_files(name: str) -> dict[str, bytes]:
    """Path in a project -> content. name: the project's.

    The stages lie in stages/, and a stage depends on .ricenet/code/MODULE, a digest of what is installed,
    where the repository's depends on src/ricenet/MODULE. All else is as in the repository.
    Raises ProjectError: the installation lacks these files.
    """
    folder = source_folder()
    try:
        names = carried_files(folder)
    except FileNotFoundError as error:
        raise ProjectError(
            f"the installed ricenet carries no project: {error}. Install its wheel again, or a whole clone"
        ) from None
    files = {_place(path): _content(folder, path) for path in names}
    for own in _OWN:
        text = resources.files("ricenet.project.own").joinpath(own).read_text(encoding="utf-8")
        files[own] = Template(text).substitute(name=name, version=__version__).encode()
    for module in _modules(folder):
        files[f"{CODE.as_posix()}/{module}"] = f"{installed_digest(module)}\n".encode()
    return files


def _place(path: str) -> str:
    return path.replace(STAGES, "stages/", 1) if path.startswith(STAGES) else path


def _content(folder: Path, path: str) -> bytes:
    content = (folder / path).read_bytes()
    if path not in _WITH_PATHS:
        return content
    text = content.decode().replace(LIBRARY, f"{CODE.as_posix()}/").replace(STAGES, "stages/")
    return text.replace("wdir: ../..", "wdir: ..").encode()


def _modules(folder: Path) -> list[str]:
    """Files and folders of the library on which stages depend, by their paths in it."""
    text = "\n".join((folder / path).read_text(encoding="utf-8") for path in _PIPELINES)
    return sorted(set(re.findall(rf"^ +- {LIBRARY}(\S+)$", text, re.MULTILINE)))
