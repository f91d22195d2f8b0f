"""Preprocessing all subjects of a checked cohort, each step once: unchanged ones come from the store."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort, ExcludedSubject
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams, PreprocessingParams
from ricenet.preprocessing.step_keys import StepKeys, step_keys
from ricenet.runtime.errors import CohortError, ScanError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.files import atomic_folder, content_digest, write_json
from ricenet.runtime.store import Store

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"


@dataclass(frozen=True)
class SubjectTask:
    """A subject to preprocess, and the content keys under which its steps' results are kept."""

    subject: str
    keys: StepKeys


@dataclass(frozen=True)
class Refusal:
    """Why a subject's files cannot be used."""

    reason: str


def preprocess_cohort(
    cohort: CheckedCohort,
    params: PreprocessingParams,
    seed: int,
    execution: ExecutionParams,
    store: Store,
    output: Path,
    versions: Mapping[str, str],
    *,
    exclude_faulty: bool = False,
) -> list[ExcludedSubject]:
    """Preprocess what the store does not hold intact, and lay every subject's result out under `output`.

    Subjects that succeeded are kept, laid out and in the store, even where others fail.
    exclude_faulty: leave out subjects whose files are refused. What has other causes (a full disk, memory, an
    error of the program) is no property of a subject, and always stops.
    Returns who was left out.
    Raises CohortError: subjects failed, or none is left; all of them are named with their reasons.
    """
    tasks = [SubjectTask(s.participant_id, step_keys(s, params, seed, versions)) for s in cohort.subjects]
    store.use(key for task in tasks for key in asdict(task.keys).values())
    missing = _not_in_store(tasks, store)
    logger.info("preprocess: %d of %d subjects are in the store", len(tasks) - len(missing), len(tasks))
    root = Path(cohort.root).absolute()
    work = functools.partial(_preprocess_into_store, root, params, seed, store, dict(versions))
    outcomes: list[Outcome[SubjectTask, Refusal | None]] = run_tasks(
        work,
        missing,
        execution.backend,
        execution.workers,
        execution.threads_per_worker,
        "preprocessing",
        gpus_per_worker=execution.gpus_per_worker,
    )
    refused = {o.task.subject: o.result.reason for o in outcomes if o.result is not None}
    broken = {o.task.subject: o.error for o in outcomes if o.error is not None}
    done = [task for task in tasks if task.subject not in refused and task.subject not in broken]
    left_out = [ExcludedSubject(participant_id=name, problems=(why,)) for name, why in refused.items()]
    _lay_out(done, store, output)
    _tell(refused, broken, len(tasks), exclude_faulty)
    return left_out


def _not_in_store(tasks: Sequence[SubjectTask], store: Store) -> list[SubjectTask]:
    """Reading is what takes time here, and hashing lets other threads run."""
    with ThreadPoolExecutor() as pool:
        intact = pool.map(lambda task: store.is_intact(task.keys.cube), tasks)
        return [task for task, there in zip(tasks, intact, strict=True) if not there]


def _tell(refused: Mapping[str, str], broken: Mapping[str, str], subjects: int, exclude_faulty: bool) -> None:
    """List every failure; as an error unless all of them are to be left out, and somebody is left."""
    failed = {**refused, **broken}
    if not failed:
        return
    lines = "\n".join(f"  - {subject}: {failed[subject]}" for subject in sorted(failed))
    if exclude_faulty and not broken and len(failed) < subjects:
        logger.warning("%d of %d subjects are left out:\n%s", len(failed), subjects, lines)
        return
    remedy = "" if exclude_faulty or broken else "\nOr leave them out: set cohort.exclude_faulty to true."
    raise CohortError(
        f"{len(failed)} of {subjects} subjects could not be preprocessed; the others are kept:\n"
        f"{lines}{remedy}"
    )


def _preprocess_into_store(
    root: Path,
    params: PreprocessingParams,
    seed: int,
    store: Store,
    versions: dict[str, str],
    task: SubjectTask,
) -> Refusal | None:
    """Do the steps of one subject that are not kept; a refusal of its files is an answer, no failure."""
    from ricenet.preprocessing import cube, subject_files
    from ricenet.preprocessing.brain import mask as brain_mask
    from ricenet.preprocessing.registration import event as event_registration

    raw = RawSubject(root, task.subject)

    def register(folder: Path) -> None:
        found = event_registration.register_event(raw, params.registration, seed)
        event_registration.write_registration(found, folder)

    def extract(folder: Path) -> None:
        brain_mask.write_brain(brain_mask.find_brain(raw, params.brain), folder)

    def crop(folder: Path) -> None:
        made = cube.make_cube(raw, params, registration, brain)
        provenance = {"key": task.keys.cube, "subject": task.subject, "seed": seed, "versions": versions}
        settings = {"parameters": params.model_dump()}
        subject_files.write_subject(made, folder, task.subject, params.dose_unit_gy, provenance | settings)

    try:
        registration = event_registration.read_registration(store.get(task.keys.registration, register))
        event_registration.require_registered(registration, task.subject)
        brain = brain_mask.read_brain(store.get(task.keys.brain, extract))
        store.get(task.keys.cube, crop)
    except ScanError as error:
        return Refusal(f"{error.scan}: {error.found}. {error.remedy}")
    return None


def _lay_out(tasks: Sequence[SubjectTask], store: Store, output: Path) -> None:
    cubes = {task.subject: task.keys.cube for task in tasks}
    with atomic_folder(output) as folder:
        for subject, key in cubes.items():
            store.lay_out(key, folder / subject)
        write_json(folder / SUMMARY, {"digest": content_digest(cubes), "subjects": cubes})
