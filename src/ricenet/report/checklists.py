"""Which item of CLAIM (2024 update) and TRIPOD+AI (2024) is answered where; the words are ours.

Source: Tejani et al., Radiol Artif Intell 2024;6:e240300; Collins et al., BMJ 2024;385:e078378.
"""

from __future__ import annotations

from dataclasses import dataclass

from ricenet.display.templates import template_text
from ricenet.report.summary import SECTIONS

AUTHORS = "for the authors to state"


@dataclass(frozen=True)
class Item:
    """An item of a checklist. sections: anchors that answer it, none where the authors have to."""

    number: str
    topic: str
    sections: tuple[str, ...]
    note: str

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """(anchor, title) of the sections."""
        return tuple((anchor, SECTIONS[anchor]) for anchor in self.sections)


@dataclass(frozen=True)
class Checklist:
    """A checklist with its items in order."""

    title: str
    items: tuple[Item, ...]

    @property
    def answered(self) -> int:
        """Items that a section of the page answers, if only in part."""
        return sum(bool(item.sections) for item in self.items)


def checklists() -> tuple[Checklist, ...]:
    """Both checklists."""
    return (
        Checklist("CLAIM, 2024 update", _items("claim.tsv")),
        Checklist("TRIPOD+AI, 2024", _items("tripod_ai.tsv")),
    )


def _items(table: str) -> tuple[Item, ...]:
    lines = template_text("ricenet.report", table).splitlines()[1:]
    return tuple(_item(*line.split("\t")) for line in lines)


def _item(number: str, topic: str, sections: str, note: str) -> Item:
    return Item(number, topic, tuple(sections.split()), note or ("" if sections else AUTHORS))
