"""What a project knows of the library's code, which lies outside its folder: a digest a module.

DVC compares files of the project. So a stage depends on .ricenet/code/MODULE, which `ricenet init` and
`ricenet upgrade` write, and no stage runs with other code than that.
"""

from __future__ import annotations

from pathlib import Path

from ricenet import __version__
from ricenet.project.record import ProjectRecord
from ricenet.runtime.code_digest import SOURCE
from ricenet.runtime.errors import ProjectError
from ricenet.runtime.files import content_digest, file_digest

CODE = Path(".ricenet/code")
"""A file of one line for each module, at the path that the module has in the library."""


def installed_digest(module: str) -> str | None:
    """SHA-256 of a file or folder of the library, compiled files apart; None where there is none."""
    path = SOURCE / module
    if path.is_file():
        return file_digest(path)
    files = [p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return content_digest({p.relative_to(path).as_posix(): file_digest(p) for p in files}) if files else None


def require_recorded_code(project: Path) -> None:
    """Make sure that a project of `ricenet init` runs the code that its files record; others have none.

    Raises ProjectError: another version, or another build, is installed.
    """
    record = ProjectRecord.found(project)
    if record is None:
        return
    folder = project / CODE
    noted = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    other = [
        name for name, path in sorted(noted.items()) if path.read_text().strip() != installed_digest(name)
    ]
    if not other:
        return
    build = "" if record.version != __version__ else ", another build"
    raise ProjectError(
        f"this project is at ricenet {record.version}, and ricenet {__version__} is installed{build}: "
        f"{', '.join(other)} {'differs' if len(other) == 1 else 'differ'}. See what `ricenet upgrade` would "
        f"change and repeat it with --yes, or install what the project is at"
    )
