"""Which item of a checklist is answered where; the words of all items are ours.

Sources: CLAIM (2024 update), Tejani et al., Radiol Artif Intell 2024;6:e240300. TRIPOD+AI, Collins et al.,
BMJ 2024;385:e078378. STARD-AI, Sounderajah et al., Nat Med 2025;31:3283, doi:10.1038/s41591-025-03953-8.
PROBAST+AI, Moons et al., BMJ 2025;388:e082505, doi:10.1136/bmj-2024-082505. FUTURE-AI, Lekadir et al., BMJ
2025;388:e081554, doi:10.1136/bmj-2024-081554. All items of each are listed; of PROBAST+AI those are its
signalling questions, whose judgements are the assessors'.
"""

from __future__ import annotations

from typing import NamedTuple

from ricenet.display.templates import template_text
from ricenet.report.facts import Facts
from ricenet.report.sentences import SECTIONS

AUTHORS = "for the authors to state"
_TABLES = {
    "CLAIM, 2024 update": "claim.tsv",
    "TRIPOD+AI, 2024": "tripod_ai.tsv",
    "STARD-AI, 2025": "stard_ai.tsv",
    "PROBAST+AI, 2025": "probast_ai.tsv",
    "FUTURE-AI, 2025": "future_ai.tsv",
}

CITED = ("CLAIM", "TRIPOD+AI", "STARD-AI", "PROBAST+AI", "FUTURE-AI")
"""How the references of the methods begin that are of checklists."""


class Item(NamedTuple):
    """An item of a checklist. sections: title by anchor; none where the authors have to answer."""

    number: str
    topic: str
    sections: dict[str, str]
    note: str


def checklists(facts: Facts) -> dict[str, list[Item]]:
    """All checklists' items in order, by title. facts: of the run, as `study_facts` tells them."""
    return {title: _items(table, facts) for title, table in _TABLES.items()}


def _items(table: str, facts: Facts) -> list[Item]:
    rows = [line.split("\t") for line in template_text("ricenet.report", table).splitlines()[1:]]
    return [_item(number, topic, sections, note, facts) for number, topic, sections, note in rows]


def _item(number: str, topic: str, sections: str, note: str, facts: Facts) -> Item:
    """A row of a table. sections: `anchor`, or `anchor?fact` where it answers if that fact is known.

    note: words with `{fact}` for what is known.
    """
    asked = [section.partition("?") for section in sections.split()]
    anchors = [anchor for anchor, _, fact in asked if not fact or facts[fact]]
    said = "; ".join(filter(None, (part.format_map(facts) for part in note.split("; "))))
    return Item(
        number, topic, {anchor: SECTIONS[anchor] for anchor in anchors}, said or ("" if anchors else AUTHORS)
    )
