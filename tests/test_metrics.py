"""Macro-F1 over folds and pooled, against hand-computed numbers; predictions that do not fit the splits."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from small_results import FOLDS, LABELS, write_fold, write_splits

from ricenet.cohort.splits import read_splits
from ricenet.evaluation import paper
from ricenet.evaluation.held_out import read_out_of_fold
from ricenet.evaluation.metrics import (
    SetMetrics,
    chance_level,
    confusion_matrix,
    macro_f1,
    macro_f1_estimate,
    metrics_table,
    out_of_fold_table,
    pooled_macro_f1,
    set_metrics,
)
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction, predicted_label
from ricenet.vocabulary import PAPER_VOLUMES

R, C = "rice", "recurrence"


def predictions(rows):
    return [Prediction(f"sub-{i:03d}", label, fold, p) for i, (label, fold, p) in enumerate(rows)]


FOUR_SUBJECTS = predictions([(R, 0, 0.9), (C, 0, 0.1), (R, 1, 0.4), (C, 1, 0.2)])


def test_macro_f1_is_the_mean_of_both_classes_f1():
    # rice: 1 hit of 2 true, 1 predicted -> 2/3; recurrence: 2 hits of 2 true, 3 predicted -> 4/5
    assert macro_f1([R, R, C, C], [R, C, C, C]) == pytest.approx((2 / 3 + 4 / 5) / 2)
    # a label that is never predicted counts 0
    assert macro_f1([R, C, C, C], [C, C, C, C]) == pytest.approx((0 + 6 / 7) / 2)


def test_probability_one_half_is_rice():
    assert [predicted_label(p) for p in (0.5, 0.4999)] == [R, C]


def test_confusion_matrix_has_true_negatives_first():
    labels, predicted = [C, C, C, C, R, R, R], [C, C, C, R, C, C, R]
    assert confusion_matrix(labels, predicted) == ((3, 1), (2, 1))


def test_metrics_are_over_folds_and_pooled_over_subjects():
    metrics = set_metrics(FOUR_SUBJECTS, seed=7, resamples=50)
    # fold 0 is right; fold 1 predicts recurrence twice: F1 of 2/3 and 0
    assert metrics.macro_f1_folds == pytest.approx((1, 1 / 3))
    assert metrics.macro_f1_mean == pytest.approx(2 / 3)
    assert metrics.macro_f1_sd == pytest.approx((2 / 3) / np.sqrt(2))
    assert metrics.macro_f1_pooled == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert metrics.macro_f1_pooled == pytest.approx(pooled_macro_f1(FOUR_SUBJECTS))
    assert (metrics.confusion, metrics.n) == (((2, 0), (1, 1)), 4)
    assert SetMetrics(**json.loads(metrics.model_dump_json())) == metrics


def test_a_label_with_a_single_subject_cannot_be_resampled_and_is_bounded_exactly():
    found = macro_f1_estimate([R, C, C, C], [R, C, C, C], seed=3)
    assert (found.value, found.high, found.method) == (1, 1, "exact bound")
    assert 0 < found.low < 0.5


def test_the_interval_holds_the_value_repeats_by_seed_and_narrows_with_more_subjects():
    labels = [R, C] * 20
    predicted = [R, C] * 15 + [C, R] * 5
    found = macro_f1_estimate(labels, predicted, seed=0)
    assert found.value == pytest.approx(macro_f1(labels, predicted))
    assert found.low < found.value < found.high
    assert found == macro_f1_estimate(labels, predicted, seed=0)
    assert found != macro_f1_estimate(labels, predicted, seed=1)
    few, many = (macro_f1_estimate([R, C, R, C] * n, [R, R, R, C] * n, seed=2) for n in (5, 50))
    assert many.high - many.low < (few.high - few.low) / 2


def test_the_chance_level_is_one_half_of_balanced_labels_and_less_otherwise():
    assert chance_level(10, 10) == pytest.approx(0.5)
    # a fifth is rice: F1 of 0.2/0.7 and 0.8/1.3
    assert chance_level(8, 2) == pytest.approx((2 / 7 + 8 / 13) / 2)


def test_published_numbers_cover_every_set_of_the_papers_volumes_as_printed():
    assert list(paper.VALIDATION_MACRO_F1) == list(PAPER_VOLUMES.sets)
    printed = [paper.as_printed(v) for v in paper.VALIDATION_MACRO_F1.values()]
    assert printed == ["0.70", "0.58", "0.78", "0.70", "0.828", "0.83", "0.804"]


def test_tables_list_sets_with_the_papers_number_where_there_is_one():
    sets = {"dose": FOUR_SUBJECTS, "flair": FOUR_SUBJECTS}
    rows = list(csv.DictReader(out_of_fold_table(sets).splitlines(), delimiter="\t"))
    assert [row["modality_set"] for row in rows] == ["dose"] * 4 + ["flair"] * 4
    assert (rows[2]["participant_id"], rows[2]["p_rice"], rows[2]["predicted"]) == ("sub-002", "0.4", C)
    metrics = {name: set_metrics(p, seed=7, resamples=50) for name, p in sets.items()}
    table = list(csv.DictReader(metrics_table(metrics).splitlines()))
    assert [(row["set"], row["macro_f1_mean"], row["paper"]) for row in table] == [
        ("dose", "0.6667", "0.78"),
        ("flair", "0.6667", "n/a"),
    ]


@pytest.fixture
def project(tmp_path):
    write_splits(tmp_path)
    for fold in range(len(FOLDS)):
        write_fold(tmp_path, "dose", fold)
    return tmp_path


def read_dose(project, excluded=()):
    splits = read_splits(project / "work/splits/splits.json")
    return read_out_of_fold(project / "work/training", "dose", splits, excluded)


SUB_006 = "sub-006\trecurrence\t1\t0.2\n"


def edit_fold_1(project, old, new):
    path = project / "work/training/dose/fold-1/predictions.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_training_subject_is_predicted_once_by_the_fold_that_held_it_out(project):
    found = read_dose(project)
    held_out = [(s, k) for k, fold in enumerate(FOLDS) for s in fold]
    assert [(p.participant_id, p.fold) for p in found] == held_out
    assert all(p.label == LABELS[p.participant_id] for p in found)
    edit_fold_1(project, SUB_006, "")
    without = [p.participant_id for p in read_dose(project, excluded=["sub-006"])]
    assert without == [s for s, _ in held_out if s != "sub-006"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SUB_006, "", "dose, fold 1: sub-006 has no prediction"),
        ("sub-006", "sub-002", "dose, fold 1: sub-002 is predicted, but splits.json holds it out"),
        ("sub-006", "sub-008", "dose, fold 1: sub-008 is predicted 2 times"),
        ("sub-006\trecurrence", "sub-006\trice", "sub-006 is rice in the predictions and recurrence in"),
        ("\t0.2\nsub-007", "\tnan\nsub-007", "sub-006 has p_rice nan, which is no probability"),
    ],
)
def test_predictions_that_do_not_fit_the_splits_are_refused(project, old, new, message):
    edit_fold_1(project, old, new)
    with pytest.raises(ResultError, match=re.escape(message)):
        read_dose(project)


def test_missing_fold_names_the_stage_that_makes_it(project):
    (project / "work/training/dose/fold-1/predictions.tsv").unlink()
    with pytest.raises(ResultError, match=r"fold-1/predictions\.tsv is missing\. The stage `train` makes it"):
        read_dose(project)
