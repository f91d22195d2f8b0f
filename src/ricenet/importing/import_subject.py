"""One patient's chosen objects to one subject's raw files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.scan_fingerprint import pair_digest, voxel_digest
from ricenet.importing.dicom.images import ReadImage, read_series
from ricenet.importing.dicom.instances import Instance, Series
from ricenet.importing.dose.interpret import read_course
from ricenet.importing.dose.place import place_dose
from ricenet.importing.dose.treatment import Treatment
from ricenet.importing.intervals import INTERVALS, intervals_of
from ricenet.importing.sources import PatientSource, code_of, require_one_person
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import write_json
from ricenet.volume import Volume, save_nifti

RT_MODALITY = "rt_modality"
FROM_FILES = {**INTERVALS, RT_MODALITY: "Radiation of the plans' treatment beams: photon, proton or ion."}
"""Columns of the cohort that only the files give, and what they mean there."""


@dataclass(frozen=True)
class SubjectWriter:
    """Writes one patient's raw files: MRIs, the dose, its sidecar, the planning CT where one was needed.

    rt_end: last day of radiotherapy. rt_modality: as the clinical table states it.
    """

    source: PatientSource
    seed: int
    rt_end: date | None = None
    rt_modality: str | None = None

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        """Write the subject; return the columns of FROM_FILES that are known.

        Raises SourceError: the first thing that keeps the patient from being imported.
        """
        _require_examinations_apart(self.source)
        treatment = Treatment.read(
            [dose.instance for dose in self.source.doses], self.source.plans, self.source.structures
        ).with_plans(
            {
                dose.instance.sop_instance_uid: dose.stated.plan_uid
                for dose in self.source.doses
                if dose.stated.plan_uid
            }
        )
        intervals = intervals_of(self.source, treatment, self.rt_end)
        modality = self._rt_modality(treatment)
        _write(self.source, treatment, intervals.notes, raw, self.seed)
        return {
            name: str(known)
            for name, known in {**intervals.days, RT_MODALITY: modality}.items()
            if known is not None
        }

    @property
    def content(self) -> object:
        """What the subject's files depend on, JSON-serialisable: files are known by UID, size and time."""
        source = self.source
        return {
            "volumes": source.volumes.as_json(),
            "images": {name: content_of_series(series) for name, series in source.images.items()},
            "doses": [
                [*_files([dose.instance, *dose.instance.planes]), *astuple(dose.stated)]
                for dose in source.doses
            ],
            "plans": _files(source.plans),
            "structures": _files(source.structures),
            "planning_cts": [content_of_series(one) for one in source.planning_cts],
            "planning_ct_named": source.planning_ct_named,
            "seed": self.seed,
            "rt_end": None if self.rt_end is None else self.rt_end.isoformat(),
            "rt_modality": self.rt_modality,
            "code": code_of(__name__),
        }

    def _rt_modality(self, treatment: Treatment) -> str | None:
        planned, stated = treatment.rt_modality, self.rt_modality
        if planned and stated and planned != stated:
            raise SourceError(
                f"the clinical table says {RT_MODALITY} {stated}, the plan's beams are of {planned}",
                "Correct the table, or choose the dose of the right plan; what a plan says is not overridden",
            )
        return planned or stated


def _write(
    source: PatientSource, treatment: Treatment, on_dates: Sequence[str], raw: RawSubject, seed: int
) -> None:
    """Only voxels, affines, the dose's facts and decisions are written: no DICOM header goes along.

    on_dates: what is doubtful of the intervals, written beside the scan of the last visit.
    """
    # the planning CT is compared once it is chosen
    require_one_person([*source.chosen, *(plan.instance for plan in treatment.referenced_plans)])
    course, digest = read_course(source.doses, treatment) if source.doses else None, ""
    for name in source.images:
        read = _scan(source, name)
        scan = read.volume
        if course is not None and source.images[name] is source.dose_reference and course.placement is None:
            course, digest = place_dose(course, source, scan, seed), _voxels_of(scan)
        save_nifti(scan, raw.scan(name))
        if decisions := _decisions(source, name, read, on_dates):
            write_json(_sidecar_of(raw.scan(name)), {"Decisions": decisions})
    if course is not None and source.volumes.dose is not None:
        save_nifti(course.dose, raw.scan(source.volumes.dose.name))
        placed = {"PlacedOver": pair_digest(digest, _voxels_of(course.dose))}
        write_json(raw.dose_sidecar, {**course.sidecar, **placed})
        if course.planning_ct is not None:
            save_nifti(course.planning_ct, raw.planning_ct)


def _voxels_of(volume: Volume) -> str:
    """The digest of what `save_nifti` will write."""
    return voxel_digest(np.asarray(volume.data, dtype=np.float32))


def _sidecar_of(scan: Path) -> Path:
    return scan.with_name(f"{scan.name.removesuffix('.nii.gz')}.json")


def _decisions(source: PatientSource, name: str, read: ReadImage, on_dates: Sequence[str]) -> list[str]:
    """What is written down of a scan: how it was put together, and what is doubtful of its dates."""
    series = source.images[name]
    joined = [f"Of the scan: {note}." for note in series.notes]
    return [*joined, *read.decisions, *(on_dates if series is source.last_visit else ())]


def _scan(source: PatientSource, name: str) -> ReadImage:
    try:
        return read_series(source.images[name])
    except SourceError as error:
        raise SourceError(f"the scan {name}: {error.found}", error.remedy) from None


def _require_examinations_apart(source: PatientSource) -> None:
    for (one, series), (other, further) in combinations(source.images.items(), 2):
        if series.uid == further.uid:
            raise SourceError(
                f"{one} and {other} are the same series",
                "Choose two scans in the map (for predict: two folders)",
            )
        # a shared frame of reference alone is no sign: a follow-up that was registered to the first keeps it
        # and what states no study may be of any
        sessions = {source.volumes[name].session for name in (one, other)}
        if len(sessions) > 1 and series.first.study_uid and series.first.study_uid == further.first.study_uid:
            raise SourceError(
                f"{one} and {other} are series of one study, so of one examination",
                "Choose scans of two visits",
            )


def content_of_series(series: Series) -> list[object]:
    """What a series' volume depends on, JSON-serialisable."""
    return [series.leaves_out_localizers, *_files(series.instances)]


def _files(instances: Iterable[Instance]) -> list[list[object]]:
    """Reading every voxel of an export just to see that nothing changed would take as long as importing."""
    listed = []
    for one in instances:
        size, time = 0, 0
        # a file that vanished since it was indexed is found out when it is read
        with contextlib.suppress(OSError):
            status = one.path.stat()
            size, time = status.st_size, status.st_mtime_ns
        listed.append([one.sop_instance_uid, size, time])
    return sorted(listed)
