"""Results of stages as strict, frozen records on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import MOST_TEXT_BYTES, read_json, regular_bytes
from ricenet.runtime.formats import FIRST, Format
from ricenet.runtime.strict_json import JsonError, parse_json
from ricenet.runtime.tables import require


class Record(BaseModel):
    """Base of results on disk: unknown fields are errors, values never change. FORMAT: of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    FORMAT: ClassVar[Format] = FIRST

    @classmethod
    def read(cls, path: Path, stage: str) -> Self:
        """Read what a stage wrote.

        Raises ResultError: missing, or not such a file. FormatError: of a format that is not read.
        """
        again = write_again(stage)
        try:
            return cls.parse(regular_bytes(require(path, stage), MOST_TEXT_BYTES), path.name, again)
        except (JsonError, ValidationError):
            raise ResultError(f"{path.name} is not of this version. {again}") from None

    @classmethod
    def parse(cls, content: bytes, file: str, older: str) -> Self:
        """The record that a file holds. file: its name. older: what to do where an earlier version wrote it.

        Raises FormatError: of a format that is not read. JsonError, ValidationError: not such a record.
        """
        found = cls.FORMAT.content(parse_json(content), file, older)
        # as text, since only pydantic knows JSON's lists for the tuples that a record may hold
        return cls.model_validate_json(json.dumps(found))


def write_again(stage: str) -> str:
    """What to do about a file that a stage makes."""
    return f"Write it again: dvc repro -f {stage}"


def read_result(path: Path, stage: str, format: Format = FIRST) -> Any:
    """What a stage wrote as JSON, by names that are the user's own, so that no record describes it.

    Raises ResultError: missing. FormatError: of a format that is not read. OSError, JsonError: as
    `read_json`.
    """
    return format.content(read_json(require(path, stage)), path.name, write_again(stage))
