"""Variables as numbers for a network: numbers standardised by the training subjects, a column for each level.

A missing number becomes the mean, beside a flag that says so; a missing category has no level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from ricenet.runtime.errors import VariableError
from ricenet.runtime.records import Record
from ricenet.vocabulary import VariableSpec, VariableValue

if TYPE_CHECKING:
    import torch

SubjectVariables = Mapping[str, VariableValue]
"""A subject's values by the variable's name; what is not in it is missing."""


class EncodedVariable(Record):
    """How one variable becomes columns.

    mean, sd: of the training subjects that have the number; an SD of 0 counts as 1. levels: of a category,
    as seen in training, by name.
    """

    spec: VariableSpec
    mean: float = 0.0
    sd: float = 1.0
    levels: tuple[str, ...] = ()

    @classmethod
    def fitted(cls, spec: VariableSpec, values: Iterable[VariableValue]) -> Self:
        """From the training subjects' values."""
        known = [value for value in values if value is not None]
        if spec.kind == "category":
            return cls(spec=spec, levels=tuple(sorted({str(value) for value in known})))
        numbers = np.array([float(value) for value in known])
        if not len(numbers):
            return cls(spec=spec)
        return cls(spec=spec, mean=float(numbers.mean()), sd=float(numbers.std()) or 1.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names."""
        name = self.spec.name
        if self.spec.kind == "category":
            return tuple(f"{name}={level}" for level in self.levels)
        return name, f"{name} missing"

    def encode(self, value: VariableValue, subject: str) -> list[float]:
        """A value as columns. Raises VariableError: a level that training did not see, or no number."""
        if self.spec.kind == "category":
            if value is not None and value not in self.levels:
                known = ", ".join(self.levels) or "none"
                found = f"{value!r} was not seen in training, which knows {known}"
                remedy = "Correct it, leave it empty, or train with subjects that have it"
                raise VariableError(subject, self.spec.name, found, remedy)
            return [float(value == level) for level in self.levels]
        if value is None:
            return [0.0, 1.0]
        if isinstance(value, str) or not np.isfinite(value):
            raise VariableError(
                subject, self.spec.name, f"{value!r} is no number", "Correct it or leave it empty"
            )
        return [(float(value) - self.mean) / self.sd, 0.0]


class VariableEncoder(Record):
    """How the declared variables become a row of numbers, learnt from a fold's training subjects."""

    variables: tuple[EncodedVariable, ...] = ()

    @classmethod
    def fitted(cls, specs: Iterable[VariableSpec], subjects: Sequence[SubjectVariables]) -> Self:
        """From the training subjects alone."""
        return cls(
            variables=tuple(
                EncodedVariable.fitted(spec, [values.get(spec.name) for values in subjects]) for spec in specs
            )
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column for variable in self.variables for column in variable.columns)

    def encode(self, subjects: Mapping[str, SubjectVariables]) -> torch.Tensor:
        """Rows (N, V) float32, of subjects by name, in their order.

        Raises VariableError: a name that is not declared, a level that training did not see, or no number.
        """
        import torch

        names = [variable.spec.name for variable in self.variables]
        for subject, values in subjects.items():
            if unknown := sorted(values.keys() - set(names)):
                found = f"not declared; the model knows {', '.join(names) or 'no variables'}"
                raise VariableError(subject, ", ".join(unknown), found, "Leave it out, or correct its name")
        rows = [
            [
                number
                for variable in self.variables
                for number in variable.encode(values.get(variable.spec.name), subject)
            ]
            for subject, values in subjects.items()
        ]
        return torch.tensor(rows, dtype=torch.float32).reshape(len(subjects), len(self.columns))
