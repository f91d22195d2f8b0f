"""An explained subject as files: maps, figures, numbers and a page."""

from __future__ import annotations

from pathlib import Path

from ricenet.display.drawing import save_figure
from ricenet.evaluation.occlusion.case import TOGETHER, Case
from ricenet.evaluation.occlusion.explanation import Explained, summary_of
from ricenet.evaluation.occlusion.figure import occlusion_figure
from ricenet.evaluation.occlusion.page import GalleryEntry, case_page, thumbnail
from ricenet.runtime.files import write_json, write_text
from ricenet.volume import Volume, save_nifti

PAGE = "index.html"


def map_file(name: str) -> str:
    """The NIfTI file of a map.

    >>> map_file("together"), map_file("dose")
    ('occlusion.nii.gz', 'occlusion_dose.nii.gz')
    """
    return "occlusion.nii.gz" if name == TOGETHER else f"occlusion_{name}.nii.gz"


def write_explained(explained: Explained, folder: Path) -> GalleryEntry:
    """Write a subject's maps, figure.png and .svg, summary.json and page into a folder."""
    case = explained.case
    for name, change in case.maps.items():
        save_nifti(Volume(change, case.anatomy.grid), folder / map_file(name))
    for suffix in ("png", "svg"):
        save_figure(occlusion_figure(case), folder / f"figure.{suffix}")
    write_json(folder / "summary.json", summary_of(explained))
    write_text(folder / PAGE, case_page(case))
    return _entry(case, f"{case.anatomy.subject}/{PAGE}")


def _entry(case: Case, href: str) -> GalleryEntry:
    return GalleryEntry(
        subject=case.anatomy.subject,
        label=case.anatomy.label,
        predicted=case.predicted,
        p_rice=case.p_rice,
        href=href,
        thumbnail=thumbnail(case),
        wrong=case.wrong,
    )
