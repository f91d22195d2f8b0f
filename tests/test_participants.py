"""The participants table: types, refused cells and rows, tables that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ricenet.cohort.description import is_synthetic, parse_description
from ricenet.cohort.participants import Participant, ParticipantsTable, parse_row, read_participants
from ricenet.cohort.problems import Finding
from ricenet.cohort.quarantine import read_quarantine

ROW = {"participant_id": "sub-001", "label": "rice", "label_source": "biopsy", "subset": "train"}
HEADER = "participant_id\tlabel\tlabel_source\tsubset\n"
SOUND = "rice\tbiopsy\ttrain\n"


def table(folder: Path, text: str | bytes) -> ParticipantsTable:
    path = folder / "participants.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_participants(path)


def found(**cells: str) -> list[str]:
    parsed = parse_row(ROW | cells)
    assert not isinstance(parsed, Participant)
    return [finding.found for finding in parsed]


def sound(**cells: str) -> Participant:
    parsed = parse_row(ROW | cells)
    assert isinstance(parsed, Participant)
    return parsed


def test_not_available_is_read_as_missing() -> None:
    row = sound(label="n/a", subset="n/a", age_years="n/a", event_date="n/a", rt_modality="n/a")
    known = (row.label, row.subset, row.age_years, row.event_date, row.rt_modality, row.site)
    assert known == (None,) * 6


def test_a_full_row_is_read_with_its_types() -> None:
    dates = {"rt_end_date": "2020-01-31", "event_date": "2020-03-01", "days_rt_end_to_event": "30"}
    row = sound(age_years="61.5", rt_modality="proton", handedness="left", **dates)
    assert (row.age_years, row.days_rt_end_to_event, row.rt_modality) == (61.5, 30, "proton")
    assert (row.rt_end_date, row.event_date) == (date(2020, 1, 31), date(2020, 3, 1))


REFUSED = {
    "is none of recurrence, rice, n/a": [("label", cell) for cell in ("RICE", "rice ", "", "Hans Mueller")],
    "is none of biopsy, follow_up, synthetic, n/a": [("label_source", "guess")],
    "is none of train, test, n/a": [("subset", "validation")],
    "is none of photon, proton, ion, n/a": [("rt_modality", "carbon")],
    "is none of no, yes, n/a": [("reirradiation", "twice"), ("reirradiation", "Yes")],
    "is empty": [("site", " "), ("sex", "")],
    "is no number from 0 to 130": [("age_years", cell) for cell in ("old", "nan", "-1", "19510203")],
    "is no ISO date (YYYY-MM-DD)": [
        *(("rt_end_date", cell) for cell in ("31.01.2020", "20200131")),
        ("rt_end_date", "86400"),  # not the second day of 1970
        ("event_date", "2020-02-30"),
    ],
    "is no whole number of days, 0 or more": [("days_rt_end_to_event", cell) for cell in ("-1", "1.5")],
}


@pytest.mark.parametrize(
    ("refusal", "column", "cell"), [(words, *case) for words, cases in REFUSED.items() for case in cases]
)
def test_a_refused_cell_is_named_by_its_column_and_never_repeated(
    refusal: str, column: str, cell: str
) -> None:
    assert found(**{column: cell}) == [f"{column} {refusal}"]


def test_dates_and_days_must_agree() -> None:
    sound(rt_end_date="2020-03-01", event_date="2020-03-01")
    sound(rt_end_date="2020-01-31", days_rt_end_to_event="31")
    # 2020 is a leap year: 29 February lies between
    assert found(rt_end_date="2020-03-01", event_date="2020-02-28") == [
        "event_date lies 2 day(s) before rt_end_date"
    ]
    assert found(rt_end_date="2020-01-31", event_date="2020-03-01", days_rt_end_to_event="31") == [
        "days_rt_end_to_event is not the 30 day(s) between the two dates"
    ]


def test_all_errors_of_a_row_are_found_together() -> None:
    assert len(found(label="?", rt_end_date="2020-01-02", event_date="2020-01-01", age_years="x")) == 3


ROW_FAULTS = [
    ("sub-2\tx\tbiopsy\ttrain\n", "sub-2", "label is none of recurrence, rice, n/a (line 3)"),
    ("sub-2\trice\tbiopsy\n", "sub-2", "line 3 has 3 cell(s) under 4 column(s)"),
    (2 * f"sub-2\t{SOUND}", "sub-2", "duplicate subject: listed on lines 3, 4"),
    (f"Jane Doe\t{SOUND}", None, "line 3: participant_id is not sub- followed by letters and digits"),
]


@pytest.mark.parametrize(("row", "subject", "words"), ROW_FAULTS)
def test_a_faulty_row_is_reported_and_the_others_are_kept(
    tmp_path: Path, row: str, subject: str | None, words: str
) -> None:
    result = table(tmp_path, f"{HEADER}sub-1\t{SOUND}{row}")
    assert [(problem.subject, problem.found) for problem in result.problems] == [(subject, words)]
    assert result.participants.keys() == result.cells.keys() == {"sub-1"}
    assert result.listed == {"sub-1"} | ({subject} if subject else set())


WIDE = HEADER.replace("subset", "subset\tsite\tward")
TWO_ROWS = WIDE + 'sub-1\trice\tbiopsy\ttrain\tn/a\t"B\nsub-2\trice\tbiopsy\ttrain\tOslo\t 7\n\n'


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_column_s_text_is_kept_but_for_blanks_around_it(
    tmp_path: Path, mark: str, line_end: str
) -> None:
    result = table(tmp_path, mark + TWO_ROWS.replace("\n", line_end))
    assert not result.problems
    row = {"label": "rice", "label_source": "biopsy", "subset": "train"}
    assert result.cells == {
        "sub-1": {"participant_id": "sub-1", **row, "site": "n/a", "ward": '"B'},
        "sub-2": {"participant_id": "sub-2", **row, "site": "Oslo", "ward": "7"},
    }
    # a quotation mark hides no synthetic row
    assert not is_synthetic(tmp_path)
    row_end = line_end.join(["sub-3\trice\tsynthetic\ttrain\tn/a\tn/a", ""])
    table(tmp_path, mark + TWO_ROWS.replace("\n", line_end) + row_end)
    assert is_synthetic(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("participant_id\tlabel\n", "column label_source is missing"),
        (HEADER.replace("\t", ","), "column participant_id is missing"),
        (HEADER.replace("subset", "subset\tlabel"), "columns 2, 5 have the same name"),
        (HEADER, "no row under the header"),
        ("", "column participant_id is missing"),
        (HEADER.encode() + b"sub-1\t\xff\n", "is not text in UTF-8"),
        (None, "not found"),
    ],
)
def test_a_broken_table_belongs_to_no_single_subject(
    tmp_path: Path, text: str | bytes | None, words: str
) -> None:
    result = table(tmp_path, text) if text is not None else read_participants(tmp_path / "participants.tsv")
    assert words in result.problems[0].found
    assert {(problem.subject, problem.file) for problem in result.problems} == {(None, "participants.tsv")}
    assert not result.columns and result.cells == {}


def test_cells_in_the_place_of_a_header_are_not_repeated(tmp_path: Path) -> None:
    result = table(tmp_path, "sub-1\tHans Mueller\t1951-02-03\tHans Mueller\n")
    assert [problem.found for problem in result.problems] == [
        *(f"column {column} is missing" for column in ROW),
        "columns 2, 4 have the same name",
    ]


def test_blanks_around_names_of_columns_and_identifiers_are_read_past_and_noted(tmp_path: Path) -> None:
    # a blank, a no-break space and two blanks, as keyboards and spreadsheets leave them
    text = "participant_id \tlabel\tlabel_source\tsubset\n sub-1\u00a0\trice  \tbiopsy\ttrain\n"
    result = table(tmp_path, text)
    assert result.problems == () and result.participants["sub-1"].label == "rice"
    (note,) = result.notes
    assert (note.subject, note.file) == (None, "participants.tsv")
    assert note.found == "blanks around 3 cell(s) or name(s) of columns were read past"
    assert table(tmp_path, HEADER + f"sub-1\t{SOUND}").notes == ()


def test_blanks_hide_no_synthetic_row(tmp_path: Path) -> None:
    table(tmp_path, "participant_id\tlabel_source \nsub-1\tsynthetic \n")
    assert is_synthetic(tmp_path)


def link(path: Path) -> None:
    path.symlink_to("nowhere")


UNREADABLE: list[tuple[Callable[[Path], object], str]] = [
    (link, "is a link that leads nowhere"),
    (Path.mkdir, "is a folder"),
    (
        os.mkfifo,
        "cannot be read (no regular file, but a folder, a pipe or a device)",
    ),  # which would be waited for without end
]


@pytest.mark.parametrize(("make", "words"), UNREADABLE)
@pytest.mark.parametrize("file", ["participants.tsv", "exclude.tsv", "dataset_description.json"])
def test_whatever_is_there_and_cannot_be_read_is_a_problem(
    tmp_path: Path, file: str, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / file)
    if file == "participants.tsv":
        found = [problem.found for problem in read_participants(tmp_path / file).problems]
    elif file == "exclude.tsv":
        found = [problem.found for problem in read_quarantine(tmp_path, None).problems]
    else:
        finding = parse_description(tmp_path)
        found = [finding.found] if isinstance(finding, Finding) else []
    assert found == [words]
