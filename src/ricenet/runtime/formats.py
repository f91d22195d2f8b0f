"""The numbers of file formats: which ones this version of ricenet reads, and what is said of the others.

A file is of format 1 unless it states another number under `format`, so that what was written before there
were numbers goes on to be read, and a number is written from 2 on. docs/formats.md lists all formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ricenet import __version__
from ricenet.runtime.errors import FormatError

KEY = "format"


@dataclass(frozen=True)
class Format:
    """What this version reads of one kind of file. number: what it writes, and the newest that it reads."""

    number: int = 1
    oldest: int = 1

    def reads(self, found: object) -> bool:
        """Whether a file of this number is read."""
        # JSON's true is an int to Python
        return type(found) is int and self.oldest <= found <= self.number

    def require(self, found: object, file: str, older: str, newer: str = "") -> None:
        """Make sure that a file is of a format that is read.

        found: its number. file: which one, in words. older: what to do about a file of an earlier version, as
        a sentence without its full stop. newer: the version of ricenet that wrote it, where that is known.
        Raises FormatError: naming file, number, and what is read.
        """
        if self.reads(found):
            return
        if type(found) is not int:
            raise FormatError(f"{file}: its format is no number, so it is damaged. {older}")
        span = f"{self.oldest}" if self.oldest == self.number else f"{self.oldest} to {self.number}"
        read = f"{file} is of format {found}, and this version of ricenet ({__version__}) reads {span}"
        needed = f"at least ricenet {newer}" if newer else "the version that wrote it, or a later one"
        remedy = older if found < self.oldest else f"Install {needed} (`git pull`, `make setup`)"
        raise FormatError(f"{read}: it was made by {self.whose(found)}. {remedy}")

    def whose(self, found: object) -> str:
        """Which version of ricenet writes a number that is not read, in words."""
        is_later = type(found) is int and found > self.number
        return f"{'a later' if is_later else 'an earlier'} version of ricenet"

    def content(self, found: Any, file: str, older: str) -> Any:
        """The value that a JSON file holds, without its number, once that is one that is read.

        Raises FormatError: as `require`.
        """
        if not isinstance(found, dict):
            return found
        self.require(found.get(KEY, 1), file, older)
        return {name: value for name, value in found.items() if name != KEY}


FIRST = Format()
"""Of whatever has not changed since."""

TRAINED = Format(number=2, oldest=2)
"""Of checkpoints, of ensembles, and of a fold.json by which a training goes on."""

TOLD = Format(number=TRAINED.number, oldest=1)
"""Of a fold.json that is only told of: those of before the number say less, and count as far as they go."""
