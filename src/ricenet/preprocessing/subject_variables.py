"""Every declared variable of every subject: those of the participants table, and those that were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import ParamsError
from ricenet.vocabulary import VariableSpec, VariableValue, Volumes


def variables_of(cohort: CheckedCohort, preprocessed: Path) -> dict[str, dict[str, VariableValue]]:
    """Values by participant_id, then by name, in the order of the declaration.

    preprocessed: the folder with a folder per subject. A value is None where it is not known, such as one of
    the dose where a subject has none.
    Raises ResultError: a subject is not preprocessed. ParamsError: a measured variable that nothing measures.
    """
    measured = [spec for spec in cohort.variables if spec.measured]
    values: dict[str, dict[str, VariableValue]] = {}
    for subject in cohort.subjects:
        known: dict[str, VariableValue] = dict(subject.variables)
        if measured:
            found = Measurements.of_subject(preprocessed / subject.participant_id)
            known |= measured_variables(found, cohort.volumes, measured)
        values[subject.participant_id] = {spec.name: known.get(spec.name) for spec in cohort.variables}
    return values


def measured_variables(
    measurements: Measurements, volumes: Volumes, specs: Iterable[VariableSpec]
) -> dict[str, float | None]:
    """One subject's values of measured variables, by name. Raises ParamsError: one that nothing measures."""
    measured = {"brain_ml": measurements.brain_ml, **measurements.scalars(volumes)}
    return {spec.name: _value(spec.name, measured) for spec in specs if spec.measured}


def _value(name: str, measured: Mapping[str, float | None]) -> float | None:
    if name not in measured:
        found = f"variables: {name} is not among what preprocessing measures ({', '.join(measured)})"
        raise ParamsError("params.yaml", [found])
    return measured[name]
