from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ricenet.cohort.description import is_synthetic
from ricenet.cohort.participants import Participant, ParticipantsTable, parse_row, read_participants

ROW = {"participant_id": "sub-001", "label": "rice", "label_source": "biopsy", "subset": "train"}


def table(folder: Path, text: str | bytes) -> ParticipantsTable:
    path = folder / "participants.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_participants(path)


def found(**cells: str) -> list[str]:
    parsed = parse_row(ROW | cells)
    assert not isinstance(parsed, Participant)
    return [finding.found for finding in parsed]


def test_not_available_is_read_as_missing() -> None:
    row = parse_row(ROW | {"label": "n/a", "subset": "n/a", "age_years": "n/a", "event_date": "n/a"})
    assert isinstance(row, Participant)
    assert (row.label, row.subset, row.age_years, row.event_date, row.site) == (None, None, None, None, None)


def test_a_full_row_is_read_with_its_types() -> None:
    row = parse_row(
        ROW
        | {"age_years": "61.5", "rt_end_date": "2020-01-31", "event_date": "2020-03-01"}
        | {"days_rt_end_to_event": "30", "handedness": "left"}
    )
    assert isinstance(row, Participant)
    assert (row.age_years, row.days_rt_end_to_event) == (61.5, 30)
    assert (row.rt_end_date, row.event_date) == (date(2020, 1, 31), date(2020, 3, 1))


@pytest.mark.parametrize(
    ("column", "value", "refusal"),
    [
        ("label", "RICE", "is none of recurrence, rice, n/a"),
        ("label", "rice ", "is none of recurrence, rice, n/a"),
        ("label", "", "is none of recurrence, rice, n/a"),
        ("label", "Hans Mueller", "is none of recurrence, rice, n/a"),
        ("label_source", "guess", "is none of biopsy, follow_up, synthetic, n/a"),
        ("subset", "validation", "is none of train, test, n/a"),
        ("site", " ", "is empty"),
        ("sex", "", "is empty"),
        ("age_years", "old", "is no number from 0 to 130"),
        ("age_years", "nan", "is no number from 0 to 130"),
        ("age_years", "-1", "is no number from 0 to 130"),
        ("age_years", "19510203", "is no number from 0 to 130"),
        ("rt_end_date", "31.01.2020", "is no ISO date (YYYY-MM-DD)"),
        ("rt_end_date", "20200131", "is no ISO date (YYYY-MM-DD)"),
        ("rt_end_date", "86400", "is no ISO date (YYYY-MM-DD)"),  # not the second day of 1970
        ("event_date", "2020-02-30", "is no ISO date (YYYY-MM-DD)"),
        ("days_rt_end_to_event", "-1", "is no whole number of days, 0 or more"),
        ("days_rt_end_to_event", "1.5", "is no whole number of days, 0 or more"),
    ],
)
def test_a_refused_value_is_told_by_its_column_and_never_repeated(
    column: str, value: str, refusal: str
) -> None:
    assert found(**{column: value}) == [f"{column} {refusal}"]


def test_an_event_on_the_last_day_of_radiotherapy_is_allowed_and_a_day_before_is_not() -> None:
    assert isinstance(parse_row(ROW | {"rt_end_date": "2020-03-01", "event_date": "2020-03-01"}), Participant)
    # 2020 is a leap year: 29 February lies between
    assert found(rt_end_date="2020-03-01", event_date="2020-02-28") == [
        "event_date lies 2 day(s) before rt_end_date"
    ]


def test_days_must_be_what_the_two_dates_say() -> None:
    assert found(rt_end_date="2020-01-31", event_date="2020-03-01", days_rt_end_to_event="31") == [
        "days_rt_end_to_event is not the 30 day(s) between the two dates"
    ]


def test_days_are_believed_where_a_date_is_missing() -> None:
    assert isinstance(
        parse_row(ROW | {"rt_end_date": "2020-01-31", "days_rt_end_to_event": "31"}), Participant
    )


def test_all_errors_of_a_row_are_found_together() -> None:
    messages = found(label="?", rt_end_date="2020-01-02", event_date="2020-01-01", age_years="x")
    assert messages == [
        "label is none of recurrence, rice, n/a",
        "age_years is no number from 0 to 130",
        "event_date lies 1 day(s) before rt_end_date",
    ]


HEADER = "participant_id\tlabel\tlabel_source\tsubset\n"


def test_errors_of_all_rows_are_collected_and_faultless_rows_kept(tmp_path: Path) -> None:
    result = table(
        tmp_path,
        HEADER + "sub-1\trice\tbiopsy\ttrain\nsub-2\tx\tbiopsy\ttrain\nsub-3\trice\tbiopsy\tx\n",
    )
    assert [(p.subject, p.found) for p in result.problems] == [
        ("sub-2", "label is none of recurrence, rice, n/a (line 3)"),
        ("sub-3", "subset is none of train, test, n/a (line 4)"),
    ]
    assert list(result.participants) == ["sub-1"]
    assert result.listed == {"sub-1", "sub-2", "sub-3"}


def test_a_subject_listed_twice_is_not_used_at_all(tmp_path: Path) -> None:
    result = table(tmp_path, HEADER + "sub-1\trice\tbiopsy\ttrain\n" + "sub-1\trecurrence\tbiopsy\ttest\n")
    assert [p.found for p in result.problems] == ["duplicate subject: listed on lines 2, 3"]
    assert not result.participants


def test_a_malformed_identifier_is_reported_by_line_without_its_value(tmp_path: Path) -> None:
    result = table(tmp_path, HEADER + "Jane Doe\trice\tbiopsy\ttrain\n")
    (problem,) = result.problems
    assert problem.subject is None
    assert problem.found.startswith("line 2: participant_id is not sub-")
    assert "Jane" not in str(problem)


def test_a_row_with_a_cell_too_few_is_refused(tmp_path: Path) -> None:
    result = table(tmp_path, HEADER + "sub-1\trice\tbiopsy\n")
    assert [(p.subject, p.found) for p in result.problems] == [
        ("sub-1", "line 2 has 3 cell(s) under 4 column(s)")
    ]


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + "sub-1\trice\tbiopsy\ttrain\n\n"
    result = table(tmp_path, text.replace("\n", "\r\n"))
    assert not result.problems
    assert result.participants["sub-1"].subset == "train"


WIDE = HEADER.replace("subset", "subset\tsite\tward")
TWO_ROWS = WIDE + 'sub-1\trice\tbiopsy\ttrain\tn/a\t"B\nsub-2\trice\tbiopsy\ttrain\tOslo\t 7\n'


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_column_s_text_is_kept_as_it_stands(tmp_path: Path, mark: str, line_end: str) -> None:
    result = table(tmp_path, mark + TWO_ROWS.replace("\n", line_end))
    assert not result.problems
    row = {"label": "rice", "label_source": "biopsy", "subset": "train"}
    assert result.cells == {
        "sub-1": {"participant_id": "sub-1", **row, "site": "n/a", "ward": '"B'},
        "sub-2": {"participant_id": "sub-2", **row, "site": "Oslo", "ward": " 7"},
    }


def test_faulty_rows_have_no_cells(tmp_path: Path) -> None:
    rows = ("sub-1\trice\tbiopsy", "sub-2\tx\tbiopsy\ttrain", *["sub-3\trice\tbiopsy\ttrain"] * 2)
    result = table(tmp_path, HEADER + "\n".join((*rows, "sub-4\trice\tbiopsy\ttrain")))
    assert result.cells.keys() == result.participants.keys() == {"sub-4"}
    assert table(tmp_path, "label\n").cells == {}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_quotation_mark_hides_no_synthetic_row(tmp_path: Path, line_end: str) -> None:
    real = TWO_ROWS.replace("\n", line_end)
    table(tmp_path, real)
    assert not is_synthetic(tmp_path)
    table(tmp_path, real + "sub-3\trice\tsynthetic\ttrain\tn/a\tn/a")
    assert is_synthetic(tmp_path)


def test_a_byte_order_mark_hides_no_synthetic_row(tmp_path: Path) -> None:
    table(tmp_path, "\ufefflabel_source\tparticipant_id\nsynthetic\tsub-1\n")
    assert is_synthetic(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participant_id\tlabel\n", "column label_source is missing"),
        (HEADER.replace("\t", ","), "column participant_id is missing"),
        (HEADER.replace("subset", "subset\tlabel"), "columns 2, 5 have the same name"),
        (HEADER, "no row under the header"),
        ("", "column participant_id is missing"),
        (HEADER.encode() + b"sub-1\t\xff\n", "cannot be read as UTF-8 text"),
    ],
)
def test_a_broken_table_belongs_to_no_single_subject(tmp_path: Path, text: str | bytes, message: str) -> None:
    result = table(tmp_path, text)
    assert message in result.problems[0].found
    assert not result.has_ids
    assert {p.subject for p in result.problems} == {None}


def test_cells_in_the_place_of_a_header_are_not_repeated(tmp_path: Path) -> None:
    result = table(tmp_path, "sub-1\tHans Mueller\t1951-02-03\tHans Mueller\n")
    told = [problem.found for problem in result.problems]
    assert told == [
        *(f"column {column} is missing" for column in ROW),
        "columns 2, 4 have the same name",
    ]


def test_a_missing_table_is_a_problem_of_the_cohort(tmp_path: Path) -> None:
    (problem,) = read_participants(tmp_path / "participants.tsv").problems
    assert (problem.subject, problem.file, problem.found) == (None, "participants.tsv", "not found")
