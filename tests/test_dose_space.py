"""The dose follows its planning CT to the post-op scan, or stays where both share a space."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from dicom_trees import write_tiny_export
from heads import WEIGHTS

from ricenet.importing import dose_space, planning_ct, planning_registration
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.instances import DicomTree, Instance, Kind, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose_gate import CourseDose, judge_dose
from ricenet.importing.dose_space import PlacedDose, choose_planning_ct, place_dose, require_over
from ricenet.importing.planning_registration import register_to_post_op, similarity_within
from ricenet.importing.sources import DoseChoice, PatientSource
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.computed_tomography import make_planning_ct
from ricenet.phantom.dicom.images import write_image_series
from ricenet.phantom.dicom.objects import PatientTags, StudyTags
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.preprocessing.registration.ants import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Affine, Grid, Volume, inverse, resample

SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))

MRI_FRAME, EVENT_FRAME, CT_FRAME = "2.25.10", "2.25.11", "2.25.12"


def series(uid: str, frame: str, kind: Kind = "CT", slices: int = 100) -> Series:
    """A series by its headers alone; its files do not exist."""
    return Series(
        (
            Instance(
                path=Path("absent.dcm"), kind=kind, patient_id="P", study_uid="1", series_uid=uid,
                sop_instance_uid=f"{uid}.1", date=None,
                series_number=None, series_description="", frame_of_reference_uid=frame,
                contrast_agent=False, frames=slices,
            ),
        )
    )  # fmt: skip


def source(*cts: Series, structures: tuple[Instance, ...] = ()) -> PatientSource:
    post_op, event = series("m", MRI_FRAME, "MR"), series("e", EVENT_FRAME, "MR")
    return PatientSource(post_op, event, (), (), structures, cts)


def blob(centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0), spacing_mm: float = 4.0) -> Volume:
    """60 Gy at its centre, half of it 14 mm away, on a grid of 80 mm."""
    grid = Grid.cube(np.array(centre_mm), spacing_mm, 20)
    points = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    squared = ((points - np.array(centre_mm)) ** 2).sum(axis=-1)
    return Volume((60 * np.exp(-squared * np.log(2) / 14**2)).astype(np.float32), grid)


def course(frame: str = CT_FRAME, dose: Volume | None = None, structures: tuple[str, ...] = ()) -> CourseDose:
    sidecar = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "Decisions": ["first decision"]}
    return CourseDose(dose or blob(), frame, sidecar, structures)


def scan(size_mm: float = 200.0) -> Volume:
    grid = Grid.cube(np.zeros(3), 5.0, int(size_mm / 5))
    return Volume(np.ones(grid.shape, np.float32), grid)


# a shared frame of reference


def test_a_dose_in_the_post_op_scans_own_space_is_used_where_it_lies() -> None:
    given = course(MRI_FRAME)
    placed = place_dose(given, source(), scan(), seed=7)
    assert placed.dose is given.dose and placed.planning_ct is None
    assert placed.sidecar["DosePlacement"] == {"Method": "shared frame of reference"}
    assert placed.sidecar["Decisions"] == [
        "first decision",
        "The dose shares the post-op scan's frame of reference and is used where it lies.",
    ]
    assert given.sidecar["Decisions"] == ["first decision"]


def test_a_frame_that_the_event_of_another_examination_shares_is_trusted_with_a_warning() -> None:
    shared = replace(source(), event=series("e", MRI_FRAME, "MR"))
    placed = place_dose(course(MRI_FRAME), shared, scan(), seed=7)
    decisions = placed.sidecar["Decisions"]
    assert isinstance(decisions, list)
    assert "as careless anonymisers write it, and no planning CT can tell: look at" in decisions[-1]


@pytest.fixture
def body_ct(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A CT of a body, and the registration's result in place of a registration."""
    ct, _ = body_on_a_couch()
    monkeypatch.setattr(dose_space, "read_image", lambda _: ct)

    def registers(shift_mm: float = 0.0, degrees: float = 0.0) -> None:
        middle = middle_of_its_head(ct)
        angle = np.deg2rad(degrees)
        found = np.eye(4)
        found[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        found[:3, 3] = middle - found[:3, :3] @ middle + np.array([0, 0, shift_mm])
        monkeypatch.setattr(dose_space, "register_to_post_op", lambda *_: RigidResult(found, 1.12, 1.1))

    return registers


def middle_of_its_head(ct: Volume) -> np.ndarray:
    head = planning_ct.head_of(ct)
    return head.grid.world_mm(np.argwhere(head.data).mean(axis=0))


@pytest.mark.parametrize(("shift_mm", "degrees"), [(0.0, 0.0), (2.9, 0.0), (0.0, 1.9)])
def test_a_shared_frame_is_trusted_where_its_ct_confirms_it(
    body_ct: Callable[..., None], shift_mm: float, degrees: float
) -> None:
    body_ct(shift_mm, degrees)
    event_too = replace(source(series("ct", MRI_FRAME)), event=series("e", MRI_FRAME, "MR"))
    given = course(MRI_FRAME)
    placed = place_dose(given, event_too, scan(), seed=7)
    assert placed.dose is given.dose and placed.planning_ct is None
    assert placed.sidecar["DosePlacement"] == {
        "Method": "shared frame of reference",
        "Similarity": 1.12,
        "SimilarityBefore": 1.1,
        "RotationDegrees": degrees,
        "ShiftMm": shift_mm,
    }
    decisions = placed.sidecar["Decisions"]
    assert isinstance(decisions, list)
    assert decisions[-1].endswith(f"the planning CT moves by {shift_mm} mm and {degrees} degrees.")


@pytest.mark.parametrize(("shift_mm", "degrees", "told"), [(3.2, 0.0, "3.2 mm"), (0.0, 2.2, "2.2 degrees")])
def test_a_shared_frame_that_its_ct_contradicts_is_the_users_choice(
    body_ct: Callable[..., None], shift_mm: float, degrees: float, told: str
) -> None:
    body_ct(shift_mm, degrees)
    message = rf"state one frame of reference, but .* moves by .*{told}.* in the map as planning_ct"
    with pytest.raises(SourceError, match=message):
        place_dose(course(MRI_FRAME), source(series("ct", MRI_FRAME)), scan(), seed=7)


def test_a_shared_frame_that_its_ct_cannot_confirm_is_the_users_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    air = Volume(np.full((20, 20, 20), -1000, np.float32), Grid.cube(np.zeros(3), 8.0, 20))
    monkeypatch.setattr(dose_space, "read_image", lambda _: air)
    message = "which the CT cannot confirm: the planning CT shows no head.*leave the CT out of the export"
    with pytest.raises(SourceError, match=message):
        place_dose(course(MRI_FRAME), source(series("ct", MRI_FRAME)), scan(), seed=7)


def test_a_named_ct_is_followed_even_in_a_shared_frame(body_ct: Callable[..., None]) -> None:
    body_ct(shift_mm=11.5)
    named = replace(source(series("ct", MRI_FRAME)), planning_ct_named=True)
    given = course(MRI_FRAME)
    placed = place_dose(given, named, scan(), seed=7)
    moved = placed.dose.grid.affine[:3, 3] - given.dose.grid.affine[:3, 3]
    np.testing.assert_allclose(moved, [0, 0, -11.5], atol=1e-9)
    assert placed.planning_ct is not None
    decisions = placed.sidecar["Decisions"]
    assert isinstance(decisions, list) and "the planning CT that the map names" in decisions[-1]


def test_a_named_ct_of_another_frame_is_refused_as_such() -> None:
    named = replace(source(series("ct", "2.25.99")), planning_ct_named=True)
    for frame in (MRI_FRAME, CT_FRAME):
        with pytest.raises(SourceError, match="names as planning_ct lies in another frame of reference than"):
            place_dose(course(frame), named, scan(), seed=7)


def test_another_persons_ct_is_refused() -> None:
    def of(person: str, one: Series) -> Series:
        return Series(tuple(replace(instance, person=person) for instance in one.instances))

    mixed = replace(source(of("b", series("ct", CT_FRAME))), post_op=of("a", series("m", MRI_FRAME, "MR")))
    with pytest.raises(SourceError, match="state 2 different pairs of birth date and sex"):
        place_dose(course(), mixed, scan(), seed=7)


def test_a_dose_far_from_the_scan_is_refused_with_the_distance() -> None:
    # the scan ends at x = 100 mm
    message = r"the dose lies 1[45]\d mm away from the post-op scan \(0% of .* above 50%.*of the brain"
    with pytest.raises(SourceError, match=message):
        place_dose(course(MRI_FRAME, blob((250.0, 0.0, 0.0))), source(), scan(), seed=7)


@pytest.mark.parametrize(("x_mm", "accepted"), [(92.0, True), (108.0, False)])
def test_half_of_the_high_dose_has_to_lie_within_the_scan(x_mm: float, accepted: bool) -> None:
    dose = blob((x_mm, 0.0, 0.0))
    if accepted:
        require_over(scan().grid, dose)
    else:
        with pytest.raises(SourceError, match=r"mm away from the post-op scan \([1-4]\d% of"):
            require_over(scan().grid, dose)


def test_distances_are_millimetres_on_an_oblique_scan_of_long_voxels() -> None:
    turned = np.array([[0, -2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 10.0, 0], [0, 0, 0, 1]])
    turned[:3, 3] = -turned[:3, :3] @ np.array([49.5, 49.5, 9.5])
    with pytest.raises(SourceError, match=r"the dose lies (59|60|61) mm away"):
        require_over(Grid((100, 100, 20), turned), blob((0.0, 0.0, 160.0)))


# which CT


def test_the_ct_is_the_one_in_the_doses_frame_of_reference() -> None:
    chosen = choose_planning_ct(course(), source(series("a", "2.25.99"), series("b", CT_FRAME)))
    assert chosen.uid == "b"


def test_scouts_and_single_slices_are_no_planning_ct() -> None:
    scout, whole = series("scout", CT_FRAME, slices=2), series("b", CT_FRAME)
    assert choose_planning_ct(course(), source(scout, whole)).uid == "b"
    with pytest.raises(SourceError, match=r"the planning CT has 2 slice\(s\), at least 8 are expected"):
        choose_planning_ct(course(), source(scout))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (CT_FRAME, "the dose's frame of reference is that of neither MRI, and no planning CT of it is in"),
        (EVENT_FRAME, "the dose's frame of reference is that of the event MRI, and no planning CT"),
    ],
)
def test_without_the_planning_ct_the_dose_cannot_be_placed(frame: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        place_dose(course(frame), source(series("a", "2.25.99")), scan(), seed=7)


def test_several_cts_of_one_frame_are_the_users_choice() -> None:
    several = source(series("a", CT_FRAME), series("b", CT_FRAME))
    with pytest.raises(SourceError, match=r"2 CT series in the dose's frame .* in the map \(planning_ct\)"):
        choose_planning_ct(course(), several)


def test_of_several_cts_the_one_that_the_structures_were_drawn_on_counts(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, shared_frame=False, with_ct=True)
    patient, frame = export.patient, export.rt_frame_uid
    (structures,) = of_kind(read_tree(tmp_path), "RTSTRUCT")
    both = source(series("a", frame), series(patient.uid("ct"), frame), structures=(structures.first,))
    chosen = choose_planning_ct(course(frame, structures=(patient.uid("struct"),)), both)
    assert chosen.uid == patient.uid("ct")
    # those of another plan say nothing
    with pytest.raises(SourceError, match="2 CT series"):
        choose_planning_ct(course(frame, structures=("2.25.5",)), both)


def of_kind(tree: DicomTree, kind: Kind) -> list[Series]:
    return [one for one in tree.series if one.kind == kind]


# the head in the CT


def ellipsoid(
    grid: Grid, centre_mm: tuple[float, float, float], axes_mm: tuple[float, float, float]
) -> np.ndarray:
    points = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    return np.asarray((((points - np.array(centre_mm)) / np.array(axes_mm)) ** 2).sum(axis=-1) < 1)


def body_on_a_couch() -> tuple[Volume, np.ndarray]:
    """A head at the origin upon a long body, a couch that touches it; HU, and the head as a mask."""
    affine = np.diag([-3.0, -3.0, 4.0, 1.0])
    affine[:3, 3] = [195.0, 195.0, -400.0]
    grid = Grid((131, 131, 141), affine)
    head = ellipsoid(grid, (0, 0, 0), (75, 95, 110))
    body = ellipsoid(grid, (0, 0, -290), (180, 100, 180))
    y, z = (
        grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))[..., i] for i in (1, 2)
    )
    hu = np.full(grid.shape, -1000.0)
    hu[(y < -93) & (y > -99)] = 300.0
    hu[head | body] = 40.0
    return Volume(hu.astype(np.float32), grid), head & (z > 0)


def test_the_head_is_found_without_couch_and_without_what_lies_far_below() -> None:
    ct, upper_half = body_on_a_couch()
    head = planning_ct.head_of(ct)
    assert head.grid.spacing_mm == (2.0, 2.0, 2.0)
    inside = head.grid.world_mm(np.argwhere(head.data).astype(np.float64))
    assert inside[:, 2].max() == pytest.approx(110, abs=4)
    assert inside[:, 2].min() == pytest.approx(110 - planning_ct.HEAD_MM, abs=4)
    above = inside[inside[:, 2] > 0]
    assert above[:, 1].min() == pytest.approx(-95, abs=6)  # the couch begins there and is 390 mm wide
    assert np.abs(above[:, 0]).max() == pytest.approx(75, abs=4)
    found_ml, true_ml = len(above) * 0.008, upper_half.sum() * ct.grid.voxel_ml
    assert found_ml == pytest.approx(true_ml, rel=0.05)


def test_the_prepared_ct_is_zero_around_the_head_and_starts_there_within_it() -> None:
    ct, _ = body_on_a_couch()
    head = planning_ct.head_of(ct)
    values = planning_ct.prepared(ct, head).data
    assert not values[~head.data].any()
    assert np.median(values[head.data]) == pytest.approx(40.0 - planning_ct.WINDOW_HU[0])


def test_a_ct_without_a_head_is_refused() -> None:
    ct, _ = body_on_a_couch()
    small = ellipsoid(ct.grid, (0, 0, 0), (40, 40, 40))
    for hu, found in (
        (np.full(ct.grid.shape, -1000.0), r"0 ml"),
        (np.where(small, 40.0, -1000.0), r"2[56]\d ml"),
    ):
        with pytest.raises(
            SourceError, match=rf"shows no head: its largest body is {found}, at least 1500 ml"
        ):
            planning_ct.head_of(Volume(hu.astype(np.float32), ct.grid))


# registration


@dataclass(frozen=True)
class Planned:
    """A phantom head with its planning CT as DICOM, the truth, and how its dose was placed."""

    subject: SyntheticSubject
    source: PatientSource
    course: CourseDose
    post_op_from_ct: Affine
    placed: PlacedDose

    @property
    def points_mm(self) -> np.ndarray:
        """Of the true brain, in the post-op scan's space."""
        anatomy, to_post_op = self.subject.anatomy, self.subject.at_post_op.world_from_anatomy
        points = anatomy.grid.world_mm(np.argwhere(anatomy.brain)[::11].astype(np.float64))
        return np.asarray(points @ to_post_op[:3, :3].T + to_post_op[:3, 3])


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    import datetime

    subject = make_subject(shared_template(3.0), draw_cause("sub-001", 7, WEIGHTS), 7)
    ct = make_planning_ct(subject.anatomy, subject.lesions, 2.0, generator_for("test", "planning ct"))
    folder = tmp_path_factory.mktemp("ct")
    study = StudyTags(PatientTags("P"), "2.25.20", datetime.date(2020, 1, 1))
    write_image_series(
        ct.image, folder, study, modality="CT", series_uid="2.25.21", frame_of_reference_uid=CT_FRAME,
        intercept=-1024.0,
    )  # fmt: skip
    post_op_from_ct = subject.at_post_op.world_from_anatomy @ inverse(ct.world_from_anatomy)
    in_ct = Grid(subject.dose.grid.shape, inverse(post_op_from_ct) @ subject.dose.grid.affine)
    given = course(dose=Volume(subject.dose.data, in_ct))
    chosen = source(*read_tree(folder).series)
    placed = place_dose(given, chosen, subject.post_op, seed=7)
    return Planned(subject, chosen, given, post_op_from_ct, placed)


@pytest.mark.slow
def test_the_dose_follows_the_ct_to_within_a_millimetre(planned: Planned) -> None:
    true = planned.subject.dose.grid.affine
    error = planned.placed.dose.grid.affine @ inverse(true) - np.eye(4)
    distances = np.linalg.norm(planned.points_mm @ error[:3, :3].T + error[:3, 3], axis=1)
    assert np.abs(planned.post_op_from_ct - np.eye(4)).max() > 5  # there was something to find
    assert distances.mean() < 0.5 and distances.max() < 1.0


@pytest.mark.slow
def test_one_frame_for_all_studies_is_found_out_by_the_ct(planned: Planned) -> None:
    careless = replace(planned.source, post_op=series("m", CT_FRAME, "MR"))
    true_mm = np.abs(planned.post_op_from_ct - np.eye(4)).max()
    assert true_mm > 5
    with pytest.raises(SourceError, match=r"the CT's head moves by \d+\.\d mm and \d+\.\d degrees"):
        place_dose(planned.course, careless, planned.subject.post_op, seed=7)


@pytest.mark.slow
def test_the_doses_voxels_are_not_touched(planned: Planned) -> None:
    np.testing.assert_array_equal(planned.placed.dose.data, planned.course.dose.data)
    moved = planned.placed.dose.grid.affine[:3, :3]
    given = planned.course.dose.grid.affine[:3, :3]
    np.testing.assert_allclose(moved.T @ moved, given.T @ given, atol=1e-6)  # rigid


@pytest.mark.slow
def test_how_it_was_placed_is_recorded_without_saying_whose_it_is(planned: Planned) -> None:
    placement = planned.placed.sidecar["DosePlacement"]
    assert isinstance(placement, dict)
    assert placement["Method"] == "rigid registration of the planning CT"
    cosine = (np.trace(planned.post_op_from_ct[:3, :3]) - 1) / 2
    assert placement["RotationDegrees"] == pytest.approx(np.degrees(np.arccos(cosine)), abs=0.5)
    grid = planned.subject.post_op.grid
    middle = np.append(grid.world_mm((np.array(grid.shape) - 1) / 2), 1)
    shift = np.linalg.norm((inverse(planned.post_op_from_ct) @ middle - middle)[:3])
    assert placement["ShiftMm"] == pytest.approx(shift, abs=1.0)
    assert placement["Similarity"] > planning_registration.LEAST_SIMILARITY
    decisions = planned.placed.sidecar["Decisions"]
    assert isinstance(decisions, list) and "registered rigidly" in decisions[-1]
    assert "2.25" not in json.dumps(dict(planned.placed.sidecar))


@pytest.mark.slow
def test_the_copy_of_the_ct_shows_the_head_in_the_post_op_scans_space(planned: Planned) -> None:
    copy = planned.placed.planning_ct
    assert copy is not None
    np.testing.assert_allclose(copy.grid.affine[:3, :3], np.diag([2.0, 2.0, 2.0]))
    assert copy.data.min() >= -1100 and copy.data.max() < 1200
    ct = read_image(planned.source.planning_cts[0])
    there = Volume(ct.data + 1000, Grid(ct.grid.shape, planned.post_op_from_ct @ ct.grid.affine))
    expected = resample(there, copy.grid).data - 1000
    assert np.corrcoef(expected.ravel(), copy.data.ravel())[0, 1] > 0.99
    # of a head, not of a scanner
    assert max(copy.grid.shape) * 2.0 < 330


def head_of_the_ct(planned: Planned) -> tuple[Volume, Volume]:
    """The CT as registered, and where its head is."""
    ct = read_image(planned.source.planning_cts[0])
    head = planning_ct.head_of(ct)
    return planning_ct.prepared(ct, head), head


@pytest.mark.slow
def test_what_only_has_a_heads_outline_is_not_laid_over_it(planned: Planned) -> None:
    _, head = head_of_the_ct(planned)
    uniform = Volume(np.where(head.data, 240, 0).astype(np.float32), head.grid)
    with pytest.raises(
        SourceError, match=r"planning CT to the post-op scan failed \(.* within the head 1\.0[01]"
    ):
        register_to_post_op(uniform, head, planned.subject.post_op, seed=7)


@pytest.mark.slow
def test_a_misplaced_head_shares_less_than_one_in_place(planned: Planned) -> None:
    ct, head = head_of_the_ct(planned)
    true = inverse(planned.post_op_from_ct)
    in_place = similarity_within(head, ct, planned.subject.post_op, true)
    for shift_mm in (5.0, 10.0, 20.0):
        moved = true.copy()
        moved[2, 3] += shift_mm
        assert similarity_within(head, ct, planned.subject.post_op, moved) < in_place - 0.02
    moved[2, 3] += 300
    assert similarity_within(head, ct, planned.subject.post_op, moved) == 1.0  # out of the scan


@pytest.mark.parametrize(
    ("after", "before", "accepted"),
    [(1.02, 1.0, False), (1.04, 1.0, True), (1.08, 1.10, False), (1.095, 1.10, True)],
)
def test_a_registration_has_to_explain_something_and_no_less_than_the_headers(
    monkeypatch: pytest.MonkeyPatch, after: float, before: float, accepted: bool
) -> None:
    found = np.diag([1.0, 1.0, 1.0, 1.0])
    found[0, 3] = 30.0
    result = RigidResult(found, similarity=1.9, similarity_before=1.0)
    monkeypatch.setattr(planning_registration, "register_rigid", lambda *_, **__: result)
    monkeypatch.setattr(
        planning_registration, "similarity_within", lambda *_: before if (_[3] == np.eye(4)).all() else after
    )
    if accepted:
        registered = register_to_post_op(scan(), scan(), scan(), seed=7)
        assert (registered.similarity, registered.similarity_before) == (after, before)
    else:
        with pytest.raises(
            SourceError, match=rf"within the head {after:.3f}, {before:.3f} before it, expected"
        ):
            register_to_post_op(scan(), scan(), scan(), seed=7)


# a real export, of a breast


@pytest.fixture
def breast() -> Callable[[Series], PatientSource]:
    folder = SAMPLES / "rt_dicom"
    if not folder.is_dir():
        pytest.skip(f"no sample files: {SAMPLES.name}/rt_dicom is absent (RICENET_SAMPLES)")
    tree = read_tree(folder)
    doses, plans, structures = (
        tuple(one.first for one in of_kind(tree, kind)) for kind in ("RTDOSE", "RTPLAN", "RTSTRUCT")
    )

    def as_case(post_op: Series) -> PatientSource:
        chosen = tuple(DoseChoice(one) for one in doses)
        event = series("e", EVENT_FRAME, "MR")
        return PatientSource(post_op, event, chosen, plans, structures, tuple(of_kind(tree, "CT")))

    return as_case


def test_a_real_plans_dose_is_understood(breast: Callable[[Series], PatientSource]) -> None:
    judged = judge_dose(breast(series("m", MRI_FRAME, "MR")))
    assert judged.sidecar["NumberOfFractions"] == 7 and judged.sidecar["PrescriptionGy"] == 14.0
    assert judged.sidecar["DoseSummationType"] == "PLAN" and judged.dose.data.max() == pytest.approx(
        14.68, abs=0.01
    )


def test_a_real_breasts_dose_is_refused_as_a_brains(breast: Callable[[Series], PatientSource]) -> None:
    case = breast(series("m", MRI_FRAME, "MR"))
    judged = judge_dose(case)
    with pytest.raises(SourceError, match=r"the planning CT has 1 slice\(s\), at least 8 are expected"):
        place_dose(judged, case, scan(), seed=7)
    # and if the scan were said to lie in its space
    sharing = replace(case, post_op=series("m", judged.frame_of_reference_uid, "MR"))
    with pytest.raises(SourceError, match=r"the dose lies \d+ mm away from the post-op scan"):
        place_dose(judged, sharing, scan(), seed=7)
