"""Explaining several subjects, as files; one that fails does not keep the others from being explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.display.drawing import save_figure
from ricenet.evaluation.occlusion.causal_regions import read_mechanism
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.evaluation.occlusion.figure import occlusion_figure
from ricenet.evaluation.occlusion.page.case_page import case_page, viewer_script
from ricenet.evaluation.occlusion.page.gallery import PAGE, Tile, gallery_page, thumbnail
from ricenet.evaluation.occlusion.sensitivity import Progress
from ricenet.evaluation.occlusion.truth import RegionFound, cohort_truth, subject_truth, truth_markdown
from ricenet.runtime.errors import ResultError, RicenetError
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.progress import task_progress
from ricenet.volume import Volume, save_nifti

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
    modality_set = explainer.ensemble.modality_set
    tiles: list[Tile] = []
    failed: dict[str, str] = {}
    truths: list[RegionFound] = []
    mechanism = read_mechanism(explainer.raw) if (explainer.raw / GROUND_TRUTH).is_dir() else None
    with task_progress(f"explaining {modality_set}", len(subjects)) as advance:
        for subject in subjects:
            try:
                case = explainer.explain(subject, _pulse(subject))
            except RicenetError as error:
                failed[subject] = str(error)
            else:
                with atomic_folder(folder / subject) as temporary:
                    write_case(case, temporary)
                tiles.append(Tile(case.explanation, thumbnail(case)))
                if mechanism is not None and case.anatomy.known_masks:
                    truths += subject_truth(case, explainer.settings, mechanism)
            advance()
    title = explainer.volumes.set_title(modality_set)
    write_text(
        folder / PAGE, gallery_page(tiles, failed, explainer.splits.labels, title, explainer.synthetic)
    )
    if mechanism is not None and truths:
        found = cohort_truth(truths, modality_set, explainer.volumes, mechanism, explainer.seed)
        write_json(folder / "truth.json", found)
        write_text(folder / "truth.md", truth_markdown(found))
    if failed:
        lines = "\n".join(f"  - {problem}" for problem in failed.values())
        raise ResultError(f"{len(failed)} of {len(subjects)} subjects could not be explained:\n{lines}")


def write_case(case: Case, folder: Path) -> None:
    """Write a subject's maps, figure.png and .svg, summary.json and page into a folder."""
    for name, change in case.maps.items():
        save_nifti(Volume(change, case.anatomy.grid), folder / map_file(name))
    for suffix in ("png", "svg"):
        save_figure(occlusion_figure(case), folder / f"figure.{suffix}")
    write_json(folder / "summary.json", case.explanation.model_dump(mode="json"))
    write_text(folder / PAGE, case_page(case))


def map_file(name: str) -> str:
    """The NIfTI file of a map.

    >>> map_file("together"), map_file("dose")
    ('occlusion.nii.gz', 'occlusion_dose.nii.gz')
    """
    return "occlusion.nii.gz" if name == TOGETHER else f"occlusion_{name}.nii.gz"


def _pulse(subject: str) -> Progress:
    """A line now and then for volumes that take minutes."""
    last = time.monotonic()

    def report(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last > _PULSE_S:
            last = time.monotonic()
            logger.info("%s: %d of %d cubes", subject, done, of)

    return report
