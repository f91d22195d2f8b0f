"""Checking a raw cohort before anything else: all problems of all subjects in one report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ricenet.cohort.checked import (
    PROBLEMS_FILE,
    CheckedCohort,
    CheckedSubject,
    ExcludedSubject,
    ScanDigests,
)
from ricenet.cohort.description import parse_description
from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import DATASET_DESCRIPTION, PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.participants import PARTICIPANT_ID, Participant, ParticipantsTable, read_participants
from ricenet.cohort.problems import Finding, Problem, report_text
from ricenet.cohort.quarantine import Reason, quarantined_because, read_quarantine
from ricenet.cohort.scan_checks import check_mask, check_scan
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import file_digest, write_json
from ricenet.vocabulary import MODALITIES

logger = logging.getLogger(__name__)

IMPORTING = "IMPORTING"
"""A file that is there while an import writes, and after one that was killed: files may not fit together."""


@dataclass(frozen=True)
class CheckReport:
    """What was found in a cohort. subjects: those without a problem. problems: all others' reasons.

    quarantined: subjects that exclude.tsv leaves out, and why; nothing of theirs is a problem.
    """

    root: Path
    subjects: tuple[CheckedSubject, ...]
    problems: tuple[Problem, ...]
    quarantined: Mapping[str, Reason] = field(default_factory=dict)

    @property
    def faulty(self) -> tuple[str, ...]:
        """Subjects with at least one problem of their own, in order."""
        return tuple(sorted({problem.subject for problem in self.problems if problem.subject is not None}))

    def text(self) -> str:
        """The report for people: every problem, grouped by subject."""
        # the folder's name only: a whole path may say more than a log should keep
        return report_text(self.root.absolute().name, self.problems)


def check_cohort(root: Path) -> CheckReport:
    """Read everything in a raw cohort and collect what is wrong with it; raises nothing for its faults.

    Volumes are read one at a time, to their last byte. Files of faultless subjects are hashed.
    Files of subjects that exclude.tsv lists are not read.
    """
    if not root.is_dir():
        missing = Problem(None, ".", "the cohort's folder is missing", "Mend cohort.root, or add the folder.")
        return CheckReport(root, (), (missing,))
    table = read_participants(root / PARTICIPANTS_TABLE)
    names = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
    folders = [name for name in names if PARTICIPANT_ID.fullmatch(name)]
    problems = [*_unfinished(root), *table.problems, *_misnamed(len(names) - len(folders))]
    problems += _mismatches(table, folders)
    description = parse_description(root)
    if isinstance(description, Finding):
        problems.append(description.of(None, DATASET_DESCRIPTION))
    quarantine = read_quarantine(root, {*table.listed, *folders} if table.has_ids else None)
    left_out = quarantine.reasons
    for subject in folders:
        if subject not in left_out:
            problems += _scan_problems(RawSubject(root, subject))
    problems = [problem for problem in problems if problem.subject not in left_out]
    problems += quarantine.problems
    unused = {problem.subject for problem in problems} | left_out.keys()
    subjects = (
        _checked(RawSubject(root, subject), row)
        for subject, row in table.participants.items()
        if subject not in unused
    )
    return CheckReport(root, tuple(subjects), tuple(problems), left_out)


def admit(report: CheckReport, exclude_faulty: bool) -> CheckedCohort:
    """Decide what is used: every subject, or with `exclude_faulty` those without a problem.

    Quarantined subjects are left out either way, and listed with the excluded ones.
    Raises CohortError, its message the whole report: a problem that belongs to no single subject,
    a faulty subject without `exclude_faulty`, or no subject left.
    """
    of_the_whole = any(problem.subject is None for problem in report.problems)
    if of_the_whole or (report.problems and not exclude_faulty):
        raise CohortError(report.text())
    if not report.subjects:
        raise CohortError(
            f"{report.text()}\nno subject is left once the faulty and the quarantined ones are left out"
        )
    excluded = [_excluded(report, subject) for subject in sorted({*report.faulty, *report.quarantined})]
    for subject in excluded:
        logger.warning("%s is excluded: %s", subject.participant_id, "; ".join(subject.problems))
    return CheckedCohort.of(report.root.as_posix(), report.subjects, excluded)


def write_problems(report: CheckReport, path: Path = PROBLEMS_FILE) -> None:
    """Write a report's problems as JSON; an empty list where there is none."""
    content = {"root": report.root.as_posix(), "problems": [asdict(problem) for problem in report.problems]}
    write_json(path, content)


def _unfinished(root: Path) -> list[Problem]:
    if not (root / IMPORTING).exists():
        return []
    # subjects are written before the tables, which may tell of what they replaced
    found = "import unfinished: it was killed, or is still under way"
    remedy = "Give the same ricenet import command again, and wait for its end."
    return [Problem(None, IMPORTING, found, remedy)]


def _misnamed(count: int) -> list[Problem]:
    if count == 0:
        return []
    found = "1 folder whose name is" if count == 1 else f"{count} folders whose names are"
    # counted and not named: such a name may be a patient's
    return [
        Problem(
            subject=None,
            file="sub-*",
            found=f"{found} not sub-<letters and digits>",
            remedy="Rename to a pseudonym, the same as in the table and in the names of the files.",
        )
    ]


def _mismatches(table: ParticipantsTable, folders: list[str]) -> list[Problem]:
    """Subjects of the table without a folder, and folders without a row."""
    if not table.has_ids:
        return []
    without_folder = [
        Problem(subject, subject, "in the table, but without a folder", "Add the folder or remove the row.")
        for subject in sorted(table.listed.difference(folders))
    ]
    without_row = [
        Problem(subject, PARTICIPANTS_TABLE, "has a folder, but no row", "Add the row or remove the folder.")
        for subject in folders
        if subject not in table.listed
    ]
    return without_folder + without_row


def _scan_problems(raw: RawSubject) -> list[Problem]:
    problems = []
    sidecar = parse_dose_sidecar(raw.dose_sidecar)
    known = sidecar if isinstance(sidecar, DoseSidecar) else None
    for modality in MODALITIES:
        path = raw.scan(modality)
        file = path.relative_to(raw.cohort).as_posix()
        problems += [finding.of(raw.subject, file) for finding in check_scan(path, modality, known)]
    if raw.brain_mask.is_file():
        file = raw.brain_mask.relative_to(raw.cohort).as_posix()
        problems += [finding.of(raw.subject, file) for finding in check_mask(raw.brain_mask)]
    if raw.planning_ct.is_file():
        file = raw.planning_ct.relative_to(raw.cohort).as_posix()
        # no more is asked of it than of a scan: to be readable, to have a place, and to show something
        problems += [finding.of(raw.subject, file) for finding in check_scan(raw.planning_ct, "post_op")]
    if not isinstance(sidecar, DoseSidecar):
        file = raw.dose_sidecar.relative_to(raw.cohort).as_posix()
        problems += [finding.of(raw.subject, file) for finding in sidecar]
    return problems


def _checked(raw: RawSubject, row: Participant) -> CheckedSubject:
    scans = ScanDigests(
        post_op=file_digest(raw.scan("post_op")),
        event=file_digest(raw.scan("event")),
        dose=file_digest(raw.scan("dose")),
        dose_sidecar=file_digest(raw.dose_sidecar),
        brain_mask=file_digest(raw.brain_mask) if raw.brain_mask.is_file() else None,
        planning_ct=file_digest(raw.planning_ct) if raw.planning_ct.is_file() else None,
    )
    return CheckedSubject(
        participant_id=row.participant_id, label=row.label, subset=row.subset, site=row.site, scans=scans
    )


def _excluded(report: CheckReport, subject: str) -> ExcludedSubject:
    if subject in report.quarantined:
        reasons: tuple[str, ...] = (quarantined_because(report.quarantined[subject]),)
    else:
        reasons = tuple(f"{p.file}: {p.found}" for p in report.problems if p.subject == subject)
    return ExcludedSubject(participant_id=subject, problems=reasons)
