"""What an import of a public collection ends with: everybody's outcome, and what time alone tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.description import read_description
from ricenet.cohort.layout import DATASET_DESCRIPTION
from ricenet.importing.cohort_folder import refuse_foreign_folder
from ricenet.importing.file_errors import file_errors_told
from ricenet.importing.import_cohort import PatientOutcome, reasons
from ricenet.importing.time_baseline import TimeBaseline, time_baseline
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import write_json

IMPORTED, FAILED = "imported", "failed"


@dataclass(frozen=True)
class ImportedCollection:
    """baselines: by column of times; None where the imported subjects are not of both labels."""

    outcomes: tuple[PatientOutcome, ...]
    baselines: Mapping[str, TimeBaseline | None]

    def text(self) -> str:
        """For people: how many patients became what, whose files failed, and the time-only baselines."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        lines = [f"{len(self.outcomes)} patients: {told} (reasons in import.tsv)"]
        if failed := [outcome for outcome in self.outcomes if outcome.status == FAILED]:
            lines += ["Failed, for their files cannot be used:", reasons(failed)]
        lines.append("What time alone tells, without any image; compare every result with it:")
        lines += [
            f"  {baseline}" if baseline else f"  {column}: no AUC, for not both labels were imported"
            for column, baseline in self.baselines.items()
        ]
        return "\n".join(lines)


def require_apart(source: Path, output: Path, key: Path) -> None:
    """Refuse folders that an import cannot write into, before anything large is read.

    Raises CohortError: source and output lie one inside the other, or what `refuse_foreign_folder` says.
    """
    read, written = source.resolve(), output.resolve()
    if written.is_relative_to(read) or read.is_relative_to(written):
        raise CohortError(
            "the collection and the cohort's folder lie one inside the other. "
            "Name a folder for the cohort that is apart from the collection"
        )
    refuse_foreign_folder(output, key)


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
    rows = [outcome.columns for outcome in outcomes if outcome.status == IMPORTED]
    baselines = {column: time_baseline(rows, column, label_column, labels) for column in columns}
    content = {column: baseline and baseline.as_json() for column, baseline in baselines.items()}
    description = {**read_description(cohort), "TimeOnlyAUC": content}
    with file_errors_told(f"{DATASET_DESCRIPTION}: cannot be written"):
        write_json(cohort / DATASET_DESCRIPTION, description)
    return ImportedCollection(tuple(outcomes), baselines)
