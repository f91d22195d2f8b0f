"""Writing an imported cohort: subjects concurrently, tables at the end, every patient accounted for."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.importing.cohort_folder import (
    EXCLUDED,
    FAILED,
    IMPORTED,
    Destination,
    PatientOutcome,
    describe,
    held_folder,
    refuse_foreign_folder,
    refuse_left_behind,
    unfinished,
    write_tables,
)
from ricenet.importing.key_file import KeyEntry, enrolled, held, read_key, write_key
from ricenet.runtime.errors import CohortError, RicenetError
from ricenet.runtime.execution import UNFORESEEN, Outcome, run_tasks
from ricenet.runtime.files import atomic_folder, content_digest, file_digest, read_json, write_json
from ricenet.runtime.private_modes import folder_mode

logger = logging.getLogger(__name__)

Write = Callable[[RawSubject], Mapping[str, str]]
"""Writes a raw subject's files and returns columns that only the files give, such as intervals; picklable.
Raises SourceError where the files cannot be used."""


@dataclass(frozen=True)
class Candidate:
    """A patient of the source: to be imported, or not, for a reason known beforehand.

    patient_id: in the source; never written into the cohort. columns: of participants.tsv, by name,
    without participant_id; texts, free of dates and identifiers. exclusion: why the patient is not to be
    imported; failure: why it cannot be yet (write is None then). content: what the result depends on,
    JSON-serialisable, so that an unchanged subject is not written again; only its digest with the key's
    salt is kept, in the subject's folder. origin: as of `PatientOutcome`.
    """

    patient_id: str
    columns: Mapping[str, str]
    write: Write | None = None
    exclusion: str | None = None
    failure: str | None = None
    content: object = None
    origin: str = ""


def import_cohort(
    candidates: Sequence[Candidate], to: Destination, execution: ExecutionParams
) -> tuple[PatientOutcome, ...]:
    """Write every candidate that can be imported into the cohort's folder.

    A subject's folder appears by one rename, complete; the tables (participants.tsv with participants.json,
    import.tsv with every patient's outcome) are written at the end, atomically. Until then a file IMPORTING
    says that they may not fit the subjects. A second call goes on where a killed one stopped.
    Returns the outcomes in the order of candidates.
    Raises CohortError: the key lies inside the cohort or is malformed, another import uses it or the folder,
    the folder holds something that is no imported cohort, or subjects that no candidate is imported to, the
    file system refuses a table, or not one patient could be imported.
    """
    refuse_foreign_folder(to.output, to.key)
    with held(to.key):
        before = read_key(to.key)
        entries = enrolled(before, [candidate.patient_id for candidate in candidates])
        with held_folder(to.output):
            # again: another import may just have ended
            refuse_foreign_folder(to.output, to.key)
            written = {entry.participant_id for entry in before.values()}
            wanted = {entries[one.patient_id].participant_id for one in candidates if one.exclusion is None}
            refuse_left_behind(to.output, to.key, written, wanted)
            write_key(to.key, entries)
            with unfinished(to.output):
                describe(to)
                outcomes = _import(candidates, entries, to, execution)
                write_tables(to, outcomes)
    if not any(outcome.is_imported for outcome in outcomes):
        raise CohortError(f"not one of {len(outcomes)} patient(s) could be imported\n{reasons(outcomes)}")
    return outcomes


def reasons(outcomes: Sequence[PatientOutcome]) -> str:
    """Why patients are not in the cohort, one a line, by pseudonym and where the user finds them."""
    return "\n".join(
        f"  - {outcome.participant_id}{f' ({outcome.origin})' if outcome.origin else ''}: {outcome.reason}"
        for outcome in outcomes
        if not outcome.is_imported
    )


@dataclass(frozen=True)
class _Task:
    """A subject to be written. digest: of all that its folder depends on."""

    raw: RawSubject
    digest: str
    write: Write

    @property
    def subject(self) -> str:
        return self.raw.subject

    @property
    def record(self) -> Path:
        """In the subject's folder: its digest, what `write` returned, and hashes of what it wrote."""
        return self.raw.folder / f"{self.subject}_import.json"


def _import(
    candidates: Sequence[Candidate],
    entries: Mapping[str, KeyEntry],
    to: Destination,
    execution: ExecutionParams,
) -> tuple[PatientOutcome, ...]:
    """Write the subjects that are not there as they would be written."""
    subjects = {one.patient_id: entries[one.patient_id].participant_id for one in candidates}
    if len(subjects) < len(candidates):
        raise ValueError("a patient_id occurs twice among the candidates")
    tasks = [
        _Task(
            RawSubject(to.output.absolute(), subjects[one.patient_id], to.volumes),
            content_digest({"content": one.content, "salt": entries[one.patient_id].salt}),
            one.write,
        )
        for one in candidates
        if one.write is not None
    ]
    results = {task.subject: kept for task in tasks if (kept := _kept(task))}
    logger.info("import: %d of %d subjects are unchanged and kept", len(results), len(tasks))
    missing = [task for task in tasks if task.subject not in results]
    results |= _written(missing, frozenset(to.columns), execution)
    return tuple(_outcome(one, subjects[one.patient_id], results, to.output) for one in candidates)


def _kept(task: _Task) -> PatientOutcome | None:
    """The outcome of a subject whose folder is complete and as it would be written; else None."""
    try:
        record = read_json(task.record)
    except (OSError, ValueError):
        return None
    files = record.get("files") if isinstance(record, dict) else None
    # a list in those of earlier versions
    if not isinstance(files, dict) or record.get("digest") != task.digest:
        return None
    if changed := [
        name for name, digest in files.items() if not _is_as_written(task.raw.folder / name, digest)
    ]:
        logger.warning(
            "%s: %d of %d files are not as an earlier import wrote them; it is written again",
            *(task.subject, len(changed), len(files)),
        )
        return None
    return PatientOutcome(task.subject, IMPORTED, columns=record["columns"])


def _is_as_written(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except OSError:
        return False


def _written(
    tasks: Sequence[_Task], known_columns: frozenset[str], execution: ExecutionParams
) -> dict[str, PatientOutcome]:
    """Write subjects concurrently, and say what became of each."""
    outcomes = run_tasks(
        functools.partial(_write_one, known_columns),
        tasks,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "importing",
        private=True,
    )
    return {outcome.task.subject: _result(outcome) for outcome in outcomes}


def _write_one(known_columns: frozenset[str], task: _Task) -> PatientOutcome:
    """Write one subject in a worker process; whatever its source's files may cause is in the result."""
    try:
        with atomic_folder(task.raw.folder) as folder:
            there = replace(task, raw=replace(task.raw, cohort=folder))
            there.raw.folder.mkdir(mode=folder_mode())
            columns = dict(task.write(there.raw))
            if unknown := columns.keys() - known_columns:
                raise ValueError(f"columns without a description: {sorted(unknown)}")
            record = {"digest": task.digest, "columns": columns, "files": _files(there.raw)}
            write_json(there.record, record)
            for path in list(there.raw.folder.iterdir()):
                path.rename(folder / path.name)
            there.raw.folder.rmdir()
    except RicenetError as error:
        return PatientOutcome(task.subject, FAILED, str(error))
    except OSError as error:
        # without the file's name, which may be a patient's
        found = error.strerror or type(error).__name__
        reason = f"a file could not be read or written ({found}). Mend the cause and import again"
        return PatientOutcome(task.subject, FAILED, reason)
    return PatientOutcome(task.subject, IMPORTED, columns=columns)


def _files(raw: RawSubject) -> dict[str, str]:
    """SHA-256 of all files of a subject just written, by their paths in its folder.

    Raises CohortError: those of a required volume are not among them.
    """
    needed = [raw.scan(spec.name) for spec in raw.volumes.required]
    dose = raw.volumes.dose
    if dose is not None and (dose.required or raw.scan(dose.name).exists()):
        needed.append(raw.dose_sidecar)
    if not all(path.is_file() for path in needed):
        raise CohortError(
            "files of the subject vanished while they were written. "
            "Let no other program work in the cohort's folder, and import again"
        )
    files = [path for path in raw.folder.rglob("*") if path.is_file()]
    return {path.relative_to(raw.folder).as_posix(): file_digest(path) for path in files}


def _result(outcome: Outcome[_Task, PatientOutcome]) -> PatientOutcome:
    if outcome.result is not None:
        return outcome.result
    error = outcome.error or "no result"
    if error.startswith(UNFORESEEN):
        error += ", a fault of the program. Report it with the log"
    return PatientOutcome(outcome.task.subject, FAILED, error)


def _outcome(
    candidate: Candidate, subject: str, results: Mapping[str, PatientOutcome], output: Path
) -> PatientOutcome:
    if candidate.exclusion is not None:
        return PatientOutcome(subject, EXCLUDED, candidate.exclusion, origin=candidate.origin)
    known = PatientOutcome(subject, FAILED, candidate.failure or "")
    result = replace(results.get(subject, known), origin=candidate.origin)
    if result.is_imported:
        return replace(result, columns={**candidate.columns, **result.columns})
    if (output / subject).exists():
        stale = f"The folder {subject} holds what an earlier import wrote: mend this, or remove it"
        return replace(result, reason=f"{result.reason.rstrip('.')}. {stale}")
    return result
