"""The cohort's description, `dataset_description.json`: optional here, although BIDS requires it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import DATASET_DESCRIPTION, GROUND_TRUTH, PARTICIPANTS_TABLE
from ricenet.cohort.problems import Finding
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import read_json


def read_description(cohort: Path) -> Mapping[str, Any]:
    """What a cohort says of itself; empty where it has no description.

    Raises CohortError: not JSON, or not an object.
    """
    description = parse_description(cohort)
    if isinstance(description, Finding):
        raise CohortError(str(description.of(None, DATASET_DESCRIPTION)))
    return description


def is_synthetic(cohort: Path) -> bool:
    """Whether any mark in a raw cohort says that it is made up: one is enough.

    Raises CohortError: a description that is not a JSON object; without one the other marks decide.
    """
    return (
        (cohort / GROUND_TRUTH).is_dir()
        or read_description(cohort).get("Synthetic") is True
        or _has_synthetic_label(cohort / PARTICIPANTS_TABLE)
    )


def _has_synthetic_label(table: Path) -> bool:
    if not table.is_file():
        return False
    # lines and cells as `read_participants` divides them, but of tables with any fault too
    with table.open(encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return any(row.get("label_source") == "synthetic" for row in rows)


def parse_description(cohort: Path) -> Mapping[str, Any] | Finding:
    """The description of a cohort, or what is wrong with it; empty where there is none."""
    remedy = "Write one JSON object in UTF-8, or leave the file out."
    try:
        content = read_json(cohort / DATASET_DESCRIPTION)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        return Finding(f"is not readable JSON ({type(error).__name__})", remedy)
    return content if isinstance(content, dict) else Finding("is not a JSON object", remedy)
