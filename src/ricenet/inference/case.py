"""A new case's files: checked as a cohort's are, and laid out as the raw subject that preprocessing takes."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import RawSubject, is_there, without_ending
from ricenet.cohort.problems import Finding
from ricenet.cohort.raw_record import examine
from ricenet.importing.dose.statement import NOTHING_STATED, DoseStatement
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import write_json
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import Volumes

CASE = "case"
"""The subject's name of a single case; the registration's seed depends on it, as in training."""


@dataclass(frozen=True)
class CaseFiles:
    """A case as the user names it.

    volumes: by name, each a compressed NIfTI file, or all of them DICOM folders; the dose in Gy, in the space
    of its session's MRI. variables: as text, by name. stated: of the dose, beside its JSON or its RTDOSE.
    """

    volumes: Mapping[str, Path]
    variables: Mapping[str, str] = field(default_factory=dict)
    stated: DoseStatement = NOTHING_STATED


def option(name: str) -> str:
    """The option by which a volume is named on the command line."""
    return f"--{name.replace('_', '-')}"


def require_volumes(given: CaseFiles, record: EnsembleRecord) -> None:
    """Refuse a case that lacks volumes which the model needs, or has others than were declared for it.

    Needed are the required ones, which every training subject had, and those that the networks see; of
    networks that may lack volumes none by itself (`ricenet.inference.missing_volumes`).
    Raises CohortError.
    """
    declared = record.volumes
    needed = needed_volumes(record)
    if unknown := [name for name in given.volumes if name not in declared.names]:
        raise CohortError(
            f"{CASE}: {', '.join(unknown)}: no volume of the model {record.modality_set}, whose volumes are "
            f"{', '.join(declared.names)}. Correct the name, or leave it out"
        )
    if lacking := [option(name) for name in needed if name not in given.volumes]:
        raise CohortError(
            f"{CASE}: {', '.join(lacking)} is missing. The model {record.modality_set} needs "
            f"{', '.join(needed)}: each training subject had them"
        )
    if given.stated != NOTHING_STATED and (declared.dose is None or declared.dose.name not in given.volumes):
        raise CohortError(f"{CASE}: something is stated of a dose that is not given. Give it, or say nothing")


def needed_volumes(record: EnsembleRecord) -> tuple[str, ...]:
    """The volumes without which a model takes no case; none of a model that may lack any."""
    if record.network.may_lack_volumes:
        return ()
    return tuple(spec.name for spec in record.volumes if spec.required or spec in record.members)


def require_usable(
    raw: RawSubject,
    course: DoseSidecar | list[Finding] | None = None,
    names: Mapping[Path, str] = MappingProxyType({}),
) -> None:
    """Refuse files that the checks of a raw cohort would refuse, all problems together.

    course: what the dose means, or what is wrong with that; None: as its sidecar says. names: what messages
    call files that lie elsewhere for the user. Raises CohortError.
    """
    lacking = [spec for spec in raw.volumes if spec.required and not is_there(raw.scan(spec.name))]
    missing = [
        Finding("file is missing", "Add it, or leave the subject out.").of(
            raw.subject, names.get(raw.scan(spec.name), f"{spec.name} ({raw.scan(spec.name).name})")
        )
        for spec in lacking
    ]
    problems = [*missing, *examine(raw, course, names)[1]]
    if problems:
        lines = [f"{raw.subject}: {len(problems)} problem(s)", *(f"  - {problem}" for problem in problems)]
        raise CohortError("\n".join(lines))


def course_of(dose: Path, stated: DoseStatement) -> DoseSidecar | list[Finding]:
    """What a dose file means, by what is stated and by its sidecar, or what is wrong with these.

    Without both, the file is the dose of the whole course.
    """
    if faults := _faults(stated):
        return faults
    sidecar = sidecar_of(dose)
    if not is_there(sidecar):
        return _as_stated(stated)
    beside = parse_dose_sidecar(sidecar)
    if isinstance(beside, list):
        return beside
    if contradictions := _contradictions(stated, beside):
        return contradictions
    known = {"prescription_gy": stated.prescription_gy, "fractions": stated.fractions}
    return beside.model_copy(update={name: value for name, value in known.items() if value is not None})


def sidecar_of(dose: Path) -> Path:
    """Where a dose's JSON would lie: beside it, under its name."""
    return dose.parent / f"{without_ending(dose)}.json"


@contextlib.contextmanager
def laid_out(given: CaseFiles, volumes: Volumes) -> Iterator[RawSubject]:
    """The case as a raw subject for as long as the block lasts; its volumes are linked, not copied.

    volumes: as the model's training declared them.
    Raises CohortError: files that cannot be used, or a sidecar that contradicts what is stated.
    """
    dose = None if volumes.dose is None else given.volumes.get(volumes.dose.name)
    course = None if dose is None else course_of(dose, given.stated)
    with tempfile.TemporaryDirectory(prefix="ricenet-case-") as folder:
        raw = RawSubject(Path(folder), CASE, volumes)
        names = {} if dose is None else {raw.dose_sidecar: sidecar_of(dose).name}
        for name, path in given.volumes.items():
            link = raw.scan(name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
            # files of several folders may share a name
            names[link] = f"{name} ({path.name})"
        require_usable(raw, course, names)
        if isinstance(course, DoseSidecar):
            write_json(raw.dose_sidecar, course.model_dump(by_alias=True))
        yield raw


def _faults(stated: DoseStatement) -> list[Finding]:
    findings = []
    if stated.fractions is not None and stated.fractions < 1:
        found = f"{stated.fractions} fractions are stated"
        findings.append(Finding(found, "State a positive whole number (--fractions)."))
    gy = stated.prescription_gy
    if gy is not None and not (math.isfinite(gy) and gy > 0):
        remedy = "State the prescribed dose of the course, a positive number (--prescription)."
        findings.append(Finding(f"a prescription of {gy:g} Gy is stated", remedy))
    return findings


def _as_stated(stated: DoseStatement) -> DoseSidecar | list[Finding]:
    """What a dose file without a sidecar means; fractions alone are stated for a dose that is one's.

    Source: RICE-NET section 2 (where only one fraction's dose is available, it is scaled by their number).
    """
    dose_of = stated.dose_of or ("course" if stated.fractions is None else "fraction")
    if stated.fractions is None and stated.dose_of == "fraction":
        found = "the dose is said to be one fraction's, but not of how many"
        return [Finding(found, "State the number of fractions of the course (--fractions).")]
    return DoseSidecar.model_validate(
        {
            "DoseUnits": "GY",
            "DoseSummationType": "FRACTION" if dose_of == "fraction" else "PLAN",
            "NumberOfFractions": stated.fractions,
            "PrescriptionGy": stated.prescription_gy,
        }
    )


def _contradictions(stated: DoseStatement, beside: DoseSidecar) -> list[Finding]:
    findings = []
    written_of = "fraction" if beside.summation_type == "FRACTION" else "course"
    if stated.dose_of not in (None, written_of):
        found = f"DoseSummationType is {beside.summation_type}, but --dose-of {stated.dose_of} is stated"
        findings.append(Finding(found, "Correct the file, or leave --dose-of out."))
    if None not in (stated.fractions, beside.fractions) and beside.fractions != stated.fractions:
        found = f"NumberOfFractions is {beside.fractions}, but {stated.fractions} is stated"
        findings.append(Finding(found, "Correct the file or --fractions."))
    stated_gy, written_gy = stated.prescription_gy, beside.prescription_gy
    if stated_gy is not None and written_gy is not None and stated_gy != written_gy:
        found = f"PrescriptionGy is {written_gy:g}, but {stated_gy:g} is stated"
        findings.append(Finding(found, "Correct the file or --prescription."))
    return findings
