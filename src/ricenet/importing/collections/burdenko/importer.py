"""From the collection's folder and clinical table to a raw cohort."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from ricenet.config.params import ExecutionParams
from ricenet.importing.cohort_folder import Destination, refuse_foreign_folder, require_apart
from ricenet.importing.collection import ImportedCollection, with_time_baselines
from ricenet.importing.collections.burdenko.candidates import COLUMNS, burdenko_candidates
from ricenet.importing.collections.burdenko.labels import LabelRules
from ricenet.importing.collections.burdenko.table import read_clinical_table
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.import_cohort import import_cohort

logger = logging.getLogger(__name__)

DESCRIPTION = {
    "Name": "Burdenko-GBM-Progression, imported for RICE-NET",
    "SourceDatasets": [{"DOI": "10.7937/E1QP-D183"}],
    "LabelRules": "docs/public-cohorts.md; RICE stands for early pseudoprogression",
}

TIMES = ("follow_up", "days_rt_end_to_event")


def import_burdenko(
    source: Path,
    clinical_table: Path,
    output: Path,
    key: Path,
    rules: LabelRules,
    tolerance_days: int,
    seed: int,
    execution: ExecutionParams,
) -> ImportedCollection:
    """Import Burdenko-GBM-Progression. source: its DICOM files, in folders of any name.

    Raises CohortError: the clinical table cannot be used, or what `require_apart`, `read_tree` and
    `import_cohort` say.
    """
    require_apart(source, output)
    refuse_foreign_folder(output, key)
    rows = read_clinical_table(clinical_table)
    tree = read_tree(source)
    for found, count in Counter(file.found for file in tree.unusable).most_common():
        logger.warning("%d file(s) are left out: %s", count, found)
    candidates = burdenko_candidates(rows, tree, rules, tolerance_days, seed)
    outcomes = import_cohort(candidates, Destination(output, key, COLUMNS, DESCRIPTION), execution)
    return with_time_baselines(output, outcomes, TIMES)
