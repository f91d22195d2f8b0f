"""Explaining several subjects, as files; one that fails does not keep the others from being explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.display.drawing import save_figure
from ricenet.evaluation.occlusion.causal_regions import read_mechanism
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case, Explanation
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.evaluation.occlusion.figure import occlusion_figure
from ricenet.evaluation.occlusion.page.case_page import case_page, viewer_script
from ricenet.evaluation.occlusion.page.gallery import PAGE, Tile, gallery_page, in_order, thumbnail
from ricenet.evaluation.occlusion.page.ways import NO_FURTHER_PAGES, ProjectPages, write_ways
from ricenet.evaluation.occlusion.sensitivity import Progress
from ricenet.evaluation.occlusion.truth import RegionFound, cohort_truth, subject_truth, truth_markdown
from ricenet.phantom.mechanism import Mechanism
from ricenet.runtime.errors import ResultError, RicenetError
from ricenet.runtime.files import atomic_folder, read_json, write_bytes, write_json, write_text
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.progress import task_progress
from ricenet.volume import Volume, save_nifti

logger = logging.getLogger(__name__)

SUMMARY, THUMBNAIL, TRUTH = "summary.json", "thumbnail.png", "truth.json"

_PULSE_S = 30.0


def explain_subjects(
    explainer: Explainer, subjects: Sequence[str], folder: Path, pages: ProjectPages = NO_FURTHER_PAGES
) -> None:
    """Write a folder a subject, and a gallery of those that succeeded, into a folder.

    pages: others of the project, to which links lead.
    Of a synthetic cohort, whose cause is known, truth.json and truth.md say besides whether maps point at it.
    Raises ResultError: subjects that could not be explained, each with the reason; the others are written.
    """
    # before hours of maps
    viewer_script()
    failed: dict[str, str] = {}
    with task_progress(f"explaining {explainer.ensemble.modality_set}", len(subjects)) as advance:
        for subject in subjects:
            try:
                with atomic_folder(folder / subject) as temporary:
                    write_explanation(explainer, subject, temporary)
            except RicenetError as error:
                failed[subject] = str(error)
            advance()
    explained = [subject for subject in subjects if subject not in failed]
    write_gallery(explainer, explained, failed, folder, pages)
    if failed:
        lines = "\n".join(f"  - {problem}" for problem in failed.values())
        raise ResultError(f"{len(failed)} of {len(subjects)} subjects could not be explained:\n{lines}")


def write_explanation(explainer: Explainer, subject: str, folder: Path) -> None:
    """Explain a subject, and write all that is drawn from it into a folder: what `write_case` writes, the
    gallery's picture, and of a synthetic cohort how much of each map lies where its cause is.

    Raises RicenetError: as `Explainer.explain`; a ground truth that lacks a mask; the viewer was not built.
    """
    keep_freed_memory()
    case = explainer.explain(subject, _pulse(subject))
    write_case(case, folder)
    write_bytes(folder / THUMBNAIL, thumbnail(case))
    if (mechanism := _mechanism(explainer)) is not None and case.anatomy.known_masks:
        found = subject_truth(case, explainer.settings, mechanism)
        write_json(folder / TRUTH, [asdict(region) for region in found])


def write_gallery(
    explainer: Explainer,
    subjects: Sequence[str],
    failed: Mapping[str, str],
    folder: Path,
    pages: ProjectPages = NO_FURTHER_PAGES,
) -> None:
    """Write the page that lists subjects whose folders are there, the ways between all these pages, and what
    holds over all of them.

    failed: why there is no page, by subject. pages: others of the project, to which links lead.
    """
    modality_set = explainer.ensemble.modality_set
    title, labels = explainer.volumes.set_title(modality_set), explainer.splits.labels
    tiles = in_order(
        Tile(Explanation.read(of_subject / SUMMARY, "explain"), (of_subject / THUMBNAIL).read_bytes())
        for of_subject in (folder / subject for subject in subjects)
    )
    ways = pages.of_gallery()
    write_text(folder / PAGE, gallery_page(tiles, failed, labels, title, explainer.synthetic, ways))
    write_ways(folder, [tile.explanation.participant_id for tile in tiles], pages)
    paths = (folder / subject / TRUTH for subject in subjects)
    truths = [RegionFound(**row) for path in paths if path.is_file() for row in read_json(path)]
    if (mechanism := _mechanism(explainer)) is not None and truths:
        found = cohort_truth(truths, modality_set, explainer.volumes, mechanism, explainer.seed)
        write_json(folder / TRUTH, found)
        write_text(folder / "truth.md", truth_markdown(found))


def _mechanism(explainer: Explainer) -> Mechanism | None:
    """By which a synthetic cohort's labels were drawn."""
    return read_mechanism(explainer.raw) if (explainer.raw / GROUND_TRUTH).is_dir() else None


def write_case(case: Case, folder: Path) -> None:
    """Write a subject's maps, figure.png and .svg, summary.json and page into a folder."""
    for name, change in case.maps.items():
        save_nifti(Volume(change, case.anatomy.grid), folder / map_file(name))
    for suffix in ("png", "svg"):
        save_figure(occlusion_figure(case), folder / f"figure.{suffix}")
    write_json(folder / SUMMARY, case.explanation.model_dump(mode="json"))
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
