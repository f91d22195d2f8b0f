"""Results of stages as strict, frozen records on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes
from ricenet.runtime.strict_json import JsonError, decoded, parse_json
from ricenet.runtime.tables import require


class Record(BaseModel):
    """Base of results on disk: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, path: Path, stage: str) -> Self:
        """Read what a stage wrote.

        Raises ResultError: missing, or not such a file.
        """
        try:
            # twice, since only pydantic knows JSON's lists for the tuples that a record may hold
            content = regular_bytes(require(path, stage), MOST_TEXT_BYTES)
            parse_json(content)
            return cls.model_validate_json(decoded(content))
        except (JsonError, ValidationError):
            raise ResultError(
                f"{path.name} is not of this version. Write it again: dvc repro -f {stage}"
            ) from None
