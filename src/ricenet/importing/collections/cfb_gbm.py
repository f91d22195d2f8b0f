"""CFB-GBM (TCIA, DOI 10.7937/v9pn-2f72): each patient, imported or excluded.

The labels are weak: RANO by tumour volume, and nobody has said of any lesion that it is radiation's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ricenet.cohort.visits import Visit as CohortVisit
from ricenet.config.params import ExecutionParams
from ricenet.importing.collections.cfb_gbm_files import (
    KINDS,
    find_files,
    patient_folders,
    write_cfb_subject,
    write_cfb_visits,
)
from ricenet.importing.collections.cfb_gbm_tables import CfbPatient, Visit, read_tables
from ricenet.importing.collections.collection import (
    ALL_VISITS,
    LEFT_OUT,
    Collection,
    Exclusion,
    ImportedCollection,
    Offer,
    Where,
    files_of_visits,
    require_two_visits,
)
from ricenet.importing.import_cohort import Candidate
from ricenet.importing.sources import code_of
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import Label, Volumes

logger = logging.getLogger(__name__)

WeakLabel = Literal["recurrence", "rice_candidate"]
_LABELS: Mapping[WeakLabel, Label] = {"recurrence": "recurrence", "rice_candidate": "rice"}

CFB_GBM = Collection(
    site="CFB",
    columns={
        "label": "n/a, or by choice the weak label; no accuracy is to be quoted on it",
        "label_source": "follow_up for a weak label, else n/a",
        "subset": "n/a: no test set is named by the collection",
        "site": "the collection",
        "age_years": "age at t0, rounded by the collection to five years",
        "sex": "F or M",
        "mgmt": "n/a: not distributed",
        "idh": "n/a: not distributed",
        "days_rt_end_to_event": "n/a: the end of radiotherapy is not distributed",
        "days_rt_start_to_event": "from the start of radiotherapy to the event; whole weeks, so approximate",
        "weeks_t0_to_event": "from t0 to the event",
        "follow_up": "1 where the event is the visit t1, 2 where it is t2",
        "weak_label": "of a progression at t1 by volume: recurrence if it is one at t2, else rice_candidate",
    },
    description={
        "Name": "CFB-GBM, imported for RICE-NET",
        "SourceDatasets": [{"DOI": "10.7937/v9pn-2f72"}],
        "LabelRules": "docs/public-cohorts.md; labels are weak, no accuracy is to be quoted on them",
    },
    times=("follow_up", "days_rt_start_to_event"),
    label_column="weak_label",
    labels=("recurrence", "rice_candidate"),
)

_LATER: tuple[tuple[int, Visit], ...] = ((1, "t1"), (2, "t2"))
_PROGRESSION = "PD"
_DAYS_A_WEEK = 7


@dataclass(frozen=True)
class CfbEvent:
    """When the event was. days_from_rt_start: of whole weeks, so uncertain by a week or so."""

    visit: Visit
    follow_up: int
    weeks_from_t0: int
    days_from_rt_start: int | None
    weak_label: WeakLabel | None

    def columns(self, weak_labels: bool) -> dict[str, str]:
        """Of participants.tsv. weak_labels: write the weak label as label."""
        columns = {"follow_up": str(self.follow_up), "weeks_t0_to_event": str(self.weeks_from_t0)}
        if self.days_from_rt_start is not None:
            columns["days_rt_start_to_event"] = str(self.days_from_rt_start)
        if self.weak_label is not None:
            columns["weak_label"] = self.weak_label
            if weak_labels:
                columns |= {"label": _LABELS[self.weak_label], "label_source": "follow_up"}
        return columns


def import_cfb_gbm(
    where: Where,
    tables: Path,
    follow_up: int | None,
    weak_labels: bool,
    volumes: Volumes,
    execution: ExecutionParams,
    *,
    all_visits: bool = False,
) -> ImportedCollection:
    """Import CFB-GBM. where.source: the folder of the patients' folders. tables: that of the .tsv tables.

    all_visits: t2 beside t1 (docs/visits.md).
    Raises CohortError: a table cannot be used, weak labels without the RANO table, no patient's folder,
    required volumes that the collection does not have, or what `Where.check` and `import_cohort` say.
    """
    where.check()
    volumes = files_of_visits(volumes)
    _require_distributed(volumes)
    read = read_tables(tables)
    logger.info("tables: %s", ", ".join(read.files))
    if weak_labels and not read.has_rano:
        raise CohortError(
            "weak labels need the table rano_criteria, which the folder of tables lacks; add it "
            "(CFB-GBM_rano_criteria_v03_20260619.tsv), or import without --weak-labels"
        )
    folders = patient_folders(where.source)
    candidates = cfb_candidates(
        read.patients, folders, follow_up, weak_labels, volumes, all_visits=all_visits
    )
    description = {**CFB_GBM.description, "SourceTables": list(read.files)}
    columns = {**CFB_GBM.columns, **(ALL_VISITS if all_visits else {})}
    collection = replace(CFB_GBM, description=description, columns=columns)
    return collection.written(candidates, where, volumes, execution)


def cfb_candidates(
    patients: Sequence[CfbPatient],
    folders: Mapping[int, Sequence[Path]],
    follow_up: int | None,
    weak_labels: bool,
    volumes: Volumes,
    *,
    all_visits: bool = False,
) -> list[Candidate]:
    """One candidate a patient of the tables, by number, then those with a folder alone.

    weak_labels: write them as labels. folders: by the patient's number.
    """

    def offered(patient: CfbPatient) -> Offer:
        event = choose_event(patient, follow_up, volumes)
        try:
            files = find_files(folders, patient, event.visit, volumes)
            later = _visit_after(folders, patient, event, volumes) if all_visits else {}
            status = [(path.name, path.stat()) for path in (*files.all, *later.values())]
        except OSError as error:
            # without the path, which holds the patient's number
            reason = error.strerror or type(error).__name__
            raise Exclusion(f"a folder or file cannot be opened ({reason})") from None
        stated = (patient.prescription_gy, patient.fractions)
        content = [
            *stated,
            [[name, found.st_size, found.st_mtime_ns] for name, found in status],
            volumes.as_json(),
            code_of(write_cfb_subject.__module__),
        ]
        columns = event.columns(weak_labels)
        if not all_visits:
            return Offer(columns, partial(write_cfb_subject, files, *stated), content)
        labelled = event.weak_label if weak_labels else None
        label = labelled and _LABELS[labelled]
        visits = [CohortVisit(number=1, label=label, label_source="follow_up" if label else None)]
        visits += [CohortVisit(number=2)] if later else []
        left_out = event.visit == "t1" and "t2" in patient.t1gd_weeks and not later
        write = partial(write_cfb_visits, files, later, visits, *stated)
        return Offer({**columns, LEFT_OUT: str(int(left_out))}, write, [*content, label])

    # padded, so that the order of texts is that of the numbers
    unlisted = sorted(folders.keys() - {patient.number for patient in patients})
    return [
        CFB_GBM.candidate(f"{patient.number:03d}", patient.columns, partial(offered, patient))
        for patient in patients
    ] + [CFB_GBM.excluded(f"{number:03d}", "a folder, but no row in the tables") for number in unlisted]


def _visit_after(
    folders: Mapping[int, Sequence[Path]], patient: CfbPatient, event: CfbEvent, volumes: Volumes
) -> dict[str, Path]:
    """The event session's MRIs at t2, where the event is at t1; none where they cannot be used."""
    weeks = patient.t1gd_weeks.get("t2")
    if event.visit != "t1" or weeks is None or weeks <= event.weeks_from_t0:
        return {}
    try:
        scans = find_files(folders, patient, "t2", volumes).scans
    except Exclusion:
        return {}
    session = volumes.last_session_reference.session
    return {name: path for name, path in scans.items() if volumes[name].session == session}


def choose_event(patient: CfbPatient, follow_up: int | None, volumes: Volumes) -> CfbEvent:
    """The first later visit with a contrast-enhanced T1. follow_up: 1 or 2, for events there alone.

    Raises Exclusion.
    """
    if "t0" not in patient.t1gd_weeks:
        raise Exclusion("no T1Gd at t0, as the tables say")
    if volumes.dose is not None and not patient.has_dose:
        raise Exclusion("no RTDOSE at t0, as the tables say")
    later = [(number, visit) for number, visit in _LATER if visit in patient.t1gd_weeks]
    if not later:
        raise Exclusion("no T1Gd after t0, as the tables say")
    number, visit = later[0]
    if follow_up is not None and number != follow_up:
        raise Exclusion(f"the first T1Gd after t0 is at t{number}, not t{follow_up}")
    weeks = patient.t1gd_weeks[visit]
    days = None if patient.weeks_to_rt is None else _DAYS_A_WEEK * (weeks - patient.weeks_to_rt)
    if days is not None and days < 0:
        raise Exclusion(f"the T1Gd after t0 is dated {-days} day(s) before the start of radiotherapy")
    return CfbEvent(visit, number, weeks, days, weak_label(patient) if number == 1 else None)


def weak_label(patient: CfbPatient) -> WeakLabel | None:
    """Of a progression at t1: still one at t2, none any more at t2, or (None) not known."""
    if patient.rano["t1"] != _PROGRESSION or not patient.rano["t2"]:
        return None
    return "recurrence" if patient.rano["t2"] == _PROGRESSION else "rice_candidate"


def _require_distributed(volumes: Volumes) -> None:
    require_two_visits(volumes)
    unknown = [spec for spec in volumes.mris if spec.required and spec.suffix.lower() not in KINDS]
    if unknown:
        listed = ", ".join(f"{spec.name} ({spec.suffix})" for spec in unknown)
        raise CohortError(
            f"CFB-GBM distributes no {listed}; it has {', '.join(sorted(KINDS))}. "
            "Remove the volume from `volumes`, or declare it with required: false"
        )
