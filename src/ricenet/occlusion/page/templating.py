"""Filling the pages' templates: styles, scripts and volumes go inside, nothing is loaded from elsewhere."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

from ricenet.errors import ResultError

if TYPE_CHECKING:
    from jinja2 import Environment

BUNDLE = "viewer.js"


def render(template: str, **values: object) -> str:
    """A page as HTML text. template: a file of the folder `templates`."""
    page: str = _environment().get_template(template).render(css=template_text("pages.css"), **values)
    return page


def template_text(name: str) -> str:
    """The text of a file of the folder `templates`."""
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def viewer_script() -> str:
    """The viewer with all that it needs, as one script with the licences of what it holds.

    Raises ResultError: it was not built.
    """
    script = resources.files(__package__).joinpath(BUNDLE)
    if not script.is_file():
        raise ResultError(
            f"the viewer of the case pages is not built: there is no {BUNDLE} in the package "
            f"{__package__}. Run `make viewer` (npm packages are fetched and bundled), then try again"
        )
    return script.read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
