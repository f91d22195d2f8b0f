"""What `make docs` does beyond mkdocs.yml, so that the same files read well on GitHub and as a website.

- A link to a file outside docs/ leads to a copy of it below `repository/`, in its place in the repository.
- A link whose text is a file's name shows the page's title in the navigation instead.
- A page that the navigation does not name comes under "More".
- Lists are read as GitHub reads them: one may follow a line of text, and two spaces make a level.
- Addresses of other hosts are listed, never asked.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?:\[([^][]*))?\]\(([^)\s#:]+)((?:#[^)\s]*)?)\)")
"""[text](target#anchor), the target a file of the repository; the text may begin on an earlier line."""
ITEM = re.compile(r" {0,3}(?:[-*+]|\d+\.) ")
ADDRESS = re.compile(r'<a [^>]*href="(https?://[^"]+)"')
MIRROR = "repository/"
"""Below it lies what pages link to outside docs/."""

log = logging.getLogger("mkdocs.hooks.site")
addresses: set[str] = set()


class ListsAsOnGitHub(Extension):
    """Two spaces make a level of a list, where Python-Markdown asks for four."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Before other extensions: the processors of blocks read the length when they are made."""
        md.tab_length = 2
        md.build_parser()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists as on GitHub, and pages that the navigation does not name under "More"."""
    addresses.clear()
    config.markdown_extensions.insert(0, ListsAsOnGitHub())  # type: ignore[arg-type]
    named = dict(_titles(config.nav))
    pages = sorted(
        path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md")
    )
    if config.nav is not None and (more := [page for page in pages if page not in named]):
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take what pages link to outside docs/, and what those link to in turn."""
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        file = waiting.pop()
        for _, link, _ in LINK.findall(file.content_string):
            uri = _uri(link, file.src_uri)
            source = Path(config.docs_dir).parent / uri.removeprefix(MIRROR)
            if uri.startswith(MIRROR) and files.get_file_from_path(uri) is None and source.is_file():
                copied = File.generated(config, uri, abs_src_path=str(source))
                files.append(copied)
                waiting += [copied] if copied.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Let links lead to the copies and name pages by their titles; a blank line comes before a list."""
    titles = dict(_titles(config.nav))

    def linked(found: re.Match[str]) -> str:
        text, link, anchor = found.groups()
        uri = _uri(link, page.file.src_uri)
        if text is not None and text.endswith(".md"):
            text = titles.get(uri) or text
        relative = posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")
        return ("" if text is None else f"[{text}") + f"]({relative}{anchor})"

    lines, fenced, blank = list[str](), False, False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if not fenced:
            if ITEM.match(line):
                before = lines[-1] if lines else ""
                # after a paragraph, and after an item of several paragraphs
                if before.strip() and not ITEM.match(before) and (blank or not before.startswith(" ")):
                    lines.append("")
                blank = False
            blank = blank or not line.strip()
        lines.append(line if fenced else LINK.sub(linked, line))
    return "\n".join(lines)


def on_page_content(html: str, **_: Any) -> str:
    """Note the addresses of other hosts."""
    addresses.update(ADDRESS.findall(html))
    return html


def on_post_build(**_: Any) -> None:
    """Say which other hosts the pages name."""
    log.info("addresses of other hosts, not asked: %s", ", ".join(sorted(addresses)))


def _titles(nav: Any) -> Iterator[tuple[str, str | None]]:
    """The pages that a part of the navigation names, with their titles there."""
    for entry in nav or ():
        if isinstance(entry, str):
            yield entry, None
        else:
            for title, below in entry.items():
                yield from [(below, title)] if isinstance(below, str) else _titles(below)


def _uri(link: str, src_uri: str) -> str:
    """Where a link leads to within the site; src_uri: the page that it stands on."""
    of_page = src_uri.removeprefix(MIRROR) if src_uri.startswith(MIRROR) else f"docs/{src_uri}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(of_page), link))
    return path.removeprefix("docs/") if path.startswith("docs/") else MIRROR + path
