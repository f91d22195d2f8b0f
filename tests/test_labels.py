"""Any number of labels: hand-computed numbers, scikit-learn as the slow referee, and two labels as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference
from small_ensembles import ensemble_record
from small_folds import NETWORK, PROJECT

from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.dealing import deal_folds
from ricenet.cohort.participants import parse_row
from ricenet.cohort.splits import Splits, make_splits, read_splits, write_splits
from ricenet.config.params import Params, parse_params
from ricenet.config.yaml_file import read_yaml
from ricenet.evaluation import scores as of_two
from ricenet.evaluation.bootstrap import score_of
from ricenet.evaluation.evidence.abstention import abstention
from ricenet.evaluation.evidence.calibration import fit_platt, fit_temperature
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.evaluation.evidence.comparison import compare
from ricenet.evaluation.evidence.conformal import conformal_sets
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import exact_bounds
from ricenet.evaluation.labels import scores
from ricenet.evaluation.labels.abstention import label_abstention, label_or_abstain
from ricenet.evaluation.labels.calibration import (
    LabelRecalibration,
    fit_label_recalibration,
    recalibrated,
)
from ricenet.evaluation.labels.comparison import compare_labels, drawn_swaps, swapped_label_f1
from ricenet.evaluation.labels.conformal import label_conformal_sets
from ricenet.evaluation.labels.held_out import LabelHeldOut, read_out_of_fold_labels
from ricenet.evaluation.labels.metrics import confusion_counts, events_of, label_set_metrics
from ricenet.evaluation.metrics import set_metrics
from ricenet.inference.label_answers import LabelDecision, count_label_votes
from ricenet.runtime.errors import ParamsError, ResultError
from ricenet.runtime.randomness import generator_for
from ricenet.screening.guards.label_leakage import label_leakage
from ricenet.training.ensemble import majority_vote
from ricenet.training.label_predictions import (
    LabelPrediction,
    macro_f1_of_classes,
    majority_labels,
    read_label_predictions,
    write_held_out,
)
from ricenet.training.predictions import Prediction
from ricenet.training.sampler import draw_epoch
from ricenet.vocabulary import LABELS

NAMES = ("recurrence", "rice", "stable")
TRUTH = np.array([0, 0, 0, 1, 1, 2])
SAID = np.array([0, 1, 0, 1, 2, 2])
"""F1 by hand: recurrence 2*2/(3+2) = 0.8, rice 2*1/(2+2) = 0.5, stable 2*1/(1+2) = 2/3."""


def drawn(purpose: str, subjects: int = 60, classes: int = 3, learnt: float = 1.2) -> tuple[Any, Any, Any]:
    """Probabilities (N, K) that know something of the labels, labels and folds."""
    rng = generator_for(purpose, subjects, classes)
    truth = np.arange(subjects) % classes
    logits = rng.normal(size=(subjects, classes)) + learnt * np.eye(classes)[truth]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, truth, (np.arange(subjects) // classes) % 5


def held(p: Any, truth: Any, fold: Any, names: tuple[str, ...] = NAMES, **more: Any) -> LabelHeldOut:
    subjects = tuple(f"sub-{i:03d}" for i in range(len(truth)))
    return LabelHeldOut(subjects, names, truth, fold, {"": p, **more})


def params(**changes: Any) -> Params:
    return parse_params({**read_yaml(PROJECT / "params.yaml"), **changes}, "params.yaml")


# --- what is declared


def test_the_papers_two_labels_are_the_default_and_named_in_the_delivered_file() -> None:
    content = read_yaml(PROJECT / "params.yaml")
    assert tuple(content.pop("labels")) == LABELS
    assert parse_params(content, "params.yaml").labels == LABELS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["rice"]}, "needs two labels at least"),
        ({"labels": ["rice", "rice"]}, "label declared twice: rice"),
        ({"labels": ["rice", "Stable"]}, "labels.1: String should match pattern"),
        ({"labels": ["rice", "indeterminate"]}, "indeterminate: the name has another meaning"),
        ({"controls": ["stable"]}, "controls: stable is not declared under labels (recurrence, rice)"),
        ({"controls": ["rice"]}, "fewer than two labels are left that are an event's"),
        ({"labels": list(NAMES)}, "recipes.small_cohort.training.fusion: mean joins answers of the labels"),
        (
            {"labels": list(NAMES), "modality_sets": ["dose"], "tuning": ["dose"]},
            "a search judges recurrence",
        ),
    ],
)
def test_labels_that_cannot_be_are_refused_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    if "tuning" in changes:
        tuning = read_yaml(PROJECT / "params.yaml")["tuning"]
        changes = {**changes, "tuning": {**tuning, "modality_sets": changes["tuning"]}}
    with pytest.raises(ParamsError) as refused:
        params(**changes)
    assert said in str(refused.value)


def test_a_row_may_have_a_declared_label_and_the_refusal_of_another_names_them() -> None:
    row = {"participant_id": "sub-1", "label": "stable", "label_source": "biopsy", "subset": "n/a"}
    assert getattr(parse_row(row, NAMES), "label", None) == "stable"
    (finding,) = parse_row(row)  # type: ignore[misc]
    assert finding.found == "label is none of recurrence, rice, n/a"
    (finding,) = parse_row({**row, "label": "Mixed"}, NAMES)  # type: ignore[misc]
    assert finding.found == "label is none of recurrence, rice, stable, n/a"


def test_folds_hold_equally_many_of_each_of_three_labels_give_or_take_one() -> None:
    labels = {f"sub-{i:03d}": NAMES[0 if i < 20 else 1 if i < 31 else 2] for i in range(38)}
    fold_of = deal_folds(labels, 5, 1, label_names=NAMES)
    for name in NAMES:
        counts = [sum(labels[s] == name and k == fold for s, k in fold_of.items()) for fold in range(5)]
        assert max(counts) - min(counts) <= 1
    sizes = [list(fold_of.values()).count(fold) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1


def test_records_of_the_papers_two_labels_say_nothing_of_labels_and_others_keep_them(tmp_path: Path) -> None:
    subjects = [CheckedSubject(participant_id=f"sub-{i}", label=NAMES[i % 3]) for i in range(12)]
    assert "label_names" not in CheckedCohort.of("data", subjects).model_dump(mode="json")
    assert CheckedCohort.of("data", subjects, label_names=NAMES).without(()).label_names == NAMES
    splits = make_splits(subjects, 2, 0.25, 1, label_names=NAMES)
    assert {splits.labels[s] for s in splits.test} == set(NAMES)
    write_splits(splits, tmp_path / "splits.json")
    assert read_splits(tmp_path / "splits.json") == splits
    two = Splits({"sub-1": "rice"}, (("sub-1",),), ())
    assert "label_names" not in two.content
    assert "label_names" not in ensemble_record("dose").model_dump(mode="json")
    assert ensemble_record("dose", label_names=NAMES).label_names == NAMES


def test_an_epoch_draws_three_labels_equally_often() -> None:
    labels = ["recurrence"] * 300 + ["rice"] * 60 + ["stable"] * 20
    order = draw_epoch(labels, generator_for("epoch of three"))
    found = [np.mean([labels[i] == name for i in order]) for name in NAMES]
    assert found == pytest.approx([1 / 3] * 3, abs=0.08)


def test_a_network_of_three_labels_has_three_outputs_and_two_have_the_same_first_weights() -> None:
    import torch

    from ricenet.training.networks import initial_network, probabilities

    three = initial_network(NETWORK, "dose", 0, 1, 1, classes=3).eval()
    said = probabilities(three(torch.zeros(2, 1, 8, 8, 8)))
    assert said.shape == (2, 3) and torch.allclose(said.sum(dim=1), torch.ones(2).double())
    default, two = (initial_network(NETWORK, "dose", 0, 1, 1, **more) for more in ({}, {"classes": 2}))
    assert all(torch.equal(a, b) for a, b in zip(default.parameters(), two.parameters(), strict=True))


# --- predictions


def test_a_fold_of_three_labels_is_written_with_a_column_each_and_read_again(tmp_path: Path) -> None:
    p = np.array([[0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    path = tmp_path / "predictions.tsv"
    write_held_out(("sub-1", "sub-2"), ["stable", "rice"], 4, p, NAMES, path)
    assert path.read_text().splitlines()[0].split("\t")[3:] == ["p_recurrence", "p_rice", "p_stable"]
    assert read_label_predictions(path, NAMES) == [
        LabelPrediction("sub-1", "stable", 4, tuple(p[0])),
        LabelPrediction("sub-2", "rice", 4, tuple(p[1])),
    ]
    with pytest.raises(ValueError, match="p_mixed"):
        read_label_predictions(path, (*NAMES, "mixed"))


def test_a_fold_of_other_labels_than_the_splits_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "dose/fold-0/predictions.tsv"
    path.parent.mkdir(parents=True)
    write_held_out(("sub-1",), ["rice"], 0, np.array([[0.4, 0.6]]), LABELS, path)
    splits = Splits({"sub-1": "rice"}, (("sub-1",),), (), label_names=NAMES)
    with pytest.raises(ResultError, match="dose, fold 0: not a table of the labels recurrence, rice, stable"):
        read_out_of_fold_labels(tmp_path, "dose", splits)


def test_most_votes_decide_then_the_mean_of_those_with_most_then_the_last_label() -> None:
    two_to_one = [[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]]
    a_tie = [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]]
    all_alike = [[0.5, 0.5, 0.0]] * 4
    assert majority_labels(np.array([two_to_one])).tolist() == [0]
    # of two votes each the mean decides, 0.35 to 0.65; the third label has no vote
    assert majority_labels(np.array([a_tie])).tolist() == [1]
    assert majority_labels(np.array([all_alike])).tolist() == [1]


def test_the_vote_of_two_labels_is_the_papers() -> None:
    p_rice = generator_for("votes of two").uniform(size=(200, 4)).round(1)
    folds = np.stack([1 - p_rice, p_rice], axis=2)
    assert (majority_labels(folds) == majority_vote(p_rice)).all()


# --- scores


def test_scores_of_six_subjects_by_hand() -> None:
    assert macro_f1_of_classes(TRUTH, SAID, 3) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert score_of(scores.macro_f1(SAID, TRUTH, 3), 6) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert score_of(scores.balanced_accuracy(SAID, TRUTH, 3), 6) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert confusion_counts(TRUTH, SAID, 3) == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    p = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    # (0.25 + 0.0625 + 0.0625 + 0 + 1 + 1) / 2
    assert score_of(scores.brier(p, np.array([0, 2])), 2) == pytest.approx((0.375 + 2) / 2)
    assert scores.log_losses(p, np.array([0, 1])) == pytest.approx([np.log(2), 0])
    # recurrence and rice 3 of 8, stable 2 of 8
    assert scores.chance_macro_f1([3, 3, 2]) == pytest.approx(
        (2 * (6 / 8) / (17 / 8) + (4 / 8) / (14 / 8)) / 3
    )


def test_scores_are_those_of_scikit_learn() -> None:
    p, truth, fold = drawn("referee")
    of = held(p, truth, fold)
    found, said = scores.label_scores(of, "", 1, 200), of.said("")
    assert found.macro_f1.value == pytest.approx(reference.f1_score(truth, said, average="macro"))
    assert found.balanced_accuracy.value == pytest.approx(reference.balanced_accuracy_score(truth, said))
    assert found.auc.value == pytest.approx(reference.roc_auc_score(truth, p, multi_class="ovr"))
    for k, name in enumerate(NAMES):
        assert found.aucs[name].value == pytest.approx(reference.roc_auc_score(truth == k, p[:, k]))
        assert found.sensitivities[name].value == pytest.approx(reference.recall_score(truth == k, said == k))
    assert scores.log_losses(p, truth).mean() == pytest.approx(reference.log_loss(truth, p))
    assert (
        np.array(confusion_counts(truth, said, 3)).tolist()
        == reference.confusion_matrix(truth, said).tolist()
    )
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high


def test_scores_of_two_labels_are_those_of_p_rice() -> None:
    p, truth, fold = drawn("as before", 40, 2)
    found = scores.label_scores(held(p, truth, fold, LABELS), "", 3, 300)
    before = of_two.scores_with_intervals(p[:, 1], truth == 1, 3, 300)
    for name in ("macro_f1", "balanced_accuracy", "auc"):
        new, old = getattr(found, name), getattr(before, name)
        assert (new.value, new.low, new.high) == pytest.approx((old.value, old.low, old.high), abs=1e-12)
    assert found.brier.value == pytest.approx(2 * before.brier.value)
    assert found.specificities["rice"] == found.sensitivities["recurrence"] == before.specificity


def test_a_bound_of_two_labels_is_the_one_of_p_rice_and_of_three_it_holds_the_score() -> None:
    p = np.array([[1.0, 0.0]] * 8 + [[0.0, 1.0]] * 5)
    truth = np.array([0] * 8 + [1] * 5)
    found, before = scores.score_bounds(p, truth), exact_bounds(p[:, 1], truth == 1)
    for name in ("macro_f1", "balanced_accuracy"):
        assert found[name][0] == pytest.approx(before[name][0])
    assert found["macro_f1"][1] == pytest.approx(1.0)
    perfect = scores.score_bounds(np.eye(3)[TRUTH], TRUTH)["macro_f1"]
    assert perfect[0] < 0.6 and perfect[1] == 1.0


def test_among_events_alone_a_network_that_only_knows_whether_there_was_one_is_at_chance() -> None:
    """Twelve of each label; whoever is stable is known, the others are all called recurrence."""
    rows = []
    for i in range(36):
        label = NAMES[i % 3]
        p = (0.05, 0.05, 0.9) if label == "stable" else (0.5, 0.4, 0.1)
        rows.append(LabelPrediction(f"sub-{i:03d}", label, i % 2, p))
    found = label_set_metrics(rows, NAMES, ["stable"], 1, 200)
    # F1: recurrence 2*12/(12+24), rice 0, stable 1
    assert found.macro_f1_pooled == pytest.approx((2 / 3 + 0 + 1) / 3)
    among = found.among_events
    assert among is not None and among.n == 24 and among.label_names == LABELS
    assert among.macro_f1_pooled == pytest.approx((2 / 3) / 2)
    assert among.confusion == ((12, 0), (12, 0))
    assert events_of(NAMES, ()) == () and label_set_metrics(rows, NAMES, [], 1, 200).among_events is None


def test_metrics_of_two_labels_are_those_of_before() -> None:
    p, truth, fold = drawn("metrics of two", 30, 2)
    rows = list(zip(truth.tolist(), fold.tolist(), p.tolist(), strict=True))
    new = [LabelPrediction(f"s{i:02d}", LABELS[t], k, tuple(of)) for i, (t, k, of) in enumerate(rows)]
    old = [Prediction(f"s{i:02d}", LABELS[t], k, of[1]) for i, (t, k, of) in enumerate(rows)]
    assert label_set_metrics(new, LABELS, [], 5, 300) == set_metrics(old, 5, 300)


# --- evidence


def test_calibration_of_two_labels_is_temperature_and_platt_scaling_of_p_rice() -> None:
    p, truth, fold = drawn("platt", 50, 2)
    of = held(p, truth, fold, LABELS)
    slope, intercept = fit_platt(p[:, 1], truth == 1)
    found = fit_label_recalibration(of, "", "bias-corrected temperature")
    assert found.slope == pytest.approx(slope, abs=1e-4)
    assert found.offsets["rice"] - found.offsets["recurrence"] == pytest.approx(intercept, abs=1e-4)
    temperature = fit_label_recalibration(of, "", "temperature")
    assert 1 / temperature.slope == pytest.approx(fit_temperature(p[:, 1], truth == 1), rel=1e-4)


def test_recalibration_finds_a_known_temperature_and_offset_of_many_subjects() -> None:
    rng = generator_for("known calibration")
    logits = rng.normal(size=(6000, 3)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=row) for row in true])
    given = np.exp(2 * logits - np.array([0.5, 0.0, 0.0]))
    given /= given.sum(axis=1, keepdims=True)
    found = fit_label_recalibration(held(given, truth, truth), "", "bias-corrected temperature")
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.offsets["recurrence"] - found.offsets["rice"] == pytest.approx(0.25, abs=0.08)
    assert recalibrated(given, found).mean(axis=0) == pytest.approx(true.mean(axis=0), abs=0.02)


def test_an_inverted_answer_is_not_turned_round_but_becomes_the_shares() -> None:
    truth = np.array([0] * 60 + [1] * 30 + [2] * 30)
    p = np.where(np.eye(3)[truth] > 0, 0.02, 0.49)
    found = fit_label_recalibration(held(p, truth, truth), "", "bias-corrected temperature")
    assert found.says_the_share
    assert recalibrated(p, found)[0] == pytest.approx([61 / 123, 31 / 123, 31 / 123])


def test_answers_and_sets_of_two_labels_are_those_of_before() -> None:
    p, truth, fold = drawn("three ways", 60, 2)
    of, is_rice = held(p, truth, fold, LABELS), truth == 1
    by = Recalibration(method="temperature", slope=0.7, intercept=0.0)
    new_by = LabelRecalibration(method="temperature", slope=0.7, offsets=dict.fromkeys(LABELS, 0.0))
    before = abstention(p[:, 1], is_rice, fold, by, 0.2)
    found = label_abstention(of, "", new_by, 0.2)
    assert found.threshold == pytest.approx(before.threshold)
    assert found.coverage.value == pytest.approx(before.coverage.value, abs=0.04)
    sets, earlier = label_conformal_sets(of, "", 0.9), conformal_sets(p[:, 1], is_rice, fold, 0.9)
    assert sets.thresholds.least["rice"] == pytest.approx(earlier.thresholds.rice_from)
    assert sets.thresholds.least["recurrence"] == pytest.approx(
        1 - float(str(earlier.thresholds.recurrence_to))
    )
    assert sets.covered is not None and sets.sizes is not None and earlier.covered is not None
    assert sets.covered == earlier.covered
    assert (sets.sizes[0], sets.sizes[1], sets.sizes[2]) == (earlier.neither, earlier.one, earlier.both)


def test_sets_of_three_labels_hold_each_label_of_nine_in_ten_new_subjects() -> None:
    p, truth, fold = drawn("coverage of three", 600)
    found = label_conformal_sets(held(p, truth, fold), "", 0.9)
    assert found.covered is not None
    assert all(0.84 < share.value < 0.96 for share in found.covered.values())


def test_an_answer_is_given_above_the_threshold_only() -> None:
    by = LabelRecalibration(method="temperature", slope=1.0, offsets=dict.fromkeys(NAMES, 0.0))
    folds = np.array([[[0.1, 0.2, 0.7]] * 5, [[0.3, 0.3, 0.4]] * 5])
    assert label_or_abstain(folds, by, 0.6, NAMES) == ["stable", "indeterminate"]
    assert label_or_abstain(folds, by, None, NAMES) == ["indeterminate"] * 2


def test_a_vote_says_how_many_folds_said_what_and_why_there_is_no_answer() -> None:
    by = LabelRecalibration(method="temperature", slope=1.0, offsets=dict.fromkeys(NAMES, 0.0))
    least = dict(zip(NAMES, (0.25, 0.25, 0.25), strict=True))
    decision = LabelDecision(
        recalibration=by,
        least_confidence=0.6,
        conformal={"coverage": 0.9, "least": least},  # type: ignore[arg-type]
    )
    folds = np.array([[[0.3, 0.2, 0.5], [0.3, 0.2, 0.5], [0.5, 0.3, 0.2]]])
    (vote,) = count_label_votes(["sub-1"], ["rice"], folds, NAMES, decision)
    assert vote.predicted == "stable" and vote.votes == (1, 0, 2) and vote.answer == "indeterminate"
    assert vote.why.startswith("2 of 3 folds vote for stable, whose calibrated probability is 0.4000")
    assert vote.labels == ("recurrence", "stable")
    assert vote.as_json()["p"] == {"recurrence": 0.3667, "rice": 0.2333, "stable": 0.4}
    (unknown,) = count_label_votes(["sub-1"], ["rice"], folds, NAMES)
    assert unknown.answer == "n/a" and unknown.predicted == "stable"


def test_drawn_swaps_come_near_the_exact_test_of_two_labels() -> None:
    p_a, truth, fold = drawn("swaps", 40, 2, 2.0)
    p_b, _, _ = drawn("swaps, weaker", 40, 2, 0.5)
    of = held(p_a, truth, fold, LABELS, b=p_b)
    found = compare_labels(of, "", "b", 1, 9999)
    is_rice = truth == 1
    before = compare(HeldOut(of.subjects, is_rice, fold, {"a": p_a[:, 1], "b": p_b[:, 1]}), "a", "b", 1, 9999)
    assert found.p_macro_f1 == pytest.approx(before.p_macro_f1, abs=0.02)
    assert found.p_auc == pytest.approx(before.p_auc, abs=0.02)
    assert found.p_mcnemar == before.p_mcnemar
    assert found.macro_f1.value == pytest.approx(before.macro_f1.value)


def test_swaps_of_three_labels_are_all_ways_to_swap_where_these_are_few() -> None:
    a, b = np.array([0, 0, 1, 1, 2, 2, 0]), np.array([0, 1, 1, 2, 2, 0, 0])
    truth = np.array([0, 0, 1, 1, 2, 2, 1])

    def difference(mask: Any) -> float:
        swapped_a, swapped_b = np.where(mask, b, a), np.where(mask, a, b)
        return macro_f1_of_classes(truth, swapped_a, 3) - macro_f1_of_classes(truth, swapped_b, 3)

    ways = [np.array([bool(i >> k & 1) for k in range(7)]) for i in range(2**7)]
    sizes = np.abs([difference(way) for way in ways])
    observed = abs(difference(ways[0]))
    exact = np.mean(sizes > observed + 1e-9) + np.mean(np.abs(sizes - observed) <= 1e-9) / 2
    assert swapped_label_f1(a, b, truth, 3, drawn_swaps(7, 1, 20_000)) == pytest.approx(exact, abs=0.01)


def test_a_property_that_tells_one_of_three_labels_from_the_rest_is_a_leak() -> None:
    labels = {f"sub-{i:03d}": NAMES[i % 3] for i in range(45)}
    properties = {"column ward": {s: "one" if label == "stable" else "two" for s, label in labels.items()}}
    assert label_leakage(properties, labels).outcome == "failed"
    harmless = {"column ward": {s: "one" if int(s[-3:]) % 2 else "two" for s in labels}}
    assert label_leakage(harmless, labels).outcome == "passed"
