"""DICOM files for tests to write, spoil in one place, and read back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import write_enhanced_mr, write_image_series
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan, write_rtstruct
from ricenet.volume import Affine, Grid, Volume

STUDY = StudyTags(PatientTags("ANON-1"), uid("edits", "study"), date(2020, 3, 1))
FRAME = uid("edits", "frame")

AXES = {
    "axial": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
    "axial, from the feet": [[1, 0, 0], [0, -1, 0], [0, 0, 1]],
    "axial, head first to last": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "sagittal": [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    "sagittal, right to left": [[0, 0, 1], [-1, 0, 0], [0, -1, 0]],
    "coronal": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "coronal, back to front": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
}
"""Directions (RAS, in columns) of a volume's three axes as it is written; some are left-handed."""


def tilt(degrees: float = 17.0) -> Affine:
    """A rotation about an axis along no other."""
    from scipy.spatial.transform import Rotation

    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    return np.asarray(Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix())


def numbered(shape: tuple[int, int, int] = (5, 4, 6), axes: object = AXES["axial"]) -> Volume:
    """Every voxel its own whole number; spacing 1.25 x 0.75 x 2.5 mm, a corner at (11, -7, 23.5)."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes, dtype=float) @ np.diag([1.25, 0.75, 2.5])
    affine[:3, 3] = (11.0, -7.0, 23.5)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(values, Grid(shape, affine))


def header(of: str, **series: Any) -> Header:
    """of: the UID of a series of images, or of a radiotherapy object."""
    return Header(STUDY, of, FRAME, **series)


SERIES = header(uid("edits", "series"))


def write_series(folder: Path, volume: Volume, of: Header = SERIES, **options: Any) -> list[Path]:
    """A series of one file a slice; `paths[k]` holds slice k."""
    return write_image_series(volume, folder, of, **options)


def write_enhanced(folder: Path, volume: Volume, **options: Any) -> Path:
    """An enhanced MR file with all slices."""
    return write_enhanced_mr(volume, folder / "all.dcm", header(uid("enhanced")), **options)


def write_plan(folder: Path, name: str = "1.2.1", **options: Any) -> Path:
    return write_rtplan(folder / name, header(name), **{"fractions": 30, "prescription_gy": 60.0, **options})


def write_dose(folder: Path, name: str = "1.2.2", dose: Volume | None = None, **options: Any) -> Path:
    return write_rtdose(numbered() if dose is None else dose, folder / name, header(name), **options)


def write_structures(folder: Path, name: str = "1.2.3") -> Path:
    return write_rtstruct(folder / name, header(name), images=Header(STUDY, "1.2.7", FRAME), slices=2)


def change(path: Path, edit: Callable[[Dataset], object]) -> Path:
    """Rewrite a file with something changed."""
    dataset = dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


def setting(**elements: object) -> Callable[[Dataset], None]:
    """An edit that sets elements by keyword, or removes those that are None."""

    def edit(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def only_series(folder: Path) -> Series:
    """The one series below a folder, in which every file is usable."""
    tree = read_tree(folder)
    assert tree.unusable == ()
    (series,) = tree.series
    return series


def reasons(tree: DicomTree) -> dict[str, str]:
    """What is said of each unusable file, by its name."""
    return {file.path.name: file.found for file in tree.unusable}


def only_instance(folder: Path) -> Instance:
    (instance,) = only_series(folder).instances
    return instance


def assert_same_places(one: Volume, other: Volume, tolerance_mm: float = 0.01) -> None:
    """The same value at the same place of the world, however the voxels are ordered."""
    voxel_of_other = np.linalg.inv(other.grid.affine) @ one.grid.affine
    indices = np.indices(one.grid.shape).reshape(3, -1)
    exact = voxel_of_other[:3, :3] @ indices + voxel_of_other[:3, 3:]
    nearest = np.rint(exact).astype(int)
    off_mm = np.linalg.norm(other.grid.affine[:3, :3] @ (exact - nearest), axis=0)
    assert off_mm.max() < tolerance_mm
    assert sorted(one.grid.shape) == sorted(other.grid.shape)
    np.testing.assert_allclose(one.data.reshape(-1), other.data[tuple(nearest)], rtol=1e-6)


def seen_by_simpleitk(files: Sequence[Path]) -> Volume:
    """A volume as SimpleITK reads it: files in order of position, or one file."""
    import SimpleITK as sitk

    image = sitk.ReadImage([str(file) for file in files] if len(files) > 1 else str(files[0]))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    x, y, z = data.shape
    return Volume(data, Grid((x, y, z), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine))


def sample(*parts: str) -> Path:
    """A real file beside the repository; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "samples"
    path = Path(os.environ.get("RICENET_SAMPLES", default)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real sample {'/'.join(parts)}: set RICENET_SAMPLES to the folder of samples")
    return path
