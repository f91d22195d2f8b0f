"""Templates of the pages, and the files that stand inside them: nothing is loaded when a page is read."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@functools.cache
def page_templates(package: str) -> Environment:
    """The templates in a package's folder `templates`; a value is escaped, and a missing one is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def template_text(package: str, name: str) -> str:
    """The text of a file of that folder."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")
