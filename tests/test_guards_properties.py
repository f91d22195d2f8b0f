"""Properties beside the images: how the table is read, and the remedy that fits where one was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from ricenet.cohort.raw_fingerprint import Property
from ricenet.cohort.raw_record import RawRecord
from ricenet.screening.guards.label_leakage import label_leakage
from ricenet.screening.guards.properties import properties_of
from ricenet.vocabulary import Label

LABELS: dict[str, Label] = {f"sub-{i:03d}": "rice" if i % 2 else "recurrence" for i in range(24)}


@pytest.mark.parametrize("spelt", ["{}", "\ufeff{}", "{}sub-900\trice\n", '{}sub-901\trice\t"B\tn/a\tn/a\n'])
def test_the_table_is_read_as_the_cohort_s_check_reads_it(tmp_path: Path, spelt: str) -> None:
    header = "participant_id\tlabel\tlabel_source\tsubset\tward\n"
    rows = 'sub-001\trice\tbiopsy\tn/a\t"B\nsub-002\trice\tbiopsy\tn/a\tA\n'
    table = spelt.format(header + rows)
    (tmp_path / "participants.tsv").write_text(table, encoding="utf-8")
    looks = {
        subject: RawRecord(voxels={}, properties={}, segmented_ml={}) for subject in ("sub-001", "sub-002")
    }
    # a further row is faulty, and nobody looked at it
    assert properties_of(tmp_path, looks)["column ward"] == {"sub-001": '"B', "sub-002": "A"}


TABLE_REMEDY, FILE_REMEDY, SIDECAR_REMEDY = "participants.tsv", "one conversion", "DoseSummationType"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("column site", TABLE_REMEDY),
        ("column dose: unit", TABLE_REMEDY),
        ("days between the dates", TABLE_REMEDY),
        ("event: voxel spacing", FILE_REMEDY),
        ("dose: file size", FILE_REMEDY),
        ("dose sidecar: prescription gy", SIDECAR_REMEDY),
    ],
)
def test_the_remedy_fits_where_the_property_was_found(name: str, remedy: str) -> None:
    values: dict[str, Property] = {s: 54.0 if label == "rice" else 60.0 for s, label in LABELS.items()}
    result = label_leakage({name: values}, LABELS)
    assert result.outcome == "failed"
    told = [r for r in (TABLE_REMEDY, FILE_REMEDY, SIDECAR_REMEDY) if r in result.remedy]
    assert told == [remedy]


def test_every_kind_of_property_has_its_remedy_once() -> None:
    values: dict[str, Property] = {s: 54.0 if label == "rice" else 60.0 for s, label in LABELS.items()}
    names = ("column a", "column b", "dose sidecar: fractions", "dose sidecar: prescription gy")
    remedy = label_leakage(dict.fromkeys(names, values), LABELS).remedy
    assert [remedy.count(r) for r in (TABLE_REMEDY, FILE_REMEDY, SIDECAR_REMEDY)] == [1, 0, 1]
