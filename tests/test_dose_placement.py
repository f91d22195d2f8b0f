"""The dose follows its planning CT to the reference MRI, or stays where both share a space."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_trees import edit
from heads import DOSE_HEIGHT
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from ricenet.importing.dicom.images import ReadImage, read_image
from ricenet.importing.dicom.instances import DicomTree, Instance, Kind, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose import place, planning_ct
from ricenet.importing.dose.course_dose import ChosenDose, CourseDose
from ricenet.importing.dose.interpret import read_course
from ricenet.importing.dose.place import choose_planning_ct, place_dose, require_over
from ricenet.importing.dose.planning_ct import register_to_mri, similarity_within
from ricenet.importing.dose.statement import DoseStatement
from ricenet.importing.dose.treatment import Treatment
from ricenet.importing.sources import PatientSource
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.computed_tomography import make_planning_ct
from ricenet.phantom.dicom.image_writers import write_image_series
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Affine, Grid, Volume, inverse, resample

SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))

MRI_FRAME, EVENT_FRAME, CT_FRAME = "2.25.10", "2.25.11", "2.25.12"


def series(uid: str, frame: str, kind: Kind = "CT", slices: int = 100, person: str = "") -> Series:
    """A series by its headers alone; its files do not exist."""
    return Series(
        (
            Instance(
                path=Path("absent.dcm"), kind=kind, patient_id="P", study_uid="1", series_uid=uid,
                sop_instance_uid=f"{uid}.1", date=None,
                series_number=None, series_description="", frame_of_reference_uid=frame,
                contrast_agent=False, frames=slices, person=person,
            ),
        )
    )  # fmt: skip


def source(*cts: Series, mri: Series | None = None, event_frame: str = EVENT_FRAME) -> PatientSource:
    images = {"post_op": mri or series("m", MRI_FRAME, "MR"), "event": series("e", event_frame, "MR")}
    return PatientSource(PAPER_VOLUMES, images, planning_cts=cts)


def named(ct: Series) -> PatientSource:
    return replace(source(ct), planning_ct_named=True)


def blob(centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0), spacing_mm: float = 4.0) -> Volume:
    """60 Gy at its centre, half of it 14 mm away, on a grid of 80 mm."""
    grid = Grid.cube(np.array(centre_mm), spacing_mm, 20)
    points = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    squared = ((points - np.array(centre_mm)) ** 2).sum(axis=-1)
    return Volume((60 * np.exp(-squared * np.log(2) / 14**2)).astype(np.float32), grid)


def course(frame: str = CT_FRAME, dose: Volume | None = None, drawn_on: str = "") -> CourseDose:
    return CourseDose(
        dose or blob(),
        DoseStatement(),
        "PHYSICAL",
        ("PLAN",),
        frame,
        drawn_on=frozenset({drawn_on}),
        decisions=("first decision",),
    )


def scan(size_mm: float = 200.0) -> Volume:
    grid = Grid.cube(np.zeros(3), 5.0, int(size_mm / 5))
    return Volume(np.ones(grid.shape, np.float32), grid)


def of_kind(tree: DicomTree, kind: Kind) -> list[Series]:
    return [one for one in tree.series if one.kind == kind]


# a shared frame of reference


def test_a_dose_in_the_mris_own_space_is_used_where_it_lies() -> None:
    given = course(MRI_FRAME)
    placed = place_dose(given, source(), scan(), seed=7)
    assert placed.dose is given.dose and placed.planning_ct is None
    assert placed.sidecar["DosePlacement"] == {"Method": "shared frame of reference"}
    assert placed.decisions == (
        "first decision",
        "The dose shares the reference MRI's frame of reference and is used where it lies.",
    )


def test_a_frame_that_the_mri_of_another_examination_shares_is_trusted_with_a_warning() -> None:
    placed = place_dose(course(MRI_FRAME), source(event_frame=MRI_FRAME), scan(), seed=7)
    assert "as careless anonymisers write it, and no planning CT can confirm it" in placed.decisions[-1]


@dataclass(frozen=True)
class Body:
    """A head at the origin upon a body, a couch that touches it, in HU; above: the head's upper half."""

    ct: Volume
    above: np.ndarray
    head: Volume

    @property
    def middle_mm(self) -> np.ndarray:
        return self.head.grid.world_mm(np.argwhere(self.head.data).mean(axis=0))


@pytest.fixture(scope="module")
def body() -> Body:
    affine = np.diag([-4.0, -4.0, 4.0, 1.0])
    affine[:3, 3] = [140.0, 140.0, -260.0]
    grid = Grid((71, 71, 98), affine)
    y, z = (
        grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))[..., i] for i in (1, 2)
    )
    head = ellipsoid(grid, (0, 0, 0), (75, 95, 110))
    hu = np.full(grid.shape, -1000.0)
    hu[(y < -93) & (y > -99)] = 300.0
    hu[head | ellipsoid(grid, (0, 0, -290), (180, 100, 180))] = 40.0
    ct = Volume(hu.astype(np.float32), grid)
    return Body(ct, head & (z > 0), planning_ct.head_of(ct))


def ellipsoid(
    grid: Grid, centre_mm: tuple[float, float, float], axes_mm: tuple[float, float, float]
) -> np.ndarray:
    points = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    return np.asarray((((points - np.array(centre_mm)) / np.array(axes_mm)) ** 2).sum(axis=-1) < 1)


@pytest.fixture
def registers(monkeypatch: pytest.MonkeyPatch, body: Body) -> Callable[..., None]:
    """The body's CT, and a given result in place of its registration."""
    monkeypatch.setattr(place, "read_series", lambda _, varying: ReadImage(body.ct))
    monkeypatch.setattr(planning_ct, "head_of", lambda _: body.head)

    def by(shift_mm: float = 0.0, degrees: float = 0.0) -> None:
        found = np.eye(4)
        found[:3, :3] = Rotation.from_rotvec([0, 0, degrees], degrees=True).as_matrix()
        found[:3, 3] = body.middle_mm - found[:3, :3] @ body.middle_mm + np.array([0, 0, shift_mm])
        monkeypatch.setattr(planning_ct, "register_to_mri", lambda *_: RigidResult(found, 1.12, 1.1))

    return by


@pytest.mark.parametrize(("shift_mm", "degrees"), [(0.0, 0.0), (2.9, 0.0), (0.0, 1.9)])
def test_a_shared_frame_is_trusted_where_its_ct_confirms_it(
    registers: Callable[..., None], shift_mm: float, degrees: float
) -> None:
    registers(shift_mm, degrees)
    given = course(MRI_FRAME)
    placed = place_dose(given, source(series("ct", MRI_FRAME), event_frame=MRI_FRAME), scan(), seed=7)
    assert placed.dose is given.dose and placed.planning_ct is None
    assert placed.sidecar["DosePlacement"] == {
        "Method": "shared frame of reference",
        "Similarity": 1.12,
        "SimilarityBefore": 1.1,
        "RotationDegrees": degrees,
        "ShiftMm": shift_mm,
    }
    assert placed.decisions[-1].endswith(f"the planning CT moves by {shift_mm} mm and {degrees} degrees.")


@pytest.mark.parametrize(("shift_mm", "degrees", "said"), [(3.2, 0.0, "3.2 mm"), (0.0, 2.2, "2.2 degrees")])
def test_a_shared_frame_that_its_ct_contradicts_is_the_users_choice(
    registers: Callable[..., None], shift_mm: float, degrees: float, said: str
) -> None:
    registers(shift_mm, degrees)
    message = rf"state one frame of reference, but .* moves by .*{said}.* in the map as planning_ct"
    with pytest.raises(SourceError, match=message):
        place_dose(course(MRI_FRAME), source(series("ct", MRI_FRAME)), scan(), seed=7)


def test_a_shared_frame_that_its_ct_cannot_confirm_is_the_users_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    air = Volume(np.full((20, 20, 20), -1000, np.float32), Grid.cube(np.zeros(3), 8.0, 20))
    monkeypatch.setattr(place, "read_series", lambda _, varying: ReadImage(air))
    message = "which the CT cannot confirm: the planning CT shows no head.*leave the CT out of the export"
    with pytest.raises(SourceError, match=message):
        place_dose(course(MRI_FRAME), source(series("ct", MRI_FRAME)), scan(), seed=7)


def test_a_named_ct_is_followed_even_in_a_shared_frame(registers: Callable[..., None]) -> None:
    registers(shift_mm=11.5)
    given = course(MRI_FRAME)
    placed = place_dose(given, named(series("ct", MRI_FRAME)), scan(), seed=7)
    moved = placed.dose.grid.affine[:3, 3] - given.dose.grid.affine[:3, 3]
    np.testing.assert_allclose(moved, [0, 0, -11.5], atol=1e-9)
    assert placed.planning_ct is not None
    assert "the planning CT that the map names" in placed.decisions[-1]


FAR = blob((250.0, 0.0, 0.0))
NO_PLACE: dict[str, tuple[CourseDose, PatientSource, str]] = {
    "a named CT elsewhere": (course(), named(series("ct", "2.25.99")), "planning_ct lies in another"),
    "and in the MRI's frame": (
        course(MRI_FRAME),
        named(series("ct", "2.25.99")),
        "planning_ct lies in anoth",
    ),
    "another person's CT": (
        course(),
        source(series("ct", CT_FRAME, person="b"), mri=series("m", MRI_FRAME, "MR", person="a")),
        "state 2 different pairs of birth date and sex",
    ),
    # the scan ends at x = 100 mm
    "far away": (course(MRI_FRAME, FAR), source(), r"dose lies 1[45]\d mm away from the reference MRI \(0% "),
    "no CT": (course(), source(series("a", "2.25.99")), "is that of no chosen MRI, and no planning CT"),
    "no CT of the event": (course(EVENT_FRAME), source(), "is that of an MRI of another session, and no"),
    "a scout": (course(), source(series("s", CT_FRAME, slices=2)), r"has 2 slice\(s\), at least 8 are"),
    "several CTs": (
        course(drawn_on="c"),
        source(series("a", CT_FRAME), series("b", CT_FRAME)),
        r"2 CT series in the dose's frame .* in the map \(planning_ct\)",
    ),
}


@pytest.mark.parametrize("name", NO_PLACE)
def test_a_dose_without_a_known_place_is_refused(name: str) -> None:
    given, chosen, message = NO_PLACE[name]
    with pytest.raises(SourceError, match=message):
        place_dose(given, chosen, scan(), seed=7)


@pytest.mark.parametrize(("x_mm", "accepted"), [(92.0, True), (108.0, False)])
def test_half_of_the_high_dose_has_to_lie_within_the_scan(x_mm: float, accepted: bool) -> None:
    dose = blob((x_mm, 0.0, 0.0))
    if accepted:
        require_over(scan().grid, dose)
    else:
        with pytest.raises(SourceError, match=r"mm away from the reference MRI \([1-4]\d% of"):
            require_over(scan().grid, dose)


def test_distances_are_millimetres_on_an_oblique_scan_of_long_voxels() -> None:
    turned = np.array([[0, -2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 10.0, 0], [0, 0, 0, 1]])
    turned[:3, 3] = -turned[:3, :3] @ np.array([49.5, 49.5, 9.5])
    with pytest.raises(SourceError, match=r"the dose lies (59|60|61) mm away"):
        require_over(Grid((100, 100, 20), turned), blob((0.0, 0.0, 160.0)))


@pytest.mark.parametrize(
    ("cts", "drawn_on"),
    [
        ([series("a", "2.25.99"), series("b", CT_FRAME)], ""),
        ([series("a", CT_FRAME, slices=2), series("b", CT_FRAME)], ""),
        ([series("a", CT_FRAME), series("b", CT_FRAME)], "b"),
    ],
    ids=["by its frame", "no scout", "by the structures"],
)
def test_the_planning_ct_is_chosen_by_what_the_objects_state(cts: list[Series], drawn_on: str) -> None:
    assert choose_planning_ct(course(drawn_on=drawn_on), source(*cts)).uid == "b"


# the head in the CT


def test_the_head_is_found_without_couch_and_without_what_lies_far_below(body: Body) -> None:
    head = body.head
    assert head.grid.spacing_mm == (2.0, 2.0, 2.0)
    inside = head.grid.world_mm(np.argwhere(head.data).astype(np.float64))
    assert inside[:, 2].max() == pytest.approx(110, abs=4)
    assert inside[:, 2].min() == pytest.approx(110 - planning_ct.HEAD_MM, abs=4)
    above = inside[inside[:, 2] > 0]
    assert above[:, 1].min() == pytest.approx(-95, abs=6)  # the couch begins there and is 280 mm wide
    assert np.abs(above[:, 0]).max() == pytest.approx(75, abs=4)
    found_ml, true_ml = len(above) * 0.008, body.above.sum() * body.ct.grid.voxel_ml
    assert found_ml == pytest.approx(true_ml, rel=0.05)


def test_the_prepared_ct_is_zero_around_the_head_and_starts_there_within_it(body: Body) -> None:
    values = planning_ct.prepared(body.ct, body.head).data
    assert not values[~body.head.data].any()
    assert np.median(values[body.head.data]) == pytest.approx(40.0 - planning_ct.WINDOW_HU[0])


@pytest.mark.parametrize(("radius_mm", "found"), [(0.1, "0 ml"), (40.0, r"2[4-7]\d ml")])
def test_a_ct_without_a_head_is_refused(radius_mm: float, found: str) -> None:
    grid = Grid.cube(np.zeros(3), 4.0, 30)
    hu = np.where(ellipsoid(grid, (1, 1, 1), (radius_mm,) * 3), 40.0, -1000.0)
    with pytest.raises(SourceError, match=rf"shows no head: its largest body is {found}, at least 1500 ml"):
        planning_ct.head_of(Volume(hu.astype(np.float32), grid))


# registration


@dataclass(frozen=True)
class Planned:
    """A phantom head with its planning CT as DICOM, the truth, and how its dose was placed."""

    subject: SyntheticSubject
    source: PatientSource
    course: CourseDose
    mri_from_ct: Affine
    placed: CourseDose
    registered: RigidResult
    head: Volume

    @property
    def points_mm(self) -> np.ndarray:
        """Of the true brain, in the MRI's space."""
        anatomy, to_mri = self.subject.anatomy, self.subject.world_from_anatomy("post_op")
        points = anatomy.grid.world_mm(np.argwhere(anatomy.brain)[::11].astype(np.float64))
        return np.asarray(points @ to_mri[:3, :3].T + to_mri[:3, 3])


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    subject = make_subject(shared_template(3.0), draw_cause("sub-001", 7, DOSE_HEIGHT), 7)
    ct = make_planning_ct(subject.anatomy, subject.lesions, 2.0, generator_for("test", "planning ct"))
    folder = tmp_path_factory.mktemp("ct")
    study = StudyTags(PatientTags("P"), "2.25.20", date(2020, 1, 1))
    write_image_series(
        ct.image, folder, Header(study, "2.25.21", CT_FRAME), modality="CT", intercept=-1024.0
    )  # fmt: skip
    mri_from_ct = subject.world_from_anatomy("post_op") @ inverse(ct.world_from_anatomy)
    dose = subject.scans["dose"]
    in_ct = Grid(dose.grid.shape, inverse(mri_from_ct) @ dose.grid.affine)
    given = course(dose=Volume(dose.data, in_ct))
    chosen = source(*read_tree(folder).series)
    seen: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patched:
        for name in ("head_of", "register_to_mri"):
            patched.setattr(planning_ct, name, noted(getattr(planning_ct, name), name, seen))
        placed = place_dose(given, chosen, subject.scans["post_op"], seed=7)
    return Planned(subject, chosen, given, mri_from_ct, placed, seen["register_to_mri"], seen["head_of"])


def noted(function: Callable[..., Any], name: str, seen: dict[str, Any]) -> Callable[..., Any]:
    """The function, noting its result by name."""

    def call(*arguments: Any) -> Any:
        seen[name] = function(*arguments)
        return seen[name]

    return call


@pytest.mark.slow
def test_the_dose_follows_the_ct_to_within_a_millimetre(planned: Planned) -> None:
    true = planned.subject.scans["dose"].grid.affine
    error = planned.placed.dose.grid.affine @ inverse(true) - np.eye(4)
    distances = np.linalg.norm(planned.points_mm @ error[:3, :3].T + error[:3, 3], axis=1)
    assert np.abs(planned.mri_from_ct - np.eye(4)).max() > 5  # there was something to find
    assert distances.mean() < 0.5 and distances.max() < 1.0
    # and its voxels are not touched
    np.testing.assert_array_equal(planned.placed.dose.data, planned.course.dose.data)
    moved, given = (one.dose.grid.affine[:3, :3] for one in (planned.placed, planned.course))
    np.testing.assert_allclose(moved.T @ moved, given.T @ given, atol=1e-6)  # rigid


@pytest.mark.slow
def test_one_frame_for_all_studies_is_found_out_by_the_ct(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_ct, "head_of", lambda _: planned.head)
    monkeypatch.setattr(planning_ct, "register_to_mri", lambda *_: planned.registered)
    careless = replace(planned.source, images=source(mri=series("m", CT_FRAME, "MR")).images)
    with pytest.raises(SourceError, match=r"the CT's head moves by \d+\.\d mm and \d+\.\d degrees"):
        place_dose(planned.course, careless, planned.subject.scans["post_op"], seed=7)


@pytest.mark.slow
def test_how_it_was_placed_is_recorded_without_saying_whose_it_is(planned: Planned) -> None:
    placement = planned.placed.sidecar["DosePlacement"]
    assert isinstance(placement, dict)
    assert placement["Method"] == "rigid registration of the planning CT"
    angle = Rotation.from_matrix(planned.mri_from_ct[:3, :3]).magnitude()
    assert placement["RotationDegrees"] == pytest.approx(np.degrees(angle), abs=0.5)
    grid = planned.subject.scans["post_op"].grid
    middle = np.append(grid.world_mm((np.array(grid.shape) - 1) / 2), 1)
    shift = np.linalg.norm((inverse(planned.mri_from_ct) @ middle - middle)[:3])
    assert placement["ShiftMm"] == pytest.approx(shift, abs=1.0)
    assert placement["Similarity"] > planning_ct.LEAST_SIMILARITY
    assert "registered rigidly" in planned.placed.decisions[-1]
    assert "2.25" not in json.dumps(planned.placed.sidecar)


@pytest.mark.slow
def test_the_copy_of_the_ct_shows_the_head_in_the_mris_space(planned: Planned) -> None:
    copy = planned.placed.planning_ct
    assert copy is not None
    np.testing.assert_allclose(copy.grid.affine[:3, :3], np.diag([2.0, 2.0, 2.0]))
    assert copy.data.min() >= -1100 and copy.data.max() < 1200
    ct = read_image(planned.source.planning_cts[0])
    there = Volume(ct.data + 1000, Grid(ct.grid.shape, planned.mri_from_ct @ ct.grid.affine))
    expected = resample(there, copy.grid).data - 1000
    assert np.corrcoef(expected.ravel(), copy.data.ravel())[0, 1] > 0.99
    # of a head, not of a scanner
    assert max(copy.grid.shape) * 2.0 < 330


@pytest.mark.slow
def test_a_ct_of_variable_spacing_with_a_localizer_is_followed_as_well(
    planned: Planned, tmp_path: Path
) -> None:
    (ct,) = planned.source.planning_cts
    slices = sorted(ct.instances, key=lambda one: float(dcmread(one.path).ImagePositionPatient[2]))
    third = len(slices) // 3
    kept = [one for k, one in enumerate(slices) if third <= k < 2 * third or k % 2 == third % 2]
    localizer = tmp_path / "localizer"
    shutil.copy(slices[0].path, localizer)
    edit(
        localizer, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[0, 1, 0, 0, 0, -1]
    )
    odd = replace(kept[0], path=localizer, localizer=True)
    mixed = replace(ct, instances=(*kept, odd), leaves_out_localizers=True)
    post_op = planned.subject.scans["post_op"]
    placed = place_dose(planned.course, replace(planned.source, planning_cts=(mixed,)), post_op, seed=7)
    error = placed.dose.grid.affine @ inverse(planned.subject.scans["dose"].grid.affine) - np.eye(4)
    distances = np.linalg.norm(planned.points_mm @ error[:3, :3].T + error[:3, 3], axis=1)
    assert distances.max() < 1.0
    left_out, resampled = placed.decisions[1:-1]
    assert left_out == "Planning CT: 1 localizer(s) of the series are left out, as stated by the user."
    assert re.match(r"Planning CT: Slices 2\.\d\d to 4\.\d\d mm apart are resampled linearly to 2", resampled)


@pytest.mark.slow
def test_what_only_has_a_heads_outline_is_not_laid_over_it(planned: Planned) -> None:
    head = planned.head
    uniform = Volume(np.where(head.data, 240, 0).astype(np.float32), head.grid)
    with pytest.raises(SourceError, match=r"CT to the reference MRI failed \(.* within the head 1\.0[01]"):
        register_to_mri(uniform, head, planned.subject.scans["post_op"], seed=7)


@pytest.mark.slow
def test_a_misplaced_head_shares_less_than_one_in_place(planned: Planned) -> None:
    head, ct = planned.head, planning_ct.prepared(read_image(planned.source.planning_cts[0]), planned.head)
    true = inverse(planned.mri_from_ct)
    in_place = similarity_within(head, ct, planned.subject.scans["post_op"], true)
    for shift_mm in (5.0, 10.0, 20.0):
        moved = true.copy()
        moved[2, 3] += shift_mm
        assert similarity_within(head, ct, planned.subject.scans["post_op"], moved) < in_place - 0.02
    moved[2, 3] += 300
    assert similarity_within(head, ct, planned.subject.scans["post_op"], moved) == 1.0  # out of the scan


@pytest.mark.parametrize(
    ("after", "before", "degrees", "message"),
    [
        (1.02, 1.0, 0.0, "within the head 1.020, 1.000 before it, expected"),
        (1.04, 1.0, 25.0, None),
        (1.08, 1.10, 0.0, "within the head 1.080, 1.100 before it, expected"),
        (1.095, 1.10, -59.0, None),
        *(
            (1.12, 1.0, degrees, rf"turned by {abs(degrees):.0f} degrees \(at most 60 .* mirrored as well")
            for degrees in (90.0, 180.0, -180.0, 61.0)
        ),
    ],
)
def test_a_registration_has_to_explain_something_no_less_than_the_headers_and_without_a_turn(
    monkeypatch: pytest.MonkeyPatch, after: float, before: float, degrees: float, message: str | None
) -> None:
    found = np.eye(4)
    found[:3, :3] = Rotation.from_rotvec([degrees * 0.6, 0, degrees * 0.8], degrees=True).as_matrix()
    found[0, 3] = 30.0
    result = RigidResult(found, similarity=1.9, similarity_before=1.0)
    monkeypatch.setattr(planning_ct, "register_rigid", lambda *_, **__: result)
    monkeypatch.setattr(
        planning_ct, "similarity_within", lambda *_: before if (_[3] == np.eye(4)).all() else after
    )
    if message is None:
        registered = register_to_mri(scan(), scan(), scan(), seed=7)
        assert (registered.similarity, registered.similarity_before) == (after, before)
    else:
        with pytest.raises(SourceError, match=message):
            register_to_mri(scan(), scan(), scan(), seed=7)


# a real export, of a breast


def test_a_real_breasts_dose_is_understood_and_refused_as_a_brains() -> None:
    folder = SAMPLES / "rt_dicom"
    if not folder.is_dir():
        pytest.skip(f"no sample files: {SAMPLES.name}/rt_dicom is absent (RICENET_SAMPLES)")
    tree = read_tree(folder)
    judged = read_course(
        [ChosenDose(one.first) for one in of_kind(tree, "RTDOSE")], Treatment.of_series(tree.series)
    )
    assert judged.sidecar["NumberOfFractions"] == 7 and judged.sidecar["PrescriptionGy"] == 14.0
    assert judged.sidecar["DoseSummationType"] == "PLAN"
    assert judged.dose.data.max() == pytest.approx(14.68, abs=0.01)
    cts = of_kind(tree, "CT")
    with pytest.raises(SourceError, match=r"the planning CT has 1 slice\(s\), at least 8 are expected"):
        place_dose(judged, source(*cts), scan(), seed=7)
    # and if the scan were said to lie in its space
    sharing = source(*cts, mri=series("m", judged.frame_of_reference_uid, "MR"))
    with pytest.raises(SourceError, match=r"the dose lies \d+ mm away from the reference MRI"):
        place_dose(judged, sharing, scan(), seed=7)
