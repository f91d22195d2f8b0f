"""The page on paper: A4, by WeasyPrint."""

from __future__ import annotations

from pathlib import Path

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import atomic_path

_BASE = "urn:ricenet:report"
"""Links to other pages stay relative to it; against a folder they would spell out where the project lies."""


def write_pdf(html: str, path: Path) -> None:
    """Write a page that loads nothing as a PDF.

    Raises ResultError: WeasyPrint, or the system library Pango that it draws text with, is not installed.
    """
    try:
        import weasyprint
    except ImportError:
        raise ResultError(
            "report.pdf is true, but WeasyPrint is not installed. Install it with "
            '`pip install "ricenet[pdf]"`, or set report.pdf to false'
        ) from None
    except OSError:
        # it loads Pango as it is imported
        raise ResultError(
            "report.pdf is true, but WeasyPrint does not find the system library Pango. Install it "
            "(Debian, Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0; macOS: brew install pango), "
            "or set report.pdf to false"
        ) from None
    with atomic_path(path) as temporary:
        weasyprint.HTML(string=html, base_url=_BASE).write_pdf(temporary)
