"""The folder of an imported cohort: what it may be written into, its description and its tables."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ricenet import __version__
from ricenet.cohort.description import parse_description
from ricenet.cohort.layout import DATASET_DESCRIPTION, PARTICIPANTS_TABLE
from ricenet.cohort.participants import MISSING, PARTICIPANT_ID, REQUIRED_COLUMNS
from ricenet.errors import CohortError
from ricenet.files import write_json, write_text

IMPORT_TABLE = "import.tsv"
GENERATOR = "ricenet import"
_PARTIAL = ".partial-*"

REQUIRED_DESCRIPTIONS = {
    "participant_id": "Subject: a pseudonym; who it is, only the key file says, which lies elsewhere.",
    "label": "What the new lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known: biopsy, follow_up or synthetic.",
    "subset": "train (cross-validation) or test (independent).",
}


class Listed(Protocol):
    """What the tables say of a patient."""

    @property
    def participant_id(self) -> str: ...  # noqa: D102

    @property
    def status(self) -> str: ...  # noqa: D102

    @property
    def reason(self) -> str: ...  # noqa: D102

    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102


def refuse_foreign_folder(output: Path, key: Path) -> None:
    """Raise CohortError unless `output` is new, empty or an imported cohort, and the key lies elsewhere."""
    refuse_inside(key, output, "the key file")
    if not output.exists():
        return
    if not output.is_dir():
        raise CohortError(f"{output.name} is a file. Name a new folder for the cohort")
    if _contents(output) and not _is_imported(output):
        raise CohortError(
            f"{output.name} holds files, and is no cohort that {GENERATOR} wrote. Name a new folder for it"
        )


def refuse_inside(file: Path, output: Path, what: str) -> None:
    """Raise CohortError where a file that identifies patients lies in the cohort's folder."""
    if file.resolve().is_relative_to(output.resolve()):
        raise CohortError(
            f"{what} {file.name} identifies patients and would lie inside {output.name}. "
            "Name a place outside the cohort for it"
        )


def refuse_left_behind(output: Path, key: Path, written: set[str], wanted: set[str]) -> None:
    """Raise CohortError where `output` holds subjects that this import would not account for.

    written: subjects that an import with this key wrote. wanted: those that are to be imported now.
    """
    names = sorted(path.name for path in output.glob("sub-*")) if output.exists() else []
    if foreign := [name for name in names if name not in written]:
        raise CohortError(
            f"{output.name} holds {_told(foreign)}, written with another key file than {key.name}. "
            "Name the key file of that cohort, or another folder"
        )
    if left := [name for name in names if name not in wanted]:
        raise CohortError(
            f"{output.name} holds {_told(left)}, imported earlier and not to be imported now. "
            "Remove what is no longer wanted, or take the patients in again"
        )


def prepare_folder(output: Path) -> None:
    """Make the folder, and clear away what a killed import left half written."""
    output.mkdir(parents=True, exist_ok=True)
    for path in output.glob(_PARTIAL):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_description(output: Path, description: Mapping[str, object]) -> None:
    """Write dataset_description.json: first of all, for it is what a later call knows the cohort by."""
    content = {
        "Name": output.resolve().name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        **description,
        "GeneratedBy": [{"Name": GENERATOR, "Version": __version__}],
    }
    write_json(output / DATASET_DESCRIPTION, content)


def write_tables(output: Path, outcomes: Sequence[Listed], descriptions: Mapping[str, str]) -> None:
    """Write participants.tsv (imported patients), participants.json, and import.tsv (every patient)."""
    meanings = REQUIRED_DESCRIPTIONS | dict(descriptions)
    columns = [*REQUIRED_COLUMNS, *(name for name in meanings if name not in REQUIRED_COLUMNS)]
    ordered = sorted(outcomes, key=lambda outcome: outcome.participant_id)
    rows = [
        {"participant_id": outcome.participant_id, **outcome.columns}
        for outcome in ordered
        if outcome.status == "imported"
    ]
    _write_tsv(output / PARTICIPANTS_TABLE, columns, rows)
    meaning = {name: {"Description": meanings[name]} for name in columns}
    write_json(output / "participants.json", meaning)
    told = [
        {"participant_id": outcome.participant_id, "status": outcome.status, "reason": outcome.reason}
        for outcome in ordered
    ]
    _write_tsv(output / IMPORT_TABLE, ["participant_id", "status", "reason"], told)


def _write_tsv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    # one line a row, whatever an error's text holds; an empty cell is a missing one
    lines = [[" ".join(row.get(name, "").split()) or MISSING for name in columns] for row in rows]
    write_text(path, "".join("\t".join(line) + "\n" for line in [list(columns), *lines]))


def _contents(output: Path) -> list[Path]:
    left = set(output.glob(_PARTIAL))
    return [path for path in output.iterdir() if path not in left]


def _is_imported(output: Path) -> bool:
    description = parse_description(output)
    generators = description.get("GeneratedBy") if isinstance(description, Mapping) else None
    return isinstance(generators, list) and any(
        isinstance(generator, dict) and generator.get("Name") == GENERATOR for generator in generators
    )


def _told(names: Sequence[str]) -> str:
    """Folders by name where that is a pseudonym; others are counted, for theirs may be a patient's."""
    known = [name for name in names if PARTICIPANT_ID.fullmatch(name)]
    others = len(names) - len(known)
    return ", ".join([*known, *([f"{others} folder(s) not named by a pseudonym"] if others else [])])
