"""Reading JSON strictly, whoever wrote it.

Source: RFC 8259. Deviations: a byte order mark is read past, as in tables; NaN and infinite numbers are read,
since numerical programs write them; a key twice in one object is refused, unless both values are the same.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

DEEPEST = 64
"""Lists and objects within each other; the project's own files have fewer than ten."""

MOST_DIGITS = 300
"""Of a whole number, which so stays below the largest floating-point number."""

_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+', re.DOTALL)
"""Strings, and brackets outside of them."""


class JsonError(ValueError):
    """Text that is no JSON, or that could be understood in two ways; the message repeats none of it."""


def parse_json(content: bytes) -> Any:
    """The value that a JSON file holds.

    Raises JsonError: not UTF-8, malformed, nested deeper than DEEPEST, a number beyond those of a computer,
    or a key twice in one object with different values, with the lines.
    """
    text = decoded(content)
    if _depth(text) > DEEPEST:
        raise JsonError(f"is nested more than {DEEPEST} deep")
    repeated: list[str] = []

    def one_value_a_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found and not _same(found[key], value):
                repeated.append(key)
            found[key] = value
        return found

    try:
        value = json.loads(
            text, object_pairs_hook=one_value_a_key, parse_float=_number, parse_int=_whole_number
        )
    except json.JSONDecodeError as error:
        raise JsonError(f"is not well-formed JSON (line {error.lineno})") from None
    if repeated:
        raise JsonError(f"has a key twice with different values (lines {_lines(text, repeated[0])})")
    return value


def decoded(content: bytes) -> str:
    """The text of a JSON file, without the byte order mark. Raises JsonError: not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise JsonError("is not text in UTF-8") from None


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonError("holds a number that is too large")
    return number


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise JsonError("holds a number that is too large")
    return int(text)


def _same(one: Any, other: Any) -> bool:
    # 1 and 1.0 and true are equal to Python
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _depth(text: str) -> int:
    """How deep lists and objects are within each other; brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return 0
    depth = deepest = 0
    # a run of openings or closings at a time: files of coordinates hold little else
    for run in _BRACKETS.findall(text):
        if run[0] in "[{":
            depth += len(run)
            deepest = max(deepest, depth)
        elif run[0] in "]}":
            depth -= len(run)
    return deepest


def _lines(text: str, key: str) -> str:
    """Where a key stands. Its name is not repeated: in a table of patients it may be one of theirs."""
    spelt = {json.dumps(key), json.dumps(key, ensure_ascii=False)}
    places = re.finditer("(?:" + "|".join(map(re.escape, sorted(spelt))) + r")\s*:", text)
    return ", ".join(str(text.count("\n", 0, place.start()) + 1) for place in places)
