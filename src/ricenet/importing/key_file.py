"""The key: which patient is which subject. It stays outside the cohort.

A table of patient_id, participant_id and digest, readable by its owner alone. The digest is that of what
the subject's folder was made from; so an unchanged subject is not written again. While an import runs, a
hidden folder beside the key takes the digests, a file each; so none costs more in a larger cohort.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.importing.file_errors import file_errors_told
from ricenet.importing.private_file import write_private, write_private_table
from ricenet.importing.sole_use import sole_use
from ricenet.importing.tables import Fault, Row, problem_list, read_table
from ricenet.runtime.errors import CohortError

COLUMNS = ("patient_id", "participant_id", "digest")
UNFINISHED = "unfinished"
"""In place of a digest: the folder was to be replaced, so what it holds is not known."""

_DIGEST = re.compile(rf"|{UNFINISHED}|[0-9a-f]{{64}}")
_RESTORE = "Restore the key file from your backup"


@dataclass(frozen=True)
class KeyEntry:
    """One patient's subject. digest: empty until its folder was first written."""

    patient_id: str
    participant_id: str
    digest: str = ""


def read_key(path: Path) -> dict[str, KeyEntry]:
    """The entries of a key file by patient_id, in their order; none where there is no file.

    With the digests that an import noted before it was killed.
    Raises CohortError: malformed, all faults listed with their lines.
    """
    if not path.exists():
        return {}
    table = read_table(path, COLUMNS, ())
    faults = list(table.faults)
    entries: dict[str, KeyEntry] = {}
    subjects: set[str] = set()
    for row in table.rows:
        entry = KeyEntry(**row.cells)
        if fault := _fault(entry, row, entries, subjects):
            faults.append(fault)
        entries[entry.patient_id] = entry
        # some file systems do not tell sub-A from sub-a
        subjects.add(entry.participant_id.lower())
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    noted = _noted_digests(path)
    return {
        patient: replace(entry, digest=noted.get(entry.participant_id, entry.digest))
        for patient, entry in entries.items()
    }


def enrolled(entries: dict[str, KeyEntry], patient_ids: Iterable[str]) -> dict[str, KeyEntry]:
    """The entries with patients added that had none: sub-001 and so on, in order of patient_id.

    Numbers go on after the highest one; who has a pseudonym keeps it.
    """
    numbers = (re.fullmatch(r"sub-(\d+)", entry.participant_id) for entry in entries.values())
    highest = max((int(number[1]) for number in numbers if number), default=0)
    new = sorted(set(patient_ids).difference(entries))
    return entries | {
        patient: KeyEntry(patient, f"sub-{number:03d}") for number, patient in enumerate(new, highest + 1)
    }


def write_key(path: Path, entries: Mapping[str, KeyEntry]) -> None:
    """Write a key file, atomically and for its owner alone; digests noted before count no longer."""
    rows = [(entry.patient_id, entry.participant_id, entry.digest) for entry in entries.values()]
    write_private_table(path, COLUMNS, rows)
    with file_errors_told(f"{path.name}: cannot be brought up to date"):
        if _notes(path).exists():
            shutil.rmtree(_notes(path))


def record_digest(path: Path, participant_id: str, digest: str) -> None:
    """Note what a subject's folder holds now; several processes may do so at once.

    It counts in place of what the key file says, until that is written again.
    Raises CohortError: the file system refuses it.
    """
    write_private(_notes(path) / participant_id, digest)


def held(path: Path) -> AbstractContextManager[None]:
    """Keep other imports from using a key file.

    Raises CohortError: another one does at the moment.
    """
    return sole_use(path.with_name(f".{path.name}.import.lock"), path.name)


def _notes(path: Path) -> Path:
    return path.with_name(f".{path.name}.digests")


def _noted_digests(path: Path) -> dict[str, str]:
    """By participant_id; what a kill left half written is passed over."""
    if not _notes(path).is_dir():
        return {}
    with file_errors_told(f"{path.name}: what the last import noted cannot be read"):
        noted = {note.name: note.read_text("latin-1") for note in _notes(path).iterdir()}
    return {name: digest for name, digest in noted.items() if digest and _DIGEST.fullmatch(digest)}


def _fault(entry: KeyEntry, row: Row, known: Collection[str], subjects: Collection[str]) -> Fault | None:
    if not entry.patient_id:
        found = "no patient_id"
    elif entry.patient_id in known:
        found = "a patient_id that occurs before"
    elif not PARTICIPANT_ID.fullmatch(entry.participant_id):
        found = "a participant_id other than sub-<letters and digits>"
    elif entry.participant_id.lower() in subjects:
        found = "a participant_id that occurs before"
    elif not _DIGEST.fullmatch(entry.digest):
        found = "a damaged digest"
    else:
        return None
    return Fault((row.line,), f"{found}. {_RESTORE}")
