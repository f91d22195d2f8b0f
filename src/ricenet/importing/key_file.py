"""The key: which patient is which subject. It stays outside the cohort.

A table of patient_id, participant_id and digest, readable by its owner alone. The digest is that of what
the subject's folder was made from; so an unchanged subject is not written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.errors import CohortError
from ricenet.files import locked
from ricenet.importing.private_file import write_private_table
from ricenet.importing.tables import Fault, Row, problem_list, read_table

COLUMNS = ("patient_id", "participant_id", "digest")
UNFINISHED = "unfinished"
"""In place of a digest: the folder was about to be replaced, so what it holds is not known."""

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
    return entries


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


def write_key(path: Path, entries: dict[str, KeyEntry]) -> None:
    """Write a key file, atomically and for its owner alone."""
    rows = [(entry.patient_id, entry.participant_id, entry.digest) for entry in entries.values()]
    write_private_table(path, COLUMNS, rows)


def record_digest(path: Path, participant_id: str, digest: str) -> None:
    """Note what a subject's folder holds; several processes may do so at once.

    Raises CohortError: the key file no longer knows the subject, or is malformed.
    """
    with locked(path.with_name(f".{path.name}.lock")):
        entries = read_key(path)
        known = [entry for entry in entries.values() if entry.participant_id == participant_id]
        if not known:
            raise CohortError(f"{path.name}: {participant_id} vanished during the import. {_RESTORE}")
        write_key(path, entries | {known[0].patient_id: replace(known[0], digest=digest)})


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other imports from using a key file.

    Raises CohortError: another one does at the moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.import.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CohortError(
                f"another import is using {path.name}. Wait for its end, then import again"
            ) from None
        yield


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
