"""A subject's raw files, read once: what is wrong with them, and what later stages need of them.

Records are kept in the store by the files' content, so that guards and evidence decode nothing again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ricenet.cohort import placement
from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.coarse_head import CoarseHead
from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import RawSubject, ScanDigests, is_there, uncompressed
from ricenet.cohort.problems import Finding, Problem, report_text
from ricenet.cohort.scan_checks import RawScan, ScanKind, findings_of, read_scan
from ricenet.cohort.scan_fingerprint import Property, VoxelSample, file_properties, pair_digest
from ricenet.config.params import ExecutionParams
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.per_subject import SubjectTask, run_missing
from ricenet.runtime.records import Record
from ricenet.runtime.store import Store
from ricenet.vocabulary import Volumes, VolumeSpec
from ricenet.volume import Volume

PRELOAD = ("ricenet.cohort.raw_record", "nibabel", "scipy.ndimage", "skimage.filters")
"""What every worker needs."""

RAW_STORE = Path("work/store/raw")

SIDECAR = "dose sidecar"
"""What precedes the name of a sidecar's property, as a volume's name precedes that of a file's."""

_FILE = "raw.json"


_OTHER_PAIR = (
    "Take both from one import. Where one was changed on purpose, look at the dose over the scan, and remove "
    "PlacedOver from the dose's JSON."
)


class RawRecord(Record):
    """Of one subject without a fault. voxels: digest by volume, without zeros. properties: none an intensity.

    segmented_ml: `lesion_ml` and `cavity_ml`, where there is such a mask.
    """

    voxels: dict[str, str]
    properties: dict[str, Property]
    segmented_ml: dict[str, float]


def raw_records(
    root: Path,
    digests: Mapping[str, ScanDigests],
    volumes: Volumes,
    store: Store,
    execution: ExecutionParams,
) -> tuple[dict[str, RawRecord], tuple[Problem, ...]]:
    """Records of faultless subjects, from the store where their files are those that were read before.

    digests: of the files, by subject. Also returns what is wrong with the others.
    Raises CohortError: an error that is no fault of a file.
    """
    declared = [spec.model_dump(include={"name", "kind", "session", "suffix"}) for spec in volumes]
    code = code_digest("ricenet.cohort.raw_record")
    keys = {subject: content_digest([subject, files, declared, code]) for subject, files in digests.items()}
    store.use(keys.values())
    work = functools.partial(_examine_into_store, root.absolute(), volumes, store)
    outcomes = run_missing("raw scans", work, keys, store, execution, PRELOAD)
    if broken := [f"  - {o.task.subject}: {o.error}" for o in outcomes if o.error is not None]:
        raise CohortError("\n".join(["the raw scans of some subjects could not be checked:", *broken]))
    problems = {o.task.subject: o.result for o in outcomes if o.result}
    records = {
        subject: RawRecord.read(store.path(key) / _FILE, "check_cohort")
        for subject, key in keys.items()
        if subject not in problems
    }
    return records, tuple(problem for found in problems.values() for problem in found)


def records_of(
    cohort: CheckedCohort, execution: ExecutionParams, store: Store | None = None
) -> dict[str, RawRecord]:
    """The records of a checked cohort, by participant_id; those that the store lacks are made again.

    store: None: where the stage `check_cohort` keeps them.
    Raises CohortError: files that have become faulty since the check.
    """
    digests = {subject.participant_id: subject.scans for subject in cohort.subjects}
    kept = store or Store(RAW_STORE.absolute())
    records, problems = raw_records(Path(cohort.root), digests, cohort.volumes, kept, execution)
    if problems:
        raise CohortError(report_text(Path(cohort.root).absolute().name, problems))
    return records


def _examine_into_store(root: Path, volumes: Volumes, store: Store, task: SubjectTask) -> tuple[Problem, ...]:
    record, problems = examine(RawSubject(root, task.subject, volumes))
    if not problems:
        # a fault may have a cause beside the file, so that it is found again rather than kept
        store.get(task.key, lambda folder: write_json(folder / _FILE, record.model_dump(mode="json")))
    return problems


def examine(
    raw: RawSubject,
    course: DoseSidecar | list[Finding] | None = None,
    names: Mapping[Path, str] = MappingProxyType({}),
) -> tuple[RawRecord, tuple[Problem, ...]]:
    """Read every file of a subject that is there, one at a time; which are missing is the check's affair.

    This is the one gate for files, whoever brings them. course: what the dose means, where that is known
    without its sidecar. names: of files that problems name otherwise than by their place in the cohort.
    """
    reader = _Reader(raw, course, names)
    for spec in sorted(raw.volumes, key=lambda spec: spec.kind == "dose"):
        reader.read_volume(spec)
    reader.read_mask(raw.brain_mask, raw.volumes.reference, of_brain=True)
    segmented_ml = {
        "cavity_ml": reader.read_mask(raw.cavity_mask, raw.volumes.reference),
        "lesion_ml": reader.read_mask(raw.lesion_mask, raw.volumes.last_session_reference),
    }
    if raw.volumes.dose is not None:
        # no more is asked of the CT than of an MRI: to be readable, to have a place, and to show something
        reader.sound(raw.planning_ct, "mri")
    known_ml = {name: ml for name, ml in segmented_ml.items() if ml is not None}
    record = RawRecord(voxels=reader.voxels, properties=reader.properties, segmented_ml=known_ml)
    return record, tuple(reader.problems)


class _Reader:
    """Reads one subject's files in turn and collects what is found. heads: by the name of their MRI."""

    def __init__(
        self, raw: RawSubject, course: DoseSidecar | list[Finding] | None, names: Mapping[Path, str]
    ) -> None:
        self.raw, self.names = raw, names
        self.problems: list[Problem] = []
        self.heads: dict[str, CoarseHead] = {}
        self.samples: dict[str, VoxelSample] = {}
        self.voxels: dict[str, str] = {}
        self.properties: dict[str, Property] = {}
        self.course = self._read_sidecar(course)

    def read_volume(self, spec: VolumeSpec) -> None:
        path = self.raw.scan(spec.name)
        scan = self.sound(path, spec.kind)
        if scan is None:
            return
        sample = VoxelSample.of(np.asarray(scan.volume.data, dtype=np.float32))
        self.voxels[spec.name] = sample.digest
        if spec.kind == "mri":
            self._place_mri(spec, path, scan.volume, sample)
        else:
            self._place_dose(spec, path, scan.volume)
        found = file_properties(scan.file, path.stat().st_size)
        self.properties |= {f"{spec.name}: {name}": value for name, value in found.items()}

    def _place_mri(self, spec: VolumeSpec, path: Path, scan: Volume, own: VoxelSample) -> None:
        values = np.asarray(scan.data, dtype=np.float32)
        for name, sample in self.samples.items():
            if sample.digest == own.digest or sample.is_in(values):
                found = f"has the same voxels as {self._name(self.raw.scan(name))}"
                self._note(path, [Finding(found, "Replace the copy by the scan that it should be.")])
        self.samples[spec.name] = own
        self.heads[spec.name] = CoarseHead.of(scan)
        self._note(path, placement.head_findings(self.heads[spec.name]))

    def _place_dose(self, spec: VolumeSpec, path: Path, dose: Volume) -> None:
        own = self.raw.volumes.session_reference(spec.session).name
        confirmed = self.course is not None and self.course.placement_confirmed
        if own in self.heads:
            scan = self._name(self.raw.scan(own))
            self._note(path, placement.dose_findings(dose, self.heads[own], scan, confirmed))
            if self.course is not None and self.course.placed_over not in (None, self._pair(own, spec)):
                found = f"this dose, or {scan}, is not the one that the import placed over the other"
                self._note(path, [Finding(found, _OTHER_PAIR)])

    def _pair(self, scan: str, dose: VolumeSpec) -> str:
        return pair_digest(self.voxels[scan], self.voxels[dose.name])

    def read_mask(self, path: Path, reference: VolumeSpec, *, of_brain: bool = False) -> float | None:
        """A mask's volume in ml; None where there is none, or a fault. reference: of its space."""
        scan = self.sound(path, "mask")
        if scan is None:
            return None
        # a synthetic cohort's masks are all in one space
        if reference.name in self.heads and path.is_relative_to(self.raw.folder):
            head, name = self.heads[reference.name], self._name(self.raw.scan(reference.name))
            self._note(path, placement.mask_findings(scan.volume, head, name, of_brain))
        return float(scan.volume.data.sum(dtype=float)) * scan.volume.grid.voxel_ml

    def sound(self, path: Path, kind: ScanKind) -> RawScan | None:
        """A file that is there and without a fault of its own."""
        if not is_there(path):
            return None
        scan = read_scan(path)
        findings = [scan] if isinstance(scan, Finding) else findings_of(scan, kind, self.course)
        if (plain := uncompressed(path)) != path and is_there(plain):
            findings.append(Finding(f"{plain.name} lies beside it", "Remove the one that is not meant."))
        self._note(path, findings)
        return None if findings or isinstance(scan, Finding) else scan

    def _read_sidecar(self, course: DoseSidecar | list[Finding] | None) -> DoseSidecar | None:
        dose = self.raw.volumes.dose
        if dose is None or not (dose.required or is_there(self.raw.scan(dose.name))):
            return None
        sidecar = parse_dose_sidecar(self.raw.dose_sidecar) if course is None else course
        if isinstance(sidecar, list):
            self._note(self.raw.dose_sidecar, sidecar)
            return None
        placing = {"placed_over", "placement_confirmed"}
        for name, value in sidecar.model_dump(mode="json", exclude=placing).items():
            self.properties[f"{SIDECAR}: {name.replace('_', ' ')}"] = value
        return sidecar

    def _note(self, path: Path, findings: list[Finding]) -> None:
        self.problems += [finding.of(self.raw.subject, self._name(path)) for finding in findings]

    def _name(self, path: Path) -> str:
        return self.names.get(path) or path.relative_to(self.raw.cohort).as_posix()
