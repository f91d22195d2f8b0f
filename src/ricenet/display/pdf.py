"""A page as a PDF on A4, by WeasyPrint, which is an extra and needs the system's Pango."""

from __future__ import annotations

from typing import Any

from ricenet.runtime.errors import ResultError

_BASE = "urn:ricenet:page"
"""Links to other pages stay relative to it; against a folder they would spell out where the project lies."""


def require_weasyprint(wanted: str, otherwise: str) -> Any:
    """The module WeasyPrint. wanted: by what a PDF is asked for. otherwise: what to do to go without one.

    Raises ResultError: WeasyPrint, or the system library Pango that it draws text with, is not installed.
    """
    try:
        import weasyprint
    except ImportError:
        raise ResultError(
            f"{wanted}, but WeasyPrint is not installed. Install it with "
            f'`pip install "ricenet[pdf]"`, or {otherwise}'
        ) from None
    except OSError:
        # it loads Pango as it is imported
        raise ResultError(
            f"{wanted}, but WeasyPrint does not find the system library Pango. Install it "
            "(Debian, Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0; macOS: brew install pango), "
            f"or {otherwise}"
        ) from None
    return weasyprint


def page_as_pdf(html: str, wanted: str, otherwise: str) -> bytes:
    """A page that loads nothing, printed; the same page gives the same bytes.

    wanted, otherwise: as `require_weasyprint`, whose errors it raises.
    """
    weasyprint = require_weasyprint(wanted, otherwise)
    pdf: bytes = weasyprint.HTML(string=html, base_url=_BASE).write_pdf()
    return pdf
