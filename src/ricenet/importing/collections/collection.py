"""What the public collections have in common: their tables, who is excluded and why, and the import's end."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

from ricenet.cohort.description import read_description
from ricenet.cohort.layout import DATASET_DESCRIPTION
from ricenet.cohort.participants import MISSING
from ricenet.config.params import ExecutionParams
from ricenet.importing.cohort_folder import (
    FAILED,
    Destination,
    PatientOutcome,
    refuse_foreign_folder,
    require_apart,
)
from ricenet.importing.collections.time_baseline import TimeBaseline, time_baseline
from ricenet.importing.import_cohort import Candidate, Write, import_cohort, reasons
from ricenet.importing.private_files import file_errors_reported
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import write_json
from ricenet.runtime.tables import read_lines
from ricenet.vocabulary import PREVIOUS, Volumes

AS_DISTRIBUTED = "give the table as the archive distributes it"

Cells = Mapping[str, str]
"""A row's cells by column, stripped."""


class Exclusion(Exception):
    """Why a patient of a collection is not imported, for the cohort's tables: it identifies nobody."""


def require_two_visits(volumes: Volumes) -> None:
    """Refuse a declaration whose MRIs are not of two visits: radiotherapy planning, and the event.

    Raises CohortError.
    """
    sessions = list(dict.fromkeys(spec.session for spec in volumes.mris))
    if len(sessions) != 2:
        raise CohortError(
            f"the collection has two visits, radiotherapy planning and the event; `volumes` declares MRIs of "
            f"{len(sessions)} session(s): {', '.join(sessions)}. Declare those of two"
        )


def files_of_visits(volumes: Volumes) -> Volumes:
    """The volumes that have files of their own: the visit before an event is an event itself."""
    return Volumes(spec for spec in volumes if spec.session != PREVIOUS)


def require_order(dates: Mapping[str, tuple[date | None, date | None]]) -> None:
    """Exclude where a date lies before another that it may not precede.

    dates: the earlier and the later one, if known, by the reason with a place for the days between.
    Raises Exclusion.
    """
    for reason, (earlier, later) in dates.items():
        if earlier is not None and later is not None and later < earlier:
            raise Exclusion(reason.format((earlier - later).days))


LEFT_OUT = "follow_ups_left_out"
ALL_VISITS = {
    LEFT_OUT: "follow-up visits of the collection that are not in the sessions table: no usable scan"
}
"""The column of an import with all visits, and what it means."""


@dataclass(frozen=True)
class Offer:
    """What a collection has of a patient: columns of participants.tsv, and how the files are written.

    content: what the files depend on, as in `Candidate`.
    """

    columns: Cells
    write: Write
    content: object


@dataclass(frozen=True)
class Where:
    """Folders and files of an import: the collection's own, the cohort's, and the key outside of it."""

    source: Path
    output: Path
    key: Path

    def check(self) -> None:
        """Refuse folders that an import cannot write into, before anything large is read.

        Raises CohortError.
        """
        require_apart(self.source, self.output)
        refuse_foreign_folder(self.output, self.key)


@dataclass(frozen=True)
class Collection:
    """A public collection. site: its name among sites. columns: of participants.tsv, and what they mean.

    description: further content of dataset_description.json. times: columns by which time alone is judged,
    with the column of labels and how that calls recurrence and RICE.
    """

    site: str
    columns: Mapping[str, str]
    description: Mapping[str, object]
    times: tuple[str, ...]
    label_column: str = "label"
    labels: tuple[str, str] = ("recurrence", "rice")

    def candidate(
        self, patient_id: str, known: Cells, offered: Callable[[], Offer], origin: str = ""
    ) -> Candidate:
        """A patient as the import takes it. known: columns, whether the patient is imported or not.

        offered: raises Exclusion where the patient is not to be imported.
        """
        try:
            offer = offered()
        except Exclusion as exclusion:
            return self.excluded(patient_id, str(exclusion), known, origin)
        columns = self._columns({**known, **offer.columns})
        return Candidate(patient_id, columns, write=offer.write, content=offer.content, origin=origin)

    def excluded(
        self, patient_id: str, reason: str, known: Cells = MappingProxyType({}), origin: str = ""
    ) -> Candidate:
        """A patient that is not imported."""
        return Candidate(patient_id, self._columns(known), exclusion=reason, origin=origin)

    def _columns(self, known: Cells) -> dict[str, str]:
        return dict.fromkeys(self.columns, MISSING) | {"site": self.site} | dict(known)

    def written(
        self, candidates: Sequence[Candidate], where: Where, volumes: Volumes, execution: ExecutionParams
    ) -> ImportedCollection:
        """Write the cohort, and into its description how well time alone predicts the label.

        Raises CohortError: what `import_cohort` says, or the file system refuses it.
        """
        to = Destination(where.output, where.key, self.columns, self.description, volumes)
        outcomes = import_cohort(candidates, to, execution)
        rows = [outcome.columns for outcome in outcomes if outcome.is_imported]
        baselines = {
            column: time_baseline(rows, column, self.label_column, self.labels) for column in self.times
        }
        content = {column: baseline and baseline.as_json() for column, baseline in baselines.items()}
        with file_errors_reported(f"{DATASET_DESCRIPTION}: cannot be written"):
            described = {**read_description(where.output), "TimeOnlyAUC": content}
            write_json(where.output / DATASET_DESCRIPTION, described)
        return ImportedCollection(outcomes, baselines)


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
        lines.append("What time alone predicts, without any image; compare every result with it:")
        lines += [
            f"  {baseline}" if baseline else f"  {column}: no AUC, for not both labels were imported"
            for column, baseline in self.baselines.items()
        ]
        return "\n".join(lines)


def read_archive_table(
    path: Path, name: str, needed: Sequence[str], delimiter: str
) -> tuple[list[str], list[tuple[int, Cells]]]:
    """A table of an archive: its header, and the rows that are not blank by line (the header's is 1).

    Raises CohortError: unreadable, a needed column missing, a column twice, a ragged row. Lines are named,
    never cells, for the message may be logged.
    """
    try:
        lines = read_lines(path, delimiter)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        separated = "comma" if delimiter == "," else "tab"
        raise CohortError(
            f"{name}: cannot be read as {separated}-separated UTF-8 text ({type(error).__name__}); "
            f"{AS_DISTRIBUTED}"
        ) from None
    header = [cell.strip() for cell in lines[0]] if lines else []
    if missing := [column for column in needed if column not in header]:
        raise CohortError(f"{name}: lacks the column(s) {', '.join(missing)}; {AS_DISTRIBUTED}")
    if repeated := [column for column, count in Counter(header).items() if column and count > 1]:
        raise CohortError(f"{name}: has {len(repeated)} column(s) twice; keep one of each")
    rows = [(line, cells) for line, cells in enumerate(lines[1:], start=2) if any(map(str.strip, cells))]
    if ragged := [line for line, cells in rows if len(cells) != len(header)]:
        at = ", ".join(map(str, ragged))
        raise CohortError(f"{name}, line(s) {at}: not one cell under each column; {AS_DISTRIBUTED}")
    return header, [
        (line, {column: cell.strip() for column, cell in zip(header, cells, strict=True)})
        for line, cells in rows
    ]
