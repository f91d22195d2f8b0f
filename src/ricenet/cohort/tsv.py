"""The tab-separated tables of a cohort, as text: what spreadsheets and keyboards add to them is read past."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.layout import is_there
from ricenet.cohort.problems import Finding, Problem, unreadable
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes


@dataclass(frozen=True)
class TsvLines:
    """Every line's cells, without blanks around them. padded: how many, the header's too, had some."""

    cells: list[list[str]]
    padded: int

    def notes(self, file: str) -> tuple[Problem, ...]:
        """What was read past; no fault, but other programs may not."""
        if not self.padded:
            return ()
        found = f"blanks around {self.padded} cell(s) or name(s) of columns were read past"
        return (Problem(None, file, found, "Remove them: other programs may not."),)


def read_tsv(path: Path) -> TsvLines | Finding | None:
    """A UTF-8 table, quotation marks as they stand; None: there is no file, nor a link in its place."""
    if not is_there(path):
        return None
    try:
        text = regular_bytes(path, MOST_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        return unreadable(path, error)
    except UnicodeDecodeError:
        return Finding("is not text in UTF-8", "Save it as tab-separated text in UTF-8.")
    lines = [line.split("\t") for line in re.split(r"\r\n|\r|\n", text)]
    cells = [[cell.strip() for cell in line] for line in lines]
    padded = sum(cell != cell.strip() for line in lines for cell in line)
    return TsvLines(cells, padded)
