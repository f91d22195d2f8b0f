"""Examining all subjects of a preprocessed cohort, each once: unchanged ones come from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.step_keys import brain_inputs, tool_versions
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.files import content_digest, file_digest
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require
from ricenet.screening.quality.own_brain import OwnBrain, find_own_brain, quick
from ricenet.vocabulary import Volumes

REMEDY = "Mend these files, or make them again (dvc repro -f preprocess)"

PRELOAD = (
    *("ricenet.screening.quality.examination", "torch", "matplotlib.image"),
    *("nibabel", "scipy.ndimage", "skimage.measure"),
)
"""What every worker needs."""


def examine_cohort(
    cohort: CheckedCohort,
    preprocessed: Path,
    brain: BrainParams,
    execution: ExecutionParams,
    store: Path,
) -> dict[str, Path]:
    """Examine whom the store does not hold yet; returns every subject's folder in the store, in order.

    preprocessed: what preprocessing laid out. brain: HD-BET's precision and device; the rest does not count.
    store: the folder of stores: that of examinations, and that of brains, which no change of a page redoes.
    Raises CohortError: some subjects failed; all of them are named, the others stay in the store.
    ResultError: a file of preprocessing is missing.
    """
    made = read_summary(preprocessed)["subjects"]
    root, volumes = Path(cohort.root).absolute(), cohort.volumes
    settings, brains = quick(brain), Store(store / "own_brain")
    brain_keys = _own_brain_keys(cohort, preprocessed, settings)
    brains.use(brain_keys.values())
    code, drawn_by = code_digest("ricenet.screening.quality.examination"), version("matplotlib")
    keys = {
        s.participant_id: content_digest(
            {
                "subject": s.participant_id,
                "preprocessed": made.get(s.participant_id),
                "planning_ct": s.scans.get("planning_ct"),
                "own_brain": brain_keys.get(s.participant_id),
                "matplotlib": drawn_by,
                "code": code,
            }
        )
        for s in cohort.subjects
    }
    work = _Examine(root, volumes, preprocessed.absolute(), settings, brains, brain_keys)
    return per_subject("quality", work, keys, Store(store / "quality"), execution, REMEDY, PRELOAD)


def _own_brain_keys(cohort: CheckedCohort, preprocessed: Path, settings: BrainParams) -> dict[str, str]:
    """Keys of every subject's last brain, by the scan and by where it is looked for: the mask and the
    registration, whatever else preprocessing made of them; nobody's where there is one session.

    Raises ResultError: a file of preprocessing is missing, or of another version.
    """
    last = cohort.volumes.last_session_reference
    if last == cohort.volumes.reference:
        return {}
    versions = tool_versions(settings)
    code = code_digest("ricenet.screening.quality.own_brain")
    named = {s.participant_id: brain_mask_file(s.participant_id) for s in cohort.subjects}
    masks = {subject: preprocessed / subject / file for subject, file in named.items()}
    return {
        s.participant_id: content_digest(
            [
                file_digest(require(masks[s.participant_id], "preprocess")),
                Measurements.of_subject(preprocessed / s.participant_id).mris[last.name].world_from_reference,
                brain_inputs(s.scans, last.name, settings, versions),
                code,
            ]
        )
        for s in cohort.subjects
        if last.name in s.scans
    }


@dataclass(frozen=True)
class _Examine:
    """Examines one subject, once its last brain is found. brains: where these are kept, by `brain_keys`."""

    root: Path
    volumes: Volumes
    preprocessed: Path
    settings: BrainParams
    brains: Store
    brain_keys: Mapping[str, str]

    def __call__(self, subject: str, folder: Path) -> None:
        from ricenet.screening.quality.examination import examine

        raw, made = RawSubject(self.root, subject, self.volumes), self.preprocessed / subject
        own_brain = None
        if subject in self.brain_keys:

            def find(kept: Path) -> None:
                find_own_brain(raw, made, self.settings).write(kept)

            own_brain = OwnBrain.read(self.brains.get(self.brain_keys[subject], find))
        examine(raw, made, own_brain, folder)
