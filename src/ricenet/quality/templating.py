"""Filling the pages' templates: style and scripts go inside, nothing is loaded from elsewhere."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, script: str, **values: object) -> str:
    """A page as HTML text. template, script: files of the folder `templates`."""
    page: str = (
        _environment().get_template(template).render(css=_text("quality.css"), script=_text(script), **values)
    )
    return page


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("ricenet.quality"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _text(name: str) -> str:
    return resources.files("ricenet.quality").joinpath("templates", name).read_text(encoding="utf-8")
