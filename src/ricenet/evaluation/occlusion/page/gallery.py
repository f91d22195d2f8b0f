"""All explained cases on one page, in the order of their predictions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ricenet.display.drawing import set_title
from ricenet.display.templates import template_text
from ricenet.evaluation.occlusion.page.templating import PACKAGE, render
from ricenet.vocabulary import LABELS


@dataclass(frozen=True)
class GalleryEntry:
    """A case in the gallery. href: its page, relative to the gallery's folder; thumbnail: PNG.

    label, predicted: labels or n/a. problem: why there is no page, empty where there is one; then p_rice,
    href and thumbnail may be None.
    """

    subject: str
    label: str
    predicted: str
    p_rice: float | None
    href: str | None
    thumbnail: bytes | None
    wrong: bool
    problem: str = ""


@dataclass(frozen=True)
class Tile:
    """An entry with its picture as text."""

    entry: GalleryEntry
    picture: str


def gallery_page(entries: Sequence[GalleryEntry], modality_set: str = "", synthetic: bool = False) -> str:
    """The page as HTML text; entries by p_rice, the highest first, those without a page apart.

    modality_set: whose predictions these are. synthetic: made by the phantom.
    """
    shown = [entry for entry in entries if not entry.problem]
    ordered = sorted(shown, key=lambda e: (-(e.p_rice if e.p_rice is not None else -1.0), e.subject))
    return render(
        "gallery.html",
        set_title=set_title(modality_set) if modality_set else "",
        synthetic=synthetic,
        tiles=[Tile(entry, _text(entry.thumbnail)) for entry in ordered],
        failed=sorted((entry for entry in entries if entry.problem), key=lambda entry: entry.subject),
        labels=[*LABELS, "n/a"] if any(e.label not in LABELS for e in shown) else list(LABELS),
        wrong=sum(entry.wrong for entry in shown),
        script=template_text(PACKAGE, "gallery.js"),
    )


def _text(picture: bytes | None) -> str:
    return base64.b64encode(picture).decode("ascii") if picture else ""
