"""`ricenet export results`: what spreadsheets and statistics programs are given."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from openpyxl import load_workbook
from small_report import write_project, write_vote
from small_results import LABELS, TEST, write_text
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.report.results_tables import ResultsTable, results_tables


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path)
    write_vote(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(output: str) -> Result:
    return CliRunner().invoke(app, ["export", "results", output])


def tables_of(project: Path) -> Mapping[str, ResultsTable]:
    return {table.name: table for table in results_tables(project)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_subject_has_a_row_with_its_part_and_fold(project: Path) -> None:
    assert export("out").exit_code == 0
    rows = {row["participant_id"]: row for row in rows_of(project / "out/subjects.csv")}
    assert set(LABELS) <= set(rows)
    assert {name for name, row in rows.items() if row["subset"] == "test"} == set(TEST)
    assert all((row["fold"] == "") == (row["subset"] != "train") for row in rows.values())


def test_who_was_excluded_is_there_with_the_reason(project: Path) -> None:
    export("out")
    (row,) = [r for r in rows_of(project / "out/subjects.csv") if r["participant_id"] == "sub-666"]
    assert row["excluded"] == "dose in cGy <not Gy>; no event"
    assert row["label"] == ""


def test_predictions_are_those_of_the_cross_validation(project: Path) -> None:
    export("out")
    rows = rows_of(project / "out/predictions.csv")
    with (project / "work/evaluation/out_of_fold.tsv").open() as stream:
        known = list(csv.DictReader(stream, delimiter="\t"))
    assert [(r["participant_id"], r["p_rice"]) for r in rows] == [
        (r["participant_id"], str(round(float(r["p_rice"]), 6))) for r in known
    ]
    assert all((r["predicted"] == r["label"]) == (r["correct"] == "1") for r in rows)
    assert all(r["predicted"] == ("rice" if float(r["p_rice"]) >= 0.5 else "recurrence") for r in rows)


def test_the_dictionary_explains_every_column_of_every_table(project: Path) -> None:
    tables = tables_of(project)
    explained = {(row[0], row[1]) for row in tables["dictionary"].rows}
    columns = {(t.name, c.name) for t in tables.values() if t.name != "dictionary" for c in t.columns}
    assert explained == columns
    assert all(row[2] for row in tables["dictionary"].rows)


def test_names_of_columns_are_names_in_r_and_spss(project: Path) -> None:
    for table in tables_of(project).values():
        for column in table.columns:
            assert re.fullmatch("[a-z][a-z0-9_]{0,63}", column.name)


def test_links_lead_from_the_table_to_the_page(project: Path) -> None:
    write_text(project / "work/quality/sub-001.html", "<p>")
    export("elsewhere/out.xlsx")
    sheet = load_workbook(project / "elsewhere/out.xlsx")["subjects"]
    place = [cell.value for cell in sheet[1]].index("quality_page")
    links = [row[place].hyperlink.target for row in sheet.iter_rows(min_row=2) if row[place].value]
    assert links == ["../work/quality/sub-001.html"]


def test_a_site_that_looks_like_a_formula_stays_a_text(project: Path) -> None:
    cohort = project / "work/cohort/cohort.json"
    write_text(cohort, cohort.read_text().replace("<b>Site & Sons</b>", "=1+1"))
    export("out.xlsx")
    sheet = load_workbook(project / "out.xlsx")["subjects"]
    place = [cell.value for cell in sheet[1]].index("site")
    assert {(row[place].value, row[place].data_type) for row in sheet.iter_rows(min_row=2)} >= {("=1+1", "s")}


def test_spreadsheet_and_csv_hold_the_same(project: Path) -> None:
    export("out.xlsx")
    export("out")
    book = load_workbook(project / "out.xlsx")
    assert set(book.sheetnames) == {path.stem for path in (project / "out").iterdir()}
    for sheet in book:
        cells = [["" if v is None else str(v) for v in row] for row in sheet.iter_rows(values_only=True)]
        with (project / f"out/{sheet.title}.csv").open(newline="") as stream:
            assert cells == list(csv.reader(stream))


@pytest.mark.parametrize("output", ["results.ods", "work"])
def test_another_format_or_a_folder_in_use_is_refused(project: Path, output: str) -> None:
    before = sorted(project.rglob("*"))
    answer = export(output)
    assert answer.exit_code == 1 and answer.stderr.startswith("error: ")
    assert sorted(project.rglob("*")) == before


def test_without_results_the_stage_that_makes_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = export("out.xlsx")
    assert answer.exit_code == 1
    assert "dvc repro" in answer.stderr
    assert not (tmp_path / "out.xlsx").exists()
