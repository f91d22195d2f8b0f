"""Filling the pages' templates: styles, scripts and volumes go inside, nothing is loaded from elsewhere."""

from __future__ import annotations

from importlib import resources

from ricenet.display.templates import page_templates, template_text
from ricenet.runtime.errors import ResultError

PACKAGE = "ricenet.evaluation.occlusion.page"
BUNDLE = "viewer.js"


def render(template: str, **values: object) -> str:
    """A page as HTML text. template: a file of the folder `templates`."""
    css = template_text(PACKAGE, "pages.css")
    page: str = page_templates(PACKAGE).get_template(template).render(css=css, **values)
    return page


def viewer_script() -> str:
    """The viewer with all that it needs, as one script with the licences of what it holds.

    Raises ResultError: it was not built.
    """
    script = resources.files(PACKAGE).joinpath(BUNDLE)
    if not script.is_file():
        raise ResultError(
            f"the viewer of the case pages is not built: there is no {BUNDLE} in the package "
            f"{PACKAGE}. Run `make viewer` (npm packages are fetched and bundled), then try again"
        )
    return script.read_text(encoding="utf-8")
