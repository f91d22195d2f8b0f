"""Taking a cohort into the project: checked, copied below data/, versioned by DVC, set as cohort.root."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import CheckReport, admit, check_cohort
from ricenet.cohort.mapped_cohort import mapped_cohort
from ricenet.config.params import PARAMS_FILE, Params, read_params
from ricenet.config.preset import change_settings
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import atomic_folder, file_digest
from ricenet.runtime.full_disk import full_disk, is_full
from ricenet.runtime.private_modes import close_folders, file_mode, folder_mode
from ricenet.runtime.store_share import links_are_allowed
from ricenet.runtime.temporary import clear, left_behind

logger = logging.getLogger(__name__)

DATA = Path("data")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_DEMO = "demo"
_COPIES = "reflink,copy"
_NOT_COPIED = (".git", ".dvc", ".datalad", ".partial-*")
"""What versions a cohort elsewhere is no part of it, and DVC refuses a repository inside its own."""


@dataclass(frozen=True)
class Adoption:
    """What was done. root: as cohort.root now says. copied: False where the cohort lay there already."""

    root: Path
    copied: bool
    exclude_faulty: bool
    cohort: CheckedCohort

    @property
    def dvc_file(self) -> Path:
        """The file that stands for the cohort in git."""
        return self.root.with_name(f"{self.root.name}.dvc")


def adopt_cohort(folder: Path, name: str, project: Path = Path(), mapping: Path | None = None) -> Adoption:
    """Make a raw cohort the one that the project uses, as data/<name>.

    Everything is checked before anything is written, and the parameter file is written last: after a
    failure or a kill it is as it was. The same call, or one with data/<name> itself, goes on from there;
    the latter versions the folder anew where its files have changed.
    mapping: says where a dataset with other names keeps its files; the copy has those of the layout.
    Raises CohortError: the name, the target or the cohort is refused, it cannot be copied, or DVC
    refuses it. ParamsError: the parameter file is not valid.
    """
    params = read_params(project / PARAMS_FILE)
    root = DATA / _accepted(name)
    if not (project / ".dvc").is_dir():
        raise CohortError("no folder .dvc here; run the command in the project's folder")
    with mapped_cohort(folder, mapping, params.volumes) as given:
        is_in_place = _is_target(given.folder, project / root)
        logger.info("checking every file of the cohort")
        report = given.in_own_names(_checked(given.folder, params))
        cohort = admit(report, params.cohort.exclude_faulty)
        # copies of the same size, which killed calls left
        for path in left_behind(project / DATA):
            clear(path)
        if not is_in_place:
            logger.info("copying it to %s", root)
            _copy(given.folder, project / root)
    logger.info("versioning it: dvc add %s", root)
    if links_are_allowed(project):
        # a cohort that is corrected by hand must not be links into DVC's cache
        _dvc(project, root, "config", "cache.type", _COPIES)
    _dvc(project, root, "add", root.as_posix())
    close_folders(project)
    change_settings(project / PARAMS_FILE, {"cohort": {"root": root.as_posix()}})
    return Adoption(root, not is_in_place, params.cohort.exclude_faulty, cohort)


def _checked(folder: Path, params: Params) -> CheckReport:
    return check_cohort(folder, params.volumes, params.variables, label_names=params.labels)


def _accepted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CohortError(f"the name {name!r} is not made of letters, digits, _ and -; give one with --name")
    # some file systems do not distinguish Demo from demo
    if name.lower() == _DEMO:
        raise CohortError(
            f"data/{_DEMO} is the synthetic cohort, which dvc repro replaces; give another --name"
        )
    return name


def _is_target(folder: Path, target: Path) -> bool:
    """Whether the cohort lies where it should; False where that place is free for it."""
    place = DATA / target.name
    if target.exists() and folder.exists() and (target.samefile(folder) or _is_copy(folder, target)):
        return True
    if target.exists() or target.is_symlink():
        raise CohortError(
            f"{place} exists and is another folder; give another --name, or use what lies there: "
            f"ricenet cohort add {place}"
        )
    if target.with_name(f"{target.name}.dvc").exists():
        raise CohortError(
            f"{place}.dvc exists, its folder does not; give another --name, or fetch it: dvc pull {place}.dvc"
        )
    if target.resolve().is_relative_to(folder.resolve()):
        raise CohortError(
            f"{place} lies inside the folder to be added; move the cohort into a folder of its own"
        )
    return False


def _is_copy(folder: Path, target: Path) -> bool:
    """Whether the target is what `_copy` makes of a folder: a call that was killed may have come so far."""
    names = _names(target)
    return names == _names(folder) and all(_is_same(str(folder / one), str(target / one)) for one in names)


def _names(folder: Path) -> set[Path]:
    """Every file that is copied, links to folders followed."""
    found = set[Path]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        left_out = shutil.ignore_patterns(*_NOT_COPIED)(parent, [*folders, *files])
        folders[:] = [name for name in folders if name not in left_out]
        found |= {Path(parent, name).relative_to(folder) for name in files if name not in left_out}
    return found


def _copy(folder: Path, target: Path) -> None:
    copied: list[tuple[str, str]] = []

    def copy(source: str, copy: str) -> str:
        copied.append((source, copy))
        return shutil.copyfile(source, copy)

    try:
        with atomic_folder(target) as temporary:
            # links are followed: DVC and the stages need the files themselves
            shutil.copytree(
                folder,
                temporary,
                ignore=shutil.ignore_patterns(*_NOT_COPIED),
                copy_function=copy,
                dirs_exist_ok=True,
            )
            # a source is often protected, or open to all; the copy has to let its owner add subjects
            for path in temporary.rglob("*"):
                path.chmod(folder_mode() if path.is_dir() else file_mode())
            if lost := sum(not _is_same(*pair) for pair in copied):
                raise OSError(
                    errno.EIO, f"{lost} of {len(copied)} files of the copy are not those of the source"
                )
    except OSError as error:
        # without the files' names, which may be a patient's
        found = error.strerror or f"{type(error).__name__}: a file could not be read or written"
        reason = full_disk(target) if is_full(error) else found
        raise CohortError(
            f"{DATA / target.name}: the cohort could not be copied ({reason}); params.yaml is unchanged. "
            "Remove the cause, such as a full disk or a dangling link, and add it again"
        ) from None


def _is_same(source: str, copy: str) -> bool:
    try:
        return file_digest(Path(source)) == file_digest(Path(copy))
    except FileNotFoundError:
        return False


def _dvc(project: Path, root: Path, *words: str) -> None:
    # not `dvc`, which may be another environment's
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CohortError(
            f"dvc {' '.join(words)} failed; params.yaml is unchanged and the cohort lies in {root}. "
            f"Correct it and go on: ricenet cohort add {root}\n{done.stderr.strip()}"
        )
