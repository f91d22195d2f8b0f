"""Preprocessing all subjects of a checked cohort, each once: unchanged ones come from the store."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.layout import RawSubject
from ricenet.config import ExecutionParams, PreprocessingParams
from ricenet.errors import CohortError
from ricenet.execution import run_tasks
from ricenet.files import atomic_folder, content_digest, source_digest, write_json
from ricenet.store import Store

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"


@dataclass(frozen=True)
class SubjectTask:
    """A subject to preprocess and the content key under which its result is kept."""

    subject: str
    key: str


def subject_key(
    subject: CheckedSubject, params: PreprocessingParams, seed: int, versions: Mapping[str, str]
) -> str:
    """Content address of a subject's result: its files, the settings, the seed, the code and its tools."""
    return content_digest(
        {
            "subject": subject.participant_id,
            # the planning CT is for people to look at; no result depends on it
            "scans": subject.scans.model_dump(exclude={"planning_ct"}),
            "params": params.model_dump(),
            "seed": seed,
            "versions": dict(versions),
            "code": _code_digest(),
        }
    )


def preprocess_cohort(
    cohort: CheckedCohort,
    params: PreprocessingParams,
    seed: int,
    execution: ExecutionParams,
    store: Store,
    output: Path,
    versions: Mapping[str, str],
) -> None:
    """Preprocess what the store does not hold yet, and lay every subject's result out under `output`.

    Subjects that succeeded are kept, laid out and in the store, even where others fail.
    Raises CohortError: some subjects failed; all of them are named with their reasons.
    """
    tasks = [SubjectTask(s.participant_id, subject_key(s, params, seed, versions)) for s in cohort.subjects]
    missing = [task for task in tasks if not store.has(task.key)]
    logger.info("preprocess: %d of %d subjects are in the store", len(tasks) - len(missing), len(tasks))
    root = Path(cohort.root).absolute()
    work = functools.partial(_preprocess_into_store, root, params, seed, store, dict(versions))
    outcomes = run_tasks(
        work, missing, execution.backend, execution.workers, execution.threads_per_worker, "preprocessing"
    )
    _lay_out([task for task in tasks if store.has(task.key)], store, output)
    errors = {outcome.task.subject: outcome.error for outcome in outcomes}
    failed = {t.subject: errors.get(t.subject) or "no result" for t in tasks if not store.has(t.key)}
    if failed:
        lines = "\n".join(f"  - {subject}: {error}" for subject, error in failed.items())
        raise CohortError(
            f"{len(failed)} of {len(tasks)} subjects could not be preprocessed; the others are kept:\n{lines}"
        )


def _preprocess_into_store(
    root: Path,
    params: PreprocessingParams,
    seed: int,
    store: Store,
    versions: dict[str, str],
    task: SubjectTask,
) -> None:
    from ricenet.preprocessing.pipeline import preprocess, write_subject

    result = preprocess(RawSubject(root, task.subject), params, seed)
    provenance = {"key": task.key, "subject": task.subject, "seed": seed, "versions": versions}
    with store.writing(task.key) as folder:
        write_subject(result, folder, params.dose_unit_gy, provenance | {"parameters": params.model_dump()})


def _lay_out(tasks: list[SubjectTask], store: Store, output: Path) -> None:
    with atomic_folder(output) as folder:
        for task in tasks:
            shutil.copytree(store.path(task.key), folder / task.subject)
        keys = {task.subject: task.key for task in tasks}
        write_json(folder / SUMMARY, {"digest": content_digest(keys), "subjects": keys})


@functools.cache
def _code_digest() -> str:
    from ricenet import modalities, randomness, volume
    from ricenet.cohort import dose_sidecar, layout
    from ricenet.preprocessing import brain, eqd2, given_mask, intensity, pipeline, registration

    steps = (brain, eqd2, given_mask, intensity, pipeline, registration)
    return source_digest(modalities, randomness, volume, dose_sidecar, layout, *steps)
