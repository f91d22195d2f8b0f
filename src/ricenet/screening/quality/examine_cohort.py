"""Examining all subjects of a preprocessed cohort, each once: unchanged ones come from the store."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams, ExecutionParams
from ricenet.preprocessing.preprocess_cohort import SUMMARY
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import content_digest, file_digest, read_json, source_digest
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExaminationTask:
    """A subject to examine and the content key under which the result is kept."""

    subject: str
    key: str


def examine_cohort(
    cohort: CheckedCohort, preprocessed: Path, brain: BrainParams, execution: ExecutionParams, store: Store
) -> dict[str, Path]:
    """Examine whom the store does not hold yet; returns every subject's folder in the store, in order.

    preprocessed: what preprocessing laid out. brain: how HD-BET runs; its fast mode, whatever they say.
    Raises CohortError: some subjects failed; all of them are named, the others stay in the store.
    ResultError: a file of preprocessing is missing.
    """
    keys = read_json(require(preprocessed / SUMMARY, "preprocess"))["subjects"]
    root = Path(cohort.root).absolute()
    versions = tool_versions(brain) | {"matplotlib": version("matplotlib")}
    tasks = [
        ExaminationTask(s.participant_id, _key(RawSubject(root, s.participant_id), keys, versions))
        for s in cohort.subjects
    ]
    store.use(task.key for task in tasks)
    missing = [task for task in tasks if not store.is_intact(task.key)]
    logger.info("quality: %d of %d subjects are in the store", len(tasks) - len(missing), len(tasks))
    work = functools.partial(_examine_into_store, root, preprocessed.absolute(), brain, store)
    outcomes = run_tasks(
        work, missing, execution.backend, execution.workers, execution.threads_per_worker, "quality"
    )
    failed = [f"  - {outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed:
        lines = "\n".join(failed)
        raise CohortError(
            f"{len(failed)} of {len(tasks)} subjects could not be examined; the others are kept:\n{lines}"
        )
    return {task.subject: store.path(task.key) for task in tasks}


def _key(raw: RawSubject, preprocessed: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """Content address: what preprocessing made of which files, the planning CT, the code and its tools."""
    return content_digest(
        {
            "subject": raw.subject,
            "preprocessed": preprocessed.get(raw.subject),
            "planning_ct": file_digest(raw.planning_ct) if raw.planning_ct.is_file() else None,
            "versions": dict(versions),
            "code": _code_digest(),
        }
    )


def _examine_into_store(
    root: Path, preprocessed: Path, brain: BrainParams, store: Store, task: ExaminationTask
) -> None:
    from ricenet.screening.quality.examination import examine

    raw = RawSubject(root, task.subject)
    store.get(task.key, lambda folder: examine(raw, preprocessed / task.subject, brain, folder))


@functools.cache
def _code_digest() -> str:
    from ricenet import volume
    from ricenet.cohort import dose_sidecar, layout
    from ricenet.display import drawing
    from ricenet.preprocessing import high_dose
    from ricenet.preprocessing.brain import (
        device as brain_device,
    )
    from ricenet.preprocessing.brain import (
        extraction as brain,
    )
    from ricenet.preprocessing.brain import (
        hd_bet as brain_network,
    )
    from ricenet.preprocessing.brain import (
        image as brain_image,
    )
    from ricenet.preprocessing.registration import similarity
    from ricenet.screening.quality import examination, geometry, measures, mosaic, scans

    tools = (brain, brain_device, brain_image, brain_network, similarity)
    seen = (examination, geometry, measures, mosaic, scans)
    return source_digest(volume, dose_sidecar, layout, high_dose, drawing, *tools, *seen)
