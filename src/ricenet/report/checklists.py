"""Which item of CLAIM (2024 update) and TRIPOD+AI (2024) is answered where; the words are ours.

Source: Tejani et al., Radiol Artif Intell 2024;6:e240300; Collins et al., BMJ 2024;385:e078378.
"""

from __future__ import annotations

from typing import NamedTuple

from ricenet.display.templates import template_text
from ricenet.report.sentences import SECTIONS

AUTHORS = "for the authors to state"
_TABLES = {"CLAIM, 2024 update": "claim.tsv", "TRIPOD+AI, 2024": "tripod_ai.tsv"}


class Item(NamedTuple):
    """An item of a checklist. sections: title by anchor; none where the authors have to answer."""

    number: str
    topic: str
    sections: dict[str, str]
    note: str


def checklists() -> dict[str, list[Item]]:
    """Both checklists' items in order, by title."""
    return {title: _items(table) for title, table in _TABLES.items()}


def _items(table: str) -> list[Item]:
    rows = [line.split("\t") for line in template_text("ricenet.report", table).splitlines()[1:]]
    return [
        Item(
            number,
            topic,
            {anchor: SECTIONS[anchor] for anchor in sections.split()},
            note or ("" if sections else AUTHORS),
        )
        for number, topic, sections, note in rows
    ]
