"""What perturbations do to networks whose answer is known, who gets whose dose, how flips are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from perturbed_cases import BRAIN, PARAMS, SHAPE, given, standardised

from ricenet.cohort.splits import Splits
from ricenet.evaluation.robustness.donors import draw_donors
from ricenet.evaluation.robustness.effects import Robustness, effects, effects_table, read_robustness
from ricenet.evaluation.robustness.effects_figure import robustness_figure
from ricenet.evaluation.robustness.perturbations import (
    Perturbation,
    dose_of_another,
    dose_shift,
    perturbations,
)
from ricenet.evaluation.robustness.perturbed_answers import SubjectAnswers, subject_answers
from ricenet.runtime.tables import read_rows
from ricenet.vocabulary import PAPER_VOLUMES, Label

WAYS = perturbations(PARAMS, PAPER_VOLUMES)


class MeanNetwork(torch.nn.Module):
    """Log-odds of RICE: the modalities' means over the cube, weighted, plus a constant."""

    def __init__(self, *weights: float, constant: float = 0.0) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor(weights))
        self.constant = constant

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        log_odds = volumes.mean(dim=(2, 3, 4)) @ self.weights + self.constant
        return torch.stack([torch.zeros_like(log_odds), log_odds], dim=1)


class VarianceNetwork(torch.nn.Module):
    """Log-odds of RICE: how much a volume varies; looks at all voxels, so that no batch is like another."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        log_odds = self.weight * (volumes**3).mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.zeros_like(log_odds), log_odds], dim=1)


def expit(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def answers_by_name(answers: SubjectAnswers, modality_set: str) -> dict[str, np.ndarray]:
    return {WAYS[place].name: p for place, p in answers.perturbed[modality_set].items()}


def test_a_network_of_the_mean_dose_answers_as_calculated() -> None:
    dose = torch.zeros(SHAPE)
    dose[8:12, 8:12, 8:12] = 1.0  # 64 of 8000 voxels, far from the cube's faces
    network = MeanNetwork(100.0, constant=-0.5)
    answers = subject_answers(given(volumes={"dose": dose}), PAPER_VOLUMES, {"dose": network}, WAYS, 16)
    found = answers_by_name(answers, "dose")
    own = expit(100 * 64 / 8000 - 0.5)
    assert answers.given["dose"] == pytest.approx(own)
    assert found["dose_of_same_label"] == pytest.approx([expit(25 - 0.5)])
    assert found["dose_of_other_label"] == pytest.approx([expit(75 - 0.5)])
    assert found["missing_dose"] == pytest.approx([expit(-0.5)])
    # moving conserves the integral; interpolating a rotated block does so nearly
    assert found["dose_shift"] == pytest.approx([own] * 6, abs=1e-6)
    assert found["dose_rotation"] == pytest.approx([own] * 6, abs=1e-3)


def test_a_network_sees_only_its_own_modalities_perturbed() -> None:
    networks = {"event": MeanNetwork(1.0), "post_op+dose": MeanNetwork(1.0, 1.0)}
    answers = subject_answers(given(), PAPER_VOLUMES, networks, WAYS, 16)
    mri = {"noise", "bias_field", "missing_event"}
    assert set(answers_by_name(answers, "event")) == mri
    dose = {"dose_shift", "dose_rotation", "dose_of_same_label", "dose_of_other_label", "missing_dose"}
    assert set(answers_by_name(answers, "post_op+dose")) == dose | {"noise", "bias_field", "missing_post_op"}


def test_a_mean_over_standardised_voxels_does_not_feel_noise() -> None:
    standard = standardised(given().volumes["event"], BRAIN)
    answers = subject_answers(
        given(volumes={"event": standard}), PAPER_VOLUMES, {"event": MeanNetwork(10.0)}, WAYS, 16
    )
    assert answers_by_name(answers, "event")["noise"] == pytest.approx([0.5] * 3, abs=1e-6)


def test_all_mris_of_a_set_are_degraded_together() -> None:
    networks = {name: VarianceNetwork() for name in ("event", "post_op", "post_op+event")}
    answers = subject_answers(given(), PAPER_VOLUMES, networks, WAYS, 16)
    # the pair's log-odds is the mean of its members', given and perturbed
    log_odds = {n: np.log(p / (1 - p)) for n in networks for p in [answers_by_name(answers, n)["noise"]]}
    expected = (log_odds["event"] + log_odds["post_op"]) / 2
    np.testing.assert_allclose(log_odds["post_op+event"], expected, atol=1e-5)


def test_of_a_box_the_whole_cube_is_perturbed_and_then_cut() -> None:
    dose = torch.zeros(SHAPE)
    dose[9] = 1.0  # a plane beside the box, which begins at 10; a shift of 3 mm is one voxel
    part = (slice(10, 20), slice(0, 20), slice(0, 20))
    way = [dose_shift(PAPER_VOLUMES["dose"], 3.0)]
    networks = {"dose": MeanNetwork(1.0)}
    answers = subject_answers(given(volumes={"dose": dose}), PAPER_VOLUMES, networks, way, 16, part)
    assert answers.given["dose"] == pytest.approx(0.5)
    # one way along x brings the plane into the box of ten, where it is a tenth; the others change nothing
    assert sorted(answers.perturbed["dose"][0]) == pytest.approx([0.5] * 5 + [expit(0.1)], abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_does_not_matter(batch_size: int) -> None:
    networks = {"dose": VarianceNetwork(), "post_op+event+dose": VarianceNetwork()}
    expected = subject_answers(given(), PAPER_VOLUMES, networks, WAYS, 7)
    found = subject_answers(given(), PAPER_VOLUMES, networks, WAYS, batch_size)
    for name in networks:
        assert found.perturbed[name].keys() == expected.perturbed[name].keys()
        for place, p in expected.perturbed[name].items():
            np.testing.assert_allclose(found.perturbed[name][place], p, atol=1e-6)


def test_modalities_that_no_network_sees_are_not_perturbed() -> None:
    # without the raw scale a bias field could not be made
    answers = subject_answers(given(brain_mean_sd={}), PAPER_VOLUMES, {"dose": MeanNetwork(1.0)}, WAYS, 16)
    assert "bias_field" not in answers_by_name(answers, "dose")


FOLDS = (("a", "b", "c", "d", "e"), ("f", "g", "h"))
LABELS: dict[str, Label] = {s: "rice" if s in "abcf" else "recurrence" for s in "abcdefghz"}
SPLITS = Splits(LABELS, FOLDS, ("z",))


@pytest.mark.parametrize("seed", range(5))
def test_donors_are_others_of_the_own_fold(seed: int) -> None:
    donors = draw_donors(SPLITS, LABELS, seed)
    assert sorted(donors) == list("abcdefgh")
    for fold in FOLDS:
        for subject in fold:
            for kind, donor in donors[subject].items():
                assert donor in fold
                assert donor != subject
                assert (LABELS[donor] == LABELS[subject]) == (kind == "same")
    assert {donors[s]["same"] for s in "abc"} == set("abc")
    assert {donors[s]["other"] for s in "gh"} == {"f"}


def test_the_only_one_of_a_label_gets_no_dose_of_the_same_label() -> None:
    assert draw_donors(SPLITS, LABELS, 0)["f"].keys() == {"other"}
    # who has no dose neither gives nor gets one
    donors = draw_donors(SPLITS, "bcdefgh", 0)
    assert "a" not in donors
    assert donors["b"]["same"] == "c"


def test_donors_repeat_and_differ_between_seeds() -> None:
    assert draw_donors(SPLITS, LABELS, 1) == draw_donors(SPLITS, LABELS, 1)
    assert len({str(draw_donors(SPLITS, LABELS, seed)) for seed in range(8)}) > 1


N = 20
MANY: dict[str, Label] = {f"sub-{i:03d}": "rice" if i % 2 else "recurrence" for i in range(N)}
DOSE = PAPER_VOLUMES["dose"]
SHIFT, SWAP = dose_shift(DOSE, 3.0), dose_of_another(DOSE, "same")


def counted(
    perturbation: Perturbation,
    perturbed: list[list[float]],
    given_p: float = 0.6,
    labels: dict[str, Label] = MANY,
    resamples: int = 999,
) -> Robustness:
    answers = [
        SubjectAnswers(subject, {"dose": given_p}, {"dose": {0: np.array(p)}} if p else {"dose": {}})
        for subject, p in zip(labels, perturbed, strict=True)
    ]
    found = effects(answers, [perturbation], labels, 7, resamples)
    return Robustness(seed=7, volumes=PAPER_VOLUMES, effects=found)


def test_flips_and_changes_are_averaged_within_subjects_first() -> None:
    # ten subjects flip in half of their trials (0.6 to 0.4 and 0.8), ten stay
    found = counted(SHIFT, [[0.4, 0.8, 0.4, 0.8, 0.4, 0.8]] * 10 + [[0.6] * 6] * 10).effects["dose"][0]
    assert (found.perturbation, found.strength, found.subjects, found.trials) == ("dose_shift", 3.0, N, 6)
    assert found.flip_rate.value == pytest.approx(0.25)
    assert found.change.value == pytest.approx(0.0)
    assert found.absolute_change.value == pytest.approx(0.1)
    assert found.flip_rate.method == "bca"
    assert 0.1 < found.flip_rate.low < 0.25 < found.flip_rate.high < 0.4


def test_an_answer_at_the_threshold_is_rice() -> None:
    assert counted(SWAP, [[0.5]] * N).effects["dose"][0].flip_rate.value == 0
    assert counted(SWAP, [[0.4999]] * N).effects["dose"][0].flip_rate.value == 1


def test_the_flips_of_single_trials_are_a_proportion() -> None:
    found = counted(SWAP, [[0.4]] * 5 + [[0.9]] * 15).effects["dose"][0].flip_rate
    # Clopper-Pearson of 5 of 20
    assert (found.value, found.method) == (0.25, "exact")
    assert (found.low, found.high) == pytest.approx((0.0866, 0.4910), abs=1e-4)


@pytest.mark.parametrize(
    ("flipping", "value", "low", "high"),
    # Clopper-Pearson of 0, 1 and 20 of 20
    [(0, 0.0, 0.0, 0.1684), (1, 0.5 / 20, 0.0, 0.2487)],
)
def test_few_flips_have_an_exact_bound(flipping: int, value: float, low: float, high: float) -> None:
    rows = [[0.4, 0.4, 0.4, 0.7, 0.7, 0.7]] * flipping + [[0.6] * 6] * (N - flipping)
    found = counted(SHIFT, rows).effects["dose"][0].flip_rate
    assert found.method == "exact bound"
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-4)


def test_flips_of_everybody_have_an_exact_bound() -> None:
    found = counted(SHIFT, [[0.4] * 6] * N).effects["dose"][0].flip_rate
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.8316, 1.0), abs=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_intervals_of_flip_rates_cover_the_truth(share: float) -> None:
    # a share of the subjects can flip, each with a rate of its own, even between 0 and 1
    rng, studies = np.random.default_rng(3), 200
    rate = np.where(rng.random((studies, N)) < share, rng.random((studies, N)), 0)
    flips = rng.random((studies, N, 6)) < rate[..., np.newaxis]
    answers = [
        SubjectAnswers(subject, {"dose": 0.6}, {"dose": dict(enumerate(np.where(flips[:, i], 0.4, 0.8)))})
        for i, subject in enumerate(MANY)
    ]
    found = effects(answers, [SHIFT] * studies, MANY, 7, 999)["dose"]
    covered = [e.flip_rate.low <= share / 2 <= e.flip_rate.high for e in found]
    assert np.mean(covered) > 0.93


def test_subjects_without_a_donor_are_not_counted() -> None:
    found = counted(SWAP, [[0.4]] * 10 + [[]] * 10)
    assert found.effects["dose"][0].subjects == 10
    assert found.effects["dose"][0].flip_rate.value == 1
    assert counted(SWAP, [[]] * N).effects["dose"] == ()


def rice_among_many(rice: int) -> dict[str, Label]:
    return {subject: "rice" if i < rice else "recurrence" for i, subject in enumerate(MANY)}


@pytest.mark.parametrize("rice", [0, 1])
def test_with_fewer_than_two_of_a_label_all_are_drawn_together(rice: int) -> None:
    from scipy import stats

    changes = np.random.default_rng(5).exponential(0.1, N)
    rows = [[0.3 + change] * 6 for change in changes]
    found = counted(SHIFT, rows, 0.3, rice_among_many(rice), 9999).effects["dose"][0]
    one_sample = stats.bootstrap((changes,), np.mean, method="BCa", n_resamples=9999, rng=1)
    assert (found.subjects, found.change.method) == (N, "bca")
    assert found.change.value == pytest.approx(changes.mean())
    assert (found.change.low, found.change.high) == pytest.approx(one_sample.confidence_interval, abs=0.003)


def test_a_row_in_which_a_label_is_missing_is_of_the_other() -> None:
    # RICE without a donor, as where each fold has one of them
    perturbed = [[]] * 4 + [[0.4]] * 8 + [[0.7]] * 8
    (found,) = counted(SWAP, perturbed, labels=rice_among_many(4)).effects["dose"]
    assert (found.subjects, found.flip_rate.value, found.flip_rate.method) == (16, 0.5, "exact")
    assert found.change.value == pytest.approx(-0.05)
    assert found.change.low < -0.05 < found.change.high


def test_a_row_of_a_single_subject_is_excluded() -> None:
    assert counted(SWAP, [[0.4]] + [[]] * (N - 1)).effects["dose"] == ()
    (found,) = counted(SWAP, [[0.4]] * 2 + [[]] * (N - 2)).effects["dose"]
    assert found.subjects == 2


def test_the_table_has_a_row_an_effect(tmp_path: Path) -> None:
    path = tmp_path / "effects.csv"
    path.write_text(effects_table(counted(SWAP, [[0.4]] * 5 + [[0.9]] * 15)))
    (row,) = read_rows(path, ",")
    assert (row["set"], row["perturbation"], row["strength"]) == ("dose", "dose_of_same_label", "")
    assert (row["flip_rate"], row["flip_rate_high"], row["change"]) == ("0.2500", "0.4910", "0.1750")


def test_sets_that_a_subject_lacks_a_volume_of_are_not_counted() -> None:
    full = SubjectAnswers("sub-000", {"dose": 0.6, "event": 0.6}, {"dose": {0: np.array([0.4])}, "event": {}})
    lacking = [
        SubjectAnswers(subject, {"event": 0.6}, {"event": {}}) if i % 4 == 0 else
        SubjectAnswers(subject, full.given, full.perturbed)
        for i, subject in enumerate(MANY)
    ]  # fmt: skip
    found = effects(lacking, [SWAP], MANY, 7, 999)
    assert (found["dose"][0].subjects, found["event"]) == (15, ())


def test_the_figure_names_every_perturbation_once() -> None:
    names = ("event", "dose", "event+dose")
    networks = dict.fromkeys(names, VarianceNetwork())
    answers = [subject_answers(given(subject=s), PAPER_VOLUMES, networks, WAYS, 9) for s in list(MANY)[:4]]
    found = effects(answers, WAYS, MANY, 7, 999)
    figure = robustness_figure(Robustness(seed=7, volumes=PAPER_VOLUMES, effects=found))
    left, right = figure.axes
    titles = [tick.get_text() for tick in left.get_yticklabels()]
    seen = {n: [w for w in WAYS if {v.name for v in w.volumes} & set(n.split("+"))] for n in names}
    assert len(titles) == len(set(titles)) == len(seen["event+dose"])
    drawn = [tick.get_text() for tick in right.get_xticklabels()]
    assert drawn == ["event T1ce", "dose", "event T1ce\n+ dose"]
    # value and interval, in the cells of what each set sees
    assert len(left.texts) == 2 * sum(map(len, seen.values()))


def test_what_was_found_is_read_again(tmp_path: Path) -> None:
    made = counted(SWAP, [[0.4]] * 5 + [[0.9]] * 15)
    path = tmp_path / "robustness.json"
    path.write_text(made.model_dump_json())
    assert read_robustness(path) == made
