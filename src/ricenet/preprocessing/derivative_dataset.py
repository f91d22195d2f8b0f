"""The folder of all preprocessed subjects: which there are, and what BIDS wants to know of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ricenet import __version__
from ricenet.cohort.description import BIDS_VERSION, write_ignored
from ricenet.cohort.layout import DATASET_DESCRIPTION
from ricenet.preprocessing.derivative_files import RAW_DATASET
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.formats import KEY, Format
from ricenet.runtime.records import read_result
from ricenet.vocabulary import Volumes

SUMMARY, PROVENANCE = "summary.json", "provenance.json"

FORMAT = Format(number=2, oldest=2)
"""Of the folder; format 1 had NIfTI files under the volumes' names alone, and no description."""

_IGNORED = f"""\
# what BIDS has no place for: arrays for the network, records of ricenet, radiotherapy
**/*.npy
{SUMMARY}
**/{MEASUREMENTS_FILE}
**/{PROVENANCE}
**/rt
**/rt/**
"""


def write_dataset(
    folder: Path, output: Path, cohort: Path, volumes: Volumes, keys: Mapping[str, str]
) -> None:
    """Write which subjects there are, and what BIDS wants to know of them together.

    folder: to write into, which becomes `output`. keys: content keys by subject.
    """
    write_json(folder / DATASET_DESCRIPTION, _description(output, cohort))
    write_ignored(folder, _IGNORED, volumes)
    summary = {KEY: FORMAT.number, "digest": content_digest(dict(keys)), "subjects": dict(keys)}
    write_json(folder / SUMMARY, summary)


def read_summary(preprocessed: Path) -> Any:
    """Which subjects the folder holds, as `digest` of all and content keys by `subjects`.

    Raises ResultError: missing. FormatError: an earlier version made the folder, or a later one.
    """
    return read_result(preprocessed / SUMMARY, "preprocess", FORMAT)


def _description(output: Path, cohort: Path) -> dict[str, Any]:
    # relative, so that it holds in a clone
    place = Path(os.path.relpath(cohort, output)).as_posix()
    return {
        "Name": f"{cohort.name}, preprocessed",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "ricenet",
                "Version": __version__,
                "Description": "Registration (ANTs), brain extraction (HD-BET), a cube around the brain",
            }
        ],
        "ReferencesAndLinks": ["https://arxiv.org/abs/2603.11827"],
        "SourceDatasets": [{"URL": place}],
        "DatasetLinks": {RAW_DATASET: place},
    }
