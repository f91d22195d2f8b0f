"""The ways between pages of explained cases: to the gallery, the neighbours, quality control and the report.

A case's page is made before it is known who stands beside it, so its ways are put into it afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from ricenet.display.templates import page_templates
from ricenet.evaluation.occlusion.page.gallery import PACKAGE, PAGE
from ricenet.runtime.files import write_text

PLACE = "<!-- ways -->"


class ProjectPages(NamedTuple):
    """Other pages of the project, relative to a gallery's folder; None: there are none.

    quality: the folder with a page a subject. report: the page.
    """

    quality: str | None = None
    report: str | None = None

    def of_gallery(self) -> dict[str, str]:
        """Addresses by title."""
        quality = None if self.quality is None else f"{self.quality}/{PAGE}"
        found = {"Quality control": quality, "Report": self.report}
        return {title: href for title, href in found.items() if href is not None}

    @classmethod
    def seen_from(cls, folder: Path, work: Path) -> Self:
        """Those that a project's folder `work` has, for a gallery in any folder."""
        found = {"quality": work / "quality", "report": work / "report" / PAGE}
        return cls(
            **{
                name: Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
                for name, path in found.items()
                if path.exists()
            }
        )


NO_FURTHER_PAGES = ProjectPages()
IN_PROJECT = ProjectPages(quality="../../quality", report="../../report/index.html")
"""Of a gallery in work/explain: `dvc repro` writes all of these pages."""


def write_ways(folder: Path, subjects: Sequence[str], pages: ProjectPages) -> None:
    """Put its ways into the page of each subject, in the gallery's order. folder: the gallery's."""
    neighbours = zip([None, *subjects], subjects, [*subjects[1:], None], strict=False)
    for before, subject, after in neighbours:
        page = folder / subject / PAGE
        ways = page_templates(PACKAGE).get_template("ways.html")
        text = ways.render(before=before, subject=subject, after=after, pages=pages, page=PAGE)
        write_text(page, page.read_text(encoding="utf-8").replace(PLACE, text, 1))
