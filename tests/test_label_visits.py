"""Three labels and several visits: each visit keeps its own label, and first events alone are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_project import NAMES, write_labelled_cohort
from visited_cohorts import add_visit, write_sessions

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.splits import Splits, make_splits, read_splits, write_splits
from ricenet.evaluation.labels.held_out import LabelHeldOut, read_out_of_fold_labels
from ricenet.evaluation.labels.metrics import label_set_metrics
from ricenet.training.label_predictions import write_held_out

SUBJECTS = 15
VISITS = {
    "sub-001": ["recurrence", "recurrence"],
    "sub-003": ["stable", "stable", "rice"],
    "sub-006": ["n/a", "stable"],
}
"""A control whose lesion comes later stays a control where it is counted: by the first label."""


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    cohort = write_labelled_cohort(tmp_path_factory.mktemp("labels and visits") / "mine", subjects=SUBJECTS)
    for patient, labels in VISITS.items():
        days = (90, 150, 210)
        sessions = ("ses-event", "ses-event2", "ses-event3")
        write_sessions(
            cohort, patient, [(s, str(d), label) for s, d, label in zip(sessions, days, labels, strict=False)]
        )
        for visit in range(2, len(labels) + 1):
            add_visit(cohort, patient, visit)
    checked = admit(check_cohort(cohort, label_names=NAMES), exclude_faulty=False)
    return make_splits(checked.subjects, 2, 0.0, 7, label_names=NAMES)


def test_visits_keep_their_labels_and_patients_count_once_by_the_first(
    splits: Splits, tmp_path: Path
) -> None:
    assert splits.label_names == NAMES and len(splits.labels) == SUBJECTS
    assert splits.labels["sub-003"] == "stable" and splits.labels["sub-006v2"] == "stable"
    assert splits.later == {
        "sub-001": {"sub-001v2": "recurrence"},
        "sub-003": {"sub-003v2": "stable", "sub-003v3": "rice"},
    }
    # what is trained on has every labelled visit, with its own label
    (fold,) = (k for k in range(2) if "sub-003" in splits.training_subjects(k))
    assert {"sub-003v2", "sub-003v3"} <= set(splits.training_subjects(fold))
    assert splits.labels_of_visits["sub-003v3"] == "rice"
    write_splits(splits, tmp_path / "splits.json")
    assert read_splits(tmp_path / "splits.json") == splits


def test_metrics_of_three_labels_are_of_first_events_alone(splits: Splits, tmp_path: Path) -> None:
    """The network is right at each first event and wrong at each later visit, which must not count."""
    for k in range(2):
        judged = splits.validation_subjects(k)
        labels = [splits.labels_of_visits[subject] for subject in judged]
        right = [NAMES.index(splits.labels.get(s, "recurrence")) for s in judged]
        said = [n if s in splits.labels else (n + 1) % 3 for s, n in zip(judged, right, strict=True)]
        path = tmp_path / f"dose/fold-{k}/predictions.tsv"
        path.parent.mkdir(parents=True)
        write_held_out(judged, labels, k, 0.1 + 0.7 * np.eye(3)[said], NAMES, path)
    predictions = read_out_of_fold_labels(tmp_path, "dose", splits)
    assert {p.participant_id for p in predictions} == set(splits.development)
    held = LabelHeldOut.of({"dose": predictions}, NAMES)
    assert held.counts == [4, 4, 4] and np.array_equal(held.said("dose"), held.truth)
    metrics = label_set_metrics(predictions, NAMES, ("stable",), 7, 50)
    assert np.array_equal(np.array(metrics.confusion), 4 * np.eye(3))
