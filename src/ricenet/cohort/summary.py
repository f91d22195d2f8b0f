"""A cohort at a glance, from its table and dose sidecars alone: which subjects, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self, get_args

from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.participants import MISSING, LabelSource, Participant, Subset, read_participants
from ricenet.cohort.problems import report_text
from ricenet.cohort.quarantine import QUARANTINE_TABLE, read_quarantine
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import LABELS, PAPER_VOLUMES, LabelNames, Volumes

ALL, UNLABELLED = "all", "unlabelled"
_OPTIONAL_COLUMNS = ("age_years", "sex", "mgmt", "idh", "rt_modality", "reirradiation")


@dataclass(frozen=True)
class Spread:
    """Of n values: the least, the median (the mean of the middle two where n is even) and the largest."""

    n: int
    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """The spread of some values; None where there is none."""
        return cls(len(values), min(values), median(values), max(values)) if values else None

    def __str__(self) -> str:
        return f"{self.median:g} ({self.minimum:g} to {self.maximum:g})"


@dataclass(frozen=True)
class GroupSummary:
    """Subjects of one label, or all. Counts are by value, `n/a` among them where the table may say so.

    missing: how many subjects lack an optional value or volume; sites count theirs themselves.
    faulty_sidecars: absent ones included; nothing is known of such a dose. single_fraction: doses that are
    scaled to the course.
    prescription_gy: of the course. days_rt_end_to_event: by the column, or else by the two dates.
    """

    subjects: int
    subsets: Mapping[str, int]
    label_sources: Mapping[str, int]
    sites: Mapping[str, int]
    missing: Mapping[str, int]
    single_fraction: int
    faulty_sidecars: int
    prescription_gy: Spread | None
    days_rt_end_to_event: Spread | None

    def rows(self) -> dict[str, int | Spread | None]:
        """Every number by its title in the table for people."""
        counted = {
            "subset": self.subsets,
            "label by": self.label_sources,
            "site": self.sites,
            "without": self.missing,
        }
        return {
            "subjects": self.subjects,
            **{f"{title} {value}": n for title, counts in counted.items() for value, n in counts.items()},
            "dose of one fraction": self.single_fraction,
            "dose sidecar faulty": self.faulty_sidecars,
            "prescription, Gy": self.prescription_gy,
            "days from RT to event": self.days_rt_end_to_event,
        }


@dataclass(frozen=True)
class CohortSummary:
    """groups: by label, then `unlabelled`, then `all`. faulty_rows: of the table, excluded from all counts.

    quarantined: subjects that exclude.tsv excludes from the pipeline; they are counted all the same.
    """

    cohort: str
    faulty_rows: int
    groups: Mapping[str, GroupSummary]
    quarantined: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same numbers for JSON; null where a spread has no value."""
        return asdict(self)


def summarise_cohort(
    root: Path, volumes: Volumes = PAPER_VOLUMES, label_names: LabelNames = LABELS
) -> CohortSummary:
    """Count what a cohort's table and dose sidecars say; no volume is read, nothing else is checked.

    Raises CohortError: the table cannot be read, or not one of its rows.
    """
    table = read_participants(root / PARTICIPANTS_TABLE, label_names)
    # the folder's name only: a whole path may say more than a log should keep
    name = root.absolute().name
    if not table.participants:
        raise CohortError(report_text(name, table.problems))
    nameless = sum(problem.subject is None for problem in table.problems)
    rows = list(table.participants.values())
    by_label = {label or UNLABELLED: [r for r in rows if r.label == label] for label in (*label_names, None)}
    groups = {key: _group(root, group, volumes) for key, group in (by_label | {ALL: rows}).items()}
    quarantined = len(read_quarantine(root, table.listed).reasons)
    return CohortSummary(name, len(table.listed) - len(rows) + nameless, groups, quarantined)


def summary_table(summary: CohortSummary) -> str:
    """A table for people: a row a number, a column a label; rows and columns without a subject are omitted.

    Spreads are median (least to largest).
    """
    total = summary.groups[ALL]
    columns = {name: group.rows() for name, group in summary.groups.items() if group.subjects}
    cells = [["", *columns]]
    for title, value in total.rows().items():
        if value:
            values = [rows.get(title, 0) for rows in columns.values()]
            cells.append([title, *("-" if value is None else str(value) for value in values)])
    lines = [f"{summary.cohort}: {total.subjects} subjects", *_aligned(cells)]
    if total.prescription_gy or total.days_rt_end_to_event:
        lines.append("Prescription and days: median (least to largest).")
    if summary.faulty_rows:
        lines.append(f"{summary.faulty_rows} faulty row(s) are excluded; ricenet check says why.")
    if summary.quarantined:
        lines.append(f"{summary.quarantined} of them are quarantined: {QUARANTINE_TABLE} excludes them.")
    return "\n".join(lines)


def _group(root: Path, rows: Sequence[Participant], volumes: Volumes) -> GroupSummary:
    raws = [RawSubject(root, row.participant_id, volumes) for row in rows]
    dose = volumes.dose
    with_dose = [raw for raw in raws if dose is not None and (dose.required or dose.name in raw.files)]
    parsed = [parse_dose_sidecar(raw.dose_sidecar) for raw in with_dose]
    courses = [sidecar for sidecar in parsed if isinstance(sidecar, DoseSidecar)]
    prescriptions_gy = [course.prescription_gy for course in courses if course.prescription_gy is not None]
    intervals_days = [days for row in rows if (days := row.interval_days) is not None]
    missing = {column: sum(getattr(row, column) is None for row in rows) for column in _OPTIONAL_COLUMNS}
    missing["days_rt_end_to_event"] = len(rows) - len(intervals_days)
    missing["PrescriptionGy"] = len(with_dose) - len(prescriptions_gy)
    for spec in volumes:
        if not spec.required:
            missing[spec.name] = sum(spec.name not in raw.files for raw in raws)
    return GroupSummary(
        subjects=len(rows),
        subsets=_counts((row.subset for row in rows), get_args(Subset)),
        label_sources=_counts((row.label_source for row in rows), get_args(LabelSource)),
        sites=_counts((row.site for row in rows), sorted({row.site for row in rows if row.site})),
        missing=missing,
        single_fraction=sum(course.summation_type == "FRACTION" for course in courses),
        faulty_sidecars=len(with_dose) - len(courses),
        prescription_gy=Spread.of(prescriptions_gy),
        days_rt_end_to_event=Spread.of(intervals_days),
    )


def _counts(values: Iterable[str | None], expected: Sequence[str]) -> dict[str, int]:
    counted = Counter(values)
    return {value: counted[value] for value in expected} | {MISSING: counted[None]}


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
