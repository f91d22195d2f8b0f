import csv
import json

import numpy as np
import pytest
from small_results import FOLDS, LABELS, write_fold, write_splits

from ricenet.cohort.splits import read_splits
from ricenet.evaluation import paper
from ricenet.evaluation.metrics import (
    SetMetrics,
    coin_toss_macro_f1,
    confusion_matrix,
    macro_f1,
    macro_f1_estimate,
    set_metrics,
)
from ricenet.evaluation.predictions import predicted_label, read_out_of_fold
from ricenet.evaluation.tables import metrics_table, out_of_fold_table
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import MODALITY_SETS

R, C = "rice", "recurrence"


def predictions(rows):
    return [Prediction(f"sub-{i:03d}", label, fold, p) for i, (label, fold, p) in enumerate(rows)]


FOUR_SUBJECTS = predictions([(R, 0, 0.9), (C, 0, 0.1), (R, 1, 0.4), (C, 1, 0.2)])


def test_macro_f1_is_the_mean_of_both_classes_f1():
    # rice: 1 hit of 2 true, 1 predicted -> 2/3; recurrence: 2 hits of 2 true, 3 predicted -> 4/5
    assert macro_f1([R, R, C, C], [R, C, C, C]) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_class_that_is_never_predicted_counts_zero():
    assert macro_f1([R, C, C, C], [C, C, C, C]) == pytest.approx((0 + 6 / 7) / 2)


def test_probability_one_half_is_rice():
    assert [predicted_label(p) for p in (0.5, 0.4999)] == [R, C]


def test_confusion_matrix_has_true_negatives_first():
    labels, predicted = [C, C, C, C, R, R, R], [C, C, C, R, C, C, R]
    assert confusion_matrix(labels, predicted) == ((3, 1), (2, 1))


def test_mean_and_sample_sd_over_folds():
    metrics = set_metrics(FOUR_SUBJECTS, seed=7, resamples=50)
    # fold 0 is right; fold 1 predicts recurrence twice: F1 of 2/3 and 0
    assert metrics.macro_f1_folds == pytest.approx((1, 1 / 3))
    assert metrics.macro_f1_mean == pytest.approx(2 / 3)
    assert metrics.macro_f1_sd == pytest.approx((2 / 3) / np.sqrt(2))


def test_pooled_value_is_over_all_subjects_and_not_the_mean_of_folds():
    metrics = set_metrics(FOUR_SUBJECTS, seed=7, resamples=50)
    assert metrics.macro_f1_pooled == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert metrics.confusion == ((2, 0), (1, 1))
    assert metrics.n == 4


def test_a_label_with_a_single_subject_cannot_be_resampled_and_is_bounded_exactly():
    found = macro_f1_estimate([R, C, C, C], [R, C, C, C], seed=3)
    assert (found.value, found.high, found.method) == (1, 1, "exact bound")
    assert 0 < found.low < 0.5


def test_interval_contains_the_value_and_repeats_by_seed():
    labels = [R, C] * 20
    predicted = [R, C] * 15 + [C, R] * 5
    found = macro_f1_estimate(labels, predicted, seed=0)
    assert found.value == pytest.approx(macro_f1(labels, predicted))
    assert found.low < found.value < found.high
    assert found == macro_f1_estimate(labels, predicted, seed=0)
    assert found != macro_f1_estimate(labels, predicted, seed=1)


def test_interval_narrows_with_more_subjects():
    few, many = ([R, C, R, C] * n for n in (5, 50))
    found = [macro_f1_estimate(x, [R, R, R, C] * (len(x) // 4), seed=2) for x in (few, many)]
    widths = [estimate.high - estimate.low for estimate in found]
    assert widths[1] < widths[0] / 2


def test_fair_coin_scores_half_on_balanced_classes_and_less_otherwise():
    assert coin_toss_macro_f1(((5, 5), (5, 5))) == pytest.approx(0.5)
    # a fifth is rice: F1 of 0.2/0.7 and 0.8/1.3
    assert coin_toss_macro_f1(((8, 0), (2, 0))) == pytest.approx((2 / 7 + 8 / 13) / 2)


def test_metrics_survive_json():
    metrics = set_metrics(FOUR_SUBJECTS, seed=7, resamples=50)
    assert SetMetrics.from_json(json.loads(json.dumps(metrics.as_json()))) == metrics


def test_published_numbers_cover_every_set_as_printed():
    assert list(paper.VALIDATION_MACRO_F1) == list(MODALITY_SETS)
    printed = [paper.as_printed(v) for v in paper.VALIDATION_MACRO_F1.values()]
    assert printed == ["0.70", "0.58", "0.78", "0.70", "0.828", "0.83", "0.804"]


def test_tables_list_sets_in_paper_order():
    both = {"dose": FOUR_SUBJECTS, "post_op": FOUR_SUBJECTS}
    rows = list(csv.DictReader(out_of_fold_table(both).splitlines(), delimiter="\t"))
    assert [row["modality_set"] for row in rows] == ["post_op"] * 4 + ["dose"] * 4
    assert (rows[2]["participant_id"], rows[2]["p_rice"], rows[2]["predicted"]) == ("sub-002", "0.4", C)
    metrics = {name: set_metrics(p, seed=7, resamples=50) for name, p in both.items()}
    table = list(csv.DictReader(metrics_table(metrics).splitlines()))
    assert [(row["set"], row["macro_f1_mean"], row["paper"]) for row in table] == [
        ("post_op", "0.6667", "0.70"),
        ("dose", "0.6667", "0.78"),
    ]


@pytest.fixture
def project(tmp_path):
    write_splits(tmp_path)
    for fold in range(len(FOLDS)):
        write_fold(tmp_path, "dose", fold)
    return tmp_path


def read_dose(project):
    splits = read_splits(project / "work/splits/splits.json")
    return read_out_of_fold(project / "work/training", "dose", splits)


def edit_fold_1(project, old, new):
    path = project / "work/training/dose/fold-1/predictions.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_training_subject_is_predicted_once_by_the_fold_that_held_it_out(project):
    found = read_dose(project)
    assert [(p.participant_id, p.fold) for p in found] == [
        (s, k) for k, fold in enumerate(FOLDS) for s in fold
    ]
    assert all(p.label == LABELS[p.participant_id] for p in found)


def test_missing_subject_is_named(project):
    edit_fold_1(project, "sub-006\trecurrence\t1\t0.2\n", "")
    with pytest.raises(ResultError, match=r"dose, fold 1: sub-006 has no prediction"):
        read_dose(project)


def test_subject_of_another_fold_is_named(project):
    edit_fold_1(project, "sub-006", "sub-002")
    with pytest.raises(
        ResultError, match=r"dose, fold 1: sub-002 is predicted, but splits\.json holds it out"
    ):
        read_dose(project)


def test_subject_predicted_twice_is_named(project):
    edit_fold_1(project, "sub-006", "sub-008")
    with pytest.raises(ResultError, match=r"dose, fold 1: sub-008 is predicted 2 times"):
        read_dose(project)


def test_label_that_changed_since_training_is_named(project):
    edit_fold_1(project, "sub-006\trecurrence", "sub-006\trice")
    with pytest.raises(ResultError, match=r"sub-006 is rice in the predictions and recurrence in splits"):
        read_dose(project)


def test_p_rice_that_is_no_probability_is_refused(project):
    edit_fold_1(project, "sub-006\trecurrence\t1\t0.2", "sub-006\trecurrence\t1\tnan")
    with pytest.raises(ResultError, match=r"sub-006 has p_rice nan, which is no probability"):
        read_dose(project)


def test_missing_fold_names_the_stage_that_makes_it(project):
    (project / "work/training/dose/fold-1/predictions.tsv").unlink()
    with pytest.raises(ResultError, match=r"fold-1/predictions\.tsv is missing\. The stage `train` makes it"):
        read_dose(project)
