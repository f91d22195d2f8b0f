"""The folder of an imported cohort: what it may be written into, its description and its tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ricenet import __version__
from ricenet.cohort.checks import IMPORTING
from ricenet.cohort.description import parse_description, write_description
from ricenet.cohort.layout import DATASET_DESCRIPTION, PARTICIPANTS_TABLE
from ricenet.cohort.participants import MISSING, PARTICIPANT_ID, REQUIRED_COLUMNS
from ricenet.importing.private_files import file_errors_reported, place_of, sole_use
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import make_folder, write_json, write_text
from ricenet.runtime.temporary import PARTIAL, clear, left_behind
from ricenet.vocabulary import PAPER_VOLUMES, Volumes

IMPORT_TABLE = "import.tsv"
GENERATOR = "ricenet import"
IMPORTED, EXCLUDED, FAILED = "imported", "excluded", "failed"
"""What becomes of a patient."""

_PARTIAL, _LOCK = f"{PARTIAL}*", ".import.lock"

_WARNING = """\
An import is under way here, or was killed: volumes and tables may not belong together.
Give the same ricenet import command again. This file goes when that has ended well.
"""

REQUIRED_DESCRIPTIONS = {
    "participant_id": "Subject: a pseudonym; who it is, only the key file says, which lies elsewhere.",
    "label": "What the new lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known: biopsy, follow_up or synthetic.",
    "subset": "train (cross-validation) or test (independent).",
}


@dataclass(frozen=True)
class Destination:
    """Where a cohort is written, and what it says of itself.

    output: the cohort's folder. key: the key file, outside of it. columns: what each column of
    participants.tsv means, in their order. description: further content of dataset_description.json.
    """

    output: Path
    key: Path
    columns: Mapping[str, str]
    description: Mapping[str, object] = field(default_factory=dict)
    volumes: Volumes = PAPER_VOLUMES


@dataclass(frozen=True)
class PatientOutcome:
    """What became of a patient: imported, excluded by rule, or failed (its files cannot be used).

    reason: why it is not imported; free of names, dates and identifiers. columns: of participants.tsv.
    origin: where the user finds the patient, such as `line 12 of map.csv`; never written into the cohort.
    """

    participant_id: str
    status: str
    reason: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def is_imported(self) -> bool:
        """Whether the patient is in the cohort."""
        return self.status == IMPORTED


def refuse_foreign_folder(output: Path, key: Path) -> None:
    """Raise CohortError unless `output` is new, empty or an imported cohort, and the key lies elsewhere."""
    refuse_inside(key, output, "the key file")
    with file_errors_reported(f"{output.name}: cannot be opened"):
        if not output.exists():
            return
        if not output.is_dir():
            raise CohortError(f"{output.name} is a file. Name a new folder for the cohort")
        is_foreign = bool(_contents(output)) and not _is_imported(output)
    if is_foreign:
        raise CohortError(
            f"{output.name} holds files, and is no cohort that {GENERATOR} wrote. Name a new folder for it"
        )


def require_apart(source: Path, output: Path) -> None:
    """Raise CohortError where the files to be imported and the cohort's folder lie one inside the other."""
    read, written = place_of(source), place_of(output)
    if written.is_relative_to(read) or read.is_relative_to(written):
        raise CohortError(
            "the cohort's folder and the files to be imported lie one inside the other. "
            "Name a folder for the cohort that is apart from them"
        )


def refuse_inside(file: Path, output: Path, what: str) -> None:
    """Raise CohortError where a file that identifies patients lies in the cohort's folder."""
    if place_of(file).is_relative_to(place_of(output)):
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
            f"{output.name} holds {_named(foreign)}, written with another key file than {key.name}. "
            "Name the key file of that cohort, or another folder"
        )
    if left := [name for name in names if name not in wanted]:
        raise CohortError(
            f"{output.name} holds {_named(left)}, imported earlier and not to be imported now. "
            "Remove what is no longer wanted, or take the patients in again"
        )


@contextlib.contextmanager
def held_folder(output: Path) -> Iterator[None]:
    """Make the cohort's folder, and keep other imports out of it, whatever key they use.

    Raises CohortError: another one writes into it at the moment, or the file system refuses it.
    """
    with file_errors_reported(f"{output.name}: cannot be made"):
        make_folder(output)
    with sole_use(output / _LOCK, output.name):
        yield


@contextlib.contextmanager
def unfinished(output: Path) -> Iterator[None]:
    """Mark the cohort as unfinished (IMPORTING) until the block ends well; the check refuses it so long.

    Subjects are replaced before the tables that list them, so a kill leaves what does not fit together.
    Clears away what a killed import left half written.
    Raises CohortError: the file system refuses it.
    """
    with file_errors_reported(f"{output.name}: cannot be written into"):
        for path in left_behind(output):
            clear(path)
        write_text(output / IMPORTING, _WARNING)
    yield
    with file_errors_reported(f"{output.name}: cannot be written into"):
        (output / IMPORTING).unlink(missing_ok=True)


def describe(to: Destination) -> None:
    """Write dataset_description.json: first of all, for it is what a later call knows the cohort by.

    Raises CohortError: the file system refuses it.
    """
    content = {
        "Name": place_of(to.output).name,
        **to.description,
        "GeneratedBy": [{"Name": GENERATOR, "Version": __version__}],
    }
    with file_errors_reported(f"{DATASET_DESCRIPTION}: cannot be written"):
        write_description(to.output, content, to.volumes)


def write_tables(to: Destination, outcomes: Sequence[PatientOutcome]) -> None:
    """Write participants.tsv (imported patients), participants.json, and import.tsv (every patient).

    Raises CohortError: the file system refuses one of them.
    """
    meanings = REQUIRED_DESCRIPTIONS | dict(to.columns)
    columns = list(dict.fromkeys([*REQUIRED_COLUMNS, *meanings]))
    ordered = sorted(outcomes, key=lambda outcome: outcome.participant_id)
    of_cohort = [{**one.columns, "participant_id": one.participant_id} for one in ordered if one.is_imported]
    of_import = [
        {"participant_id": one.participant_id, "status": one.status, "reason": one.reason} for one in ordered
    ]
    with file_errors_reported(f"{to.output.name}: its tables cannot be written"):
        _write_tsv(to.output / PARTICIPANTS_TABLE, columns, of_cohort)
        write_json(
            to.output / "participants.json", {name: {"Description": meanings[name]} for name in columns}
        )
        _write_tsv(to.output / IMPORT_TABLE, ["participant_id", "status", "reason"], of_import)


def _write_tsv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    # one line a row, whatever an error's text holds; an empty cell is a missing one
    lines = [[" ".join(row.get(name, "").split()) or MISSING for name in columns] for row in rows]
    write_text(path, "".join("\t".join(line) + "\n" for line in [list(columns), *lines]))


def _contents(output: Path) -> list[Path]:
    left = {*output.glob(_PARTIAL), output / _LOCK, output / IMPORTING}
    return [path for path in output.iterdir() if path not in left]


def _is_imported(output: Path) -> bool:
    description = parse_description(output)
    generators = description.get("GeneratedBy") if isinstance(description, Mapping) else None
    return isinstance(generators, list) and any(
        isinstance(generator, dict) and generator.get("Name") == GENERATOR for generator in generators
    )


def _named(names: Sequence[str]) -> str:
    """Folders by name where that is a pseudonym; others are counted, for theirs may be a patient's."""
    known = [name for name in names if PARTICIPANT_ID.fullmatch(name)]
    others = len(names) - len(known)
    return ", ".join([*known, *([f"{others} folder(s) not named by a pseudonym"] if others else [])])
