"""Writing an imported cohort: subjects side by side, tables at the end, every patient accounted for."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.config import ExecutionParams
from ricenet.errors import CohortError, RicenetError
from ricenet.execution import Outcome, run_tasks
from ricenet.files import atomic_folder, content_digest, read_json, write_json
from ricenet.importing.cohort_folder import (
    prepare_folder,
    refuse_foreign_folder,
    refuse_left_behind,
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
from ricenet.modalities import MODALITIES

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
    import.tsv with every patient's outcome) are written at the end, atomically. A second call goes on where
    a killed one stopped. key: the key file, outside `output`. descriptions: what each column means, in the
    order of the columns. description: further content of dataset_description.json.
    Returns the outcomes in the order of candidates.
    Raises CohortError: the key lies inside the cohort, is malformed or in use, `output` holds something that
    is no imported cohort, or subjects that no candidate is imported to, or not one patient could be imported.
    """
    refuse_foreign_folder(output, key)
    with held(key):
        before = read_key(key)
        entries = enrolled(before, [candidate.patient_id for candidate in candidates])
        written = {e.participant_id for e in before.values() if e.digest}
        wanted = {entries[c.patient_id].participant_id for c in candidates if c.write is not None}
        refuse_left_behind(output, key, written, wanted)
        write_key(key, entries)
        prepare_folder(output)
        write_description(output, description)
        outcomes = _outcomes(candidates, entries, output, key, descriptions, execution)
        write_tables(output, outcomes, descriptions)
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


def _outcomes(
    candidates: Sequence[Candidate],
    entries: Mapping[str, KeyEntry],
    output: Path,
    key: Path,
    descriptions: Mapping[str, str],
    execution: ExecutionParams,
) -> tuple[PatientOutcome, ...]:
    subjects = {c.patient_id: entries[c.patient_id].participant_id for c in candidates}
    if len(subjects) < len(candidates):
        raise ValueError("a patient_id occurs twice among the candidates")
    tasks = [
        _Task(subjects[c.patient_id], _digest(c, output), c.write) for c in candidates if c.write is not None
    ]
    recorded = {entry.participant_id: entry.digest for entry in entries.values()}
    kept = {t.subject: _kept_columns(output, t, recorded[t.subject]) for t in tasks}
    missing = [task for task in tasks if kept[task.subject] is None]
    logger.info("import: %d of %d subjects are unchanged and kept", len(tasks) - len(missing), len(tasks))
    written = run_tasks(
        functools.partial(_write_one, output.absolute(), key.absolute(), frozenset(descriptions)),
        missing,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "importing",
    )
    results = {subject: _Written(columns) for subject, columns in kept.items() if columns is not None}
    results |= {outcome.task.subject: _result(outcome) for outcome in written}
    return tuple(_outcome(c, subjects[c.patient_id], results, output) for c in candidates)


def _digest(candidate: Candidate, output: Path) -> str:
    # with the folder: one key may serve two cohorts, and a digest tells of one of them only
    place = str(output.resolve())
    return content_digest({"content": candidate.content, "code": code_digest(), "output": place})


def _columns_file(raw: RawSubject) -> Path:
    """What `write` returned, beside the files it wrote, for a later call that keeps the subject."""
    return raw.folder / f"{raw.subject}_import.json"


def _kept_columns(output: Path, task: _Task, recorded: str) -> Mapping[str, str] | None:
    """The columns of a subject whose folder is complete and as it would be written; else None."""
    raw = RawSubject(output, task.subject)
    files = [_columns_file(raw), raw.dose_sidecar, *(raw.scan(modality) for modality in MODALITIES)]
    if recorded != task.digest or not all(path.is_file() for path in files):
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
            _lift(raw.folder, folder)
            # a kill after the exchange of folders must not leave the old folder's digest with the new one
            record_digest(key, task.subject, UNFINISHED)
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
    if kind := re.match(r"([A-Z]\w*): ", error):
        # the text of an unforeseen error may hold anything; the log has it
        return _Written(failure=f"an unforeseen {kind[1]}, a fault of the program. Report it with the log")
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
