"""Checking a raw cohort before anything else: all problems of all subjects in one report."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ricenet.cohort.checked import PROBLEMS_FILE, CheckedCohort, CheckedSubject, ExcludedSubject
from ricenet.cohort.description import parse_description
from ricenet.cohort.layout import (
    DATASET_DESCRIPTION,
    PARTICIPANTS_TABLE,
    SIDE_FILES,
    RawSubject,
    ScanDigests,
    is_there,
)
from ricenet.cohort.lookalikes import lookalike_of
from ricenet.cohort.participants import PARTICIPANT_ID, Participant, ParticipantsTable, read_participants
from ricenet.cohort.problems import Finding, Problem, report_text
from ricenet.cohort.quarantine import Reason, quarantined_because, read_quarantine
from ricenet.cohort.raw_record import examine, raw_records
from ricenet.cohort.table_variables import INTERVAL, PREVIOUS_INTERVAL, read_variables
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import Visits, read_visits, with_row
from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import file_digest, write_json
from ricenet.runtime.machine import usable_cores
from ricenet.runtime.store import Store
from ricenet.vocabulary import (
    LABELS,
    PAPER_VOLUMES,
    LabelNames,
    VariableSpec,
    VariableValue,
    Volumes,
    VolumeSpec,
)

logger = logging.getLogger(__name__)

IMPORTING = "IMPORTING"
"""A file that is there while an import writes, and after one that was killed: files may not fit together."""

MOST_AT_ONCE = 4
"""Subjects that are read at a time without a store: some hundred megabytes each."""

HERE = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


@dataclass(frozen=True)
class CheckReport:
    """What was found in a cohort. subjects: those without a problem. problems: all others' reasons.

    quarantined: subjects that exclude.tsv excludes, and why; nothing of theirs is a problem.
    notes: no faults: optional volumes that subjects lack, and what was read past.
    """

    root: Path
    subjects: tuple[CheckedSubject, ...]
    problems: tuple[Problem, ...]
    quarantined: Mapping[str, Reason] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()
    volumes: Volumes = PAPER_VOLUMES
    variables: tuple[VariableSpec, ...] = ()
    label_names: LabelNames = LABELS

    @property
    def faulty(self) -> tuple[str, ...]:
        """Subjects with at least one problem of their own, in order."""
        return tuple(sorted({problem.subject for problem in self.problems if problem.subject is not None}))

    def text(self) -> str:
        """The report for people: every problem, grouped by subject."""
        # the folder's name only: a whole path may say more than a log should keep
        return report_text(self.root.absolute().name, self.problems)


def check_cohort(
    root: Path,
    volumes: Volumes = PAPER_VOLUMES,
    variables: Sequence[VariableSpec] = (),
    store: Store | None = None,
    execution: ExecutionParams = HERE,
    label_names: LabelNames = LABELS,
) -> CheckReport:
    """Read everything in a raw cohort and collect what is wrong with it; raises nothing for its faults.

    Every file is read once, to its last byte, and what was found is kept in the store (None: nowhere).
    Files of subjects that exclude.tsv lists are not read. label_names: the classes that a subject may have.
    """
    if not root.is_dir():
        absent = "the cohort's folder is missing"
        remedy = "Correct cohort.root, or add the folder; `dvc repro` makes the demo's."
        return CheckReport(root, (), (Problem(None, ".", absent, remedy),))
    table, values = read_variables(read_participants(root / PARTICIPANTS_TABLE, label_names), variables)
    names = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
    folders = [name for name in names if PARTICIPANT_ID.fullmatch(name)]
    visits = read_visits(root, table.participants, folders, label_names)
    samples = visits.samples(folders)
    known = {*table.listed, *folders, *samples} if table.columns else None
    quarantine = read_quarantine(root, known)
    used = [s for s, patient in samples.items() if not {s, patient} & quarantine.reasons.keys()]
    raws = [RawSubject(root, name, volumes) for name in used]
    missing, notes = _missing_volumes(raws, volumes)
    digests = _digests(raws)
    of_files = _problems_of_files(root, digests, volumes, store, execution)
    of_the_whole = [*_of_the_whole(root, len(names) - len(folders), volumes), *quarantine.problems]
    of_subjects = [*table.problems, *visits.problems, *_mismatches(table, folders), *missing, *of_files]
    problems = [p for p in (*of_the_whole, *of_subjects) if p.subject not in quarantine.reasons]
    unused = {problem.subject for problem in problems} | quarantine.reasons.keys()
    subjects = tuple(
        subject
        for patient, row in table.participants.items()
        if patient not in unused
        for subject in _of_patient(row, visits, values[patient], digests, variables)
        if subject.participant_id not in unused
    )
    noted = (*table.notes, *quarantine.notes, *visits.notes, *notes)
    given = quarantine.reasons, noted, volumes, tuple(variables), label_names
    return CheckReport(root, subjects, tuple(problems), *given)


def admit(report: CheckReport, exclude_faulty: bool) -> CheckedCohort:
    """Decide what is used: every subject, or with `exclude_faulty` those without a problem.

    Quarantined subjects are excluded either way, and listed with the others.
    Raises CohortError, its message the whole report: a problem that belongs to no single subject,
    a faulty subject without `exclude_faulty`, or no subject left.
    """
    of_the_whole = any(problem.subject is None for problem in report.problems)
    if of_the_whole or (report.problems and not exclude_faulty):
        raise CohortError(report.text())
    if not report.subjects:
        raise CohortError(
            f"{report.text()}\nno subject is left once the faulty and the quarantined ones are excluded"
        )
    excluded = [_excluded(report, subject) for subject in sorted({*report.faulty, *report.quarantined})]
    for subject in excluded:
        logger.warning("%s is excluded: %s", subject.participant_id, "; ".join(subject.problems))
    known = report.volumes, report.variables, report.label_names
    return CheckedCohort.of(report.root.as_posix(), report.subjects, excluded, *known)


def write_problems(report: CheckReport, path: Path = PROBLEMS_FILE) -> None:
    """Write a report's problems and notes as JSON; empty lists where there is none."""
    content = {
        "root": report.root.as_posix(),
        "problems": [asdict(problem) for problem in report.problems],
        "notes": [asdict(note) for note in report.notes],
    }
    write_json(path, content)


def _of_patient(
    row: Participant,
    visits: Visits,
    values: Mapping[str, VariableValue],
    digests: Mapping[str, ScanDigests],
    variables: Sequence[VariableSpec],
) -> Iterator[CheckedSubject]:
    """A subject for each visit; of one without a sessions table, all is as participants.tsv says."""
    of_row = row.model_dump(include={"participant_id", "label", "subset", "site"})
    if row.participant_id not in visits.of_patients:
        if (scans := digests.get(row.participant_id)) is not None:
            yield CheckedSubject(**of_row, scans=scans, variables=dict(values))
        return
    before: int | None = None
    for visit in with_row(visits.of(row.participant_id), row):
        sample = sample_name(row.participant_id, visit.number)
        of_visit = {INTERVAL: visit.days, PREVIOUS_INTERVAL: before}
        days = {s.name: of_visit[s.source_column] for s in variables if s.source_column in of_visit}
        before = visit.days
        yield CheckedSubject(
            **{**of_row, "participant_id": sample, "label": visit.label},
            # no files of theirs were read where the visit is quarantined
            scans=digests.get(sample, {}),
            variables={**values, **{n: None if d is None else float(d) for n, d in days.items()}},
            visit=visit.number,
            days_rt_end_to_event=visit.days,
        )


def _of_the_whole(root: Path, misnamed: int, volumes: Volumes) -> Iterator[Problem]:
    for name in volumes.names:
        if name in SIDE_FILES:
            found = f"the volume {name} has the name of a file beside the volumes"
            yield Problem(None, "params.yaml", found, "Choose another name under volumes.")
    if is_there(root / IMPORTING):
        # subjects are written before the tables, which may describe what they replaced
        found = "import unfinished: it was killed, or is still under way"
        remedy = "Give the same ricenet import command again, and wait for its end."
        yield Problem(None, IMPORTING, found, remedy)
    if misnamed:
        # counted and not named: such a name may be a patient's
        folders = "1 folder whose name is" if misnamed == 1 else f"{misnamed} folders whose names are"
        remedy = "Rename to a pseudonym, the same as in the table and in the names of the files."
        yield Problem(None, "sub-*", f"{folders} not sub-<letters and digits>", remedy)
    description = parse_description(root)
    if isinstance(description, Finding):
        yield description.of(None, DATASET_DESCRIPTION)


def _mismatches(table: ParticipantsTable, folders: list[str]) -> Iterator[Problem]:
    """Subjects of the table without a folder, and folders without a row."""
    if not table.columns:
        return
    without_folder, without_row = table.listed.difference(folders), set(folders) - table.listed
    for subject in sorted(without_folder):
        found = f"in the table, but without a folder{lookalike_of(subject, without_row)}"
        yield Problem(subject, subject, found, "Add the folder or remove the row.")
    for subject in sorted(without_row):
        found = f"has a folder, but no row{lookalike_of(subject, without_folder)}"
        yield Problem(subject, PARTICIPANTS_TABLE, found, "Add the row or remove the folder.")


def _missing_volumes(raws: Sequence[RawSubject], volumes: Volumes) -> tuple[list[Problem], list[Problem]]:
    """Volumes that subjects lack: problems, and notes of optional ones.

    What nobody has is one problem a session: its declaration is wrong rather than every subject.
    """
    problems, notes = list[Problem](), list[Problem]()
    nowhere: dict[str, list[VolumeSpec]] = {}
    for spec in volumes:
        lacking = [raw for raw in raws if spec.name not in raw.files]
        if raws and len(lacking) == len(raws):
            nowhere.setdefault(spec.session, []).append(spec)
            continue
        for raw in lacking:
            file = raw.scan(spec.name).relative_to(raw.cohort).as_posix()
            if spec.required:
                remedy = "Add it, or exclude the subject."
                problems.append(Problem(raw.subject, file, "file is missing", remedy))
            else:
                found = f"no {spec.title}: excluded from modality sets with {spec.name}"
                notes.append(Problem(raw.subject, file, found, "Add it, if there is one."))
    for session, specs in nowhere.items():
        files = ", ".join(f"{spec.name} (*_ses-{session}_{spec.suffix}.nii.gz)" for spec in specs)
        remedy = "Correct session or suffix under volumes in params.yaml, or add the files."
        problems.append(Problem(None, f"ses-{session}", f"no subject has {files}", remedy))
    return problems, notes


def _digests(raws: Sequence[RawSubject]) -> dict[str, ScanDigests]:
    """Of all files; reading is what takes time here, and hashing lets other threads run."""

    def of_subject(raw: RawSubject) -> ScanDigests:
        return {name: _digest(path) for name, path in raw.files.items()}

    with ThreadPoolExecutor() as pool:
        return {raw.subject: found for raw, found in zip(raws, pool.map(of_subject, raws), strict=True)}


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        # what decodes it says why
        return "unreadable"


def _problems_of_files(
    root: Path,
    digests: Mapping[str, ScanDigests],
    volumes: Volumes,
    store: Store | None,
    execution: ExecutionParams,
) -> tuple[Problem, ...]:
    if store is not None:
        return raw_records(root, digests, volumes, store, execution)[1]
    raws = [RawSubject(root, subject, volumes) for subject in digests]
    # the first alone: libraries that load on use do not load safely in several threads
    problems = [problem for raw in raws[:1] for problem in examine(raw)[1]]
    # unpacking and sorting let other threads run; each holds one subject's scans
    with ThreadPoolExecutor(min(usable_cores(), MOST_AT_ONCE)) as pool:
        problems += [problem for _, found in pool.map(examine, raws[1:]) for problem in found]
    return tuple(problems)


def _excluded(report: CheckReport, subject: str) -> ExcludedSubject:
    if subject in report.quarantined:
        reasons: tuple[str, ...] = (quarantined_because(report.quarantined[subject]),)
    else:
        reasons = tuple(f"{p.file}: {p.found}" for p in report.problems if p.subject == subject)
    return ExcludedSubject(participant_id=subject, problems=reasons)
