"""Tables and JSON files of raw cohorts, spoiled in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from cohorts import SIDECAR, SIDECAR_FILE
from spoiled import Case, at, links, noise, replace_text

TABLE, QUARANTINE, DESCRIPTION = "participants.tsv", "exclude.tsv", "dataset_description.json"

ROW = "sub-002\trice\tsynthetic\ttrain\tcentre A"
TABLES: dict[str, Callable[[str], bytes]] = {
    "no columns": lambda t: b"\n".join(line.encode() for line in t.splitlines()[1:]),
    "commas": lambda t: t.replace("\t", ",").encode(),
    "semicolons": lambda t: t.replace("\t", ";").encode(),
    "blanks for tabs": lambda t: t.replace("\t", "    ").encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "Latin-1": lambda t: t.replace("centre A", "Zürich").encode("latin-1"),
    "a byte order mark": lambda t: t.encode("utf-8-sig"),
    "two byte order marks": lambda t: b"\xef\xbb\xbf" + t.encode("utf-8-sig"),
    "a NUL": lambda t: t.replace(ROW, ROW.replace("rice", "ri\0ce")).encode(),
    "Windows line ends": lambda t: t.replace("\n", "\r\n").encode(),
    "old Mac line ends": lambda t: t.replace("\n", "\r").encode(),
    "quotation marks": lambda t: t.replace("\trice\t", '\t"rice"\t').encode(),
    "an open quotation mark": lambda t: t.replace("\trice\t", '\t"rice\t').encode(),
    "a row twice": lambda t: (t + ROW + "\n").encode(),
    "a row twice, other label": lambda t: (t + ROW.replace("rice", "recurrence") + "\n").encode(),
    "a cell too many": lambda t: t.replace(ROW, ROW + "\tmore").encode(),
    "a cell too few": lambda t: t.replace(ROW, ROW.rpartition("\t")[0]).encode(),
    "a column twice": lambda t: t.replace("subset", "label").encode(),
    "a column without name": lambda t: t.replace("subset", "").encode(),
    "a column in capitals": lambda t: t.replace("label\t", "LABEL\t").encode(),
    "no rows": lambda t: t.splitlines()[0].encode(),
    "blank lines alone": lambda t: b"\n\n\n",
    "nothing": lambda t: b"",
    "noise": lambda t: bytes(noise("table").integers(0, 256, 400, dtype=np.uint8)),
    "a row of one megabyte": lambda t: (t + "x" * 2**20 + "\n").encode(),
    "JSON": lambda t: json.dumps([t]).encode(),
}
CELLS: dict[str, tuple[str, str]] = {
    "no label known": ("rice", "Rice?"),
    "a number for a label": ("rice", "1"),
    "blank label": ("rice", ""),
    "a label in capitals": ("rice", "RICE"),
    "a label with a hidden blank": ("rice", "rice\u200b"),
    "a look-alike letter": ("rice", "ri\u0441e"),
    "no source known": ("synthetic", "guess"),
    "no subset known": ("train", "maybe"),
    "both subsets": ("train", "train,test"),
    "a path for a subject": ("sub-002", "../sub-002"),
    "an absolute path": ("sub-002", "/etc/passwd"),
    "a subject without folder": ("sub-002", "sub-099"),
    "a subject without sub-": ("sub-002", "002"),
    "a formula": ("sub-002", "=1+1"),
    "a subject in capitals": ("sub-002", "SUB-002"),
    "another's name": ("sub-002", "sub-001"),
    "an empty subject": ("sub-002", ""),
}


def table_cases() -> Iterator[Case]:
    for label, change in TABLES.items():

        def spoil(cohort: Path, change: Callable[[str], bytes] = change) -> None:
            (cohort / TABLE).write_bytes(change((cohort / TABLE).read_text()))

        yield Case("participants.tsv, the table", label, spoil, TABLE)
    for label, (old, new) in CELLS.items():

        def write(cohort: Path, old: str = old, new: str = new) -> None:
            replace_text(cohort / TABLE, ROW, ROW.replace(old, new, 1))

        valid = "no label is a label that is not known, which is allowed" if not new and old == "rice" else ""
        yield Case("participants.tsv, a cell", label, write, TABLE, valid)
    for label, other in links(lambda cohort: cohort / TABLE):
        yield Case("in a table's place", label, other, TABLE)


VALUES: dict[str, tuple[object, ...]] = {
    "DoseUnits": ("cGy", "Gray", 1, None, [], "RELATIVE"),
    "DoseSummationType": ("BEAM", "", 7, None),
    "NumberOfFractions": (0, -3, 1.5, "thirty", True, 1e400, [30]),
    "PrescriptionGy": (-60, 0, "60 Gy", True, float("nan"), {}),
}
TEXTS: dict[str, bytes] = {
    "cut": b'{"DoseUnits": "GY", "DoseSumm',
    "an array": b"[]",
    "a text": b'"GY"',
    "null": b"null",
    "nothing": b"",
    "blank": b"  \n",
    "nested": b"[" * 5000,
    "a key twice": b'{"DoseUnits": "GY", "DoseUnits": "CGY", "DoseSummationType": "PLAN"}',
    "comments": b'{"DoseUnits": "GY"} // Gy',
    "single quotes": b"{'DoseUnits': 'GY'}",
    "UTF-16": json.dumps(SIDECAR).encode("utf-16"),
    "noise": bytes(range(256)),
    "a number without bounds": b'{"DoseUnits": "GY", "DoseSummationType": "PLAN", "PrescriptionGy": '
    + b"9" * 5000
    + b"}",
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(SIDECAR).encode(),
    "a comma too many": json.dumps(SIDECAR).encode()[:-1] + b",}",
}


def sidecar_cases() -> Iterator[Case]:
    for key, values in VALUES.items():
        for value in values:
            text = json.dumps({**SIDECAR, key: value})
            is_valid = value is None and key not in ("DoseUnits", "DoseSummationType")
            yield Case(
                "the dose's JSON, a value",
                f"{key} = {value!r}",
                at(SIDECAR_FILE, lambda path, t=text: path.write_text(t)),  # type: ignore[misc]
                SIDECAR_FILE,
                "null is the same as leaving it out" if is_valid else "",
            )
    for label, content in TEXTS.items():
        yield Case(
            "the dose's JSON, its text",
            label,
            at(SIDECAR_FILE, lambda path, c=content: path.write_bytes(c)),
            SIDECAR_FILE,  # type: ignore[misc]
        )
    for label, spoil in list(links(lambda cohort: cohort / SIDECAR_FILE))[:4]:
        yield Case("in the JSON's place", label, spoil, SIDECAR_FILE)


EXCLUDED: dict[str, str] = {
    "an unknown reason": "participant_id\treason\nsub-002\tbored\n",
    "an unknown subject": "participant_id\treason\nsub-077\tdose\n",
    "no reason": "participant_id\treason\nsub-002\n",
    "no columns": "sub-002\tdose\n",
    "nothing": "",
    "a subject twice": "participant_id\treason\nsub-002\tdose\nsub-002\tother\n",
    "commas": "participant_id,reason\nsub-002,dose\n",
}


def other_cases() -> Iterator[Case]:
    for label, text in EXCLUDED.items():
        yield Case("exclude.tsv", label, at(QUARANTINE, lambda path, t=text: path.write_text(t)), QUARANTINE)  # type: ignore[misc]
    for label, text in {"cut": '{"Name": "x', "an array": "[]", "noise": "\x00\x01"}.items():
        yield Case(
            "dataset_description.json",
            label,
            at(DESCRIPTION, lambda path, t=text: path.write_text(t)),
            DESCRIPTION,
        )  # type: ignore[misc]
