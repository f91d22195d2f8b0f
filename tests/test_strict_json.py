"""JSON that can be understood in one way is read as the standard library reads it, all other is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import DEEPEST, JsonError, parse_json

NESTED = DEEPEST * "[" + DEEPEST * "]"
READ = [
    '{"a": 1, "b": [1.5, -2e3, null, true, "\\u00e4"]}',
    '{"a": {"b": 1}, "b": 1}',  # in two objects
    '{"a": 1, "a": 1}',
    "[NaN, Infinity]",  # as numpy's and Python's own writers leave them
    NESTED,
    '"' + 500 * "[" + '\\"{"',  # brackets inside a string are none
    "9" * 300,
]


@pytest.mark.parametrize("text", READ)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_is_unambiguous_is_read_as_the_standard_library_does(text: str, mark: str) -> None:
    # by its representation, since NaN equals nothing
    assert repr(parse_json((mark + text).encode())) == repr(json.loads(text))


REFUSED: list[tuple[Any, str]] = [
    ("{'a': 1}", r"not well-formed JSON \(line 1\)"),
    ("[1,\n2", r"not well-formed JSON \(line 2\)"),
    (b'"\xe4"', "not text in UTF-8"),
    ('{"a": 1,\n"b": 2,\n"a" : 3}', r"twice with different values \(lines 1, 3\)"),
    ('{"a": 1, "a": 1.0}', "twice with different values"),
    ('{"a": 1, "a": true}', "twice with different values"),
    ('[{"x": {"a": {"c": 1}, "a": {}}}]', "twice with different values"),
    (f"[{NESTED}]", f"nested more than {DEEPEST} deep"),
    (100_000 * '{"a":', f"nested more than {DEEPEST} deep"),
    ("9" * 301, "too large"),
    ("9" * 5000, "too large"),
    ("-1e309", "too large"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_ambiguous_or_without_bounds_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(JsonError, match=words):
        parse_json(text if isinstance(text, bytes) else text.encode())


def test_a_file_larger_than_any_record_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(2**28 + 1)  # takes no room
    with pytest.raises(OSError, match="Larger than 256 MB"):
        read_json(path)


class _Result(Record):
    value: int


def test_the_records_of_stages_are_read_as_strictly(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('\ufeff{"value": 1}', encoding="utf-8")
    assert _Result.read(path, "evidence").value == 1
    path.write_text('{"value": 1, "value": 2}')
    with pytest.raises(ResultError, match=r"result\.json is not of this version.*dvc repro -f evidence"):
        _Result.read(path, "evidence")
