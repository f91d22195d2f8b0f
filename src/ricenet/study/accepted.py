"""What a project sealed, and the results that came back: models/studies.json and models/validations.json.

Both belong in git. A result is taken where its package was sealed here and its digest is that of its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import MOST_TEXT_BYTES, locked, regular_bytes, write_json
from ricenet.runtime.git import home_of
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError
from ricenet.study.package_record import HomeResults, PackageRecord
from ricenet.study.result import StudyResult


class SealedStudy(Record):
    """A package that was sealed here. content: its digest without the time. home: what it says of home."""

    modality_set: str
    model: str
    version: str
    ensemble: str
    plan: str
    content: str
    sealed_utc: str
    gate: str
    home: HomeResults | None

    @classmethod
    def of(cls, record: PackageRecord, home: HomeResults | None) -> SealedStudy:
        """What is noted of a package."""
        kept = record.model_dump(
            include={"modality_set", "model", "version", "ensemble", "plan", "sealed_utc", "gate"}
        )
        return cls(content=record.content, home=home, **kept)


class Validation(Record):
    """A result that was taken. name: what it is called here. added_utc: when."""

    name: str
    added_utc: str
    result: StudyResult


class _Studies(Record):
    studies: dict[str, SealedStudy] = Field(default_factory=dict)


class _Validations(Record):
    validations: tuple[Validation, ...] = ()


_Kept = TypeVar("_Kept", bound=Record)


def studies_path(project: Path) -> Path:
    """One for all copies of a project, as the ledger is."""
    return home_of(project) / "models" / "studies.json"


def validations_path(project: Path) -> Path:
    """Likewise."""
    return home_of(project) / "models" / "validations.json"


def sealed_studies(project: Path) -> Mapping[str, SealedStudy]:
    """By seal; none before the first. Raises StudyError: damaged. FormatError: of another version."""
    return _read(studies_path(project), _Studies).studies


def note_study(project: Path, record: PackageRecord, home: HomeResults | None) -> None:
    """Note a package that was sealed here."""
    path = studies_path(project)
    with locked(path.with_suffix(".lock")):
        known = sealed_studies(project)
        kept = _Studies(studies={**known, record.seal: SealedStudy.of(record, home)})
        write_json(path, kept.model_dump(mode="json"))


def accepted_validations(project: Path) -> tuple[Validation, ...]:
    """In the order in which they were added.

    Raises StudyError: damaged, or a result in it was changed. FormatError: of another version.
    """
    path = validations_path(project)
    found = _read(path, _Validations).validations
    for one in found:
        if not one.result.is_intact:
            raise StudyError(f"{path.name}: the result {one.name} was changed. {_restore(path)}")
    return found


def add_validation(project: Path, result: StudyResult, name: str | None) -> Validation | None:
    """Take a result; None where it is there already. name: by default the beginning of its cohort's digest.

    Raises StudyError: its package was not sealed here, or a name that another result has.
    """
    study = sealed_studies(project).get(result.seal)
    if study is None or (study.plan, study.ensemble) != (result.plan, result.ensemble):
        raise StudyError(
            f"the result is of the package {result.seal[:12]}, which was not sealed in this project "
            "(models/studies.json). Give it to the project that sealed it, or restore that file from git"
        )
    path = validations_path(project)
    with locked(path.with_suffix(".lock")):
        known = accepted_validations(project)
        if any(one.result.digest == result.digest for one in known):
            return None
        chosen = name or f"cohort {result.cohort[:8]}, evaluation {result.evaluation}"
        if any(one.name == chosen for one in known):
            raise StudyError(f"another result is called {chosen} here. Give it another name (--name)")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = Validation(name=chosen, added_utc=now, result=result)
        write_json(path, _Validations(validations=(*known, added)).model_dump(mode="json"))
    return added


def _read(path: Path, kind: type[_Kept]) -> _Kept:
    if not (path.exists() or path.is_symlink()):
        return kind()
    try:
        return kind.parse(regular_bytes(path, MOST_TEXT_BYTES), path.name, _restore(path))
    except (OSError, JsonError, ValidationError):
        raise StudyError(f"{path.name} is damaged. {_restore(path)}") from None


def _restore(path: Path) -> str:
    return f"Restore it from git (`git checkout -- models/{path.name}`)"
