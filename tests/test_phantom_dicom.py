"""The phantom as DICOM: other programs read what was written, and the export is true to its ground truth."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from five_volumes import FIVE_VOLUMES
from pydicom.dataset import Dataset
from scipy import ndimage
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.sequences import is_sequence
from ricenet.phantom.acquisition import ORIENTATIONS
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.computed_tomography import PlanningCt, make_planning_ct
from ricenet.phantom.dicom.export import write_dicom_phantom
from ricenet.phantom.dicom.image_writers import RLE_LOSSLESS, write_image_series
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags, decimal, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan, write_rtstruct
from ricenet.phantom.mechanism import MECHANISMS, Mechanism
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import file_digest, read_json
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Affine, Grid, Volume, inverse, resample

DOSE_HEIGHT = MECHANISMS["dose_height"]
SPACING_MM = 4.0
SEED = 7
PATIENTS = 5
STUDY = StudyTags(PatientTags("X-1", "Müller^Änne"), uid("study"), date(2020, 1, 2), "Head")
MRI = Header(STUDY, uid("mr"), uid("frame"))
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TILT = Rotation.from_euler("xyz", [5, -7, 11], degrees=True).as_matrix()


def volume_along(axes: np.ndarray) -> Volume:
    """(16, 14, 5) voxels of 0.9 x 1.1 x 2.5 mm with values that differ everywhere."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([0.9, 1.1, 2.5])
    affine[:3, 3] = [-10.0, 20.123456789, 33.0]
    data = generator_for("test", "dicom-volume").permutation(16 * 14 * 5).reshape(16, 14, 5)
    return Volume(data.astype(np.float32), Grid((16, 14, 5), affine))


def itk_volume(image: sitk.Image) -> Volume:
    """What SimpleITK read, in RAS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    x, y, z = image.GetSize()
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    return Volume(data, Grid((x, y, z), LPS_FROM_RAS @ affine))


def read_series(folder: Path, series_uid: str = "") -> Volume:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series_uid))
    return itk_volume(reader.Execute())


def assert_same(found: Volume, expected: Volume) -> None:
    """Equal voxels at equal places; the order of slices may be reversed."""
    if found.grid.affine[:3, 2] @ expected.grid.affine[:3, 2] < 0:
        affine = found.grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (found.grid.shape[2] - 1)
        affine[:3, 2] *= -1
        found = Volume(found.data[:, :, ::-1], Grid(found.grid.shape, affine))
    np.testing.assert_allclose(found.grid.affine, expected.grid.affine, atol=1e-6)
    np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        RLE_LOSSLESS,
    ],
)
def test_every_transfer_syntax_holds_the_same_pixels(transfer_syntax_uid: str, tmp_path: Path) -> None:
    volume = volume_along(ORIENTATIONS["sagittal"])
    paths = write_image_series(volume, tmp_path, MRI, transfer_syntax_uid=transfer_syntax_uid)
    # whose names say nothing of the order of slices
    assert sorted(path.name for path in paths) == [f"IM000{n}.dcm" for n in range(1, 6)]
    assert [path.name for path in paths] != sorted(path.name for path in paths)
    for k, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == transfer_syntax_uid
        np.testing.assert_array_equal(dataset.pixel_array.T, volume.data[:, :, k])


def test_what_dicom_cannot_hold_is_not_written(tmp_path: Path) -> None:
    volume = volume_along(ORIENTATIONS["axial"])
    with pytest.raises(ValueError, match="do not fit into 16 bits"):
        write_image_series(Volume(volume.data * 100, volume.grid), tmp_path, MRI)
    skewed = volume.grid.affine.copy()
    skewed[:3, 1] += 0.2 * skewed[:3, 0]
    with pytest.raises(ValueError, match="not perpendicular"):
        write_image_series(Volume(volume.data, Grid(volume.grid.shape, skewed)), tmp_path, MRI)
    assert list(tmp_path.iterdir()) == []


def axial_dose() -> Volume:
    """(4, 3, 2) voxels of 2 x 3 x 5 mm; 60 Gy at (1, 2, 1), 30 Gy at (3, 0, 0), 0 elsewhere."""
    affine = np.diag([-2.0, -3.0, 5.0, 1.0])
    affine[:3, 3] = [10.0, 20.0, -7.0]
    data = np.zeros((4, 3, 2), np.float32)
    data[1, 2, 1], data[3, 0, 0] = 60.0, 30.0
    return Volume(data, Grid((4, 3, 2), affine))


def written_dose(dose: Volume, folder: Path, **options: Any) -> Dataset:
    header = Header(STUDY, uid("dose"), uid("frame"))
    return pydicom.dcmread(
        write_rtdose(dose, folder / "d.dcm", header, **{"plan_uids": [uid("plan")], **options})
    )


@pytest.mark.parametrize(("bits", "tolerance_gy"), [(16, 0.001), (32, 1e-7)])
def test_a_dose_is_stored_by_frames_rows_and_columns(bits: int, tolerance_gy: float, tmp_path: Path) -> None:
    dataset = written_dose(axial_dose(), tmp_path, bits=bits)
    gy = dataset.pixel_array * float(dataset.DoseGridScaling)
    assert gy.shape == (2, 3, 4)
    assert gy[1, 2, 1] == pytest.approx(60, abs=tolerance_gy)
    assert gy[0, 0, 3] == pytest.approx(30, abs=tolerance_gy)
    assert gy.sum() == pytest.approx(90, abs=2 * tolerance_gy)
    # x to the left, y to the back: the signs of NIfTI's first two coordinates change
    assert list(dataset.ImagePositionPatient) == [-10, -20, -7]
    assert list(dataset.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert list(dataset.PixelSpacing) == [3, 2]
    assert (dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert dataset.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == uid("plan")


def test_frame_offsets_are_relative_or_the_frames_own_height(tmp_path: Path) -> None:
    assert list(written_dose(axial_dose(), tmp_path).GridFrameOffsetVector) == [0, 5]
    absolute = written_dose(axial_dose(), tmp_path, offsets="absolute")
    assert list(absolute.GridFrameOffsetVector) == [-7, -2]


def test_a_beams_dose_names_its_beam_and_a_sum_its_plans(tmp_path: Path) -> None:
    beam = written_dose(axial_dose(), tmp_path, summation_type="BEAM", beam_number=3)
    group = beam.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence[0]
    assert group.ReferencedBeamSequence[0].ReferencedBeamNumber == 3
    summed = written_dose(axial_dose(), tmp_path, plan_uids=[uid("a"), uid("b")], summation_type="MULTI_PLAN")
    plans = summed.ReferencedRTPlanSequence
    assert [plan.ReferencedSOPInstanceUID for plan in plans] == [uid("a"), uid("b")]


def test_an_impossible_dose_is_not_written(tmp_path: Path) -> None:
    dose = axial_dose()
    with pytest.raises(ValueError, match="cannot be negative"):
        written_dose(Volume(dose.data - 1, dose.grid), tmp_path)
    with pytest.raises(ValueError, match="axial dose grids only"):
        written_dose(volume_along(TILT), tmp_path, offsets="absolute")
    sheared = dose.grid.affine.copy()
    sheared[1, 2] = 1.0
    with pytest.raises(ValueError, match="sheared"):
        written_dose(Volume(dose.data, Grid(dose.grid.shape, sheared)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_states_fractions_prescription_and_beams_or_leaves_them_out(tmp_path: Path) -> None:
    header = Header(STUDY, uid("plan"), uid("frame"))
    path = write_rtplan(
        tmp_path / "p.dcm", header, fractions=30, prescription_gy=60.0, beams=(1, 4), setup_beams=(9,),
        structure_set_uid=uid("struct"), date=date(2020, 1, 9),
    )  # fmt: skip
    plan = pydicom.dcmread(path)
    (group,) = plan.FractionGroupSequence
    target, organ = plan.DoseReferenceSequence
    assert (group.NumberOfFractionsPlanned, target.TargetPrescriptionDose) == (30, 60)
    assert (target.DoseReferenceType, organ.DoseReferenceType) == ("TARGET", "ORGAN_AT_RISK")
    beams = {beam.BeamNumber: beam.TreatmentDeliveryType for beam in plan.BeamSequence}
    assert beams == {1: "TREATMENT", 4: "TREATMENT", 9: "SETUP"}
    assert (plan.StudyDate, plan.RTPlanDate) == ("20200102", "20200109")
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == uid("struct")
    silent = pydicom.dcmread(write_rtplan(tmp_path / "s.dcm", header, fractions=None, prescription_gy=None))
    assert silent.FractionGroupSequence[0].NumberOfFractionsPlanned is None
    assert "TargetPrescriptionDose" not in silent.DoseReferenceSequence[0]


def test_a_structure_set_names_its_images_and_regions(tmp_path: Path) -> None:
    header, images = Header(STUDY, uid("struct"), uid("frame")), Header(STUDY, "1.2.7", uid("frame"))
    path = write_rtstruct(tmp_path / "s.dcm", header, images=images, slices=2, rois=("PTV", "GTV"))
    dataset = pydicom.dcmread(path)
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == uid("frame") and series.SeriesInstanceUID == "1.2.7"
    drawn_on = [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence]
    assert drawn_on == [uid("1.2.7", 0), uid("1.2.7", 1)]
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["PTV", "GTV"]


def test_uids_are_valid_and_depend_on_their_parts_alone() -> None:
    assert pydicom.uid.UID(uid("a", 1)).is_valid
    assert uid("a", 1) == uid("a", 1)
    assert len({uid("a", 1), uid("a", 2), uid("a1"), uid("a", "1", "")}) == 4


@pytest.mark.parametrize("value", [1 / 3, -1 / 3e-5, 9.999999999999998, -123.456789012345678, 1e-12, -0.0])
def test_decimal_strings_fit_and_stay_exact(value: float) -> None:
    text = decimal(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8)


@dataclass(frozen=True)
class Export:
    """A written export, its headers by PatientID and SeriesInstanceUID, and its truth."""

    folder: Path
    headers: dict[str, dict[str, list[Dataset]]]
    truth: dict[str, Any]

    def series(self, patient_id: str, modality: str, description: str = "") -> list[Dataset]:
        """The one series of a modality (and description) in the patient's planning study."""
        planning = self.truth[patient_id]["dates"]["imaging"].replace("-", "")
        (found,) = (
            headers
            for headers in self.headers[patient_id].values()
            if headers[0].Modality == modality
            and headers[0].StudyDate == planning
            and headers[0].SeriesDescription.startswith(description)
        )
        return found

    def image(self, series: list[Dataset]) -> Volume:
        """Read by SimpleITK from the series' folder."""
        folder = Path(series[0].filename).parent
        return read_series(folder, series[0].SeriesInstanceUID)

    def dose_gy(self, patient_id: str) -> Volume:
        """Read by pydicom, placed by SimpleITK."""
        (header,) = self.series(patient_id, "RTDOSE")
        dataset = pydicom.dcmread(header.filename)
        gy = dataset.pixel_array.transpose(2, 1, 0) * float(dataset.DoseGridScaling)
        grid = itk_volume(sitk.ReadImage(header.filename)).grid
        return Volume(gy.astype(np.float32), grid)


def write_export(folder: Path, patients: int, seed: int = SEED) -> Path:
    write_dicom_phantom(
        folder, patients, seed, DOSE_HEIGHT, test_fraction=0.2, spacing_mm=SPACING_MM, backend="serial"
    )
    return folder


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    folder = write_export(tmp_path_factory.mktemp("dicom") / "export", PATIENTS)
    headers: dict[str, dict[str, list[Dataset]]] = defaultdict(lambda: defaultdict(list))
    for path in (folder / "images").rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        headers[header.PatientID][header.SeriesInstanceUID].append(header)
    return Export(folder, headers, read_json(folder / "ground_truth" / "truth.json"))


@pytest.fixture(scope="module")
def subject() -> SyntheticSubject:
    return make_subject(shared_template(SPACING_MM), draw_cause("sub-001", SEED, DOSE_HEIGHT), SEED)


@pytest.fixture(scope="module")
def ct(subject: SyntheticSubject) -> PlanningCt:
    return make_planning_ct(subject.anatomy, subject.lesions, SPACING_MM, generator_for("test", "ct"))


def test_an_export_is_its_owners_alone(export: Export) -> None:
    assert {path.stat().st_mode & 0o777 for path in [export.folder, *export.folder.rglob("*")]} == {
        0o600,
        0o700,
    }


def test_tissues_have_their_hounsfield_units(subject: SyntheticSubject, ct: PlanningCt) -> None:
    anatomy = subject.anatomy
    to_anatomy = inverse(ct.world_from_anatomy)

    def hounsfield_where(mask: np.ndarray) -> float:
        inside = resample(Volume(mask.astype(np.float32), anatomy.grid), ct.image.grid, to_anatomy).data
        return float(np.median(ct.image.data[inside > 0.95]))

    depth = anatomy.brain_depth_mm
    assert hounsfield_where((depth < -3.5) & (depth > -7)) > 700
    assert hounsfield_where((depth > 4) & (subject.lesions.cavity < 0.05)) == pytest.approx(34, abs=6)
    assert hounsfield_where(subject.lesions.cavity > 0.95) == pytest.approx(8, abs=4)
    corner = ct.image.data[:5, :5, -3:]
    assert corner.mean() == pytest.approx(-1000, abs=5) and 5 < corner.std() < 20


def test_the_head_rests_on_a_couch_that_is_no_part_of_it(ct: PlanningCt) -> None:
    data, grid = ct.image.data, ct.image.grid
    parts, _ = ndimage.label(ndimage.binary_opening(data > -500))
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    lowest_of_head = grid.world_mm(np.argwhere(largest).astype(np.float64))[:, 1].min()
    # in a column beside the head, behind which the couch goes on
    beside = data[2, :, grid.shape[2] // 2]
    behind_mm = lowest_of_head - (grid.affine[1, 3] + grid.affine[1, 1] * np.flatnonzero(beside > -850))
    assert 20 < behind_mm.min() < 60
    # axial, and wider than the head on every side but the top of the couch
    np.testing.assert_array_equal(np.sign(np.diag(grid.affine)[:3]), [-1, -1, 1])
    assert np.count_nonzero(grid.affine[:3, :3]) == 3
    inside = np.argwhere(largest)
    assert (inside.min(axis=0) * grid.spacing_mm > 10).all()
    assert inside.min(axis=0)[2] * grid.spacing_mm[2] > 25


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.mark.parametrize("patient_id", ["PHANTOM-0001", "PHANTOM-0002"])
def test_the_true_transform_lays_the_ct_over_the_post_operative_scan(export: Export, patient_id: str) -> None:
    truth = export.truth[patient_id]
    post_op = export.image(export.series(patient_id, "MR", "t1_mprage"))
    image = export.image(export.series(patient_id, "CT"))
    ct_from_post_op = inverse(np.array(truth["post_op_world_from_ct_world"]))
    cavity_centre = np.array(truth["cavity_centre_mm"])
    # the cavity holds fluid: 8 HU there, and dark in T1ce, where brain has 28 to 40 HU
    assert mean_around(image, moved(ct_from_post_op, cavity_centre)) == pytest.approx(8, abs=8)
    assert mean_around(post_op, cavity_centre) < 0.4 * np.quantile(post_op.data, 0.95)
    # soft tissue and bone of the head, but neither headrest nor couch, are denser than -150 HU
    head = resample(Volume((image.data > -150).astype(np.float32), image.grid), post_op.grid, ct_from_post_op)
    bone = resample(Volume((image.data > 600).astype(np.float32), image.grid), post_op.grid, ct_from_post_op)
    bright = ndimage.binary_fill_holes(post_op.data > 200)
    assert overlap(head.data > 0.5, bright) > 0.95
    assert np.median(post_op.data[bone.data > 0.8]) < 0.5 * np.median(post_op.data[head.data > 0.99])


def moved(transform: Affine, point_mm: np.ndarray) -> np.ndarray:
    return transform[:3, :3] @ point_mm + transform[:3, 3]


def mean_around(volume: Volume, point_mm: np.ndarray, radius_mm: float = 6.0) -> float:
    voxels = np.moveaxis(np.indices(volume.grid.shape), 0, -1).astype(np.float64)
    near = np.linalg.norm(volume.grid.world_mm(voxels) - point_mm, axis=-1) < radius_mm
    return float(volume.data[near].mean())


@pytest.mark.parametrize(("patient_id", "planned_on"), [("PHANTOM-0001", "CT"), ("PHANTOM-0004", "MR")])
def test_the_dose_lies_on_the_target_in_the_space_it_was_planned_in(
    export: Export, patient_id: str, planned_on: str
) -> None:
    truth = export.truth[patient_id]
    images = export.series(patient_id, planned_on, "" if planned_on == "CT" else "t1_mprage")
    others = {image.FrameOfReferenceUID for image in export.series(patient_id, "MR", "t1_mprage")}
    (dose_header,) = export.series(patient_id, "RTDOSE")
    assert dose_header.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert (dose_header.FrameOfReferenceUID in others) is (planned_on == "MR")
    post_op_from_rt = np.array(truth["post_op_world_from_ct_world"] or np.eye(4))
    dose = export.dose_gy(patient_id)
    hot = dose.grid.world_mm(np.argwhere(dose.data > 0.9 * dose.data.max()).astype(np.float64))
    centre = moved(post_op_from_rt, hot.mean(axis=0))
    assert np.linalg.norm(centre - np.array(truth["cavity_centre_mm"])) < 8


def test_a_patient_without_ct_says_so_in_the_truth(export: Export) -> None:
    modalities = {series[0].Modality for series in export.headers["PHANTOM-0004"].values()}
    assert modalities == {"MR", "RTSTRUCT", "RTPLAN", "RTDOSE"}
    truth = export.truth["PHANTOM-0004"]
    assert truth["shared_frame_of_reference"] and truth["post_op_world_from_ct_world"] is None


def test_a_fractions_dose_times_the_plans_fractions_is_the_course(export: Export) -> None:
    for number in range(1, PATIENTS + 1):
        patient_id = f"PHANTOM-{number:04d}"
        truth = export.truth[patient_id]
        (dose,), (plan,) = export.series(patient_id, "RTDOSE"), export.series(patient_id, "RTPLAN")
        fractions = int(plan.FractionGroupSequence[0].NumberOfFractionsPlanned)
        single = number == 5
        assert dose.DoseSummationType == truth["dose_summation_type"] == ("FRACTION" if single else "PLAN")
        maximum = export.dose_gy(patient_id).data.max() * (fractions if single else 1)
        assert maximum == pytest.approx(truth["dose_max_gy"], rel=1e-5)
        prescription = plan.DoseReferenceSequence[0].TargetPrescriptionDose
        assert 1.0 < maximum / prescription < 1.2


def test_references_lead_from_the_dose_to_the_images(export: Export) -> None:
    for patient_id, series in export.headers.items():
        (dose,), (plan,) = export.series(patient_id, "RTDOSE"), export.series(patient_id, "RTPLAN")
        (structures,) = export.series(patient_id, "RTSTRUCT")
        assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
        referenced = plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
        assert referenced == structures.SOPInstanceUID
        of_study = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        (drawn_on,) = of_study.RTReferencedSeriesSequence
        images = {image.SOPInstanceUID for image in series[drawn_on.SeriesInstanceUID]}
        assert {item.ReferencedSOPInstanceUID for item in drawn_on.ContourImageSequence} == images


def test_dates_are_in_the_order_of_a_treatment(export: Export) -> None:
    with (export.folder / "clinical.csv").open(newline="") as stream:
        rows = {row["patient_id"]: row for row in csv.DictReader(stream)}
    assert set(rows) == set(export.headers) == {f"PHANTOM-{n:04d}" for n in range(1, PATIENTS + 1)}
    for patient_id, series in export.headers.items():
        dates = {name: date.fromisoformat(text) for name, text in export.truth[patient_id]["dates"].items()}
        (plan,) = export.series(patient_id, "RTPLAN")
        imaging, event = sorted({date.fromisoformat(headers[0].StudyDate) for headers in series.values()})
        rt_end = date.fromisoformat(rows[patient_id]["rt_end_date"])
        assert dates["surgery"] < imaging < date.fromisoformat(plan.RTPlanDate) < rt_end
        assert 60 <= (event - rt_end).days <= 400
        assert export.truth[patient_id]["days_rt_end_to_event"] == (event - rt_end).days
        assert rows[patient_id]["label"] == export.truth[patient_id]["label"]


def test_scans_are_those_of_the_raw_phantom(export: Export, subject: SyntheticSubject) -> None:
    assert_same(export.image(export.series("PHANTOM-0001", "MR", "t1_mprage")), subject.scans["post_op"])


def test_every_third_event_scan_is_one_multi_frame_file(export: Export) -> None:
    for number in range(1, PATIENTS + 1):
        patient_id = f"PHANTOM-{number:04d}"
        event = export.truth[patient_id]["dates"]["event"].replace("-", "")
        (files,) = (
            len(headers)
            for headers in export.headers[patient_id].values()
            if headers[0].StudyDate == event and headers[0].SeriesDescription == "t1_mprage_KM"
        )
        assert (files == 1) is (number == 3)


def test_distractors_lie_beside_the_images(export: Export) -> None:
    (capture,) = export.series("PHANTOM-0001", "MR", "Screenshot")
    assert capture.PhotometricInterpretation == "RGB" and "ImagePositionPatient" not in capture
    assert len(export.series("PHANTOM-0001", "MR", "t2_localizer")) == 5
    native = export.series("PHANTOM-0001", "MR", "t1_se")
    assert all("ContrastBolusAgent" not in header for header in native)
    contrast = export.series("PHANTOM-0001", "MR", "t1_mprage")
    assert all(header.ContrastBolusAgent for header in contrast)


def test_further_mris_lie_in_their_sessions_study_and_can_be_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "five"
    write_dicom_phantom(
        folder,
        1,
        SEED,
        DOSE_HEIGHT,
        test_fraction=0.0,
        spacing_mm=8.0,
        volumes=FIVE_VOLUMES,
        backend="serial",
    )
    series = {one.first.series_description: one for one in read_tree(folder / "images").series}
    flair, adc = series["t2_flair_tra"], series["ep2d_diff_ADC"]
    for name, found in (("event_flair", flair), ("event_adc", adc)):
        assert is_sequence(found, FIVE_VOLUMES[name])
        assert found.first.date == max(one.first.date for one in series.values() if one.first.date)
        assert not found.first.contrast_agent
    # the head lay differently in each, so none shares a frame of reference
    assert len({one.first.frame_of_reference_uid for one in (flair, adc, series["t1_se_tra"])}) == 3
    subject = make_subject(shared_template(8.0), draw_cause("sub-001", SEED, DOSE_HEIGHT), SEED, FIVE_VOLUMES)
    np.testing.assert_array_equal(
        np.sort(read_image(adc).data, axis=None), np.sort(subject.scans["event_adc"].data, axis=None)
    )


def test_every_file_is_read_under_strict_validation(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    uids = set()
    for series in export.headers["PHANTOM-0003"].values():
        dataset = pydicom.dcmread(series[0].filename)
        for element in dataset.iterall():
            assert element.value is not NotImplemented
        uids.add(dataset.SOPInstanceUID)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert all(dataset.get(name) for name in ("PatientName", "PatientBirthDate", "AccessionNumber"))
    assert len(uids) == len(export.headers["PHANTOM-0003"])


def test_folders_say_nothing_and_the_truth_holds_no_images(export: Export) -> None:
    names = {part for path in (export.folder / "images").rglob("*") for part in path.parts}
    assert not any("PHANTOM" in name or "t1" in name for name in names)
    names = sorted(path.name for path in (export.folder / "ground_truth").iterdir())
    assert names == ["mechanism.json", "truth.json"]


def test_the_same_arguments_give_the_same_bytes_and_more_patients_change_none(
    export: Export, tmp_path: Path
) -> None:
    again = write_export(tmp_path / "again", 1) / "images"
    files = [path.relative_to(again) for path in again.rglob("*.dcm")]
    assert len(files) == sum(len(headers) for headers in export.headers["PHANTOM-0001"].values())
    for name in files:
        assert file_digest(again / name) == file_digest(export.folder / "images" / name)


def test_another_seed_gives_other_patients(export: Export, tmp_path: Path) -> None:
    other = write_export(tmp_path / "other", 1, seed=8) / "images"
    written = {
        path.relative_to(export.folder / "images") for path in (export.folder / "images").rglob("*.dcm")
    }
    assert not written & {path.relative_to(other) for path in other.rglob("*.dcm")}


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(CohortError, match="exists and is not empty"):
        write_export(tmp_path, 1)
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_a_patient_that_cannot_be_made_is_named_and_no_export_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ricenet.phantom.dicom.export._write_one", fail)
    with pytest.raises(CohortError, match="PHANTOM-0001: OSError: disk full"):
        write_export(tmp_path / "new", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_dicom_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, int, int, float]] = []

    def write(folder: Path, subjects: int, seed: int, mechanism: Mechanism, **options: Any) -> None:
        asked.append((folder, subjects, seed, options["spacing_mm"]))

    monkeypatch.setattr("ricenet.phantom.dicom.export.write_dicom_phantom", write)
    params = Path(__file__).parent.parent / "params.yaml"
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["phantom", str(out), "--dicom", "--subjects", "3", "--seed", "0", "--params", str(params)]
    )
    assert result.exit_code == 0, result.output
    assert "3 synthetic patients as DICOM" in result.stdout
    assert asked == [(out, 3, 0, 2.0)]
