"""Filling the pages' templates: style and scripts go inside, nothing is loaded from elsewhere."""

from __future__ import annotations

from ricenet.display.templates import page_templates, template_text

_PACKAGE = "ricenet.screening.quality"


def render(template: str, script: str, **values: object) -> str:
    """A page as HTML text. template, script: files of the folder `templates`."""
    css, code = template_text(_PACKAGE, "quality.css"), template_text(_PACKAGE, script)
    page: str = page_templates(_PACKAGE).get_template(template).render(css=css, script=code, **values)
    return page
