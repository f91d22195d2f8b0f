"""DICOM exports, their maps and clinical tables spoiled in one place, drawn by a seed from a valid export.

tests/test_spoiled_exports.py and tests/test_dicom_refusals.py spoil what a person foresees; here are cuts,
bits and values at random, and all that stands in a file's place.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_trees import TinyExport
from spoiled import Case, at, cut, flip, links, noise

POST_OP, EVENT, DOSE, PLAN, STRUCT = "post_op", "event", "dose", "plan", "struct"
MAP, CLINICAL = "map.csv", "clinical.csv"
SLICE = 5


def cases(export: TinyExport) -> list[Case]:
    """export: as it will lie in each case's folder. Map and clinical table lie beside it."""
    files = {
        POST_OP: export.post_op_files[SLICE],
        EVENT: export.event_files[SLICE],
        DOSE: export.dose_file,
        PLAN: export.plan_file,
        STRUCT: export.struct_file,
    }
    of = {name: path.relative_to(export.folder.parent) for name, path in files.items() if path is not None}
    whole = [path.relative_to(export.folder.parent) for path in export.post_op_files]
    return [*file_cases(of), *element_cases(of, whole), *map_cases(), *clinical_cases()]


def file_cases(of: dict[str, Path]) -> Iterator[Case]:
    for number in range(24):
        name = list(of)[number % len(of)]
        share = float(noise("cut DICOM", number).uniform(0.0, 1.0))
        yield Case("DICOM cut", f"{name} at {share:.4f}", at(of[name], partial(cut, share=share)), name)
    for number in range(30):
        name = list(of)[number % len(of)]
        # of the elements before the pixels
        spoil = at(of[name], lambda path, n=number: flip(path, "DICOM bit", n, first=128, last=900))  # type: ignore[misc]
        yield Case("DICOM, a bit of the header", f"{name} {number}", spoil, name)
    for name in (POST_OP, DOSE):
        for label, spoil in links(lambda folder, name=name: folder / of[name]):  # type: ignore[misc]
            yield Case("in a DICOM file's place", f"{name} {label}", spoil, name)


NUMBERS = ("0", "-1", "1e30", "0.000001")
ELEMENTS: dict[str, dict[str, tuple[object, ...]]] = {
    POST_OP: {
        "Rows": (0, 1, 65535),
        "Columns": (0, 65535),
        "BitsAllocated": (1, 8, 32),
        "BitsStored": (0, 17),
        "PixelRepresentation": (1, 7),
        "SamplesPerPixel": (3,),
        "PixelSpacing": (["0", "10"], ["-10", "10"], ["10"]),
        "ImagePositionPatient": (["0", "0"], ["1e30", "0", "0"]),
        "ImageOrientationPatient": (["1", "0", "0", "1", "0", "0"], ["2", "0", "0", "0", "2", "0"]),
        "SliceThickness": ("-3", "0"),
        "Modality": ("", "XX"),
        "SeriesInstanceUID": ("", "not a uid"),
        "SOPInstanceUID": ("",),
        "StudyDate": ("20209999", "yesterday"),
        "PatientID": ("", "ANON-17 "),
        "NumberOfFrames": (0, 12),
        "RescaleSlope": ("0", "1e30"),
    },
    DOSE: {
        "DoseGridScaling": NUMBERS,
        "DoseUnits": ("RELATIVE", "", "Gy"),
        "DoseType": ("ERROR", ""),
        "DoseSummationType": ("BEAM", ""),
        "NumberOfFrames": (0, 1, 8, 1000),
        "GridFrameOffsetVector": (["0", "12"], ["0"] * 9, ["1e30"] * 9),
        "BitsAllocated": (8, 16),
        "PixelRepresentation": (1,),
        "FrameOfReferenceUID": ("", "1.2.3"),
        "Rows": (0, 11),
        "PatientID": ("ANON-99",),
    },
    PLAN: {
        "PatientID": ("",),
        "SOPInstanceUID": ("",),
        "RTPlanLabel": ("x" * 500,),
        "FractionGroupSequence": (None,),
    },
    STRUCT: {"ReferencedFrameOfReferenceSequence": (None,), "StructureSetROISequence": (None,)},
}
OF_ALL: dict[str, tuple[object, ...]] = {
    "PixelSpacing": (["0.001", "0.001"], ["200", "200"]),
    "PhotometricInterpretation": ("YBR_FULL",),
    "RescaleSlope": ("0",),
    "ImageOrientationPatient": (["0", "0", "0", "0", "0", "0"],),
    "BitsStored": (3,),
    "FrameOfReferenceUID": ("",),
}
"""Of every slice of the post-operative series."""


def element_cases(of: dict[str, Path], whole: list[Path]) -> Iterator[Case]:
    for name, elements in ELEMENTS.items():
        for keyword, values in elements.items():
            for value in values:
                spoil = at(of[name], partial(write_element, keyword=keyword, value=value))
                yield Case("DICOM element", f"{name} {keyword} = {short(value)}", spoil, name)
    for keyword, values in OF_ALL.items():
        for value in values:

            def every(folder: Path, keyword: str = keyword, value: object = value) -> None:
                for path in whole:
                    write_element(folder / path, keyword, value)

            yield Case("DICOM element of all slices", f"{keyword} = {short(value)}", every, POST_OP)


def short(value: object) -> str:
    return repr(value)[:40]


def write_element(path: Path, keyword: str, value: object) -> None:
    """Set an element whatever pydicom thinks of it; None removes it."""
    dataset: Any = pydicom.dcmread(path)
    if value is None:
        delattr(dataset, keyword)
    else:
        tag = pydicom.datadict.tag_for_keyword(keyword)
        vr = pydicom.datadict.dictionary_VR(tag).split(" ")[0]
        dataset[tag] = pydicom.DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE)
    with path.open("wb") as stream:
        pydicom.dcmwrite(stream, dataset, enforce_file_format=False)


Rows = list[dict[str, str]]


def with_cell(rows: Rows, at: int, **cells: str) -> Rows:
    return [{**row, **cells} if k == at else row for k, row in enumerate(rows)]


def swapped(rows: Rows) -> Rows:
    roles = {"dose": "event", "event": "dose"}
    return [{**row, "role": roles.get(row["role"], row["role"])} for row in rows]


MAPS: dict[str, Callable[[Rows], Rows]] = {
    "no row": lambda rows: [],
    "a row twice": lambda rows: [*rows, rows[0]],
    "an unknown role": lambda rows: with_cell(rows, 0, role="posst_op"),
    "an unknown uid": lambda rows: with_cell(rows, 0, uid="1.2.3"),
    "no uid": lambda rows: with_cell(rows, 0, uid=""),
    "no patient": lambda rows: with_cell(rows, 0, patient_id=""),
    "another patient": lambda rows: with_cell(rows, 0, patient_id="ANON-99"),
    "one role twice": lambda rows: [{**row, "role": "post_op"} for row in rows],
    "no roles": lambda rows: [{**row, "role": ""} for row in rows],
    "undecided": lambda rows: [{**row, "role": "?"} for row in rows],
    "the dose is an MRI": swapped,
    "a uid as a spreadsheet rounds it": lambda rows: with_cell(rows, 0, uid="2.25E+37"),
    "fractions of no number": lambda rows: [{**row, "fractions": "many"} for row in rows],
    "fractions without end": lambda rows: [{**row, "fractions": "9" * 400} for row in rows],
    "no prescription": lambda rows: [{**row, "prescription_gy": "-60"} for row in rows],
    "a leave_out unknown": lambda rows: [{**row, "leave_out": "all"} for row in rows],
}


TEXTS: dict[str, Callable[[str], bytes]] = {
    "nothing": lambda t: b"",
    "noise": lambda t: bytes(noise("map").integers(0, 256, 600, dtype=np.uint8)),
    "UTF-16": lambda t: t.encode("utf-16"),
    "semicolons": lambda t: t.replace(",", ";").encode(),
    "tabs": lambda t: t.replace(",", "\t").encode(),
    "bars": lambda t: t.replace(",", "|").encode(),
    "a byte order mark": lambda t: t.encode("utf-8-sig"),
    "no header": lambda t: t.partition("\n")[2].encode(),
    "an open quotation mark": lambda t: t.encode() + b'"',
    "a NUL": lambda t: t.replace("post_op", "post\0op", 1).encode(),
    "a column twice": lambda t: t.replace("note", "role", 1).encode(),
    "no column uid": lambda t: t.replace("uid", "id").encode(),
    "cut": lambda t: t[: len(t) // 2].encode(),
    "old Mac line ends": lambda t: t.replace("\r", "").replace("\n", "\r").encode(),
    "a megabyte in a cell": lambda t: t.replace("post_op", "p" * 2**20, 1).encode(),
}


def map_cases() -> Iterator[Case]:
    for label, change in MAPS.items():

        def edit(folder: Path, change: Callable[[Rows], Rows] = change) -> None:
            with (folder / MAP).open(encoding="utf-8-sig", newline="") as stream:
                rows = list(csv.DictReader(stream))
            names, text = list(rows[0]), io.StringIO()
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            writer.writerows(change(rows))
            (folder / MAP).write_text(text.getvalue())

        yield Case("the map, a cell", label, edit, MAP)
    yield from text_cases("the map, its text", MAP)


def clinical_cases() -> Iterator[Case]:
    for label, (old, new) in CLINICAL_CELLS.items():

        def edit(folder: Path, old: str = old, new: str = new) -> None:
            path = folder / CLINICAL
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new, 1))

        valid = "an empty cell is not known, which is allowed" if not new else ""
        yield Case("the clinical table, a cell", label, edit, CLINICAL, valid)
    yield from text_cases("the clinical table, its text", CLINICAL)


CLINICAL_TEXT = (
    "patient_id,label,label_source,subset,rt_end_date\nANON-17,rice,biopsy,train,2020-04-20\n"
    "ANON-18,recurrence,follow_up,test,2020-04-20\n"
)
CLINICAL_CELLS: dict[str, tuple[str, str]] = {
    "a label unknown": ("rice", "necrosis"),
    "a source unknown": ("biopsy", "guess"),
    "no date": ("2020-04-20", "April"),
    "a date that is none": ("2020-04-20", "2020-13-45"),
    "a date of two meanings": ("2020-04-20", "04/05/20"),
    "a patient alike": ("ANON-17", "ANON17"),
    "no label": ("rice", ""),
    "a subset unknown": ("train", "both"),
}


def text_cases(kind: str, file: str) -> Iterator[Case]:
    for label, change in TEXTS.items():
        if file == CLINICAL and label in ("a NUL", "a column twice", "no column uid", "a megabyte in a cell"):
            continue

        def write(folder: Path, change: Callable[[str], bytes] = change) -> None:
            (folder / file).write_bytes(change((folder / file).read_text("utf-8-sig")))

        yield Case(kind, label, write, file)
    for label, spoil in list(links(lambda folder: folder / file))[:6]:
        yield Case(f"in the place of {file}", label, spoil, file)
