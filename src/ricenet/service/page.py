"""The page of the service, and what its pages may load: their own script and style, told by hash."""

from __future__ import annotations

import base64
import functools
import hashlib

from ricenet.display.templates import render, style_text, template_text
from ricenet.evaluation.occlusion.page.case_page import viewer_script

PACKAGE = "ricenet.service"


@functools.cache
def page_text() -> str:
    """The page as HTML, the same for everybody: it asks for the model once it has the token."""
    return render(PACKAGE, "page.html", "page.css", script=template_text(PACKAGE, "page.js"))


@functools.cache
def page_policy() -> str:
    """The page's content security policy."""
    script, style = template_text(PACKAGE, "page.js"), style_text(PACKAGE, "page.css")
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@functools.cache
def explanation_policy() -> str:
    """That of an occlusion map's page, whose styles stand beside what they are for."""
    return (
        f"default-src 'none'; script-src {_hash(viewer_script())}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    """Of a script or style between line ends, as the templates have it (CSP level 3, 8.3)."""
    # a browser reads all line ends as \\n
    digest = hashlib.sha256(f"\n{text}\n".replace("\r\n", "\n").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
