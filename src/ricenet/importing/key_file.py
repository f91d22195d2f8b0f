"""The key: which patient is which subject. It stays outside the cohort, readable by its owner alone.

A table of patient_id, participant_id and salt. With the salt, what a subject's folder was made from is
digested into the folder, so that an unchanged subject is not written again; without it, the digest says
nothing of the patient.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.importing.private_files import sole_use, write_private_table
from ricenet.importing.spreadsheets import Fault, problem_list, read_spreadsheet
from ricenet.runtime.errors import CohortError

COLUMNS = ("patient_id", "participant_id", "salt")
FORMER_COLUMNS = ("digest",)
"""Of keys that earlier versions wrote; read past."""


@dataclass(frozen=True)
class KeyEntry:
    """One patient's subject. salt: 32 random hexadecimal digits."""

    patient_id: str
    participant_id: str
    salt: str


def read_key(path: Path) -> dict[str, KeyEntry]:
    """The entries of a key file by patient_id, in their order; none where there is no file.

    Raises CohortError: malformed, all faults listed with their lines.
    """
    if not (path.exists() or path.is_symlink()):
        return {}
    table = read_spreadsheet(path, COLUMNS[:2], (*COLUMNS[2:], *FORMER_COLUMNS))
    faults = list(table.faults)
    entries: dict[str, KeyEntry] = {}
    for row in table.rows:
        entry = KeyEntry(*(row.cells[column] for column in COLUMNS))
        if found := _fault(entry, entries):
            faults.append(Fault((row.line,), f"{found}. Restore the key file from your backup"))
        entries[entry.patient_id] = entry
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    return {patient: entry if entry.salt else _salted(entry) for patient, entry in entries.items()}


def enrolled(entries: dict[str, KeyEntry], patient_ids: Iterable[str]) -> dict[str, KeyEntry]:
    """The entries with patients added that had none: sub-001 and so on, in order of patient_id.

    Numbers go on after the highest one; who has a pseudonym keeps it.
    """
    numbers = (re.fullmatch(r"sub-(\d+)", entry.participant_id) for entry in entries.values())
    highest = max((int(number[1]) for number in numbers if number), default=0)
    new = sorted(set(patient_ids).difference(entries))
    return entries | {
        patient: _salted(KeyEntry(patient, f"sub-{number:03d}", ""))
        for number, patient in enumerate(new, highest + 1)
    }


def write_key(path: Path, entries: Mapping[str, KeyEntry]) -> None:
    """Write a key file, atomically and for its owner alone. Raises CohortError: it cannot be written."""
    write_private_table(path, COLUMNS, [astuple(entry) for entry in entries.values()])


def held(path: Path) -> AbstractContextManager[None]:
    """Keep other imports from using a key file. Raises CohortError: another one does at the moment."""
    return sole_use(path.with_name(f".{path.name}.import.lock"), path.name)


def _salted(entry: KeyEntry) -> KeyEntry:
    return replace(entry, salt=secrets.token_hex(16))


def _fault(entry: KeyEntry, before: Mapping[str, KeyEntry]) -> str | None:
    # some file systems take sub-A and sub-a for the same
    subjects: Collection[str] = {one.participant_id.lower() for one in before.values()}
    faults = {
        "no patient_id": not entry.patient_id,
        "a patient_id that occurs before": entry.patient_id in before,
        "a participant_id other than sub-<letters and digits>": not PARTICIPANT_ID.fullmatch(
            entry.participant_id
        ),
        "a participant_id that occurs before": entry.participant_id.lower() in subjects,
        "a damaged salt": not re.fullmatch(r"|[0-9a-f]{32}", entry.salt),
    }
    return next((found for found, applies in faults.items() if applies), None)
