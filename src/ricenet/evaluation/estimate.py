"""A number and what is known of it: the form in which results are kept as JSON and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ricenet.errors import ResultError
from ricenet.evaluation.predictions import require

Method = Literal["bca", "percentile", "exact", "exact bound", "delong", "constant"]
"""How an interval was made: bootstrap (BCa or percentile), exact for a proportion, a bound from two exact
proportions where (nearly) every resample is the same, DeLong's variance; or none, where no chance enters."""


class Record(BaseModel):
    """Base of results on disk: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, path: Path, stage: str) -> Self:
        """Read what a stage wrote.

        Raises ResultError: missing, or not such a file.
        """
        try:
            return cls.model_validate_json(require(path, stage).read_bytes())
        except ValidationError:
            raise ResultError(
                f"{path.name} is not of this version. Write it again: dvc repro -f {stage}"
            ) from None


class Estimate(Record):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float
    method: Method

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """For people.

        >>> Estimate(value=0.7, low=0.55, high=0.83, method="bca").text()
        '0.70 (0.55 to 0.83)'
        """
        sign = "+" if signed else ""
        value, low, high = (f"{number:{sign}.{digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"
