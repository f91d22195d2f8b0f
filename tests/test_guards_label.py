"""Guard of the label: properties of tables and files that leak it, and those that do so by chance."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cohorts import read_table, write_participants
from guarded_cohorts import guards_of

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.raw_record import RawRecord
from ricenet.cohort.scan_fingerprint import Property
from ricenet.screening.guards.label_leakage import label_leakage
from ricenet.screening.guards.label_tests import by_threshold, by_value
from ricenet.screening.guards.properties import properties_of
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import Label


@pytest.fixture
def project(guarded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(guarded, tmp_path / "project"))


def add_column(project: Path, name: str, cell: Callable[[str, int], str]) -> None:
    """cell: of a label and the subject's number."""
    rows = read_table(project / "data")
    table = [row | {name: cell(row["label"], index)} for index, row in enumerate(rows)]
    write_participants(project / "data", table)


def guarded_label(project: Path) -> GuardResult:
    return guards_of(project)["label_leakage"]


def rice(label: str) -> bool:
    return label == "rice"


LEAKS: dict[str, tuple[str, Callable[[str, int], str], str]] = {
    "site": ("site", lambda label, _: "Oslo" if rice(label) else "Bergen", "column site"),
    "unknown column": ("ward", lambda label, i: f"{label[:3]}-{i % 3}", "column ward"),
    "number": ("score", lambda label, i: str(10 * rice(label) + i / 10), "column score, as a number"),
    "day": (
        "event_date",
        lambda label, i: f"{2021 if rice(label) else 2015}-03-{i + 1:02d}",
        "column event_date, its year",
    ),
    "interval": (
        "days_rt_end_to_event",
        lambda label, i: str(300 * rice(label) + i),
        "column days_rt_end_to_event, as a number",
    ),
    "missing": (
        "mgmt",
        lambda label, _: "n/a" if rice(label) else "yes",
        "column mgmt, whether given",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_column_that_leaks_the_label_is_found(project: Path, leak: str) -> None:
    name, cell, words = LEAKS[leak]
    add_column(project, name, cell)
    result = guarded_label(project)
    assert result.outcome == "failed"
    assert f"{words} (of every subject" in result.found


def test_no_cell_of_the_table_is_shown(project: Path) -> None:
    add_column(project, "site", lambda label, _: "St Olav" if rice(label) else "Haukeland")
    result = guarded_label(project)
    assert result.outcome == "failed"
    for secret in ("Olav", "Haukeland"):
        assert secret not in result.model_dump_json()


def test_two_dates_that_leak_the_label_together_are_found(project: Path) -> None:
    add_column(project, "rt_end_date", lambda _, i: f"20{10 + i % 12}-01-01")
    months = {"rice": "09", "recurrence": "02"}
    add_column(project, "event_date", lambda label, i: f"20{10 + i % 12}-{months[label]}-{i % 25 + 1:02d}")
    assert "days between the dates (of every subject" in guarded_label(project).found


def rewrite(project: Path, modality: str, change: Callable[[nib.nifti1.Nifti1Image], object]) -> None:
    """Save one scan of every subject with RICE differently."""
    for row in read_table(project / "data"):
        if rice(row["label"]):
            path = RawSubject(project / "data", row["participant_id"]).scan(modality)  # type: ignore[arg-type]
            image = nib.nifti1.load(path)
            copy = nib.nifti1.Nifti1Image(np.asarray(image.dataobj), image.affine)
            copy.header.set_xyzt_units("mm")
            changed = change(copy)
            (changed if isinstance(changed, nib.nifti1.Nifti1Image) else copy).to_filename(path)


def finer(image: nib.nifti1.Nifti1Image) -> nib.nifti1.Nifti1Image:
    return nib.nifti1.Nifti1Image(np.asarray(image.dataobj), image.affine * np.array([0.9, 1, 1, 1]))


def described(image: nib.nifti1.Nifti1Image) -> None:
    image.header["descrip"] = b"dcm2niix"


def as_double(image: nib.nifti1.Nifti1Image) -> None:
    image.set_data_dtype(np.float64)


def shorter(image: nib.nifti1.Nifti1Image) -> nib.nifti1.Nifti1Image:
    return nib.nifti1.Nifti1Image(np.asarray(image.dataobj)[:, :, :-1], image.affine)


def turned(image: nib.nifti1.Nifti1Image) -> nib.nifti1.Nifti1Image:
    return nib.nifti1.Nifti1Image(np.asarray(image.dataobj), np.diag([-1, 1, 1, 1]) @ image.affine)


FILE_LEAKS: dict[str, Callable[[nib.nifti1.Nifti1Image], object]] = {
    "voxel spacing": finer,
    "length of the header's description": described,
    "data type": as_double,
    "shape": shorter,
    "orientation": turned,
}


@pytest.mark.parametrize("name", FILE_LEAKS)
def test_a_file_property_that_leaks_the_label_is_found(project: Path, name: str) -> None:
    rewrite(project, "event", FILE_LEAKS[name])
    result = guarded_label(project)
    assert result.outcome == "failed"
    assert f"event: {name} (of every subject" in result.found


@pytest.mark.parametrize(
    ("before", "after", "name"), [("30", "33", "fractions"), ("60.0", "54.0", "prescription gy")]
)
def test_a_field_of_the_dose_sidecar_that_leaks_the_label_is_found(
    project: Path, before: str, after: str, name: str
) -> None:
    for row in read_table(project / "data"):
        if rice(row["label"]):
            sidecar = RawSubject(project / "data", row["participant_id"]).dose_sidecar
            sidecar.write_text(sidecar.read_text().replace(before, after))
    result = guarded_label(project)
    assert f"dose sidecar: {name} (of every subject" in result.found
    assert "the network sees it in the dose itself" in result.remedy
    assert "participants.tsv" not in result.remedy


def labels_of(n: int) -> dict[str, Label]:
    return {f"sub-{i:03d}": ("rice" if i % 2 else "recurrence") for i in range(n)}


def test_what_few_subjects_have_by_chance_is_no_leak() -> None:
    labels = labels_of(6)
    sites = {"column site": {s: ("a" if label == "rice" else "b") for s, label in labels.items()}}
    # 2 of the 20 ways to assign three labels to six subjects
    assert label_leakage(sites, labels).outcome == "passed"


def test_what_counts_alone_is_chance_among_many_properties() -> None:
    labels = labels_of(14)
    # 2 of 3432 permutations
    site = {"column site": {s: ("a" if label == "rice" else "b") for s, label in labels.items()}}
    assert label_leakage(site, labels).outcome == "failed"
    others = {f"column {k}": {s: str(i // 2 % (k + 2)) for i, s in enumerate(labels)} for k in range(5)}
    assert label_leakage(site | others, labels).outcome == "passed"


def test_a_value_for_each_subject_is_no_leak() -> None:
    labels = labels_of(60)
    assert label_leakage({"column code": {s: s for s in labels}}, labels).outcome == "passed"


def test_nearly_predicting_the_label_is_a_warning() -> None:
    labels = labels_of(60)
    sites = {s: ("a" if label == "rice" else "b") for s, label in labels.items()} | {"sub-000": "a"}
    numbers = {s: float(i + 100 * (labels[s] == "rice")) for i, s in enumerate(labels)} | {"sub-001": 0.5}
    result = label_leakage({"column site": dict(sites), "event: file size": dict(numbers)}, labels)
    assert result.outcome == "warning"
    assert "column site (nearly always, 0.98" in result.found
    assert "event: file size (nearly always, 0.9" in result.found


def test_subjects_without_a_label_do_not_count() -> None:
    labels = labels_of(40)
    sites = {s: ("a" if label == "rice" else "b") for s, label in labels.items()}
    everyone = sites | {"sub-900": "a", "sub-901": "b", "sub-902": "c"}
    assert label_leakage({"column site": dict(everyone)}, labels).outcome == "failed"


def test_a_number_with_few_values_is_taken_for_a_category_too() -> None:
    labels = labels_of(40)
    slices = {s: 160.0 if labels[s] == "rice" else (155.0 if i % 4 else 165.0) for i, s in enumerate(labels)}
    assert label_leakage({"event: slices": dict(slices)}, labels).outcome == "failed"


def test_one_label_alone_cannot_leak() -> None:
    assert label_leakage({}, {"sub-001": "rice"}).outcome == "not applicable"


def balanced_accuracy(values: list[str], permuted: list[bool]) -> float:
    """By the definition, one value after the other."""
    right = 0.0
    for value in set(values):
        have = [permuted[i] for i, v in enumerate(values) if v == value]
        right += max(sum(have) / sum(permuted), (len(have) - sum(have)) / (len(permuted) - sum(permuted)))
    return right / 2


def permutations(n: int, of_rice: int) -> list[list[bool]]:
    return [[i in chosen for i in range(n)] for chosen in itertools.combinations(range(n), of_rice)]


@pytest.mark.parametrize("values", ["aaabbb", "aabbcd", "abbccc", "abcdef", "aaaabbbcc"])
def test_the_exact_p_of_pure_values_is_that_of_all_permutations(values: str) -> None:
    every = permutations(len(values), 3)
    pure = [permuted for permuted in every if balanced_accuracy(list(values), permuted) > 0.999]
    found = by_value(list(values), pure[0], 10)
    assert found.is_perfect
    assert found.p == pytest.approx(len(pure) / len(every))


def test_the_drawn_p_is_near_that_of_all_permutations() -> None:
    values = list("aaaaaaabbbbbbbbbbbbb")
    # one of twenty is wrong
    permuted = [i < 6 for i in range(20)]
    permuted[19] = False
    score = balanced_accuracy(values, permuted)
    every = permutations(20, 6)
    p = np.mean([balanced_accuracy(values, other) >= score - 1e-12 for other in every])
    found = by_value(values, permuted, 200_000)
    assert found.score == pytest.approx(score)
    assert found.score > 0.95
    assert found.p == pytest.approx(p, rel=0.5)


def test_a_threshold_between_the_labels_is_perfect_in_either_direction() -> None:
    permuted = [True, True, True, False, False]
    for values in ([1.0, 2.0, 2.0, 3.0, 9.0], [9.0, 8.0, 8.0, 3.0, 1.0]):
        found = by_threshold(values, permuted)
        assert found.is_perfect
        assert found.p == pytest.approx(2 / math.comb(5, 3))


def test_one_tie_across_the_labels_is_no_threshold() -> None:
    found = by_threshold([1.0, 2.0, 3.0, 3.0, 4.0], [True, True, True, False, False])
    assert found.score == pytest.approx(5.5 / 6)


# --- where a property was found ---

BY_TURNS = labels_of(24)


@pytest.mark.parametrize("spelt", ["{}", "\ufeff{}", "{}sub-900\trice\n", '{}sub-901\trice\t"B\tn/a\tn/a\n'])
def test_the_table_is_read_as_the_cohort_s_check_reads_it(tmp_path: Path, spelt: str) -> None:
    header = "participant_id\tlabel\tlabel_source\tsubset\tward\n"
    rows = 'sub-001\trice\tbiopsy\tn/a\t"B\nsub-002\trice\tbiopsy\tn/a\tA\n'
    table = spelt.format(header + rows)
    (tmp_path / "participants.tsv").write_text(table, encoding="utf-8")
    records = {
        subject: RawRecord(voxels={}, properties={}, segmented_ml={}) for subject in ("sub-001", "sub-002")
    }
    # a further row is faulty, and has no record
    assert properties_of(tmp_path, records)["column ward"] == {"sub-001": '"B', "sub-002": "A"}


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
    values: dict[str, Property] = {s: 54.0 if label == "rice" else 60.0 for s, label in BY_TURNS.items()}
    result = label_leakage({name: values}, BY_TURNS)
    assert result.outcome == "failed"
    given = [r for r in (TABLE_REMEDY, FILE_REMEDY, SIDECAR_REMEDY) if r in result.remedy]
    assert given == [remedy]


def test_every_kind_of_property_has_its_remedy_once() -> None:
    values: dict[str, Property] = {s: 54.0 if label == "rice" else 60.0 for s, label in BY_TURNS.items()}
    names = ("column a", "column b", "dose sidecar: fractions", "dose sidecar: prescription gy")
    remedy = label_leakage(dict.fromkeys(names, values), BY_TURNS).remedy
    assert [remedy.count(r) for r in (TABLE_REMEDY, FILE_REMEDY, SIDECAR_REMEDY)] == [1, 0, 1]
