"""Explaining several subjects: one that fails does not keep the others from being explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ricenet.evaluation.occlusion.explanation import Explained, Explainer
from ricenet.evaluation.occlusion.output import PAGE, write_explained
from ricenet.evaluation.occlusion.page import GalleryEntry, gallery_page, viewer_script
from ricenet.evaluation.occlusion.sensitivity import Progress
from ricenet.evaluation.occlusion.truth import SubjectTruth, cohort_truth, subject_truth
from ricenet.evaluation.occlusion.truth_table import truth_markdown
from ricenet.runtime.errors import ResultError, RicenetError
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.progress import task_progress

logger = logging.getLogger(__name__)

_PULSE_S = 30.0


def explain_subjects(explainer: Explainer, subjects: Sequence[str], folder: Path) -> None:
    """Write a folder a subject, and a gallery of those that succeeded, into a folder.

    Of a synthetic cohort, whose cause is known, truth.json and truth.md say besides whether maps point at it.
    Raises ResultError: subjects that could not be explained, each with the reason; the others are written.
    """
    # before hours of maps
    viewer_script()
    keep_freed_memory()
    entries: list[GalleryEntry] = []
    truths: list[SubjectTruth] = []
    labels = explainer.splits.labels
    with task_progress(f"explaining {explainer.ensemble.modality_set}", len(subjects)) as advance:
        for subject in subjects:
            try:
                explained = explainer.explain(subject, _pulse(subject))
            except RicenetError as error:
                label = labels.get(subject, "n/a")
                entries.append(GalleryEntry(subject, label, "n/a", None, None, None, False, str(error)))
            else:
                with atomic_folder(folder / subject) as temporary:
                    entries.append(write_explained(explained, temporary))
                truths += _truth(explainer, explained)
            advance()
    page = gallery_page(entries, explainer.ensemble.modality_set, explainer.synthetic)
    write_text(folder / PAGE, page)
    if truths:
        found = cohort_truth(truths, explainer.seed)
        write_json(folder / "truth.json", found)
        write_text(folder / "truth.md", truth_markdown(found))
    if failed := [entry.problem for entry in entries if entry.problem]:
        lines = "\n".join(f"  - {problem}" for problem in failed)
        raise ResultError(f"{len(failed)} of {len(subjects)} subjects could not be explained:\n{lines}")


def _truth(explainer: Explainer, explained: Explained) -> list[SubjectTruth]:
    case, settings = explained.case, explainer.settings
    if not case.anatomy.known_masks:
        return []
    return [subject_truth(case, explained.untrained, settings.cube_voxels, settings.stride_voxels)]


def _pulse(subject: str) -> Progress:
    """A line now and then for volumes that take minutes."""
    told = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > _PULSE_S:
            told = time.monotonic()
            logger.info("%s: %d of %d cubes", subject, done, of)

    return tell
