"""Explanations of several modality sets, each subject's once: unchanged ones come from the store.

A key holds what is drawn from: the ensemble, the subject's files by content, the settings, code and
templates. So nobody is explained again because another subject joins without a label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import GROUND_TRUTH, MECHANISM_FILE
from ricenet.config.params import ExecutionParams
from ricenet.display.templates import templates_digest
from ricenet.evaluation.network_workers import PRELOAD, asking_bytes, network_workers, tool_versions
from ricenet.evaluation.occlusion.explain_cohort import write_explanation
from ricenet.evaluation.occlusion.explainer import Explainer, held_out_folds
from ricenet.evaluation.occlusion.page.case_page import BUNDLE, viewer_script
from ricenet.evaluation.occlusion.page.gallery import PACKAGE
from ricenet.preprocessing.derivative_files import brain_file, brain_mask_file, image_file
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE
from ricenet.preprocessing.network_input import volume_file
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.files import content_digest, file_digest
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require

REMEDY = "Mend these files, or make them again (dvc repro -f preprocess)"


def kept_explanations(
    explainers: Mapping[str, Explainer],
    subjects: Mapping[str, Sequence[str]],
    execution: ExecutionParams,
    store: Store,
) -> dict[str, dict[str, str]]:
    """The store's key of every subject's explanation, by modality set; made where it is not there intact.

    explainers, subjects: by modality set.
    Raises ResultError: the viewer was not built, or a file of preprocessing is missing. CohortError: subjects
    failed; all of them are named, the others stay in the store.
    """
    # before hours of maps
    viewer_script()
    tasks = {f"{subject} by {name}": (name, subject) for name, named in subjects.items() for subject in named}
    common = _common()
    keys = {
        task: content_digest(common | _content(explainers[name], subject))
        for task, (name, subject) in tasks.items()
    }
    worker_bytes = max((_worker_bytes(explainer) for explainer in explainers.values()), default=1)
    workers = network_workers(execution, worker_bytes)
    preload = (*PRELOAD, "ricenet.evaluation.occlusion.explain_cohort", "matplotlib.figure")
    # relative paths would not be those of a worker elsewhere
    there = {name: replace(one, project=one.project.absolute()) for name, one in explainers.items()}
    per_subject("explain", _Explain(there, tasks), keys, store, workers, REMEDY, preload)
    found: dict[str, dict[str, str]] = {name: {} for name in subjects}
    for task, (name, subject) in tasks.items():
        found[name][subject] = keys[task]
    return found


def _worker_bytes(explainer: Explainer) -> int:
    voxels = math.prod(explainer.ensemble.record.grid.shape)
    of_cubes = int(explainer.settings.memory_mb * 2**20)
    return asking_bytes(len(explainer.ensemble.members), voxels, 1) + of_cubes


def _common() -> dict[str, Any]:
    """What all explanations depend on: code, tools, and what pages are made of."""
    bundle = resources.files(PACKAGE).joinpath(BUNDLE)
    return {
        "code": code_digest("ricenet.evaluation.occlusion.explain_cohort"),
        "versions": tool_versions() | {name: version(name) for name in ("scipy", "matplotlib", "pillow")},
        "templates": templates_digest(PACKAGE),
        "viewer": content_digest(bundle.read_text(encoding="utf-8")),
    }


def _content(explainer: Explainer, subject: str) -> dict[str, Any]:
    """What one subject's explanation depends on besides. Raises ResultError: a file is missing."""
    ensemble, splits, volumes = explainer.ensemble, explainer.splits, explainer.volumes
    record, preprocessed = ensemble.record, explainer.preprocessed
    held = held_out_folds(splits, subject)
    known = variables_of(explainer.cohort, preprocessed) if record.network.uses_variables else {}
    scans = {s.participant_id: s.scans for s in explainer.cohort.subjects}.get(subject, {})
    dose = [volumes.dose.name, "dose_sidecar"] if volumes.dose else []
    return {
        "subject": subject,
        "label": splits.labels.get(subject, "n/a"),
        # named on the page, beside what answers
        "ensemble": ensemble.digest,
        "splits": splits.digest,
        "held_out": held,
        "coverage": explainer.coverage,
        "calibrated_by": [column.tolist() for column in explainer.calibrated_by(held)],
        "settings": explainer.settings.model_dump(
            mode="json", exclude={"modality_sets", "subjects_per_label"}
        ),
        "seed": explainer.seed,
        "volumes": [spec.model_dump(mode="json") for spec in volumes],
        "variables": known.get(subject),
        "synthetic": explainer.synthetic,
        "preprocessed": _digests(_read_files(explainer, subject)),
        "dose": {name: scans.get(name) for name in dose},
        "truth": _digests(_truth_files(explainer, subject)),
    }


def _read_files(explainer: Explainer, subject: str) -> list[Path]:
    """A subject's preprocessed files that its explanation reads. Raises ResultError: one is missing."""
    folder, suffix = explainer.preprocessed / subject, explainer.ensemble.record.grid.suffix
    shown = (folder / image_file(subject, spec, suffix) for spec in explainer.volumes)
    asked = (volume_file(spec.name, suffix) for spec in explainer.ensemble.members)
    needed = (*asked, brain_file(subject, suffix), brain_mask_file(subject), MEASUREMENTS_FILE)
    return [
        *(path for path in shown if path.is_file()),
        *(require(folder / name, "preprocess") for name in needed),
    ]


def _truth_files(explainer: Explainer, subject: str) -> list[Path]:
    truth = explainer.raw / GROUND_TRUTH
    return [path for path in (*truth.glob(f"{subject}/*.nii.gz"), truth / MECHANISM_FILE) if path.is_file()]


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: file_digest(path) for path in paths}


@dataclass(frozen=True)
class _Explain:
    """Explains one subject by one modality set, in whatever process. tasks: set and subject by the task."""

    explainers: Mapping[str, Explainer]
    tasks: Mapping[str, tuple[str, str]]

    def __call__(self, task: str, folder: Path) -> None:
        name, subject = self.tasks[task]
        write_explanation(self.explainers[name], subject, folder)
