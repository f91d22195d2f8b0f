"""What an import of a public collection ends with: everybody's outcome, and what time alone tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.description import read_description
from ricenet.cohort.layout import DATASET_DESCRIPTION
from ricenet.importing.cohort_folder import FAILED, PatientOutcome
from ricenet.importing.import_cohort import reasons
from ricenet.importing.private_files import file_errors_reported
from ricenet.importing.time_baseline import TimeBaseline, time_baseline
from ricenet.runtime.files import write_json


@dataclass(frozen=True)
class ImportedCollection:
    """baselines: by column of times; None where the imported subjects are not of both labels."""

    outcomes: tuple[PatientOutcome, ...]
    baselines: Mapping[str, TimeBaseline | None]

    def text(self) -> str:
        """For people: how many patients became what, whose files failed, and the time-only baselines."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        listed = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        lines = [f"{len(self.outcomes)} patients: {listed} (reasons in import.tsv)"]
        if failed := [outcome for outcome in self.outcomes if outcome.status == FAILED]:
            lines += ["Failed, for their files cannot be used:", reasons(failed)]
        lines.append("What time alone tells, without any image; compare every result with it:")
        lines += [
            f"  {baseline}" if baseline else f"  {column}: no AUC, for not both labels were imported"
            for column, baseline in self.baselines.items()
        ]
        return "\n".join(lines)


def with_time_baselines(
    cohort: Path,
    outcomes: Sequence[PatientOutcome],
    columns: Sequence[str],
    label_column: str = "label",
    labels: tuple[str, str] = ("recurrence", "rice"),
) -> ImportedCollection:
    """Compute the time-only AUC of the imported subjects and write it into the cohort's description.

    Raises CohortError: the file system refuses it.
    """
    rows = [outcome.columns for outcome in outcomes if outcome.is_imported]
    baselines = {column: time_baseline(rows, column, label_column, labels) for column in columns}
    content = {column: baseline and baseline.as_json() for column, baseline in baselines.items()}
    description = {**read_description(cohort), "TimeOnlyAUC": content}
    with file_errors_reported(f"{DATASET_DESCRIPTION}: cannot be written"):
        write_json(cohort / DATASET_DESCRIPTION, description)
    return ImportedCollection(tuple(outcomes), baselines)
