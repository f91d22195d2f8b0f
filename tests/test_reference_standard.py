"""How labels are known: readers, certainty, agreement of two readers; and what follows on the pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_report import page_of, plain_page, table_of, without_buttons, write_project
from small_results import LABELS, write_text

from ricenet.cohort.participants import ParticipantsTable, read_participants
from ricenet.cohort.table_variables import read_variables
from ricenet.evaluation.evidence.subgroups import subgroup_scores
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.reader_agreement import agreement, kappa_of
from ricenet.report.checklists import AUTHORS, checklists
from ricenet.report.facts import study_facts
from ricenet.report.reference_standard import reference_standard
from ricenet.report.results import Results, read_results
from ricenet.runtime.tables import table_text
from ricenet.screening.guards.properties import properties_of
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import VariableSpec

COLUMNS = ["reference_reader", "reference_days_after_event", "label_certainty", "label_second_reader"]


def obvious_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Cohen 1960, pair by pair."""
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    by_chance = sum(list(first).count(name) * list(second).count(name) for name in {*first, *second}) / n**2
    return (observed - by_chance) / (1 - by_chance)


def with_readers(folder: Path) -> Path:
    """The small project with a reader of all ten subjects and a second of nine, who differs in one."""
    project = write_project(folder)
    rows = []
    for i, (subject, label) in enumerate(LABELS.items()):
        other = {0: "recurrence", 9: "n/a"}.get(i, label)
        rows.append(
            [subject, label, "biopsy", "n/a", "A", 30 + i, "probable" if i % 3 else "definite", other]
        )
    header = ["participant_id", "label", "label_source", "subset", *COLUMNS]
    write_text(project / "data/phantom/participants.tsv", table_text(header, rows))
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_readers(tmp_path_factory.mktemp("readers"))


@pytest.fixture(scope="module")
def results(project: Path) -> Results:
    return read_results(project, seed=7)


def test_kappa_of_a_table_of_four_is_cohens_by_hand() -> None:
    # 20 and 15 alike, 5 and 10 not, of 50: (0.7 - 0.5) / (1 - 0.5)
    first = ["rice"] * 25 + ["recurrence"] * 25
    second = ["rice"] * 20 + ["recurrence"] * 5 + ["rice"] * 10 + ["recurrence"] * 15
    found = agreement(first, second, seed=7, resamples=500)
    assert found is not None and found.kappa is not None
    assert found.kappa.value == pytest.approx(0.4)
    assert (found.n, found.agreed.value, found.pairs["rice", "recurrence"]) == (50, 0.7, 5)
    assert found.kappa.low < 0.4 < found.kappa.high


@pytest.mark.parametrize("labels", [("recurrence", "rice"), ("a", "b", "c")])
def test_kappa_of_resamples_is_that_of_the_subjects_drawn(labels: tuple[str, ...]) -> None:
    rng = np.random.default_rng(4)
    first, second = rng.integers(len(labels), size=(2, 30))
    drawn = rng.integers(30, size=(20, 30))
    counts = np.stack([np.bincount(row, minlength=30) for row in drawn]).astype(float)
    one_hot = np.eye(len(labels))
    found = kappa_of(counts, one_hot[first], one_hot[second])
    names = np.array(labels)
    slow = [obvious_kappa(names[first[row]].tolist(), names[second[row]].tolist()) for row in drawn]
    assert found == pytest.approx(slow)


def test_the_interval_of_kappa_is_near_the_large_sample_one() -> None:
    """Of 400 subjects who agree in four of five: Cohen's standard error, within a quarter of it."""
    rng = np.random.default_rng(9)
    first = np.where(np.arange(400) % 2, "rice", "recurrence")
    second = np.where(rng.random(400) < 0.8, first, np.where(first == "rice", "recurrence", "rice"))
    found = agreement(first.tolist(), second.tolist(), seed=7, resamples=2000)
    assert found is not None and found.kappa is not None
    error = math.sqrt(found.agreed.value * (1 - found.agreed.value) / 400) / 0.5
    assert (found.kappa.high - found.kappa.low) / (2 * 1.96) == pytest.approx(error, rel=0.25)


def test_of_one_label_throughout_no_kappa_is_defined() -> None:
    found = agreement(["rice"] * 4, ["rice"] * 4, seed=7, resamples=100)
    assert found is not None and found.kappa is None and found.agreed.value == 1
    assert agreement([], [], 7, 100) is None


def test_the_report_tells_readers_certainty_and_agreement(project: Path) -> None:
    page = page_of(project)
    # eight of nine alike; by chance, 4 x 3 + 5 x 6 of 81
    kappa = obvious_kappa(
        ["rice"] * 5 + ["recurrence"] * 4, ["recurrence"] + ["rice"] * 4 + ["recurrence"] * 4
    )
    assert f"equal in a share of 0.89 (0.52 to 1.00), Cohen's kappa {kappa:.2f}" in page.replace("\xa0", " ")
    table = table_of(page, "Labelled subjects")
    assert table["definite"][-1] == "4" and table["probable"][-1] == "6"
    assert table["days from the event to the decision on the label"][-1].startswith("34 (")


def test_checklists_are_answered_by_what_the_table_holds(results: Results) -> None:
    standard = reference_standard(results.splits, results.participants, seed=7, resamples=200)
    filled = checklists(study_facts(results, standard))
    stard = {item.number: item for item in filled["STARD-AI, 2025"]}
    assert stard["12"].note.startswith("code of the reader of 10 of 10 subjects")
    assert list(stard["27"].sections) == ["cohort"]
    claim = {item.number: item for item in filled["CLAIM, 2024 update"]}
    assert "a second reader of 9: equal labels 0.89" in claim["18"].note


def test_without_the_columns_the_authors_are_asked(tmp_path: Path) -> None:
    found = read_results(write_project(tmp_path), seed=7)
    standard = reference_standard(found.splits, found.participants, seed=7, resamples=200)
    claim = {item.number: item for item in checklists(study_facts(found, standard))["CLAIM, 2024 update"]}
    assert [(claim[n].sections, claim[n].note) for n in ("16", "17", "18")] == [({}, AUTHORS)] * 3
    page = without_buttons(plain_page())
    assert "second reader labelled" not in page and "certainty of the label" not in page


def test_scores_are_told_by_certainty() -> None:
    labels = ["rice", "recurrence"] * 4
    rows = [
        Prediction(participant_id=f"sub-{i}", label=label, fold=i % 2, p_rice=0.9 if i % 2 == 0 else 0.1)
        for i, label in enumerate(labels)
    ]
    scalars = {f"sub-{i}": {"label_certainty": "definite" if i < 4 else "possible"} for i in range(8)}
    found = subgroup_scores(HeldOut.of({"dose": rows}), "dose", scalars, (), 7, 100)
    assert [(s.variable, s.group, s.n) for s in found] == [
        ("certainty of the label", "definite", 4),
        ("certainty of the label", "possible", 4),
    ]


def participants(folder: Path, **cells: str) -> ParticipantsTable:
    header = ["participant_id", "label", "label_source", "subset", *cells]
    write_text(
        folder / "participants.tsv", table_text(header, [["sub-1", "rice", "biopsy", "n/a", *cells.values()]])
    )
    return read_participants(folder / "participants.tsv")


@pytest.mark.parametrize("reader", ["A", "B2", "A+B", "C12+D"])
def test_a_reader_is_a_short_code(tmp_path: Path, reader: str) -> None:
    assert participants(tmp_path, reference_reader=reader).participants["sub-1"].reference_reader == reader


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        *(
            ("reference_reader", cell, "is no reader's code")
            for cell in ("Mueller", "a", "Dr A", "HM", "A123", "A+")
        ),
        ("reference_days_after_event", "-3", "is no whole number of days, 0 or more"),
        ("reference_days_after_event", "2024-01-01", "is no whole number of days, 0 or more"),
        ("label_certainty", "sure", "is none of definite, probable, possible, n/a"),
        ("label_second_reader", "RICE", "is none of recurrence, rice, n/a"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_refused_and_not_repeated(tmp_path: Path, column: str, cell: str, words: str) -> None:
    (problem,) = participants(tmp_path, **{column: cell}).problems
    assert problem.found.startswith(f"{column} {words}") and problem.found.endswith("(line 2)")
    assert len(cell) < 4 or cell not in f"{problem.found} {problem.remedy}"


@pytest.mark.parametrize("column", ["label", "label_source", *COLUMNS])
def test_no_declared_variable_says_how_the_label_is_known(tmp_path: Path, column: str) -> None:
    table = participants(tmp_path, **{name: "n/a" for name in COLUMNS if name == column})
    found, _ = read_variables(table, (VariableSpec(name="known_by", kind="category", column=column),))
    (problem,) = found.problems
    assert f"column {column} says" in problem.found and problem.remedy == "Remove the variable."


def test_no_guard_takes_the_second_reader_for_a_leak(project: Path) -> None:
    found = properties_of(project / "data/phantom", {subject: _record() for subject in LABELS})
    assert not [name for name in found if any(column in name for column in COLUMNS)]


def _record():  # type: ignore[no-untyped-def]
    from types import SimpleNamespace

    return SimpleNamespace(properties={})
