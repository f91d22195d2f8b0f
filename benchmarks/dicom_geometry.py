"""How exactly DICOM is read: the phantom written and read again, and real files beside another reader.

    python benchmarks/dicom_geometry.py

Every acquisition is written by the phantom's writer, read by ricenet and by SimpleITK; each voxel's position
and value is compared with what was written. With the real samples (RICENET_SAMPLES, or ../shared/samples) the
MR series is compared with SimpleITK and the radiotherapy set with the figures that are known of it.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from figure import report
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.plan import read_plan
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.dicom.image_writers import write_enhanced_mr, write_image_series
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.volume import Grid, Volume, resample

STUDY = StudyTags(PatientTags("BENCHMARK"), uid("benchmark", "study"), date(2020, 3, 1))
FRAME = uid("benchmark", "frame")
ORIENTATIONS = {
    "axial": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
    "sagittal": [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    "coronal": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
}
TILTS = {"straight": (0, 0, 0), "oblique": (7, -11, 16)}
SLOPE, INTERCEPT = 0.37, -120.0
GOAL_MM, GOAL_QUANTA, GOAL_DOSE = 0.01, 1.0, 0.001
SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "samples"))


def acquired(subject: SyntheticSubject, orientation: str, tilt: str, source: Volume) -> Volume:
    """The head as a scanner with this orientation sees it: 2.1 x 2.1 x 2.7 mm, some slices to spare."""
    axes = Rotation.from_euler("xyz", TILTS[tilt], degrees=True).as_matrix() @ np.array(
        ORIENTATIONS[orientation]
    )
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([2.1, 2.1, 2.7])
    shape = (96, 90, 70)
    centre = subject.scans["post_op"].grid.world_mm((np.array(subject.scans["post_op"].grid.shape) - 1) / 2)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return resample(source, Grid(shape, affine))


def differences(read: Volume, written: Volume) -> tuple[float, float]:
    """Largest error of a voxel's position in mm, and of its value. The order of voxels may differ."""
    read_from_written = np.linalg.inv(read.grid.affine) @ written.grid.affine
    indices = np.indices(written.grid.shape).reshape(3, -1)
    exact = read_from_written[:3, :3] @ indices + read_from_written[:3, 3:]
    nearest = np.clip(np.rint(exact).astype(int), 0, np.array(read.grid.shape)[:, None] - 1)
    off_mm = np.linalg.norm(read.grid.affine[:3, :3] @ (exact - nearest), axis=0)
    off = np.abs(np.asarray(read.data, np.float64)[tuple(nearest)] - written.data.reshape(-1))
    return float(off_mm.max()), float(off.max())


def by_simpleitk(files: Sequence[Path]) -> Volume:
    """A volume as SimpleITK reads it from files in order of position."""
    import SimpleITK as sitk

    image = sitk.ReadImage([str(file) for file in files])
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    data: NDArray[np.float32] = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    x, y, z = data.shape
    return Volume(data, Grid((x, y, z), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine))


def images(subject: SyntheticSubject, folder: Path) -> None:
    """Series of one file a slice and multi-frame files, in six orientations each."""
    errors, against_itk = [], []
    for orientation, tilt in product(ORIENTATIONS, TILTS):
        volume = acquired(subject, orientation, tilt, subject.scans["post_op"])
        series, place = uid("benchmark", orientation, tilt), folder / f"{orientation}-{tilt}"
        files = write_image_series(
            volume, place, Header(STUDY, series, FRAME), slope=SLOPE, intercept=INTERCEPT
        )
        write_enhanced_mr(
            volume, folder / "frames" / f"{orientation}-{tilt}.dcm",
            Header(STUDY, uid(series, "frames"), FRAME), slope=SLOPE, intercept=INTERCEPT,
        )  # fmt: skip
        read = read_image(read_tree(place).series[0])
        errors.append(differences(read, volume))
        against_itk.append(differences(by_simpleitk(files), read))
        print(f"{orientation:9} {tilt:9} {errors[-1][0]:.6f} mm  {errors[-1][1] / SLOPE:.3f} quanta")
        several = {s.uid: s for s in read_tree(folder / "frames").series}
        errors.append(differences(read_image(several[uid(series, "frames")]), volume))
    worst_mm, worst = np.max(errors, axis=0)
    itk_mm, itk = np.max(against_itk, axis=0)
    agreement = f"SimpleITK on the same files: within {itk_mm:.1e} mm and {itk / SLOPE:.3f} quanta"
    report("mr_position_mm", worst_mm, f"< {GOAL_MM}", agreement, worst_mm < GOAL_MM and itk_mm < GOAL_MM)
    quanta = worst / SLOPE
    report("mr_value_quanta", quanta, f"<= {GOAL_QUANTA}", agreement, quanta <= GOAL_QUANTA)


def doses(subject: SyntheticSubject, folder: Path) -> None:
    """Doses of 16 and 32 bits, with relative and absolute offsets, straight and oblique."""
    cases: list[tuple[str, str, Literal["relative", "absolute"], Literal[16, 32]]] = [
        ("axial", "straight", "absolute", 32), ("axial", "straight", "relative", 16),
        ("axial", "oblique", "relative", 32), ("coronal", "oblique", "relative", 16),
        ("sagittal", "oblique", "relative", 32),
    ]  # fmt: skip
    errors = []
    for orientation, tilt, offsets, bits in cases:
        dose = acquired(subject, orientation, tilt, subject.scans["dose"])
        path = folder / f"{orientation}-{tilt}-{offsets}-{bits}" / "dose"
        write_rtdose(dose, path, Header(STUDY, uid(path.parent.name), FRAME), offsets=offsets, bits=bits)
        read = read_dose(read_tree(path.parent).series[0].first).values
        off_mm, off_gy = differences(read, dose)
        errors.append((off_mm, off_gy / float(dose.data.max())))
        print(f"dose {path.parent.name:32} {off_mm:.6f} mm  {errors[-1][1]:.2e} of the maximum")
    worst_mm, worst = np.max(errors, axis=0)
    agreement = f"{len(cases)} doses against what was written"
    report("dose_position_mm", worst_mm, f"< {GOAL_MM}", agreement, worst_mm < GOAL_MM)
    report("dose_share_of_maximum", worst, f"< {GOAL_DOSE}", agreement, worst < GOAL_DOSE)


def real_files(folder: Path) -> None:
    """The real MR series beside SimpleITK, and the real radiotherapy set."""
    with tarfile.open(next((SAMPLES / "mri_t1_dicom").glob("*.tar.xz"))) as archive:
        archive.extractall(folder, filter="data")
    (series,) = (s for s in read_tree(folder).series if s.kind == "MR")
    read = read_image(series)
    ordered = sorted(series.instances, key=lambda instance: _height(instance.path))
    off_mm, off = differences(by_simpleitk([instance.path for instance in ordered]), read)
    agreement = f"{series.slices} slices, every voxel; values differ by at most {off:g}"
    report("real_mr_position_mm", off_mm, f"< {GOAL_MM}", agreement, off_mm < GOAL_MM and off == 0)
    of_kind = {s.kind: s.first for s in read_tree(SAMPLES / "rt_dicom").series}
    maximum_gy = float(read_dose(of_kind["RTDOSE"]).values.data.max())
    fractions = read_plan(of_kind["RTPLAN"]).fractions
    met = abs(maximum_gy - 14.68) < 0.005 and fractions == 7
    report("real_dose_maximum_gy", maximum_gy, "14.68", f"the plan's fractions: {fractions} (7 known)", met)


def _height(path: Path) -> float:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    normal = np.cross(header.ImageOrientationPatient[:3], header.ImageOrientationPatient[3:])
    return float(np.dot(normal, header.ImagePositionPatient))


def main() -> None:
    """Write, read, compare."""
    mechanism = MECHANISMS["dose_height"]
    subject = make_subject(shared_template(2.0), draw_cause("sub-001", 7, mechanism), 7)
    with tempfile.TemporaryDirectory(prefix="ricenet-dicom-") as name:
        folder = Path(name)
        images(subject, folder / "images")
        doses(subject, folder / "doses")
        if SAMPLES.is_dir():
            real_files(folder / "real")
        else:
            print("no real samples: set RICENET_SAMPLES to their folder")


if __name__ == "__main__":
    main()
