"""Preprocessing all subjects of a checked cohort, each step once: unchanged ones come from the store."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort, ExcludedSubject
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.preprocessing.derivative_dataset import PROVENANCE, write_dataset
from ricenet.preprocessing.step_keys import StepKeys, step_keys
from ricenet.runtime.errors import CohortError, ScanError
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.runtime.per_subject import SubjectTask, run_missing
from ricenet.runtime.store import Store
from ricenet.vocabulary import Volumes

logger = logging.getLogger(__name__)

PRELOAD = (
    *("ricenet.preprocessing.preprocess_subject", "torch", "nibabel", "scipy.ndimage", "scipy.optimize"),
    *("scipy.spatial.transform", "skimage.filters"),
)
"""What every worker needs, but ANTs: it loads pandas, which starts a thread."""


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
    exclude_faulty: exclude subjects whose files are refused. What has other causes (a full disk, memory, an
    error of the program) is no property of a subject, and always stops.
    Returns who was excluded.
    Raises CohortError: subjects failed, or none is left; all of them are named with their reasons.
    """
    keys = {s.participant_id: step_keys(s, cohort.volumes, params, seed, versions) for s in cohort.subjects}
    store.use(key for steps in keys.values() for key in steps.all)
    cubes = {subject: steps.cube for subject, steps in keys.items()}
    work = _SubjectWork(
        Path(cohort.root).absolute(), cohort.volumes, params, seed, store, dict(versions), keys
    )
    outcomes = run_missing("preprocessing", work, cubes, store, execution, PRELOAD)
    refused = {o.task.subject: o.result.reason for o in outcomes if o.result is not None}
    broken = {o.task.subject: o.error for o in outcomes if o.error is not None}
    made = {s: key for s, key in cubes.items() if s not in refused and s not in broken}
    _lay_out(made, store, output, work.root, cohort.volumes)
    _report(refused, broken, len(keys), exclude_faulty)
    return [ExcludedSubject(participant_id=name, problems=(why,)) for name, why in refused.items()]


def _report(
    refused: Mapping[str, str], broken: Mapping[str, str], subjects: int, exclude_faulty: bool
) -> None:
    """List every failure; as an error unless all of them are to be excluded, and somebody is left."""
    failed = {**refused, **broken}
    if not failed:
        return
    lines = "\n".join(f"  - {subject}: {failed[subject]}" for subject in sorted(failed))
    if exclude_faulty and not broken and len(failed) < subjects:
        logger.warning("%d of %d subjects are excluded:\n%s", len(failed), subjects, lines)
        return
    remedy = "" if exclude_faulty or broken else "\nOr exclude them: set cohort.exclude_faulty to true."
    raise CohortError(
        f"{len(failed)} of {subjects} subjects could not be preprocessed; the others are kept:\n"
        f"{lines}{remedy}"
    )


@dataclass(frozen=True)
class _SubjectWork:
    """Does the steps of one subject that are not kept; a refusal of its files is an answer, no failure."""

    root: Path
    volumes: Volumes
    params: PreprocessingParams
    seed: int
    store: Store
    versions: Mapping[str, str]
    keys: Mapping[str, StepKeys]

    def __call__(self, task: SubjectTask) -> Refusal | None:
        from ricenet.preprocessing import preprocess_subject
        from ricenet.preprocessing.brain import extraction
        from ricenet.preprocessing.registration.rigid_registration import RigidResult
        from ricenet.preprocessing.subject_files import write_subject

        raw = RawSubject(self.root, task.subject, self.volumes)
        keys, params = self.keys[task.subject], self.params

        def register(name: str, folder: Path) -> None:
            spec = self.volumes[name]
            preprocess_subject.register_mri(raw, spec, params.registration, self.seed).write(folder)

        def extract(folder: Path) -> None:
            extraction.find_brain(raw, params.brain).write(folder)

        def crop(folder: Path) -> None:
            made = preprocess_subject.make_cube(raw, params, registrations, brain)
            write_subject(made, folder, raw, params.dose_unit_gy)
            provenance = {"key": keys.cube, "subject": task.subject, "seed": self.seed}
            settings = {"versions": dict(self.versions), "parameters": params.model_dump()}
            write_json(folder / PROVENANCE, provenance | settings)

        try:
            registrations = {
                name: RigidResult.read(self.store.get(key, functools.partial(register, name)))
                for name, key in keys.registrations.items()
            }
            preprocess_subject.require_registered(registrations, raw)
            brain = extraction.FoundBrain.read(self.store.get(keys.brain, extract))
            self.store.get(keys.cube, crop)
        except ScanError as error:
            return Refusal(f"{error.scan}: {error.found}. {error.remedy}")
        return None


def _lay_out(cubes: Mapping[str, str], store: Store, output: Path, root: Path, volumes: Volumes) -> None:
    """A folder of links into the store for every subject, and what is said of them together."""
    with atomic_folder(output) as folder:
        for subject, key in cubes.items():
            store.lay_out(key, folder / subject)
        write_dataset(folder, output.absolute(), root, volumes, cubes)
