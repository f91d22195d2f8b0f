"""The phantom's mechanisms: what labels follow from, who can see it, and doses that exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import PARAMS_FILE, parse_params, read_params
from ricenet.evaluation.occlusion.causal_regions import (
    EVERY_CAUSE,
    HIGH_DOSE,
    LESION,
    REMOTE,
    WALL,
    cause_of,
    read_mechanism,
)
from ricenet.phantom.anatomy import Anatomy, shared_template
from ricenet.phantom.ceilings import area_under_curve, best_macro_f1, ceiling
from ricenet.phantom.courses import courses_of
from ricenet.phantom.mechanism import MECHANISMS, SHARE_OF_RICE, Evidence, Mechanism, probability_of_rice
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject, write_subject
from ricenet.phantom.write_cohort import draw_causes, held_out_subjects, with_rice_share, write_phantom
from ricenet.runtime.errors import ParamsError, ResultError
from ricenet.runtime.files import file_digest, read_json
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import load_nifti

SPACING_MM = 5.0
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def template() -> Anatomy:
    return shared_template(SPACING_MM)


def made(template: Anatomy, mechanism: Mechanism, number: int = 1) -> SyntheticSubject:
    return make_subject(template, draw_cause(f"sub-{number:03d}", 7, mechanism), 7)


# ---- labels


def test_dose_height_draws_the_labels_that_the_cohort_has_always_had() -> None:
    for number, cause in enumerate(draw_causes(46, 7, MECHANISMS["dose_height"]), start=1):
        subject = f"sub-{number:03d}"
        dose, post_op, event = generator_for("phantom", 7, subject, "evidence").normal(size=3)
        p_rice = 1 / (1 + np.exp(-(-1.0 + 4.5 * dose - 2.5 * post_op + 1.2 * event)))
        is_rice = generator_for("phantom", 7, subject, "label").uniform() < p_rice
        assert cause.p_rice == pytest.approx(p_rice) and cause.label == ("rice" if is_rice else "recurrence")
        excess = min(max(18 + 14 * dose, 1), 48)
        assert cause.evidence.prescription_gy == pytest.approx(60 + excess)
        assert cause.evidence.fractions == 30 + (round(excess / 2) if excess > 20 else 0)


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_probability_of_rice_has_the_share_of_the_paper(name: str) -> None:
    drawn = (Evidence.draw(generator_for("share", i), MECHANISMS[name]) for i in range(6000))
    expected = np.mean([probability_of_rice(evidence, MECHANISMS[name]) for evidence in drawn])
    # dose_height's is that of the cohort that the project has described since its beginning
    share = 0.429 if name == "dose_height" else SHARE_OF_RICE
    assert expected == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    ("subjects", "share", "rice"), [(92, 37 / 92, 37), (46, 0.402, 18), (5, 0.9, 4), (3, 0.1, 0)]
)
def test_a_share_of_rice_is_reached_by_the_intercept_alone(subjects: int, share: float, rice: int) -> None:
    mechanism = MECHANISMS["clinical"]
    changed = with_rice_share(mechanism, share, subjects, 7)
    assert replace(changed, intercept=mechanism.intercept) == mechanism
    causes = draw_causes(subjects, 7, changed)
    assert sum(cause.label == "rice" for cause in causes) == rice
    assert [c.evidence for c in causes] == [c.evidence for c in draw_causes(subjects, 7, mechanism)]


def test_the_demo_has_the_papers_numbers() -> None:
    settings = read_params(Path(__file__).parents[1] / "params.yaml").phantom
    assert settings.rice_share is not None
    mechanism = with_rice_share(
        MECHANISMS[settings.mechanism], settings.rice_share, settings.subjects, settings.seed
    )
    causes = draw_causes(settings.subjects, settings.seed, mechanism)
    held_out = held_out_subjects(causes, settings.test_fraction, settings.seed)
    labels = [cause.label for cause in causes]
    assert (labels.count("recurrence"), labels.count("rice"), len(held_out)) == (55, 37, 12)


def test_a_product_is_rice_where_both_signs_agree() -> None:
    mechanism = MECHANISMS["interaction"]

    def p_rice(dose: float, event: float) -> float:
        return probability_of_rice(Evidence(dose, 0.3, event), mechanism)

    assert p_rice(0.5, 2.0) == p_rice(-1.0, -0.1) > 0.75
    assert p_rice(0.5, -2.0) == p_rice(-1.0, 0.1) < 0.05


def test_no_number_of_the_sidecar_or_the_table_tells_a_label_that_depends_on_nothing() -> None:
    causes = draw_causes(2000, 3, MECHANISMS["none"])
    is_rice = np.array([cause.label == "rice" for cause in causes])
    for values in (
        [cause.evidence.prescription_gy for cause in causes],
        [cause.evidence.fractions for cause in causes],
        [cause.evidence.reirradiated for cause in causes],
        [cause.stream(3, "single-fraction").uniform() for cause in causes],
        [cause.stream(3, "table").integers(30, 600) for cause in causes],
    ):
        # four standard errors of a correlation of nothing
        assert abs(np.corrcoef(values, is_rice)[0, 1]) < 4 / np.sqrt(2000)


def test_a_logistic_regression_on_the_sidecar_is_at_chance_where_dose_height_alone_is_not() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    def auc(mechanism: Mechanism) -> float:
        causes = draw_causes(1200, 5, mechanism)
        x = np.array(
            [[c.evidence.prescription_gy, c.evidence.fractions, c.evidence.reirradiated] for c in causes]
        )
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        y = np.array([cause.label == "rice" for cause in causes])
        model = LogisticRegression().fit(x[:600], y[:600])
        return float(roc_auc_score(y[600:], model.predict_proba(x[600:])[:, 1]))

    for name in ("none", "event_core", "dose_at_lesion", "interaction", "outside_field", "post_op_only"):
        assert auc(MECHANISMS[name]) == pytest.approx(0.5, abs=0.1), name
    assert auc(MECHANISMS["clinical"]) > 0.75


# ---- ceilings


def test_best_macro_f1_of_a_coin_and_of_two_groups_by_hand() -> None:
    # four of five are called right: F1 of both classes 0.8
    assert best_macro_f1(np.array([0.8] * 500 + [0.2] * 500)) == pytest.approx(0.8)
    # a coin: F1 of a class q of share s, called with share q, is s q / ((s + q) / 2)
    share = 0.3
    called = np.linspace(0, 1, 10001)
    by_hand = share * called / (share + called) + (1 - share) * (1 - called) / (2 - share - called)
    assert best_macro_f1(np.full(10000, share)) == pytest.approx(by_hand.max(), abs=1e-6)


def test_area_under_the_curve_agrees_with_all_pairs() -> None:
    p = generator_for("auc").uniform(size=60).round(1)
    above = (p[:, None] > p).astype(float) + 0.5 * (p[:, None] == p)
    weight = p[:, None] * (1 - p)
    assert area_under_curve(p) == pytest.approx((above * weight).sum() / (p.sum() * (1 - p).sum()))


def test_the_ceiling_agrees_with_labels_drawn_and_a_plain_average_over_what_is_not_seen() -> None:
    mechanism = MECHANISMS["clinical"]
    rng = generator_for("slow ceiling")
    dose, post_op, event = rng.normal(size=(3, 4000))
    true = 1 / (1 + np.exp(-(mechanism.intercept + 3.0 * dose - 1.8 * post_op + 0.9 * event)))
    is_rice = rng.uniform(size=4000) < true
    # of the dose alone any rising score ranks as the best one does
    ranked = dose[is_rice][:, None] > dose[~is_rice]
    assert ceiling(mechanism, ["dose"], 8000).auc == pytest.approx(ranked.mean(), abs=0.02)


def test_ceilings_of_the_default_are_those_of_a_clinic() -> None:
    best = {s: ceiling(MECHANISMS["clinical"], s.split("+"), 20_000) for s in PAPER_VOLUMES.sets}
    assert best["post_op+event+dose"].macro_f1 == pytest.approx(0.86, abs=0.02)
    assert best["post_op+event+dose"].auc == pytest.approx(0.94, abs=0.01)
    assert 0.75 <= best["dose"].macro_f1 <= 0.80


CAUSES = {
    "post_op_only": {"post_op", "post_op+event", "post_op+dose", "post_op+event+dose", "event", "event+dose"},
    "event_core": {"event", "post_op+event", "event+dose", "post_op+event+dose"},
    "outside_field": {"event", "post_op+event", "event+dose", "post_op+event+dose"},
    "dose_at_lesion": {"event+dose", "post_op+event+dose"},
    "interaction": {"event+dose", "post_op+event+dose"},
    "none": set(),
}
"""The sets that are above chance."""


@pytest.mark.parametrize(("name", "above"), CAUSES.items())
def test_only_the_declared_volumes_are_above_chance(name: str, above: set[str]) -> None:
    for modality_set in PAPER_VOLUMES.sets:
        auc = ceiling(MECHANISMS[name], modality_set.split("+"), 8000, 100).auc
        if modality_set in above:
            assert auc > 0.6
        else:
            assert auc == pytest.approx(0.5, abs=1e-6)


# ---- doses


def test_courses_rise_with_the_evidence_and_a_second_one_is_rare() -> None:
    x = np.linspace(-3, 3, 400)
    totals = [sum(c.boost_gy or c.prescription_gy for c in courses_of(value)) for value in x]
    assert (np.diff(totals)[x[1:] > -0.7] >= 0).all()
    first = {courses_of(value)[0].prescription_gy for value in x}
    assert first == {54.0, 59.4, 60.0, 66.0}
    causes = draw_causes(2000, 1, MECHANISMS["clinical"])
    assert 0.05 < np.mean([cause.evidence.reirradiated for cause in causes]) < 0.2
    assert sum(cause.evidence.reirradiated for cause in draw_causes(46, 7, MECHANISMS["clinical"])) <= 9


@pytest.mark.parametrize("x_dose", [-2.0, -0.9, 0.0, 0.5, 0.9, 1.3, 2.5])
def test_the_largest_dose_lies_within_115_percent_of_what_was_prescribed(
    template: Anatomy, x_dose: float
) -> None:
    cause = draw_cause("sub-001", 7, MECHANISMS["clinical"])
    subject = make_subject(template, replace(cause, evidence=replace(cause.evidence, dose=x_dose)), 7)
    plan, courses = subject.plan, subject.cause.evidence.courses
    assert plan.prescription_gy == pytest.approx(sum(course.prescription_gy for course in courses))
    assert 1.05 < plan.dose_gy.max() / plan.prescription_gy <= 1.15
    core = plan.ptv & (subject.lesions.cavity_distance_mm < 0)
    wanted = sum(course.boost_gy or course.prescription_gy for course in courses)
    assert np.median(plan.dose_gy[core]) == pytest.approx(wanted, rel=0.04)


def test_the_sidecar_states_every_course(template: Anatomy, tmp_path: Path) -> None:
    cause = draw_cause("sub-001", 7, MECHANISMS["clinical"])
    twice = replace(cause, evidence=replace(cause.evidence, dose=1.4))
    write_subject(tmp_path, template, twice, 7, single_fraction_share=1.0)
    raw = RawSubject(tmp_path, "sub-001")
    stated = read_json(raw.dose_sidecar)
    assert stated["Courses"] == [
        {"PrescriptionGy": 60.0, "NumberOfFractions": 30},
        {"PrescriptionGy": 30.0, "NumberOfFractions": 10},
    ]
    sidecar = read_dose_sidecar(raw.dose_sidecar)
    assert (sidecar.prescription_gy, sidecar.fractions, sidecar.summation_type) == (90.0, 40, "PLAN")
    assert sidecar.of_several_plans
    limits = read_params(ROOT / PARAMS_FILE).quality.dose_of_prescription
    assert limits[0] < float(load_nifti(raw.scan("dose")).data.max()) / 90.0 < limits[1]


# ---- images


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_label_itself_changes_no_byte_of_what_is_imported(
    template: Anatomy, tmp_path: Path, name: str
) -> None:
    cause = draw_cause("sub-001", 7, MECHANISMS[name])
    digests = []
    for label in ("rice", "recurrence"):
        write_subject(tmp_path / label, template, replace(cause, label=label), 7, single_fraction_share=0.5)
        files = RawSubject(tmp_path / label, "sub-001").folder.rglob("*.*")
        digests.append({path.name: file_digest(path) for path in files})
    assert digests[0] == digests[1] and len(digests[0]) == 4


def test_post_op_only_has_the_images_of_dose_height(template: Anatomy) -> None:
    one, other = (made(template, MECHANISMS[name]) for name in ("dose_height", "post_op_only"))
    for name in PAPER_VOLUMES.names:
        np.testing.assert_array_equal(one.scans[name].data, other.scans[name].data)


def test_the_lesion_lies_in_the_plateau_or_in_the_penumbra(template: Anatomy) -> None:
    cause = draw_cause("sub-002", 7, MECHANISMS["dose_at_lesion"])
    found: dict[bool, SyntheticSubject] = {}
    for in_plateau in (True, False):
        known = replace(cause.evidence, in_plateau=in_plateau, dose=-0.5)
        found[in_plateau] = make_subject(template, replace(cause, evidence=known), 7)

    def mean_share(subject: SyntheticSubject) -> float:
        at_lesion = subject.plan.dose_gy[subject.lesions.lesion > 0.5]
        return float(at_lesion.mean() / subject.plan.prescription_gy)

    assert mean_share(found[True]) > 0.9 and mean_share(found[False]) < 0.8
    # the event MRI does not know
    np.testing.assert_array_equal(found[True].scans["event"].data, found[False].scans["event"].data)


def test_neither_where_the_lesion_lies_nor_where_the_target_does_tells_the_place(template: Anatomy) -> None:
    subjects = [made(template, MECHANISMS["dose_at_lesion"], number) for number in range(1, 25)]
    sides = [s.lesions.lesion_centre_mm - s.lesions.cavity_centre_mm for s in subjects]
    shifts = [s.lesions.target_shift_mm for s in subjects]
    same_side = [float(side @ shift) > 0 for side, shift in zip(sides, shifts, strict=True)]
    assert same_side == [s.cause.evidence.in_plateau for s in subjects]
    assert 3 < sum(same_side) < 21


def test_the_remote_focus_lies_outside_the_high_dose_region(template: Anatomy) -> None:
    for number in (1, 2, 3):
        subject = made(template, MECHANISMS["outside_field"], number)
        remote = subject.lesions.remote
        assert remote is not None and remote.max() == 1
        assert subject.plan.dose_gy[remote > 0].max() < 0.6 * subject.plan.prescription_gy
    assert made(template, MECHANISMS["clinical"]).lesions.remote is None


def test_the_remote_focus_enhances_by_its_evidence_at_the_event_alone(template: Anatomy) -> None:
    cause = draw_cause("sub-001", 7, MECHANISMS["outside_field"])
    faint, bright = (
        make_subject(template, replace(cause, evidence=replace(cause.evidence, remote=x)), 7)
        for x in (-1.5, 1.5)
    )
    for name in ("post_op", "dose"):
        np.testing.assert_array_equal(faint.scans[name].data, bright.scans[name].data)
    assert bright.scans["event"].data.sum() > faint.scans["event"].data.sum()


# ---- where maps have to point

EXPECTED: Mapping[str, Mapping[str, str | None]] = {
    "dose_height": {"post_op": WALL, "event": LESION, "dose": HIGH_DOSE, "together": EVERY_CAUSE},
    "clinical": {"post_op": WALL, "event": LESION, "dose": HIGH_DOSE, "together": EVERY_CAUSE},
    "post_op_only": {"post_op": WALL, "event": LESION, "dose": None, "together": EVERY_CAUSE},
    "event_core": {"post_op": None, "event": LESION, "dose": None, "together": EVERY_CAUSE},
    "dose_at_lesion": {"post_op": None, "event": LESION, "dose": LESION, "together": EVERY_CAUSE},
    "interaction": {"post_op": None, "event": LESION, "dose": HIGH_DOSE, "together": EVERY_CAUSE},
    "outside_field": {"post_op": None, "event": REMOTE, "dose": None, "together": EVERY_CAUSE},
    "none": {"post_op": None, "event": None, "dose": None, "together": None},
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_volume_points_where_the_mechanism_has_its_cause(name: str) -> None:
    found = {
        volume: cause_of(volume, "post_op+event+dose", PAPER_VOLUMES, MECHANISMS[name])
        for volume in EXPECTED[name]
    }
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", ["dose_at_lesion", "interaction"])
def test_what_two_volumes_show_together_is_no_cause_for_one(name: str) -> None:
    for alone in ("dose", "event"):
        assert cause_of(alone, alone, PAPER_VOLUMES, MECHANISMS[name]) is None


def test_a_cohort_says_by_which_mechanism_it_was_made(tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    write_phantom(
        cohort, 2, 7, MECHANISMS["outside_field"], test_fraction=0.5, spacing_mm=8.0,
        single_fraction_share=0.0, backend="serial",
    )  # fmt: skip
    assert read_mechanism(cohort).name == "outside_field"
    assert (cohort / "ground_truth/sub-001/remote.nii.gz").is_file()
    assert set(read_json(cohort / "ground_truth/sub-001/truth.json")["evidence"]) == {
        "dose", "post_op", "event", "remote",
    }  # fmt: skip
    (cohort / "ground_truth/mechanism.json").unlink()
    with pytest.raises(ResultError, match=r"mechanism\.json: found no such file"):
        read_mechanism(cohort)


# ---- parameters


def params_with(phantom: dict[str, object]) -> object:
    content = YAML(typ="safe", pure=True).load(ROOT / PARAMS_FILE)
    content["phantom"] = {k: v for k, v in content["phantom"].items() if k != "mechanism"} | phantom
    return content


def test_every_mechanism_has_a_name_that_the_parameters_know() -> None:
    for name in MECHANISMS:
        assert parse_params(params_with({"mechanism": name}), "params.yaml").phantom.mechanism == name
    with pytest.raises(ParamsError, match=r"phantom\.mechanism"):
        parse_params(params_with({"mechanism": "dose"}), "params.yaml")


def test_four_coefficients_meet_what_to_write_now() -> None:
    old = {"evidence": {"dose": 4.5, "post_op": -2.5, "event": 1.2, "intercept": -1.0}}
    with pytest.raises(
        ParamsError, match="phantom: evidence is not a section any more; write `mechanism: dose_h"
    ):
        parse_params(params_with(old), "params.yaml")
