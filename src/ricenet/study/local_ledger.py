"""How often a hospital evaluated which package: a file in its private folder that is only ever appended to.

Each entry ends in a digest over itself and all before it, as in the ledger of the test set. Whoever removes
the private folder begins anew: the count is what the hospital says of itself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ricenet.importing.private_files import write_private
from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import MOST_TEXT_BYTES, content_digest, locked, regular_bytes
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError
from ricenet.study.result import Evaluation

LEDGER = "ledger.json"

_RESTORE = "Restore it from a backup; it is only ever appended to"


class _Entry(Record):
    utc: str
    seal: str
    cohort: str
    also: tuple[str, ...]
    chain: str = ""


class LocalLedger(Record):
    """salt: a secret of this hospital, by which nobody else can guess from which files a digest came."""

    salt: str
    entries: tuple[_Entry, ...] = ()

    def salted(self, digest: str) -> str:
        """A digest that tells this hospital's cohorts apart and says nothing else."""
        return content_digest([self.salt, digest])[:16]


def record_evaluation(
    private: Path, seal: str, cohort: str, also: Sequence[str]
) -> tuple[str, tuple[Evaluation, ...]]:
    """Append an evaluation. cohort: digest of its subjects and files.

    Returns the cohort's salted digest, and all evaluations with this package so far.
    Raises StudyError: the ledger is damaged, or an entry of it was changed or removed.
    """
    path = private / LEDGER
    with locked(path.with_suffix(".lock")):
        known = read_local_ledger(path)
        entry = _Entry(
            utc=datetime.now(UTC).isoformat(timespec="seconds"), seal=seal, cohort=cohort, also=tuple(also)
        )
        entry = entry.model_copy(update={"chain": _chain(known.entries, entry)})
        ledger = known.model_copy(update={"entries": (*known.entries, entry)})
        write_private(path, json.dumps(ledger.model_dump(mode="json"), indent=2) + "\n")
    of_package = tuple(
        Evaluation(utc=one.utc, same_cohort=one.cohort == cohort, also=one.also)
        for one in ledger.entries
        if one.seal == seal
    )
    return ledger.salted(cohort), of_package


def read_local_ledger(path: Path) -> LocalLedger:
    """The ledger so far, with a new salt where there is none. Raises StudyError: damaged or changed."""
    if not (path.exists() or path.is_symlink()):
        return LocalLedger(salt=secrets.token_hex(32))
    try:
        ledger = LocalLedger.parse(regular_bytes(path, MOST_TEXT_BYTES), path.name, _RESTORE)
    except (OSError, JsonError, ValidationError):
        raise StudyError(
            f"{path.name} in the private folder is no ledger of evaluations. {_RESTORE}"
        ) from None
    for number, entry in enumerate(ledger.entries):
        if entry.chain != _chain(ledger.entries[:number], entry):
            raise StudyError(
                f"{path.name} in the private folder: entry {number + 1} does not follow from those before. "
                f"{_RESTORE}"
            )
    return ledger


def _chain(before: Sequence[_Entry], entry: _Entry) -> str:
    last = before[-1].chain if before else ""
    return content_digest([last, entry.model_dump(mode="json", exclude={"chain"})])[:16]
