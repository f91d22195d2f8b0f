"""Burdenko-GBM-Progression (TCIA, DOI 10.7937/E1QP-D183): each patient, imported or excluded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ricenet.config.params import ExecutionParams
from ricenet.importing.collections.burdenko_events import LabelRules, first_event
from ricenet.importing.collections.burdenko_scans import choose_scans
from ricenet.importing.collections.burdenko_table import ClinicalRow, read_clinical_table
from ricenet.importing.collections.burdenko_visits import VisitsWriter, follow_up_scans
from ricenet.importing.collections.collection import (
    ALL_VISITS,
    LEFT_OUT,
    Collection,
    ImportedCollection,
    Offer,
    Where,
    files_of_visits,
    require_two_visits,
)
from ricenet.importing.dicom.instances import DicomTree
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.import_cohort import Candidate
from ricenet.importing.import_subject import FROM_FILES, SubjectWriter
from ricenet.vocabulary import Volumes

logger = logging.getLogger(__name__)

BURDENKO = Collection(
    site="Burdenko",
    columns={
        "label": "recurrence or rice, by the first event of the follow-up; rice: pseudo progression",
        "label_source": "follow_up: the response that the collection's clinical table states",
        "subset": "n/a: no test set is named by the collection",
        "site": "the collection",
        "age_years": "age at the collection's study date",
        "sex": "F or M",
        "mgmt": "promoter methylation, positive or negative",
        "idh": "IDH1/2 mutation, positive or negative",
        **FROM_FILES,
        "follow_up": "number of the follow-up visit of the event; it alone predicts much of the label",
        "label_confidence": "high, or low for a pseudo progression that is called a response as well",
        "distant": "yes for a progression away from the irradiated tumour, else no",
    },
    description={
        "Name": "Burdenko-GBM-Progression, imported for RICE-NET",
        "SourceDatasets": [{"DOI": "10.7937/E1QP-D183"}],
        "LabelRules": "docs/public-cohorts.md; RICE stands for early pseudoprogression",
    },
    times=("follow_up", "days_rt_end_to_event"),
)


def import_burdenko(
    where: Where,
    clinical_table: Path,
    rules: LabelRules,
    tolerance_days: int,
    volumes: Volumes,
    seed: int,
    execution: ExecutionParams,
    *,
    all_visits: bool = False,
) -> ImportedCollection:
    """Import Burdenko-GBM-Progression. where.source: its DICOM files, in folders of any name.

    all_visits: further follow-ups beside the first event (docs/visits.md).
    Raises CohortError: the clinical table cannot be used, other than two visits are declared, or what
    `Where.check`, `read_tree` and `import_cohort` say.
    """
    where.check()
    volumes = files_of_visits(volumes)
    require_two_visits(volumes)
    rows = read_clinical_table(clinical_table)
    tree = read_tree(where.source)
    for found, count in Counter(file.found for file in tree.unusable).most_common():
        logger.warning("%d file(s) are excluded: %s", count, found)
    candidates = burdenko_candidates(rows, tree, rules, tolerance_days, volumes, seed, all_visits=all_visits)
    further = ALL_VISITS if all_visits else {}
    collection = replace(BURDENKO, columns={**BURDENKO.columns, **further})
    return collection.written(candidates, where, volumes, execution)


def burdenko_candidates(
    rows: Sequence[ClinicalRow],
    tree: DicomTree,
    rules: LabelRules,
    tolerance_days: int,
    volumes: Volumes,
    seed: int,
    *,
    all_visits: bool = False,
) -> list[Candidate]:
    """One candidate a patient of the clinical table, in its order, then those with images alone."""

    def offered(row: ClinicalRow) -> Offer:
        event = first_event(row, rules)
        series = tree.of_patient(row.patient_id)
        source = choose_scans(series, row, event, volumes, tolerance_days)
        first = SubjectWriter(source, seed, event.rt_end)
        write: SubjectWriter | VisitsWriter = first
        left_out: dict[str, str] = {}
        if all_visits:
            scans, count = follow_up_scans(series, row, event, source, rules, tolerance_days)
            write = VisitsWriter(first, scans, event.follow_up, event.rt_end)
            left_out = {LEFT_OUT: str(count)}
        columns = {
            "label": event.meaning.label,
            "label_source": "follow_up",
            "follow_up": str(event.follow_up),
            "label_confidence": event.meaning.confidence,
            "distant": "yes" if event.meaning.distant else "no",
            **left_out,
        }
        return Offer(columns, write, write.content)

    listed = {row.patient_id for row in rows}
    unlisted = [patient_id for patient_id in tree.patient_ids if patient_id not in listed]
    return [
        BURDENKO.candidate(
            row.patient_id, row.columns, partial(offered, row), f"line {row.line} of the clinical table"
        )
        for row in rows
    ] + [BURDENKO.excluded(one, "images, but no row in the clinical table") for one in unlisted]
