"""Raw cohorts spoiled in one place, drawn by a seed from a valid one."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from cohorts import FILES, SIDECAR, SIDECAR_FILE, change_header
from spoiled import Case, cut, flip, links, noise, replace_text

TABLE, QUARANTINE, DESCRIPTION = "participants.tsv", "exclude.tsv", "dataset_description.json"
VOLUMES = tuple(FILES)

FIELDS: dict[str, tuple[int, str]] = {
    "sizeof_hdr": (0, "i"),
    "data_type": (4, "10s"),
    "extents": (32, "i"),
    "regular": (38, "B"),
    "dim_info": (39, "B"),
    **{f"dim[{k}]": (40 + 2 * k, "h") for k in range(8)},
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "slice_start": (74, "h"),
    **{f"pixdim[{k}]": (76 + 4 * k, "f") for k in range(8)},
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "slice_end": (120, "h"),
    "slice_code": (122, "B"),
    "xyzt_units": (123, "B"),
    "cal_max": (124, "f"),
    "slice_duration": (132, "f"),
    "toffset": (136, "f"),
    "glmax": (140, "i"),
    "descrip": (148, "80s"),
    "aux_file": (228, "24s"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    **{f"quatern_{name}": (256 + 4 * k, "f") for k, name in enumerate("bcd")},
    **{f"qoffset_{name}": (268 + 4 * k, "f") for k, name in enumerate("xyz")},
    **{f"srow_{'xyz'[k // 4]}[{k % 4}]": (280 + 4 * k, "f") for k in range(12)},
    "intent_name": (328, "16s"),
    "magic": (344, "4s"),
    "extension": (348, "B"),
}
"""Every field of a NIfTI-1 header: its first byte and its type."""

POOL: dict[str, tuple[object, ...]] = {
    "i": (0, -1, 2**31 - 1, 540),
    "h": (0, -1, 32767, 3, 256),
    "B": (0, 255, 1),
    "f": (float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30, 352.5),
}


def cases() -> list[Case]:
    return [*volume_cases(), *table_cases(), *sidecar_cases(), *other_cases()]


def volume_cases() -> Iterator[Case]:
    for number in range(18):
        name = VOLUMES[number % 3]
        share = float(noise("cut", number).uniform(0.0, 1.0))
        yield Case(
            "NIfTI cut", f"{name} at {share:.4f}", at(FILES[name], partial(cut, share=share)), FILES[name]
        )
    for number in range(9):
        name = VOLUMES[number % 3]
        share = float(noise("unpacked", number).uniform(0.0, 1.0))
        yield Case(
            "NIfTI cut before it was compressed",
            f"{name} at {share:.4f}",
            at(FILES[name], partial(cut_unpacked, share=share)),
            FILES[name],
        )
    for number in range(15):
        name = VOLUMES[number % 3]
        spoil = at(FILES[name], lambda path, n=number: flip(path, "bit", n))  # type: ignore[misc]
        yield Case("NIfTI, a bit of the compressed file", f"{name} {number}", spoil, FILES[name])
    for number, (field, (offset, kind)) in enumerate(FIELDS.items()):
        name = VOLUMES[number % 3]
        for value in values_of(field, kind):
            content = struct.pack(f"<{kind}", value)
            spoil = at(FILES[name], lambda path, o=offset, c=content: change_header(path, o, c))  # type: ignore[misc]
            yield Case("NIfTI header field", f"{name} {field} = {value!r}", spoil, FILES[name])
    for label, change in IMAGES.items():
        name = VOLUMES[len(label) % 3]
        yield Case(
            "NIfTI type or size",
            f"{name} {label}",
            at(FILES[name], partial(rewrite, change=change)),
            FILES[name],
        )
    for name in VOLUMES[::2]:
        for label, spoil in links(lambda folder, name=name: folder / FILES[name]):  # type: ignore[misc]
            yield Case("in a volume's place", f"{name} {label}", spoil, FILES[name])


def at(name: str, spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda cohort: spoil(cohort / name)


def cut_unpacked(path: Path, share: float) -> None:
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: int(len(content) * share)]))


def values_of(field: str, kind: str) -> list[object]:
    """Two of the pool's, or noise for a text."""
    drawn = noise("field", field)
    if kind.endswith("s"):
        return [bytes(drawn.integers(0, 256, int(kind[:-1]), dtype=np.uint8))]
    pool = POOL[kind]
    return [pool[int(k)] for k in drawn.choice(len(pool), 2, replace=False)]


Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def rewrite(path: Path, change: Change) -> None:
    """The same file with other voxels or another affine, as nibabel writes them."""
    image: Any = nib.load(path)
    voxels, affine = change(np.asarray(image.dataobj, np.float32), np.asarray(image.affine))
    new = nib.Nifti1Image(voxels, affine)
    new.header.set_xyzt_units("mm")
    nib.save(new, path)


def of_type(kind: Any) -> Change:
    return lambda voxels, affine: (voxels.astype(kind), affine)


def of_voxels(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda voxels, affine: (change(voxels), affine)


def colours(voxels: np.ndarray) -> np.ndarray:
    packed = np.zeros(voxels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    packed["R"] = voxels
    return packed


IMAGES: dict[str, Change] = {
    "complex64": of_type(np.complex64),
    "uint8": of_type(np.uint8),
    "int16": of_type(np.int16),
    "float64": of_type(np.float64),
    "uint32": of_type(np.uint32),
    "complex128": of_type(np.complex128),
    "RGB": of_voxels(colours),
    "two dimensions": of_voxels(lambda v: v[:, :, 5]),
    "one slice": of_voxels(lambda v: v[:, :, 5:6]),
    "one voxel": of_voxels(lambda v: v[5:6, 5:6, 5:6]),
    "two volumes": of_voxels(lambda v: np.stack([v, v], axis=-1)),
    "a fourth dimension of one": of_voxels(lambda v: v[..., None]),
    "a vector a voxel": of_voxels(lambda v: v[:, :, :, None, None].repeat(3, 4)),
    "all zero": of_voxels(np.zeros_like),
    "all equal": of_voxels(lambda v: np.full_like(v, 7)),
    "NaN everywhere": of_voxels(lambda v: np.full_like(v, np.nan)),
    "an infinite voxel": of_voxels(lambda v: np.where(v == v.max(), np.inf, v)),
    "negative": of_voxels(lambda v: -v - 1),
    "half of the head": of_voxels(lambda v: v[:6]),
    "a head of 2 cm": lambda v, a: (v, a @ np.diag([0.1, 0.1, 0.1, 1])),
    "a head of 2 m": lambda v, a: (v, a @ np.diag([10, 10, 10, 1])),
    "in metres": lambda v, a: (v, a @ np.diag([1e-3, 1e-3, 1e-3, 1])),
    "sheared": lambda v, a: (v, a @ shear()),
    "flat": lambda v, a: (v, a @ np.diag([1, 1, 1e-6, 1])),
    "far away": lambda v, a: (v, moved_mm(a, 5000.0)),
}


def shear() -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 1] = 0.4
    return matrix


def moved_mm(affine: np.ndarray, by_mm: float) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += by_mm
    return moved


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
