"""The cohort's description, `dataset_description.json`: optional here, although BIDS requires it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import DATASET_DESCRIPTION, GROUND_TRUTH, PARTICIPANTS_TABLE
from ricenet.cohort.problems import Finding, json_object
from ricenet.cohort.tsv import TsvLines, read_tsv
from ricenet.runtime.errors import CohortError, FormatError
from ricenet.runtime.files import write_json, write_text
from ricenet.runtime.formats import FIRST
from ricenet.vocabulary import PAPER_VOLUMES, Volumes

BIDS_VERSION = "1.10.0"

BIDS_IGNORE_FILE = ".bidsignore"
BIDS_IGNORE = """\
# what BIDS has no place for: radiotherapy, masks of raw scans, a synthetic cohort's truth, tables of ricenet
**/rt
**/rt/**
**/*_mask.*
ground_truth
ground_truth/**
exclude.tsv
import.tsv
"""
"""Of the file .bidsignore, by which validators know what is no part of BIDS."""

ANATOMICAL = frozenset(
    (
        *("T1w", "T2w", "PDw", "T2starw", "FLAIR", "inplaneT1", "inplaneT2", "PDT2", "angio", "UNIT1"),
        *("T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap", "PDT2map", "S0map", "M0map"),
        *("MTRmap", "MTsat", "MTVmap", "MWFmap", "T1rho", "Chimap"),
    )
)
"""What BIDS 1.10 lets a file in `anat` be."""

FORMAT = FIRST
"""Of a raw cohort: names of folders, columns of its tables, keys beside its doses."""

LAYOUT_FORMAT = "RicenetFormat"
"""Under which a cohort's description states that number; BIDS leaves further keys to whoever writes them."""

_IMPORT_AGAIN = "Import the cohort again, or bring it to the layout of docs/own-cohort.md"


def write_description(cohort: Path, content: Mapping[str, Any], volumes: Volumes = PAPER_VOLUMES) -> None:
    """Write what a raw cohort says of itself, and what BIDS validators are to leave alone.

    content: as BIDS has it (Name, License, GeneratedBy...), without version and type.
    """
    write_json(cohort / DATASET_DESCRIPTION, {"BIDSVersion": BIDS_VERSION, "DatasetType": "raw", **content})
    write_ignored(cohort, BIDS_IGNORE, volumes)


def write_ignored(dataset: Path, ignored: str, volumes: Volumes) -> None:
    """Write .bidsignore: some lines, and the MRIs of `anat` that BIDS has no place for there, such as ADC."""
    kinds = {spec.suffix.split("_")[-1] for spec in volumes.mris} - ANATOMICAL
    write_text(dataset / BIDS_IGNORE_FILE, ignored + "".join(f"**/*_{kind}.*\n" for kind in sorted(kinds)))


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
    # of tables with any fault too
    lines = read_tsv(table)
    if not isinstance(lines, TsvLines):
        return False
    header, *rows = lines.cells
    return any(("label_source", "synthetic") in zip(header, cells, strict=False) for cells in rows)


def parse_description(cohort: Path) -> Mapping[str, Any] | Finding:
    """The description of a cohort, or what is wrong with it; empty where there is none."""
    content = json_object(
        cohort / DATASET_DESCRIPTION, "Write one JSON object in UTF-8, or leave the file out."
    )
    if content is None or isinstance(content, Finding):
        return {} if content is None else content
    try:
        FORMAT.require(content.get(LAYOUT_FORMAT, 1), "the cohort's layout", _IMPORT_AGAIN)
    except FormatError as error:
        found, _, remedy = str(error).partition(". ")
        return Finding(found, remedy)
    return content
