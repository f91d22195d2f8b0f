"""All follow-ups of a Burdenko-GBM-Progression patient, beside the first event: their scans, days and labels.

A follow-up without a usable scan or date is left out and counted, and the patient stays: the first event
alone decides whether a patient is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import Visit, write_sessions
from ricenet.importing.collections.burdenko_events import FirstEvent, LabelRules, visit_label
from ricenet.importing.collections.burdenko_scans import follow_up_images
from ricenet.importing.collections.burdenko_table import ClinicalRow
from ricenet.importing.collections.collection import Exclusion
from ricenet.importing.dicom.images import read_series
from ricenet.importing.dicom.instances import Series
from ricenet.importing.import_subject import SubjectWriter, content_of_series
from ricenet.importing.sources import PatientSource, require_one_person
from ricenet.runtime.errors import SourceError
from ricenet.vocabulary import Label
from ricenet.volume import save_nifti


@dataclass(frozen=True)
class FollowUpScans:
    """A follow-up with a scan. number: in the clinical table. on: the scan's date. images: by volume."""

    number: int
    on: date
    label: Label | None
    images: Mapping[str, Series]


def follow_up_scans(
    series: Sequence[Series],
    row: ClinicalRow,
    event: FirstEvent,
    source: PatientSource,
    rules: LabelRules,
    tolerance_days: int,
) -> tuple[tuple[FollowUpScans, ...], int]:
    """The follow-ups that can be used, in time order, and how many of the table's cannot.

    source: of the first event, which is among them whatever the others are. A follow-up that is not dated in
    the order of the table's numbers is left out, and so is one before the end of radiotherapy.
    """
    first = _scanned(event.follow_up, event.meaning.label, _of_session(source), source)
    found = [first]
    used = {one.uid for one in source.images.values()}
    left_out = 0
    for visit in row.follow_ups:
        if visit.number == event.follow_up:
            continue
        try:
            images = follow_up_images(series, used, visit, source.volumes, tolerance_days)
            scans = _scanned(visit.number, visit_label(visit, rules), images, source)
            _require_between(scans, found, event.rt_end)
        except Exclusion:
            left_out += 1
            continue
        found = sorted([*found, scans], key=lambda one: one.number)
        used |= {one.uid for one in images.values()}
    return tuple(found), left_out


def _of_session(source: PatientSource) -> dict[str, Series]:
    session = source.volumes.last_session_reference.session
    return {name: one for name, one in source.images.items() if source.volumes[name].session == session}


def _scanned(
    number: int, label: Label | None, images: Mapping[str, Series], source: PatientSource
) -> FollowUpScans:
    on = images[source.volumes.last_session_reference.name].first.date
    if on is None:
        raise Exclusion("a scan without a date")
    return FollowUpScans(number, on, label, images)


def _require_between(scans: FollowUpScans, others: Sequence[FollowUpScans], rt_end: date) -> None:
    """Raises Exclusion: the dates contradict the numbers, or two visits are of one day."""
    in_order = all((other.number < scans.number) == (other.on < scans.on) for other in others)
    if scans.on < rt_end or not in_order or any(other.on == scans.on for other in others):
        raise Exclusion("dates out of order")


@dataclass(frozen=True)
class VisitsWriter:
    """Writes one patient's raw files with all follow-ups. first: of the first event, which is among scans.

    event: its follow-up's number. rt_end: from which the days of visits are counted.
    """

    first: SubjectWriter
    scans: tuple[FollowUpScans, ...]
    event: int
    rt_end: date

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        """Write the subject; return the columns that only the files give, of the first event.

        Raises SourceError: the first thing that keeps the patient from being imported.
        """
        require_one_person(
            [instance for of in self.scans for one in of.images.values() for instance in one.instances]
        )
        visits = [
            Visit(
                number=number,
                days=(of.on - self.rt_end).days,
                label=of.label,
                label_source="follow_up" if of.label else None,
            )
            for number, of in enumerate(self.scans, start=1)
        ]
        # first: by the table the files of later visits are found
        write_sessions(raw.folder, visits, [raw.volumes.reference.session])
        columns: Mapping[str, str] = {}
        for number, of in enumerate(self.scans, start=1):
            visit = replace(raw, subject=sample_name(raw.subject, number))
            if of.number == self.event:
                columns = self.first(visit)
            else:
                _write(of, visit)
        return columns

    @property
    def content(self) -> object:
        """What the subject's files depend on, JSON-serialisable."""
        further = [
            [of.number, of.label, {name: content_of_series(one) for name, one in of.images.items()}]
            for of in self.scans
        ]
        return [self.first.content, further]


def _write(scans: FollowUpScans, visit: RawSubject) -> None:
    for name, series in scans.images.items():
        try:
            read = read_series(series)
        except SourceError as error:
            found = f"the scan {name} of follow-up {scans.number}: {error.found}"
            raise SourceError(found, error.remedy) from None
        save_nifti(read.volume, visit.scan(name))
