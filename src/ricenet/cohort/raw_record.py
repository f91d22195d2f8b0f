"""A subject's raw files, read once: what is wrong with them, and what later stages need of them.

Records are kept in the store by the files' content, so that guards and evidence decode nothing again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.cohort.layout import RawSubject, ScanDigests, is_there
from ricenet.cohort.problems import Finding, Problem, report_text
from ricenet.cohort.scan_checks import RawScan, ScanKind, findings_of, outside, read_scan
from ricenet.config.params import ExecutionParams
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.per_subject import SubjectTask, run_missing
from ricenet.runtime.records import Record
from ricenet.runtime.store import Store
from ricenet.vocabulary import Volumes, VolumeSpec
from ricenet.volume import Grid

Property = str | float | None
"""A word that is compared as such, a number that has an order, or None where the file does not say."""

RAW_STORE = Path("work/store/raw")

SIDECAR = "dose sidecar"
"""What precedes the name of a sidecar's property, as a volume's name precedes that of a file's."""

_FILE = "raw.json"
_OTHER_SPACE = Finding(
    "the mask's middle lies outside the scan in whose space it should be",
    "Write the mask on a grid in that scan's space, or remove it.",
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
    outcomes = run_missing("raw scans", work, keys, store, execution)
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


def examine(raw: RawSubject) -> tuple[RawRecord, tuple[Problem, ...]]:
    """Read every file of a subject that is there, one at a time; which are missing is the check's affair."""
    reader = _Reader(raw)
    for spec in raw.volumes:
        reader.read_volume(spec)
    reader.read_mask(raw.brain_mask, raw.volumes.reference)
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
    """Reads one subject's files in turn and collects what is found."""

    def __init__(self, raw: RawSubject) -> None:
        self.raw = raw
        self.problems: list[Problem] = []
        self.grids: dict[str, Grid] = {}
        self.voxels: dict[str, str] = {}
        self.properties: dict[str, Property] = {}
        self.course = self._read_sidecar()

    def read_volume(self, spec: VolumeSpec) -> None:
        path = self.raw.scan(spec.name)
        scan = self.sound(path, spec.kind)
        if scan is not None:
            self.grids[spec.name] = scan.volume.grid
            self.voxels[spec.name] = voxel_digest(scan.volume.data.astype(np.float32, copy=False))
            found = file_properties(scan.image, path.stat().st_size)
            self.properties |= {f"{spec.name}: {name}": value for name, value in found.items()}

    def read_mask(self, path: Path, reference: VolumeSpec) -> float | None:
        """A mask's volume in ml; None where there is none, or a fault. reference: of its space."""
        scan = self.sound(path, "mask")
        if scan is None:
            return None
        grid = self.grids.get(reference.name)
        # a synthetic cohort's masks are all in one space
        if grid is not None and path.is_relative_to(self.raw.folder) and outside(scan.volume, grid):
            self._note(path, [_OTHER_SPACE])
        return float(scan.volume.data.sum(dtype=float)) * scan.volume.grid.voxel_ml

    def sound(self, path: Path, kind: ScanKind) -> RawScan | None:
        """A file that is there and without a fault."""
        if not is_there(path):
            return None
        scan = read_scan(path)
        findings = [scan] if isinstance(scan, Finding) else findings_of(scan, kind, self.course)
        self._note(path, findings)
        return None if findings or isinstance(scan, Finding) else scan

    def _read_sidecar(self) -> DoseSidecar | None:
        dose = self.raw.volumes.dose
        if dose is None or not (dose.required or is_there(self.raw.scan(dose.name))):
            return None
        sidecar = parse_dose_sidecar(self.raw.dose_sidecar)
        if isinstance(sidecar, list):
            self._note(self.raw.dose_sidecar, sidecar)
            return None
        for name, value in sidecar.model_dump(mode="json").items():
            self.properties[f"{SIDECAR}: {name.replace('_', ' ')}"] = value
        return sidecar

    def _note(self, path: Path, findings: list[Finding]) -> None:
        self.problems += [finding.of(self.raw.subject, self._name(path)) for finding in findings]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.raw.cohort).as_posix()


def voxel_digest(values: NDArray[np.float32]) -> str:
    """Digest of the values that occur and how often, without zeros.

    values: any shape. Equal for copies that were compressed again, got another header or data type, were
    flipped, turned by right angles, cropped in or padded with background; and for no two different scans.
    """
    content = np.sort(values[values != 0], axis=None)
    return hashlib.sha256(content.astype("<f4").tobytes()).hexdigest()


def file_properties(image: Any, size_bytes: int) -> dict[str, Property]:
    """Of a NIfTI file and its header, never an intensity. image: as nibabel has it.

    Of text in the header its length alone counts, since it may identify.
    """
    from nibabel.orientations import aff2axcodes

    header, affine = image.header, np.asarray(image.affine, np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.round(affine[:3, :3] / spacing, 2) + 0.0
    shape = tuple(int(n) for n in image.shape)
    # the header's own fields are reset on loading; the proxy keeps what the file said
    scaling = float(image.dataobj.slope), float(image.dataobj.inter)
    lengths = {
        field: float(len(bytes(header[field].item()).rstrip(b"\0"))) for field in ("descrip", "aux_file")
    }
    return {
        "file size": float(size_bytes),
        "voxel spacing": " ".join(f"{mm:.2f}" for mm in spacing),
        "finest spacing": float(spacing.min().round(4)),
        "coarsest spacing": float(spacing.max().round(4)),
        "shape": " ".join(map(str, shape)),
        "number of voxels": float(np.prod(shape)),
        "slices": float(shape[2]),
        "data type": str(header.get_data_dtype()),
        "orientation": "".join(str(code) for code in aff2axcodes(affine)),
        "direction of the axes": " ".join(f"{cosine:.2f}" for cosine in direction.ravel()),
        "obliqueness": float((1 - np.abs(direction).max(axis=0)).max().round(2)),
        "length of the header's description": lengths["descrip"],
        "length of the header's auxiliary file name": lengths["aux_file"],
        "header extensions": float(len(header.extensions)),
        "codes of the header's transforms": f"{int(header['qform_code'])} {int(header['sform_code'])}",
        "units of the header": " ".join(header.get_xyzt_units()),
        "scaling of values": "no" if scaling == (1.0, 0.0) else "yes",
    }
