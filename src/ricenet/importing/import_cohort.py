"""Writing an imported cohort: subjects side by side, tables at the end, every patient accounted for."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.importing.cohort_folder import (
    held_folder,
    refuse_foreign_folder,
    refuse_left_behind,
    unfinished,
    write_description,
    write_tables,
)
from ricenet.importing.key_file import (
    UNFINISHED,
    KeyEntry,
    enrolled,
    held,
    read_key,
    record_digest,
    write_key,
)
from ricenet.importing.provenance import code_digest
from ricenet.runtime.errors import CohortError, RicenetError
from ricenet.runtime.execution import UNFORESEEN, Outcome, run_tasks
from ricenet.runtime.files import atomic_folder, content_digest, read_json, write_json
from ricenet.vocabulary import MODALITIES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A patient of the source: to be imported, or excluded for a reason known beforehand.

    patient_id: in the source; never written into the cohort. columns: of participants.tsv, by name,
    without participant_id; texts, free of dates and identifiers. write: picklable; writes the raw
    subject's files and returns further columns (such as intervals) that only the files tell; raises
    SourceError where they cannot be used. exclusion: why the patient is not imported (write is None then).
    content: what the result depends on, JSON-serialisable, so that an unchanged subject is not written
    again; it is only ever kept as a digest, in the key file. origin: where the user finds the patient,
    such as `line 12 of map.csv`; told with a failure, never written into the cohort.
    """

    patient_id: str
    columns: Mapping[str, str]
    write: Callable[[RawSubject], Mapping[str, str]] | None = None
    exclusion: str | None = None
    content: object = None
    origin: str = ""


@dataclass(frozen=True)
class PatientOutcome:
    """What became of a patient: imported, excluded by rule, or failed (its files cannot be used)."""

    participant_id: str
    status: str
    reason: str
    columns: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


def import_cohort(
    candidates: Sequence[Candidate],
    output: Path,
    key: Path,
    descriptions: Mapping[str, str],
    description: Mapping[str, object],
    execution: ExecutionParams,
) -> tuple[PatientOutcome, ...]:
    """Write every candidate that can be imported into the cohort folder `output`.

    A subject's folder appears by one rename, complete; the tables (participants.tsv with participants.json,
    import.tsv with every patient's outcome) are written at the end, atomically. Until then a file IMPORTING
    says that they may not fit the subjects. A second call goes on where a killed one stopped. key: the key
    file, outside `output`. descriptions: what each column means, in the order of the columns. description:
    further content of dataset_description.json.
    Returns the outcomes in the order of candidates.
    Raises CohortError: the key lies inside the cohort or is malformed, another import uses it or `output`,
    `output` holds something that is no imported cohort, or subjects that no candidate is imported to, the
    file system refuses a table, or not one patient could be imported.
    """
    refuse_foreign_folder(output, key)
    with held(key):
        before = read_key(key)
        entries = enrolled(before, [candidate.patient_id for candidate in candidates])
        with held_folder(output):
            # again: another import may just have ended
            refuse_foreign_folder(output, key)
            written = {e.participant_id for e in before.values() if e.digest}
            wanted = {entries[c.patient_id].participant_id for c in candidates if c.write is not None}
            refuse_left_behind(output, key, written, wanted)
            outcomes = _import(candidates, entries, output, key, descriptions, description, execution)
    if not any(outcome.status == "imported" for outcome in outcomes):
        raise CohortError(f"not one of {len(outcomes)} patient(s) could be imported\n{reasons(outcomes)}")
    return outcomes


def reasons(outcomes: Sequence[PatientOutcome]) -> str:
    """Why patients are not in the cohort, one a line, by pseudonym and where the user finds them."""
    return "\n".join(
        f"  - {outcome.participant_id}{f' ({outcome.origin})' if outcome.origin else ''}: {outcome.reason}"
        for outcome in outcomes
        if outcome.status != "imported"
    )


@dataclass(frozen=True)
class _Task:
    """A subject to be written. digest: of all that its folder depends on."""

    subject: str
    digest: str
    write: Callable[[RawSubject], Mapping[str, str]]


@dataclass(frozen=True)
class _Written:
    """What became of a task: the columns of a written subject, or the reason why there is none."""

    columns: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None


def _import(
    candidates: Sequence[Candidate],
    entries: Mapping[str, KeyEntry],
    output: Path,
    key: Path,
    descriptions: Mapping[str, str],
    description: Mapping[str, object],
    execution: ExecutionParams,
) -> tuple[PatientOutcome, ...]:
    """Write what is missing, then the tables; key and folder are this import's alone."""
    subjects = {c.patient_id: entries[c.patient_id].participant_id for c in candidates}
    if len(subjects) < len(candidates):
        raise ValueError("a patient_id occurs twice among the candidates")
    tasks = [
        _Task(subjects[c.patient_id], _digest(c, output), c.write) for c in candidates if c.write is not None
    ]
    recorded = {entry.participant_id: entry.digest for entry in entries.values()}
    results = _kept(tasks, recorded, output)
    missing = [task for task in tasks if task.subject not in results]
    logger.info("import: %d of %d subjects are unchanged and kept", len(tasks) - len(missing), len(tasks))
    # before any folder is exchanged: a kill must not leave the old folder's digest with the new one
    write_key(key, _with_digests(entries, dict.fromkeys((task.subject for task in missing), UNFINISHED)))
    with unfinished(output):
        write_description(output, description)
        results |= _written(missing, output, key, frozenset(descriptions), execution)
        outcomes = tuple(_outcome(c, subjects[c.patient_id], results, output) for c in candidates)
        write_tables(output, outcomes, descriptions)
        digests = {task.subject: _digest_after(task, results, recorded, output) for task in missing}
        write_key(key, _with_digests(entries, digests))
    return outcomes


def _with_digests(entries: Mapping[str, KeyEntry], digests: Mapping[str, str]) -> dict[str, KeyEntry]:
    """The entries with digests of some subjects changed. digests: by participant_id."""
    return {
        patient: replace(entry, digest=digests.get(entry.participant_id, entry.digest))
        for patient, entry in entries.items()
    }


def _digest_after(
    task: _Task, results: Mapping[str, _Written], recorded: Mapping[str, str], output: Path
) -> str:
    if results[task.subject].failure is None:
        return task.digest
    # without a folder here, the former digest may still be that of a folder in another cohort
    return UNFINISHED if (output / task.subject).exists() else recorded[task.subject]


def _kept(tasks: Sequence[_Task], recorded: Mapping[str, str], output: Path) -> dict[str, _Written]:
    """The subjects whose folders are complete and as they would be written."""
    columns = {task.subject: _kept_columns(output, task, recorded[task.subject]) for task in tasks}
    return {subject: _Written(known) for subject, known in columns.items() if known is not None}


def _written(
    tasks: Sequence[_Task], output: Path, key: Path, known_columns: frozenset[str], execution: ExecutionParams
) -> dict[str, _Written]:
    """Write subjects, side by side, and say what became of each."""
    outcomes = run_tasks(
        functools.partial(_write_one, output.absolute(), key.absolute(), known_columns),
        tasks,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "importing",
        private=True,
    )
    return {outcome.task.subject: _result(outcome) for outcome in outcomes}


def _digest(candidate: Candidate, output: Path) -> str:
    # with the folder: one key may serve two cohorts, and a digest tells of one of them only
    place = str(output.resolve())
    return content_digest({"content": candidate.content, "code": code_digest(), "output": place})


def _columns_file(raw: RawSubject) -> Path:
    """What `write` returned, beside the files it wrote, for a later call that keeps the subject."""
    return raw.folder / f"{raw.subject}_import.json"


def _is_complete(raw: RawSubject) -> bool:
    files = [_columns_file(raw), raw.dose_sidecar, *(raw.scan(modality) for modality in MODALITIES)]
    return all(path.is_file() for path in files)


def _kept_columns(output: Path, task: _Task, recorded: str) -> Mapping[str, str] | None:
    """The columns of a subject whose folder is complete and as it would be written; else None."""
    raw = RawSubject(output, task.subject)
    if recorded != task.digest or not _is_complete(raw):
        return None
    try:
        columns: Mapping[str, str] = read_json(_columns_file(raw))
    except ValueError:
        return None
    return columns


def _write_one(output: Path, key: Path, known_columns: frozenset[str], task: _Task) -> _Written:
    """Write one subject in a worker process; whatever its source's files may cause is in the result."""
    try:
        with atomic_folder(output / task.subject) as folder:
            raw = RawSubject(folder, task.subject)
            raw.folder.mkdir()
            columns = dict(task.write(raw))
            if unknown := columns.keys() - known_columns:
                raise ValueError(f"columns without a description: {sorted(unknown)}")
            write_json(_columns_file(raw), columns)
            if not _is_complete(raw):
                raise CohortError(
                    "files of the subject vanished while they were written. "
                    "Let no other program work in the cohort's folder, and import again"
                )
            _lift(raw.folder, folder)
        record_digest(key, task.subject, task.digest)
    except RicenetError as error:
        return _Written(failure=str(error))
    except OSError as error:
        # without the file's name, which may be a patient's
        found = error.strerror or type(error).__name__
        return _Written(
            failure=f"a file could not be read or written ({found}). Mend the cause and import again"
        )
    return _Written(columns)


def _lift(folder: Path, parent: Path) -> None:
    """Move all that lies in a folder to its parent, and remove it."""
    for path in list(folder.iterdir()):
        path.rename(parent / path.name)
    folder.rmdir()


def _result(outcome: Outcome[_Task, _Written]) -> _Written:
    if outcome.result is not None:
        return outcome.result
    error = outcome.error or "no result"
    if error.startswith(UNFORESEEN):
        return _Written(failure=f"{error}, a fault of the program. Report it with the log")
    return _Written(failure=error)


def _outcome(
    candidate: Candidate, subject: str, results: Mapping[str, _Written], output: Path
) -> PatientOutcome:
    if candidate.write is None:
        return PatientOutcome(subject, "excluded", candidate.exclusion or "", origin=candidate.origin)
    result = results[subject]
    if result.failure is None:
        columns = {**candidate.columns, **result.columns}
        return PatientOutcome(subject, "imported", "", columns, candidate.origin)
    reason = result.failure
    if (output / subject).exists():
        stale = f"The folder {subject} holds what an earlier import wrote: mend this, or remove it"
        reason = f"{reason.rstrip('.')}. {stale}"
    return PatientOutcome(subject, "failed", reason, origin=candidate.origin)
