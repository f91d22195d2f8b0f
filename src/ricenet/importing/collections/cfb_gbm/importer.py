"""From the collection's folder and tables to a raw cohort."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.config.params import ExecutionParams
from ricenet.importing.cohort_folder import Destination, refuse_foreign_folder, require_apart
from ricenet.importing.collection import ImportedCollection, with_time_baselines
from ricenet.importing.collections.cfb_gbm.candidates import COLUMNS, cfb_candidates
from ricenet.importing.collections.cfb_gbm.files import patient_folders
from ricenet.importing.collections.cfb_gbm.tables import read_tables
from ricenet.importing.import_cohort import import_cohort
from ricenet.runtime.errors import CohortError

logger = logging.getLogger(__name__)

TIMES = ("follow_up", "days_rt_start_to_event")


def import_cfb_gbm(
    source: Path,
    tables: Path,
    output: Path,
    key: Path,
    follow_up: int | None,
    weak_labels: bool,
    execution: ExecutionParams,
) -> ImportedCollection:
    """Import CFB-GBM. source: the folder of the patients' folders. tables: the folder of the .tsv tables.

    Raises CohortError: a table cannot be used, weak labels without the RANO table, no patient's folder, or
    what `require_apart` and `import_cohort` say.
    """
    require_apart(source, output)
    refuse_foreign_folder(output, key)
    read = read_tables(tables)
    logger.info("tables: %s", ", ".join(read.files))
    if weak_labels and not read.has_rano:
        raise CohortError(
            "weak labels need the table rano_criteria, which the folder of tables lacks; add it "
            "(CFB-GBM_rano_criteria_v03_20260619.tsv), or import without --weak-labels"
        )
    candidates = cfb_candidates(read.patients, patient_folders(source), follow_up, weak_labels)
    description = {
        "Name": "CFB-GBM, imported for RICE-NET",
        "SourceDatasets": [{"DOI": "10.7937/v9pn-2f72"}],
        "SourceTables": list(read.files),
        "LabelRules": "docs/public-cohorts.md; labels are weak, no accuracy is to be quoted on them",
    }
    outcomes = import_cohort(candidates, Destination(output, key, COLUMNS, description), execution)
    return with_time_baselines(output, outcomes, TIMES, "weak_label", ("recurrence", "rice_candidate"))
