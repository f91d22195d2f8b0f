"""A BIDS dataset with other session names or file names, taken as a cohort by a mapping instead of renaming.

The mapping says by which pattern each volume is found; `mapped_cohort` makes a cohort of that. The dataset is
only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ricenet.cohort.layout import RawSubject, is_there, uncompressed, without_ending
from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.cohort.problems import Problem, report_text, unreadable
from ricenet.cohort.quarantine import read_quarantine
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import read_json
from ricenet.runtime.strict_json import JsonError
from ricenet.vocabulary import Volumes

_REMEDY = "Correct the mapping (docs/own-cohort.md)."
_DECIDE = "Make the pattern narrower, or name this subject's file under subjects in the mapping."
_ADD = "Add it, name it under subjects in the mapping, or list the subject in exclude.tsv."
_SIDECAR = "dose_sidecar"
_NOWHERE = Path(os.devnull)
"""A cohort of which no file is there, to ask for names alone."""


def _within(pattern: str) -> str:
    """The pattern, unless it could match outside of the subject's folder. Raises ValueError."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or "\\" in pattern:
        raise ValueError("leaves the subject's folder; write it from there, such as ses-01/anat/*_T1w.nii.gz")
    if "**" in pattern or "\0" in pattern or not path.parts:
        raise ValueError("is no pattern of files; name the folders, with * for what differs")
    return pattern


_Session = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]
_Pattern = Annotated[str, AfterValidator(_within)]


class SubjectNames(BaseModel):
    """How files are called. sessions: the dataset's label by the declared session. files: patterns by volume.

    A pattern is written from the subject's folder; `*`, `?` and `[...]` stand for what differs, `{subject}`
    and `{session}` for the subject and the dataset's label of the volume's session. Beside volumes, it may be
    of `layout.SIDE_FILES`. What has none is called as in `layout`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions: dict[str, _Session] = Field(default_factory=dict)
    files: dict[str, _Pattern] = Field(default_factory=dict)


class FileMapping(SubjectNames):
    """The mapping of a dataset. subjects: what is different for some of them."""

    subjects: dict[str, SubjectNames] = Field(default_factory=dict)

    def of(self, subject: str) -> SubjectNames:
        """What holds for one subject."""
        own = self.subjects.get(subject, SubjectNames())
        return SubjectNames(sessions=self.sessions | own.sessions, files=self.files | own.files)


@dataclass(frozen=True)
class MappedSubject:
    """Where one subject's files are. sources: by the volume's name, or that of what lies beside."""

    subject: str
    sources: Mapping[str, Path] = field(default_factory=dict)


def read_mapping(path: Path) -> FileMapping:
    """Read a mapping. Raises CohortError: missing, not JSON, or not a mapping; all faults are listed."""
    try:
        return FileMapping.model_validate(read_json(path))
    except JsonError as error:
        raise CohortError(f"{path.name}: {error}. {_REMEDY}") from None
    except OSError as error:
        raise CohortError(f"{path.name}: {unreadable(path, error).found}. Name a JSON file.") from None
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        listed = "\n  - ".join([f"{path.name}: {len(faults)} problem(s). {_REMEDY}", *faults])
        raise CohortError(listed) from None


def mapped_subjects(folder: Path, mapping: FileMapping, volumes: Volumes) -> list[MappedSubject]:
    """The files of every subject of a dataset, as the mapping finds them.

    Raises CohortError, with the problems of all subjects: names in the mapping that are nobody's, a required
    file that is not found, several files for one pattern, a file taken twice, or one outside of the dataset.
    Subjects that exclude.tsv excludes have none.
    """
    excluded = read_quarantine(folder, None).reasons
    names = [path.name for path in sorted(folder.glob("sub-*")) if path.is_dir()]
    subjects = [name for name in names if PARTICIPANT_ID.fullmatch(name)]
    searches = [_Search(folder, name, mapping.of(name), volumes) for name in subjects if name not in excluded]
    problems = [*_unknown(mapping, volumes, subjects)]
    if not problems:
        missing: dict[str, list[_Search]] = {}
        for search in searches:
            search.find()
            problems += search.problems
            for name in search.missing:
                missing.setdefault(name, []).append(search)
        problems += _missing(missing, len(searches), mapping, volumes)
    if problems:
        raise CohortError(report_text(folder.absolute().name, problems))
    return [MappedSubject(search.subject, search.found) for search in searches]


class _Search:
    """Finds one subject's files. missing: names of what has no file."""

    def __init__(self, folder: Path, subject: str, names: SubjectNames, volumes: Volumes) -> None:
        self.subject, self._names, self._dataset = subject, names, folder.resolve()
        self._volumes = volumes
        self._folder = folder / subject
        self._standard = RawSubject(_NOWHERE, subject, volumes)
        self.found: dict[str, Path] = {}
        self.missing: list[str] = []
        self.problems: list[Problem] = []

    def find(self) -> None:
        for name in (*self._volumes.names, *self._standard.side_files):
            if (path := self._one(name)) is not None:
                self.found[name] = path
        taken: dict[Path, str] = {}
        for name, path in self.found.items():
            if path in taken:
                self._note(path, f"is taken for {taken[path]} and for {name}", _DECIDE)
            taken.setdefault(path, name)

    def place(self, name: str) -> str:
        """Where a file is looked for, from the subject's folder."""
        pattern, session = self._names.files.get(name), self._session_of(name)
        theirs = self._names.sessions.get(session, session)
        if pattern is not None:
            return pattern.replace("{subject}", self.subject).replace("{session}", theirs)
        if name == _SIDECAR and (dose := self._dose_file()) is not None:
            # beside the dose, whatever that is called
            return dose.with_name(f"{without_ending(dose)}.json").relative_to(self._folder).as_posix()
        is_volume = name in self._volumes.names
        path = self._standard.scan(name) if is_volume else self._standard.side_files[name]
        place = path.relative_to(self._standard.folder).as_posix()
        return place.replace(f"ses-{session}", f"ses-{theirs}")

    def _one(self, name: str) -> Path | None:
        if name in self._names.files:
            matches = [p for p in sorted(self._folder.glob(self.place(name))) if not p.is_dir()]
        else:
            path = self._folder / self.place(name)
            matches = [one for one in (path, uncompressed(path)) if is_there(one)][:1]
        if not matches:
            self.missing.append(name)
            return None
        path, ending = matches[0], (".json",) if name == _SIDECAR else (".nii.gz", ".nii")
        if len(matches) > 1:
            # a name that is not the subject's may be a person's
            named = [one.name for one in matches if one.name.startswith(f"{self.subject}_")]
            listed = f" ({', '.join(named)})" if named else ""
            self._note(Path(self.place(name)), f"{len(matches)} files match for {name}{listed}", _DECIDE)
        elif not path.parent.resolve().is_relative_to(self._dataset):
            self._note(path, "lies outside of the dataset, by a link", "Put the folder itself there.")
        elif not path.name.endswith(ending):
            self._note(path, f"is taken for {name}, but is no {' or '.join(ending)}", _REMEDY)
        else:
            return path
        return None

    @property
    def has_dose(self) -> bool:
        """Whether its dose was found."""
        return self._dose_file() is not None

    def _dose_file(self) -> Path | None:
        dose = self._volumes.dose
        return None if dose is None else self.found.get(dose.name)

    def _session_of(self, name: str) -> str:
        """The declared session of a volume, or of what lies beside one."""
        volumes = self._volumes
        if name in volumes.names:
            return str(volumes[name].session)
        if name in (_SIDECAR, "planning_ct") and volumes.dose is not None:
            return volumes.dose.session
        of_mask = volumes.last_session_reference if name == "lesion_mask" else volumes.reference
        return of_mask.session

    def _note(self, path: Path, found: str, remedy: str) -> None:
        place = path.relative_to(self._folder) if path.is_relative_to(self._folder) else path
        self.problems.append(Problem(self.subject, f"{self.subject}/{place.as_posix()}", found, remedy))


def _unknown(mapping: FileMapping, volumes: Volumes, subjects: Iterable[str]) -> Iterator[Problem]:
    """Names in the mapping that are none of the cohort's."""
    of_files = (*volumes.names, *RawSubject(_NOWHERE, "", volumes).side_files)
    known = {"sessions": volumes.sessions, "files": of_files}
    named: list[tuple[str | None, SubjectNames]] = [(None, mapping), *mapping.subjects.items()]
    for subject, names in named:
        if subject is not None and subject not in subjects:
            # another name may be a person's
            shown = subject if PARTICIPANT_ID.fullmatch(subject) else "a name without sub- before it"
            yield Problem(None, "subjects", f"{shown} is no subject of the dataset", _REMEDY)
            continue
        for section, allowed in known.items():
            for name in sorted(getattr(names, section).keys() - allowed):
                found = f"{name} is none of {', '.join(allowed)}"
                remedy = "Correct it, or declare it under volumes in params.yaml."
                yield Problem(subject, section, found, remedy)


def _missing(
    missing: Mapping[str, list[_Search]], of: int, mapping: FileMapping, volumes: Volumes
) -> Iterator[Problem]:
    """What is not found although it is needed; what nobody has is one problem."""
    required = {spec.name for spec in volumes.required}
    for name, searches in missing.items():
        if len(searches) == of and (name in required or name in mapping.files):
            place = mapping.files.get(name) or searches[0].place(name).replace(searches[0].subject, "*")
            yield Problem(None, place, f"no subject has a file for {name}", _REMEDY)
            continue
        for search in searches:
            stated = name in mapping.subjects.get(search.subject, SubjectNames()).files
            if name in required or stated or (name == _SIDECAR and search.has_dose):
                place = f"{search.subject}/{search.place(name)}"
                yield Problem(search.subject, place, f"no file matches for {name}", _ADD)
