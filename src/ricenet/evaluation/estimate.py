"""A number and what is known of it: the form in which results are kept as JSON and shown."""

from __future__ import annotations

from typing import Literal

from ricenet.runtime.records import Record

Method = Literal["bca", "percentile", "exact", "exact bound", "delong", "constant"]
"""How an interval was made: bootstrap (BCa or percentile), exact for a proportion, a bound from two exact
proportions where (nearly) every resample is the same, DeLong's variance; or none, where no chance enters."""


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
