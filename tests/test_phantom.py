"""The synthetic cohort: repeatable, physically plausible, and true to its own documentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from five_volumes import FIVE_VOLUMES

from ricenet.cohort.checks import check_cohort
from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.phantom.anatomy import Anatomy, make_anatomy, shared_template
from ricenet.phantom.contrasts import ADC, FLAIR, T1CE, Contrast, signal_of
from ricenet.phantom.irradiation import PRESCRIPTION_GY, make_plan
from ricenet.phantom.lesions import Lesions, make_lesions
from ricenet.phantom.mechanism import MECHANISMS, Evidence, probability_of_rice
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject, write_subject
from ricenet.phantom.write_cohort import draw_causes, write_phantom
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import file_digest, read_json
from ricenet.runtime.randomness import generator_for
from ricenet.runtime.tables import read_rows
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Volume, load_nifti, resample

DOSE_HEIGHT = MECHANISMS["dose_height"]
NEUTRAL = Evidence(dose=0.0, post_op=0.0, event=0.0)
SPACING_MM = 4.0


@pytest.fixture(scope="module")
def template() -> Anatomy:
    return shared_template(SPACING_MM)


@pytest.fixture(scope="module")
def anatomy(template: Anatomy) -> Anatomy:
    return make_anatomy(template, generator_for("test", "anatomy"))


def lesions_of(anatomy: Anatomy, evidence: Evidence) -> Lesions:
    return make_lesions(anatomy, evidence, generator_for("test", "lesions"))


@pytest.fixture(scope="module")
def cohort(template: Anatomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects, every one with a single fraction's dose unless re-irradiated."""
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    for subject in ("sub-001", "sub-002", "sub-003"):
        write_subject(folder, template, draw_cause(subject, 7, DOSE_HEIGHT), 7, single_fraction_share=1.0)
    return folder


def test_probability_of_rice_follows_the_documented_equation() -> None:
    # logit = -1 + 4.5 * 0.5 - 2.5 * 0.26 + 1.2 * (-0.5) = 0
    evidence = Evidence(dose=0.5, post_op=0.26, event=-0.5)
    assert probability_of_rice(evidence, DOSE_HEIGHT) == pytest.approx(0.5)
    assert probability_of_rice(NEUTRAL, DOSE_HEIGHT) == pytest.approx(1 / (1 + np.exp(1.0)))


def test_more_dose_means_rice_and_more_residual_tumour_means_recurrence() -> None:
    neutral = probability_of_rice(NEUTRAL, DOSE_HEIGHT)
    assert probability_of_rice(replace(NEUTRAL, dose=1.0), DOSE_HEIGHT) > neutral
    assert probability_of_rice(replace(NEUTRAL, post_op=1.0), DOSE_HEIGHT) < neutral


def test_features_are_linear_within_their_limits() -> None:
    assert NEUTRAL.excess_dose_gy == 18.0
    assert replace(NEUTRAL, dose=1.0).excess_dose_gy == 32.0
    assert replace(NEUTRAL, dose=-5.0).excess_dose_gy == 1.0
    assert replace(NEUTRAL, post_op=2.0).residual_thickness_mm == 9.0
    assert replace(NEUTRAL, post_op=-5.0).residual_thickness_mm == 0.0
    assert replace(NEUTRAL, event=1.0).core_enhancement == pytest.approx(0.2)
    assert not NEUTRAL.reirradiated and replace(NEUTRAL, dose=1.0).reirradiated
    assert NEUTRAL.fractions == 30 and replace(NEUTRAL, dose=1.0).fractions == 46


def test_labels_are_drawn_with_the_true_probability() -> None:
    causes = [draw_cause(f"sub-{i:05d}", 11, DOSE_HEIGHT) for i in range(4000)]
    expected = np.mean([cause.p_rice for cause in causes])
    found = np.mean([cause.label == "rice" for cause in causes])
    assert found == pytest.approx(expected, abs=0.025)  # three standard errors


def test_the_brain_has_an_adult_size(anatomy: Anatomy) -> None:
    assert 1100 < anatomy.brain.sum() * anatomy.grid.voxel_ml < 1900


def test_the_target_gets_sixty_gray_plus_the_documented_excess(anatomy: Anatomy) -> None:
    for dose in (-1.0, 0.0, 1.5):
        evidence = replace(NEUTRAL, dose=dose)
        plan = make_plan(anatomy, lesions_of(anatomy, evidence), evidence, generator_for("test", "plan"))
        core = plan.ptv & (lesions_of(anatomy, evidence).cavity_distance_mm < 4) & anatomy.brain
        assert np.median(plan.dose_gy[core]) == pytest.approx(
            PRESCRIPTION_GY + evidence.excess_dose_gy, rel=0.03
        )
        assert plan.dose_gy.max() < 1.15 * plan.prescription_gy


def test_the_target_is_covered_and_the_far_brain_is_spared(anatomy: Anatomy) -> None:
    plan = make_plan(anatomy, lesions_of(anatomy, NEUTRAL), NEUTRAL, generator_for("test", "plan"))
    assert np.quantile(plan.dose_gy[plan.ptv & anatomy.brain], 0.05) > 0.5 * plan.prescription_gy
    assert np.median(plan.dose_gy[anatomy.brain & ~plan.ptv]) < 0.5 * plan.prescription_gy
    assert plan.dose_gy.min() >= 0


def test_residual_tumour_grows_with_its_evidence_and_leaves_the_cavity_alone(anatomy: Anatomy) -> None:
    little, much = (lesions_of(anatomy, replace(NEUTRAL, post_op=x)) for x in (-1.0, 1.0))
    assert much.residual.sum() > 2 * little.residual.sum()
    np.testing.assert_array_equal(much.cavity, little.cavity)


def test_evidence_of_one_modality_does_not_show_in_another(anatomy: Anatomy) -> None:
    neutral, hot = NEUTRAL, replace(NEUTRAL, dose=2.0)
    for name in ("cavity", "residual", "lesion", "lesion_core"):
        np.testing.assert_array_equal(
            getattr(lesions_of(anatomy, neutral), name), getattr(lesions_of(anatomy, hot), name)
        )


def test_the_true_transform_lays_the_event_over_the_post_operative_scan(cohort: Path) -> None:
    raw = RawSubject(cohort, "sub-001")
    post_op, event = load_nifti(raw.scan("post_op")), load_nifti(raw.scan("event"))
    brain = load_nifti(cohort / "ground_truth" / "sub-001" / "brain.nii.gz")
    inside = resample(brain, post_op.grid).data > 0.5
    truth = np.array(read_json(cohort / "ground_truth/sub-001/truth.json")["event_world_from_post_op_world"])

    def correlation(moved: Volume) -> float:
        return float(np.corrcoef(post_op.data[inside], moved.data[inside])[0, 1])

    aligned = correlation(resample(event, post_op.grid, truth))
    assert aligned > 0.7
    assert aligned > correlation(resample(event, post_op.grid)) + 0.1


def test_every_volume_lies_on_a_grid_of_its_own_and_none_along_the_world_axes(cohort: Path) -> None:
    affines = [
        load_nifti(RawSubject(cohort, s).scan(m)).grid.affine
        for s in ("sub-001", "sub-002")
        for m in PAPER_VOLUMES.names
    ]
    for i, affine in enumerate(affines):
        assert all(not np.allclose(affine, other) for other in affines[:i])
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        assert np.abs(axes).max() < 0.99999


def test_a_single_fraction_times_the_fractions_is_the_course(cohort: Path) -> None:
    factors = {}
    for subject in ("sub-001", "sub-002", "sub-003"):
        raw = RawSubject(cohort, subject)
        factors[subject] = read_dose_sidecar(raw.dose_sidecar).factor
        excess = read_json(cohort / "ground_truth" / subject / "truth.json")["excess_dose_gy"]
        maximum = float(load_nifti(raw.scan("dose")).data.max()) * factors[subject]
        assert maximum == pytest.approx(1.05 * (PRESCRIPTION_GY + excess), rel=0.06)
        reirradiated = draw_cause(subject, 7, DOSE_HEIGHT).evidence.reirradiated
        assert factors[subject] == (1.0 if reirradiated else 30.0)
    assert set(factors.values()) == {1.0, 30.0}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    cohort: Path, template: Anatomy, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    write_subject(again, template, draw_cause("sub-002", 7, DOSE_HEIGHT), 7, single_fraction_share=1.0)
    other = tmp_path / "other"
    write_subject(other, template, draw_cause("sub-002", 8, DOSE_HEIGHT), 8, single_fraction_share=1.0)
    for modality in PAPER_VOLUMES.names:
        digest = file_digest(RawSubject(cohort, "sub-002").scan(modality))
        assert file_digest(RawSubject(again, "sub-002").scan(modality)) == digest
        assert file_digest(RawSubject(other, "sub-002").scan(modality)) != digest


# ---- further MRIs


@pytest.fixture(scope="module")
def five(template: Anatomy) -> SyntheticSubject:
    return make_subject(template, draw_cause("sub-002", 7, DOSE_HEIGHT), 7, FIVE_VOLUMES)


def test_declaring_more_volumes_changes_none_of_the_papers(five: SyntheticSubject, cohort: Path) -> None:
    assert list(five.scans) == ["post_op", "event", "event_flair", "event_adc", "dose"]
    for name in ("post_op", "event"):
        written = load_nifti(RawSubject(cohort, "sub-002").scan(name))
        np.testing.assert_array_equal(five.scans[name].data, written.data)
        np.testing.assert_allclose(five.scans[name].grid.affine, written.grid.affine, atol=1e-4)


def test_every_mri_has_a_head_position_and_a_grid_of_its_own(five: SyntheticSubject) -> None:
    for what in (
        [placement.world_from_anatomy for placement in five.placements.values()],
        [placement.grid.affine for placement in five.placements.values()],
    ):
        assert all(not np.allclose(a, b) for n, a in enumerate(what) for b in what[:n])


def median_in(subject: SyntheticSubject, name: str, mask: np.ndarray) -> float:
    scan = resample(subject.scans[name], subject.anatomy.grid, subject.world_from_anatomy(name))
    return float(np.median(scan.data[mask]))


def test_adc_is_a_map_in_its_unit(five: SyntheticSubject) -> None:
    lesions, anatomy = five.lesions, five.anatomy
    far = (lesions.cavity_distance_mm > 25) & (lesions.lesion < 0.01)
    white, cavity = (anatomy.white > 0.9) & far, (lesions.cavity_at_event > 0.95) & (lesions.lesion < 0.05)
    assert median_in(five, "event_adc", white) == pytest.approx(780, abs=60)
    assert median_in(five, "event_adc", cavity) == pytest.approx(3000, rel=0.15)
    assert median_in(five, "event_adc", lesions.lesion > 0.95) == pytest.approx(1150, rel=0.1)
    assert five.scans["event_adc"].data.min() == 0 and five.scans["event_adc"].data.max() < 3400


def test_flair_has_dark_fluid_and_bright_oedema(five: SyntheticSubject) -> None:
    lesions, white = five.lesions, five.anatomy.white > 0.9
    distance = lesions.cavity_distance_mm
    near, far = white & (distance > 1) & (distance < 4) & (lesions.lesion < 0.05), white & (distance > 25)
    cavity = (lesions.cavity_at_event > 0.95) & (lesions.lesion < 0.05)
    fluid, tissue, oedema = (median_in(five, "event_flair", mask) for mask in (cavity, far, near))
    assert fluid < 0.6 * tissue and oedema > 1.3 * tissue


@pytest.mark.parametrize(("contrast", "shows"), [(T1CE, True), (FLAIR, False), (ADC, False)])
@pytest.mark.parametrize(("at_event", "evidence"), [(False, {"post_op": 2.0}), (True, {"event": 1.5})])
def test_only_t1_shows_the_evidence_of_its_visit(
    anatomy: Anatomy, contrast: Contrast, shows: bool, at_event: bool, evidence: dict[str, float]
) -> None:
    def signal(known: Evidence) -> np.ndarray:
        rng = generator_for("test", "oedema")
        return signal_of(contrast, anatomy, lesions_of(anatomy, known), known, rng, at_event=at_event)

    assert (not np.array_equal(signal(NEUTRAL), signal(replace(NEUTRAL, **evidence)))) == shows


def test_a_cohort_has_its_table_its_declared_files_and_where_the_head_lay(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_phantom(
        folder, 2, 7, DOSE_HEIGHT, test_fraction=0.5, spacing_mm=8.0, single_fraction_share=0.0,
        volumes=FIVE_VOLUMES, backend="serial",
    )  # fmt: skip
    header, *rows = (line.split("\t") for line in (folder / "participants.tsv").read_text().splitlines())
    assert header[-2:] == ["rt_modality", "reirradiation"]
    assert [row[-2] for row in rows] == ["photon", "photon"]
    for row, cause in zip(rows, draw_causes(2, 7, DOSE_HEIGHT), strict=True):
        assert row[-1] == ("yes" if cause.evidence.reirradiated else "no")
    assert set(header) == set(read_json(folder / "participants.json"))
    raw = RawSubject(folder, "sub-001", FIVE_VOLUMES)
    assert set(raw.files) == {*FIVE_VOLUMES.names, "dose_sidecar", "cavity_mask", "lesion_mask"}
    truth = read_json(folder / "ground_truth" / "sub-001" / "truth.json")
    assert set(truth["world_from_post_op_world"]) == {"event_flair", "event_adc"}


def test_further_visits_add_files_to_a_cohort_and_change_none(tmp_path: Path) -> None:
    """One subject of two has a second visit here; its lesion has grown about the same middle."""
    settings = {"test_fraction": 0.0, "spacing_mm": 8.0, "single_fraction_share": 0.0, "backend": "serial"}
    before = VolumeSpec(
        name="before", kind="mri", session="previous", suffix="ce-gadolinium_T1w", title="x", required=False
    )
    for name, visits, more in (("one", 1, ()), ("two", 2, (before,))):
        volumes = Volumes([*PAPER_VOLUMES, *more])
        write_phantom(tmp_path / name, 2, 7, DOSE_HEIGHT, visits=visits, volumes=volumes, **settings)
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("one", "two")
    )
    assert one.items() <= two.items()
    tables = {path.parts[0] for path in two.keys() - one.keys() if path.name.endswith("_sessions.tsv")}
    assert tables == {"sub-001", "sub-002"}
    for subject in tables:
        rows = read_rows(tmp_path / "two" / subject / f"{subject}_sessions.tsv")
        sessions = {path.name for path in (tmp_path / "two" / subject).glob("ses-*")}
        assert {row["session_id"] for row in rows} == sessions
    report = check_cohort(tmp_path / "two")
    assert report.problems == ()
    (later,) = (s for s in report.subjects if s.visit == 2)
    first = next(s for s in report.subjects if s.participant_id == later.patient)
    assert later.label == first.label
    assert 60 <= (later.days_rt_end_to_event or 0) - (first.days_rt_end_to_event or 0) <= 120
    lesions = [load_nifti(RawSubject(tmp_path / "two", s.participant_id).lesion_mask) for s in (first, later)]
    small, large = (mask.data.astype(bool) for mask in lesions)
    assert small.sum() < large.sum() and not (small & ~large).any()


# ---- faults


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(CohortError, match="exists and is not empty"):
        write_phantom(
            tmp_path, 2, 7, DOSE_HEIGHT, test_fraction=0.1, spacing_mm=4.0, single_fraction_share=0.2
        )
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_a_subject_that_cannot_be_made_is_named_and_no_cohort_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ricenet.phantom.write_cohort._write_one", fail)
    options = {"test_fraction": 0.1, "spacing_mm": 4.0, "single_fraction_share": 0.2}
    with pytest.raises(CohortError, match="sub-001: OSError: disk full"):
        write_phantom(tmp_path / "new", 2, 7, DOSE_HEIGHT, backend="serial", **options)
    assert list(tmp_path.iterdir()) == []
