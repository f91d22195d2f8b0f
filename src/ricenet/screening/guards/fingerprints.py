"""Looking at every subject's files once: what guards compare, kept in the store by the files' content."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import content_digest, file_digest, read_json, source_digest, write_json
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require
from ricenet.screening.guards.input_fingerprint import (
    PreprocessedLook,
    look_at_preprocessed,
    read_look,
    write_look,
)
from ricenet.screening.guards.raw_fingerprint import RawLook, look_at_raw
from ricenet.vocabulary import MODALITIES

RAW_FILE = "raw.json"

PREPROCESSED_FILES = (*(volume_file(name) for name in MODALITIES), "brain.nii.gz", "dose.nii.gz")


@dataclass(frozen=True)
class LookTask:
    """A subject to look at and the content key under which the result is kept."""

    subject: str
    key: str


@dataclass(frozen=True)
class Looks:
    """What was seen of each subject, by participant_id; of preprocessed volumes, where it is kept."""

    raw: dict[str, RawLook]
    preprocessed: dict[str, Path]

    def preprocessed_look(self, subject: str) -> PreprocessedLook:
        """Read one subject's, for together they may be large."""
        return read_look(self.preprocessed[subject])


def look_at_cohort(
    cohort: CheckedCohort, preprocessed: Path, dose_unit_gy: float, execution: ExecutionParams, store: Store
) -> Looks:
    """Look at whom the store does not hold yet: one pass over each file, a subject a task.

    Raises CohortError: some subjects cannot be read; all of them are named, the others stay in the store.
    ResultError: a file of preprocessing is missing.
    """
    root, folder = Path(cohort.root).absolute(), preprocessed.absolute()
    raw = [
        LookTask(s.participant_id, _key("raw", s.participant_id, s.scans.model_dump()))
        for s in cohort.subjects
    ]
    seen = [
        LookTask(s.participant_id, _key("preprocessed", dose_unit_gy, _digests(folder / s.participant_id)))
        for s in cohort.subjects
    ]
    store.use(task.key for task in (*raw, *seen))
    _look("raw scans", functools.partial(_raw_into_store, root, store), raw, execution, store)
    into_store = functools.partial(_preprocessed_into_store, folder, dose_unit_gy, store)
    _look("preprocessed volumes", into_store, seen, execution, store)
    return Looks(
        {t.subject: RawLook.model_validate(read_json(store.path(t.key) / RAW_FILE)) for t in raw},
        {t.subject: store.path(t.key) for t in seen},
    )


def _look(
    what: str,
    work: Callable[[LookTask], None],
    tasks: Sequence[LookTask],
    execution: ExecutionParams,
    store: Store,
) -> None:
    missing = [task for task in tasks if not store.is_intact(task.key)]
    outcomes = run_tasks(
        work, missing, execution.backend, execution.workers, execution.threads_per_worker, f"guards: {what}"
    )
    failed = [f"  - {outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed:
        lines = "\n".join(failed)
        raise CohortError(
            f"the {what} of {len(failed)} of {len(tasks)} subjects cannot be looked at; mend these files, or "
            f"make them again (dvc repro -f preprocess):\n{lines}"
        )


def _digests(folder: Path) -> list[str]:
    """Of the files themselves: what preprocessing says it wrote may have been changed since."""
    return [file_digest(require(folder / name, "preprocess")) for name in PREPROCESSED_FILES]


def _key(kind: str, *content: object) -> str:
    return content_digest({"kind": kind, "content": content, "code": _code_digest()})


def _raw_into_store(root: Path, store: Store, task: LookTask) -> None:
    def make(folder: Path) -> None:
        look = look_at_raw(RawSubject(root, task.subject))
        write_json(folder / RAW_FILE, look.model_dump(mode="json"))

    store.get(task.key, make)


def _preprocessed_into_store(preprocessed: Path, dose_unit_gy: float, store: Store, task: LookTask) -> None:
    def make(folder: Path) -> None:
        write_look(look_at_preprocessed(preprocessed / task.subject, task.subject, dose_unit_gy), folder)

    store.get(task.key, make)


@functools.cache
def _code_digest() -> str:
    from ricenet import volume
    from ricenet.cohort import dose_sidecar, layout
    from ricenet.preprocessing import intensity, network_input
    from ricenet.screening.guards import input_fingerprint as preprocessed_look
    from ricenet.screening.guards import raw_fingerprint as raw_look

    return source_digest(network_input, volume, dose_sidecar, layout, preprocessed_look, raw_look, intensity)
