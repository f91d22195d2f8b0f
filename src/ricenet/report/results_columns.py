"""What tables of a project's results consist of, and the columns that several of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Cell = str | float | int | None
Kind = Literal["text", "number", "link"]

DIGITS = 6
"""Of probabilities, after the point; a spreadsheet would round the last of a double's digits."""


@dataclass(frozen=True)
class Column:
    """A column with what the data dictionary says of it. unit: of a number; values: what a text may be."""

    name: str
    title: str
    kind: Kind = "text"
    unit: str = ""
    values: str = ""


@dataclass(frozen=True)
class ResultsTable:
    """A table by name; each row has a cell for each column. A link is relative to the project's folder."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


SUBJECT = Column("participant_id", "pseudonym of the subject")
SET = Column("modality_set", "volumes that the network sees")
RECIPE = Column("recipe", "recipe of training; empty: the main one")


def label_column(label_names: Sequence[str]) -> Column:
    """The reference standard. label_names: the declared classes."""
    return Column("label", "reference standard", values=f"{'; '.join(label_names)}; empty: not known")


def known_text(text: str | None) -> str | None:
    """A cell of a table of ours; None where it says that nothing is known."""
    return None if text in (None, "", "n/a") else text


def number_in(text: str) -> float | int | None:
    """The number in a cell, likewise."""
    if known_text(text) is None:
        return None
    return int(text) if text.isdecimal() else float(text)
