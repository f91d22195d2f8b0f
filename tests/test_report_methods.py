"""The methods' paragraphs: true sentences only, whatever the parameters say."""

from dataclasses import replace

import pytest
from small_report import page_of, protocol, table_of, write_participants, write_project, write_vote
from small_results import write_json

from ricenet.config.network_params import VisitsParams
from ricenet.config.training import TrainingOverride
from ricenet.report.methods import methods_paragraphs
from ricenet.report.results import read_results


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


def methods_of(project, **changes):
    made = protocol()
    params = made.params.model_copy(update=changes)
    return " ".join(methods_paragraphs(read_results(project, seed=7), replace(made, params=params)))


def test_methods_report_this_runs_numbers(project):
    text = methods_of(project)
    for part in (
        "10 subjects with a known outcome", "8 (4 with tumour recurrence and 4 with radiation-induced",
        "2-fold cross-validation", "test set of 2 (1 and 1) was set aside", "(seed 7)",
        "ANTs (antspyx of unknown version; a rigid transform", "divided by 60 Gy",
        "trained for each of 7 modality sets",
            "everything else being the same for all of them: 30 epochs of Adam",
        "learning rate 0.0005", "(999 resamples", "The 21 pairs", "1 baseline without an image network",
        "dose shifted, dose of another patient", "No model of this run has voted on the test set;",
    ):  # fmt: skip
        assert part in text


def test_methods_report_of_settings_that_are_not_the_usual_ones(project):
    params = protocol().params
    preprocessing = params.preprocessing.model_copy(
        update={"eqd2_alpha_beta_gy": 2.0, "interpolation": "bspline"}
    )
    overrides = {"dose": TrainingOverride(epochs=9)}
    training = params.training.model_copy(update={"overrides": overrides})
    text = methods_of(project, preprocessing=preprocessing, training=training)
    assert "converted to EQD2 (alpha/beta 2 Gy) and divided by 60 Gy" in text
    assert "by B-splines (the dose linearly)" in text
    assert "Settings of their own: dose (see the protocol)." in text
    assert "everything else being the same" not in text


def test_volumes_that_were_withheld_are_reported(project):
    network = protocol().params.network
    assert "random non-empty subset" not in methods_of(project)
    text = methods_of(project, network=network.model_copy(update={"channel_dropout": 0.5}))
    assert "of 50 % of the training samples a random non-empty subset of the volumes, was trained" in text


def test_visits_are_reported_in_their_order(project):
    text = methods_of(project, network=VisitsParams())
    assert "a three-dimensional network of visits (one convolutional encoder" in text
    assert "with visits in the order of time, which saw the whole head, was trained" in text


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ("mean", "the mean of both logits counted"),
        ("fitted", "non-negative weights, fitted to answers for"),
        ("products", "products of the dose's intensities and of how bright each MRI remains when"),
    ],
)
def test_a_regression_beside_the_networks_is_reported(project, fusion, words):
    training = protocol().params.training
    assert "regression on intensities" not in methods_of(project)
    assert words in methods_of(project, training=training.model_copy(update={"fusion": fusion}))


def test_settings_that_a_search_found_are_reported(project):
    values = {"training.learning_rate": 0.00123, "augmentation.noise_sd": 0.25}
    write_json(project / "work/tuning/best.json", {"dose": {"folds": [values, values]}})
    assert "Settings of their own: dose (see the protocol)." in methods_of(project)
    row = table_of(page_of(project), "In the place of the parameters")["dose"]
    assert row == ["dose", "all", "training.learning_rate 0.00123, augmentation.noise_sd 0.25"]


@pytest.mark.parametrize(
    ("nested", "said", "unsaid"),
    [
        (False, "The search was not nested: its folds are those of the scores", "had one of its own"),
        (True, "The search was nested: each fold had one of its own", "flatters"),
    ],
)
def test_methods_report_that_settings_were_searched_and_whether_nested(project, nested, said, unsaid):
    assert "searched" not in methods_of(project)
    values = {"training.learning_rate": 0.00123, "augmentation.probability.noise": 0.25}
    write_json(project / "work/tuning/best.json", {"event+dose": {"folds": [values, values]}})
    tuning = protocol().params.tuning.model_copy(update={"nested": nested, "trials": 30})
    text = methods_of(project, tuning=tuning)
    assert "searched for (event T1ce + dose): learning rate, probability of noise, by" in text
    assert "30 trials a search" in text
    assert said in text
    assert unsaid not in text


def test_methods_report_how_the_tests_interval_was_made(project):
    write_vote(project)
    assert "intervals are bounds from the exact rates. The ledger counts 2 evaluations" in methods_of(project)


def test_methods_do_not_call_phantoms_patients(project):
    write_participants(project, "synthetic")
    assert "10 synthetic phantoms, generated and not imaged," in methods_of(project)


@pytest.mark.parametrize(
    ("seen", "words", "cut"),
    [
        ("head", "which saw the whole head, was trained", False),
        ("brain", "which saw the box of these cubes that holds the brain of every subject, the same", False),
        ("crop", "which saw a crop around the high-dose region", True),
    ],
)
def test_what_networks_saw_is_reported_and_crops_only_where_one_saw_them(project, seen, words, cut):
    training = protocol().params.training.model_copy(update={"input": seen})
    text = methods_of(project, training=training)
    assert words in text
    assert ("were cut likewise" in text) == cut
