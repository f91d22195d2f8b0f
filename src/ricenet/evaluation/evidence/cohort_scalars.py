"""The scalars of a whole cohort; what volumes give is kept in the store by their content."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.evidence.baselines import Scalars
from ricenet.evaluation.evidence.scalars import image_scalars, table_scalars
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import content_digest, file_digest, read_json, write_json
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require

_FILE = "scalars.json"


@dataclass(frozen=True)
class ScalarTask:
    """A subject to measure, and the content key under which the result is kept."""

    subject: str
    key: str


def cohort_scalars(
    cohort: CheckedCohort,
    preprocessed: Path,
    subjects: Iterable[str],
    execution: ExecutionParams,
    store: Store,
) -> dict[str, Scalars]:
    """The scalars of some subjects of a checked and preprocessed cohort.

    Raises CohortError: files that cannot be read, by subject. ResultError: preprocessing is missing.
    """
    root, wanted = Path(cohort.root).absolute(), list(subjects)
    keys = read_json(require(preprocessed / "summary.json", "preprocess"))["subjects"]
    scans = {s.participant_id: s.scans for s in cohort.subjects}
    tasks = [ScalarTask(s, _key(RawSubject(root, s), scans[s], keys[s])) for s in wanted]
    store.use(task.key for task in tasks)
    outcomes = run_tasks(
        functools.partial(_into_store, root, preprocessed.absolute(), store),
        [task for task in tasks if not store.is_intact(task.key)],
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "scalars",
    )
    if failed := [f"  - {outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]:
        lines = "\n".join(failed)
        raise CohortError(
            f"{len(failed)} of {len(tasks)} subjects cannot be measured; mend these files:\n{lines}"
        )
    told = table_scalars(root, wanted)
    return {t.subject: {**read_json(store.path(t.key) / _FILE), **told[t.subject]} for t in tasks}


def _into_store(root: Path, preprocessed: Path, store: Store, task: ScalarTask) -> None:
    def make(folder: Path) -> None:
        write_json(folder / _FILE, image_scalars(RawSubject(root, task.subject), preprocessed / task.subject))

    store.get(task.key, make)


def _key(raw: RawSubject, scans: dict[str, str], preprocessed_key: str) -> str:
    masks = [file_digest(mask) for mask in (raw.lesion_mask, raw.cavity_mask) if mask.is_file()]
    code = code_digest("ricenet.evaluation.evidence.scalars")
    return content_digest([scans, masks, preprocessed_key, code])
