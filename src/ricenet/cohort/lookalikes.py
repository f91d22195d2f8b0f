"""Identifiers that a spreadsheet or a hand changed: which rows of two tables may mean the same patient.

Pairs are named by their lines, since an identifier of the hospital reaches no message; the cohort's own
pseudonyms are named.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

_SCIENTIFIC = re.compile(r"(\d)(?:[.,](\d+))?e\+?(\d{1,2})", re.IGNORECASE)
"""What a spreadsheet makes of a number of twelve digits or more."""


def lookalike_rows(
    one: Mapping[str, int], other: Mapping[str, int], one_name: str, other_name: str
) -> list[str]:
    """A line of text for every pair of rows that may mean the same patient; in the order of their lines.

    one, other: lines by identifier, without those that both tables know.
    """
    forms: dict[str, list[str]] = {}
    for patient in other:
        forms.setdefault(bare_form(patient), []).append(patient)
    pairs = [
        (line, other[match], difference(patient, match))
        for patient, line in one.items()
        for match in (*forms.get(bare_form(patient), ()), *_rounded(patient, other))
    ]
    return [
        f"line {line} of {one_name} may be line {at} of {other_name}: its patient_id {how}"
        for line, at, how in sorted(set(pairs))
    ]


def lookalike_of(subject: str, others: Iterable[str]) -> str:
    """A hint that names the subject which another's pseudonym may stand for; empty where none is alike.

    >>> lookalike_of("sub-7", ["sub-007", "sub-08"]), lookalike_of("sub-7", ["sub-8"])
    (' (sub-007 is alike)', '')
    """
    form = bare_form(subject)
    alike = sorted(other for other in others if bare_form(other) == form)
    return f" ({', '.join(alike)} is alike)" if alike else ""


def bare_form(patient_id: str) -> str:
    """What is left of an identifier without all that spreadsheets and hands change.

    >>> {bare_form(text) for text in ("0014629", "14629.0", " 14629 ", "sub-014629")}
    {'14629'}
    >>> bare_form("GBM 007_a") == bare_form("gbm-7A")
    True
    """
    text = unicodedata.normalize("NFKC", patient_id).strip().casefold()
    text = re.sub(r"(?<=\d)[.,]0+$", "", text)
    text = re.sub(r"^(?:sub|pat|patient)[-_ ]", "", text)
    parts = re.findall(r"\d+|[^\W\d_]+", text)
    return "".join(part.lstrip("0") or "0" if part.isdecimal() else part for part in parts)


def difference(one: str, other: str) -> str:
    """How the first of two identifiers differs from the second, without repeating either.

    >>> difference("14629", "0014629"), difference("A7.0", "A7")
    ('lacks 2 leading zero(s)', 'ends in .0')
    """
    if _SCIENTIFIC.fullmatch(one):
        return "was turned into a rounded number"
    if other.lstrip("0") == one.lstrip("0"):
        zeros = len(other) - len(one)
        return f"lacks {zeros} leading zero(s)" if zeros > 0 else f"has {-zeros} leading zero(s) more"
    if re.sub(r"[.,]0+$", "", one).lstrip("0") == other.lstrip("0"):
        return "ends in .0"
    if one.strip().casefold() == other.strip().casefold():
        return "differs in case or in blanks"
    return "differs in signs, zeros, case or what stands before it"


def _rounded(patient_id: str, others: Mapping[str, int]) -> list[str]:
    """Numbers of which an identifier like 1.23457E+11 may be what is left."""
    found = _SCIENTIFIC.fullmatch(patient_id.strip())
    if found is None:
        return []
    digits = 1 + len(found[2] or "")
    mantissa = f"{found[1]}.{found[2] or ''}".rstrip(".")
    value = float(f"{mantissa}e{found[3]}")
    return [other for other in others if other.isdecimal() and float(f"{int(other):.{digits - 1}e}") == value]
