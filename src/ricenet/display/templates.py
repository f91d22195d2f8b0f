"""Templates of the pages: styles, scripts and pictures go inside, nothing is loaded when a page is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from ricenet.display.glossary import PLACE, with_meanings

if TYPE_CHECKING:
    from jinja2 import Environment


def render(
    package: str,
    template: str,
    style: str,
    filters: Mapping[str, Callable[..., object]] | None = None,
    **values: object,
) -> str:
    """A page as HTML text. template, style: files in a package's folder `templates`; the style is `css`.

    filters: of this page, by name. Terms get their meanings where the template has the glossary's PLACE.
    """
    templates = page_templates(package)
    if filters:
        # an overlay compiles every template anew, which takes longer than most pages
        templates = templates.overlay()
        templates.filters = {**templates.filters, **filters}
    styles = (
        style_text(package, style)
        if PLACE in template_text(package, template)
        else template_text(package, style)
    )
    page: str = templates.get_template(template).render(css=styles, **values)
    return with_meanings(page)


@functools.cache
def style_text(package: str, name: str) -> str:
    """A page's style, with that of the terms whose meaning opens."""
    return template_text(package, name) + template_text("ricenet.display", "terms.css")


@functools.cache
def page_templates(package: str) -> Environment:
    """The templates of a package, and the macros that all pages share, in the folder `templates` here.

    A value is escaped, and a missing one is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("ricenet.display")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def template_text(package: str, name: str) -> str:
    """The text of a file of a package's folder `templates`."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")


@functools.cache
def templates_digest(package: str) -> str:
    """For content keys: SHA-256 over the names and texts of a package's templates and the shared ones."""
    digest = sha256()
    for folder in (resources.files(name).joinpath("templates") for name in (package, "ricenet.display")):
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
