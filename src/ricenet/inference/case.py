"""A new case's files: checked as a cohort's are, and laid out as the raw subject that preprocessing takes."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.problems import Finding
from ricenet.cohort.scan_checks import check_scan
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import write_json
from ricenet.vocabulary import MODALITIES, PAPER_VOLUMES, Modality

CASE = "case"
"""The subject's name of a single case; the registration's seed depends on it, as in training."""


@dataclass(frozen=True)
class CaseFiles:
    """Three compressed NIfTI files, wherever they lie; the dose in Gy, in the post-op scan's space.

    What the user states of the dose, beside its sidecar or its RTDOSE (None: nothing). fractions,
    prescription_gy: of the whole course. dose_of: what the voxels hold.
    """

    post_op: Path
    event: Path
    dose: Path
    fractions: int | None = None
    prescription_gy: float | None = None
    dose_of: Literal["course", "fraction"] | None = None

    @property
    def scans(self) -> dict[Modality, Path]:
        """The files by modality."""
        return {"post_op": self.post_op, "event": self.event, "dose": self.dose}

    @property
    def dose_sidecar(self) -> Path:
        """Where the dose's JSON would lie: beside it, under its name."""
        return self.dose.parent / (self.dose.name.removesuffix(".nii.gz") + ".json")


def require_usable(
    subject: str, scans: Mapping[Modality, Path], course: DoseSidecar | list[Finding], sidecar: str
) -> DoseSidecar:
    """Refuse files that the checks of a raw cohort would refuse, all problems together.

    course: what the dose means, or what is wrong with that. sidecar: name of the file that says it.
    Raises CohortError.
    """
    known = course if isinstance(course, DoseSidecar) else None
    problems = [
        # files of several folders may share a name
        finding.of(subject, f"{modality} ({path.name})")
        for modality, path in scans.items()
        for finding in check_scan(path, PAPER_VOLUMES[modality].kind, known)
    ]
    if isinstance(course, DoseSidecar) and not problems:
        return course
    if isinstance(course, list):
        problems += [finding.of(subject, sidecar) for finding in course]
    lines = [f"{subject}: {len(problems)} problem(s)", *(f"  - {problem}" for problem in problems)]
    raise CohortError("\n".join(lines))


def course_of(files: CaseFiles) -> DoseSidecar | list[Finding]:
    """What the dose file means, by what is stated and by its sidecar, or what is wrong with these.

    Without both, the file is the dose of the whole course.
    """
    if faults := _faults(files):
        return faults
    if not files.dose_sidecar.exists():
        return _as_stated(files)
    beside = parse_dose_sidecar(files.dose_sidecar)
    if isinstance(beside, list):
        return beside
    if contradictions := _contradictions(files, beside):
        return contradictions
    stated = {"prescription_gy": files.prescription_gy, "fractions": files.fractions}
    return beside.model_copy(update={name: value for name, value in stated.items() if value is not None})


@contextlib.contextmanager
def laid_out(files: CaseFiles) -> Iterator[RawSubject]:
    """The case as a raw subject for as long as the block lasts; its volumes are linked, not copied.

    Raises CohortError: files that cannot be used, or a sidecar that contradicts what is stated.
    """
    course = require_usable(CASE, files.scans, course_of(files), files.dose_sidecar.name)
    with tempfile.TemporaryDirectory(prefix="ricenet-case-") as folder:
        raw = RawSubject(Path(folder), CASE)
        for modality in MODALITIES:
            link = raw.scan(modality)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(files.scans[modality].absolute())
        write_json(raw.dose_sidecar, course.model_dump(by_alias=True))
        yield raw


def _faults(files: CaseFiles) -> list[Finding]:
    findings = []
    if files.fractions is not None and files.fractions < 1:
        findings.append(
            Finding(f"{files.fractions} fractions are stated", "State a positive whole number (--fractions).")
        )
    prescription_gy = files.prescription_gy
    if prescription_gy is not None and not (math.isfinite(prescription_gy) and prescription_gy > 0):
        findings.append(
            Finding(
                f"a prescription of {prescription_gy:g} Gy is stated",
                "State the prescribed dose of the course, a positive number (--prescription).",
            )
        )
    return findings


def _as_stated(files: CaseFiles) -> DoseSidecar | list[Finding]:
    """What a dose file without a sidecar means; fractions alone are stated for a dose that is one's.

    Source: RICE-NET section 2 (where only one fraction's dose is available, it is scaled by their number).
    """
    dose_of = files.dose_of or ("course" if files.fractions is None else "fraction")
    if files.fractions is None and files.dose_of == "fraction":
        found = "the dose is said to be one fraction's, but not of how many"
        return [Finding(found, "State the number of fractions of the course (--fractions).")]
    return DoseSidecar.model_validate(
        {
            "DoseUnits": "GY",
            "DoseSummationType": "FRACTION" if dose_of == "fraction" else "PLAN",
            "NumberOfFractions": files.fractions,
            "PrescriptionGy": files.prescription_gy,
        }
    )


def _contradictions(files: CaseFiles, beside: DoseSidecar) -> list[Finding]:
    findings = []
    written_of = "course" if beside.summation_type == "PLAN" else "fraction"
    if files.dose_of not in (None, written_of):
        found = f"DoseSummationType is {beside.summation_type}, but --dose-of {files.dose_of} is stated"
        findings.append(Finding(found, "Correct the file, or leave --dose-of out."))
    if None not in (files.fractions, beside.fractions) and beside.fractions != files.fractions:
        found = f"NumberOfFractions is {beside.fractions}, but {files.fractions} is stated"
        findings.append(Finding(found, "Correct the file or --fractions."))
    stated_gy, written_gy = files.prescription_gy, beside.prescription_gy
    if stated_gy is not None and written_gy is not None and stated_gy != written_gy:
        found = f"PrescriptionGy is {written_gy:g}, but {stated_gy:g} is stated"
        findings.append(Finding(found, "Correct the file or --prescription."))
    return findings
