"""Tables of results as a spreadsheet, or as CSV files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ricenet.report.results_columns import Cell, Column, ResultsTable
from ricenet.report.results_tables import link_from
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import atomic_folder, write_bytes, write_text
from ricenet.runtime.tables import table_text

WIDEST = 60
"""Characters of a column; longer texts are cut on the screen, not in the cell."""


def write_xlsx(tables: Sequence[ResultsTable], path: Path, project: Path) -> None:
    """A sheet a table, with a frozen header, filters, and links to the project's pages.

    Source: ECMA-376 (Office Open XML), written by openpyxl.
    """
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.worksheets[0])
    for table in tables:
        _fill(book.create_sheet(table.name), table, path.parent, project)
    stream = BytesIO()
    book.save(stream)
    write_bytes(path, stream.getvalue())


def write_csv_folder(tables: Sequence[ResultsTable], folder: Path, project: Path) -> None:
    """A file a table: UTF-8, commas, points in decimals, empty cells for missing values.

    Raises ResultError: the folder exists and holds something else.
    """
    names = {f"{table.name}.csv" for table in tables}
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - names):
        raise ResultError(f"{folder} holds other files, or is none of its folders. Name a folder of its own")
    with atomic_folder(folder) as made:
        for table in tables:
            rows = [
                [
                    _linked(cell, column, folder, project)
                    for cell, column in zip(row, table.columns, strict=True)
                ]
                for row in table.rows
            ]
            header = [column.name for column in table.columns]
            write_text(made / f"{table.name}.csv", table_text(header, rows, delimiter=","))


def _fill(sheet: Any, table: ResultsTable, folder: Path, project: Path) -> None:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    for place, column in enumerate(table.columns, start=1):
        sheet.cell(1, place, column.name).font = Font(bold=True)
        cells = [row[place - 1] for row in table.rows]
        for number, value in enumerate(cells, start=2):
            _write(sheet.cell(number, place), _linked(value, column, folder, project), column)
        longest = max(len(str(text)) for text in (column.name, *(c for c in cells if c is not None)))
        sheet.column_dimensions[get_column_letter(place)].width = min(longest + 2, WIDEST)
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = sheet.dimensions


def _write(cell: Any, value: Cell, column: Column) -> None:
    cell.value = value
    if isinstance(value, str):
        # a text that begins with = would be taken for a formula
        cell.data_type = "s"
    if column.kind == "link" and value is not None:
        cell.hyperlink, cell.style = value, "Hyperlink"


def _linked(value: Cell, column: Column, folder: Path, project: Path) -> Cell:
    return link_from(folder, project, str(value)) if column.kind == "link" and value is not None else value
