"""Phantom subjects and random consistent placements of their volumes, as files would state them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause, make_subject
from ricenet.volume import Affine, Grid, Volume, resample

SUBJECTS, SPACING_MM = 8, 3.0
Generator = np.random.Generator


@dataclass(frozen=True)
class File:
    """A volume as it will be written. sform, qform: None where its code is 0. unit: xyzt_units."""

    volume: Volume
    sform: Affine | None
    qform: Affine | None
    unit: int = 2
    version: int = 1
    dtype: str = "float32"

    def moved(self, change: Callable[[Affine], Affine]) -> File:
        """With both forms changed alike."""
        forms = {name: None if form is None else change(form) for name, form in self.forms.items()}
        return replace(self, **forms)

    @property
    def forms(self) -> dict[str, Affine | None]:
        """Both placements by name."""
        return {"sform": self.sform, "qform": self.qform}

    def write(self, path: Path) -> None:
        """As NIfTI, compressed where the name says so."""
        kind = nib.nifti1.Nifti1Image if self.version == 1 else nib.nifti2.Nifti2Image
        data = np.asarray(self.volume.data, np.float32)
        affine = self.sform if self.sform is not None else self.qform
        image = kind(data, affine)
        image.set_data_dtype(self.dtype)
        image.set_qform(self.qform, 0 if self.qform is None else 1)
        image.set_sform(self.sform, 0 if self.sform is None else 1)
        image.header["xyzt_units"] = self.unit
        path.parent.mkdir(parents=True, exist_ok=True)
        image.to_filename(path)


Files = dict[str, File]


def subjects(seed: int) -> list[dict[str, Volume]]:
    """Of each phantom its volumes and its brain mask, on the post-op scan's grid."""
    template, made = shared_template(SPACING_MM), []
    for number in range(SUBJECTS):
        one = make_subject(template, draw_cause(f"sub-{number + 1:03d}", seed, MECHANISMS["clinical"]), seed)
        post_op = one.world_from_anatomy("post_op")
        brain = Volume(one.anatomy.brain, Grid(one.anatomy.grid.shape, post_op @ one.anatomy.grid.affine))
        on_scan = resample(brain, one.scans["post_op"].grid).data > 0.5
        made.append(dict(one.scans) | {"brain_mask": Volume(on_scan, one.scans["post_op"].grid)})
    return made


def rigid(rng: Generator, degrees: float, mm: float) -> Affine:
    """A displacement of up to so many degrees and mm."""
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(direction(rng) * np.radians(rng.uniform(0, degrees))).as_matrix()
    moved[:3, 3] = direction(rng) * rng.uniform(0, mm)
    return moved


def direction(rng: Generator) -> np.ndarray:
    """A unit vector (3,)."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def turned(volume: Volume, rng: Generator) -> Volume:
    """The same voxels in another order and sense of the axes, where they were."""
    order, senses = rng.permutation(3), rng.choice([1, -1], 3)
    data = volume.data.transpose(order)[tuple(slice(None, None, int(s)) for s in senses)]
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, sense) in enumerate(zip(order, senses, strict=True)):
        step[old, new], step[old, 3] = sense, 0 if sense > 0 else volume.grid.shape[old] - 1
    x, y, z = data.shape
    return Volume(np.ascontiguousarray(data), Grid((x, y, z), volume.grid.affine @ step))


def regridded(volume: Volume, rng: Generator) -> Volume:
    """The same head on another oblique grid with other spacings, its field of view kept."""
    if rng.uniform() < 0.5 or volume.data.dtype == np.bool_:
        return volume
    spacing = np.array(volume.grid.spacing_mm) * rng.uniform(0.8, 1.6, 3)
    turn = Rotation.from_rotvec(direction(rng) * np.radians(rng.uniform(0, 12))).as_matrix()
    axes = turn @ (volume.grid.affine[:3, :3] / volume.grid.spacing_mm)
    shape = np.ceil(np.array(volume.grid.shape) * volume.grid.spacing_mm / spacing).astype(int)
    middle = volume.grid.world_mm((np.array(volume.grid.shape) - 1) / 2)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    values = np.asarray(resample(volume, grid, outside=np.nan).data)
    # a scanner's field of view ends in air
    return Volume(np.where(np.isnan(values), np.float32(volume.data[0, 0, 0]), values), grid)


def placed(own: Mapping[str, Volume], rng: Generator, far: bool = True) -> Files:
    """A consistent placement: each session anywhere, what belongs to it with it."""
    sessions = {"post_op": rigid(rng, 40, 150), "event": rigid(rng, 40, 150)} if far else {}
    files: Files = {}
    for name, volume in own.items():
        if name == "brain_mask" and rng.uniform() < 0.6:
            continue
        one = turned(regridded(volume, rng), rng)
        world = sessions.get("event" if name == "event" else "post_op", np.eye(4))
        affine = world @ one.grid.affine
        forms = [(affine, affine)] * 8 + [(affine, None), (None, affine)]
        sform, qform = forms[int(rng.integers(10))]
        dtype = "float32" if rng.uniform() < 0.5 else "int16"
        files[name] = File(
            Volume(one.data, Grid(one.grid.shape, affine)), sform, qform,
            unit=int(rng.choice([2, 2, 2, 0, 10])), version=int(rng.choice([1, 1, 2])),
            dtype="float32" if name == "brain_mask" else dtype,
        )  # fmt: skip
    return files


def translation(shift: np.ndarray) -> Affine:
    """A shift (3,) as a transform."""
    result = np.eye(4)
    result[:3, 3] = shift
    return result
