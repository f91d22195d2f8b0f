"""The other hospital's cohort, checked as a project's own, and who of it is judged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.cohort.checked import CheckedCohort, having
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.first_events import first_events
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import MISSING, Participant, ParticipantsTable, read_participants
from ricenet.cohort.table_variables import read_variables
from ricenet.runtime.errors import StudyError
from ricenet.study.plan import NUMBERS, AnalysisPlan, SubgroupPlan
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import VariableSpec, VariableValue


@dataclass(frozen=True)
class StudyCohort:
    """labels: of the subjects that are judged, by name, in order. left_out: how many others, and why."""

    checked: CheckedCohort
    table: ParticipantsTable
    labels: Mapping[str, str]
    left_out: Mapping[str, int]

    def values(
        self, subgroup: SubgroupPlan, variables: tuple[VariableSpec, ...]
    ) -> list[VariableValue] | None:
        """What the judged subjects have in a column; None where the table has no such column."""
        spec = next((spec for spec in variables if spec.name == subgroup.column), None)
        if subgroup.column in Participant.model_fields:
            return self._of_participants(subgroup.column)
        if spec is None or spec.source_column not in self.table.columns:
            return None
        _, values = read_variables(self.table, [spec])
        return [values.get(subject, {}).get(spec.name) for subject in self.labels]

    def _of_participants(self, column: str) -> list[VariableValue] | None:
        name = "interval_days" if column == NUMBERS[1] else column
        rows = self.table.participants
        found = [getattr(rows[subject], name) for subject in self.labels]
        return None if column not in self.table.columns and not any(v is not None for v in found) else found


def read_study_cohort(
    root: Path, ensemble: EnsembleRecord, plan: AnalysisPlan, exclude_faulty: bool
) -> StudyCohort:
    """Check a cohort by the package's declarations, and take the labelled subjects that have all volumes.

    Raises CohortError: faults, all together; no subject. StudyError: fewer subjects than the plan asks for.
    """
    variables = ensemble.variables if ensemble.network.uses_variables else ()
    checked = admit(
        check_cohort(root, ensemble.volumes, variables, label_names=ensemble.label_names), exclude_faulty
    )
    able = set(having(checked, ensemble.modality_set))
    # one visit a patient: the first event
    events = first_events(checked.subjects).values()
    known = {event.participant_id: event.label for event in events if event.label is not None}
    labels = {name: label for name, label in known.items() if name in able}
    if len(labels) < plan.least_subjects:
        raise StudyError(
            f"{root.absolute().name}: {len(labels)} labelled subject(s) with all volumes of "
            f"{ensemble.modality_set}, and the plan asks for {plan.least_subjects} at least. Add subjects; "
            "nothing was computed"
        )
    left_out = {
        "excluded as faulty or by exclude.tsv": len(checked.excluded),
        "without a label": len(events) - len(known),
        "without a volume of the set": len(set(known) - able),
    }
    table = read_participants(root / PARTICIPANTS_TABLE, ensemble.label_names)
    return StudyCohort(checked, _with_events(table, checked.patients), labels, left_out)


def _with_events(table: ParticipantsTable, patients: Mapping[str, str]) -> ParticipantsTable:
    """The table with the patient's row for each later visit, which may be the first event."""
    later = {visit: patient for visit, patient in patients.items() if patient in table.participants}
    return replace(
        table,
        participants={**table.participants, **{v: table.participants[p] for v, p in later.items()}},
        cells={**table.cells, **{v: table.cells[p] for v, p in later.items()}},
    )


def groups_of(subgroup: SubgroupPlan, values: list[VariableValue]) -> dict[str, list[bool]]:
    """Which subjects are in each group of a plan; the last group holds all others."""
    known = [None if value is None or value == MISSING else value for value in values]
    if subgroup.groups:
        found = {group: [value == group for value in known] for group in subgroup.groups}
    else:
        ends = [float("-inf"), *subgroup.cuts, float("inf")]
        found = {
            _between(low, high): [not isinstance(v, str | None) and low <= v < high for v in known]
            for low, high in itertools.pairwise(ends)
        }
    placed = [any(inside) for inside in zip(*found.values(), strict=True)]
    return {**found, OTHERS: [not one for one in placed]}


OTHERS = "other or not known"


def _between(low: float, high: float) -> str:
    if low == float("-inf"):
        return f"below {high:g}"
    return f"{low:g} or more" if high == float("inf") else f"{low:g} to below {high:g}"
