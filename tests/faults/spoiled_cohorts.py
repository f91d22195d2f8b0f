"""Raw cohorts spoiled in one place, drawn by a seed from a valid one."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from cohorts import FILES, change_header
from spoiled import Case, at, cut, flip, links, noise
from spoiled_tables import other_cases, sidecar_cases, table_cases

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
