"""Subsets of a cohort for a learning curve, and the stage that trains on them."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest
from small_folds import PROJECT, TRAINING, plan, run_stage, setup_of, write_project, write_subjects

from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.evidence import LearningCurveParams
from ricenet.evaluation.evidence import group_baselines, scalars
from ricenet.evaluation.evidence.curve_points import CurveTrainings, read_curve_answers
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.evaluation.held_out import read_out_of_fold
from ricenet.runtime.errors import ResultError, SplitError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.result import write_guards
from ricenet.training.fewer_subjects import nested_subset, on_fewer
from ricenet.training.fusion import inner_tasks

STAGE = PROJECT / "src/stages/learning_curve.py"
LABELS = {f"sub-{i:03d}": ("rice" if i % 5 < 2 else "recurrence") for i in range(80)}
"""32 with rice, 48 with recurrence."""

FOLD_OF = {
    subject: place % 5
    for label in ("rice", "recurrence")
    for place, subject in enumerate(s for s, of in LABELS.items() if of == label)
}


def subset(share: float, draw: int = 0, seed: int = 7) -> set[str]:
    return nested_subset(LABELS, FOLD_OF, share, seed, draw)


def test_a_smaller_share_lies_within_a_larger_one_of_the_same_draw() -> None:
    quarter, half, most, whole = (subset(share) for share in (0.25, 0.5, 0.75, 1.0))
    assert quarter < half < most < whole == set(LABELS)
    assert not subset(0.25, draw=1) <= half


def test_each_share_has_its_part_of_each_label_and_of_each_fold() -> None:
    for share, rice, recurrence in ((0.25, 8, 12), (0.5, 16, 24), (0.75, 24, 36)):
        chosen = subset(share)
        assert Counter(LABELS[s] for s in chosen) == {"rice": rice, "recurrence": recurrence}
        for label in ("rice", "recurrence"):
            of_fold = Counter(FOLD_OF[s] for s in chosen if LABELS[s] == label)
            assert len(of_fold) == 5 and max(of_fold.values()) - min(of_fold.values()) <= 1


def test_a_draw_follows_from_seed_and_names_alone() -> None:
    turned = dict(reversed(FOLD_OF.items()))
    assert nested_subset(LABELS, turned, 0.5, 7, 0) == subset(0.5)
    assert subset(0.5, seed=8) != subset(0.5) != subset(0.5, draw=1)


def test_fewer_of_a_label_than_folds_are_refused() -> None:
    # an eighth of 32 is 4
    with pytest.raises(
        SplitError, match=r"0\.125 of 32 subjects with rice are 4, and 5 folds need at least 5"
    ):
        subset(0.125)


def test_folds_on_fewer_subjects_judge_the_same_ones_and_learn_from_none_of_them(tmp_path: Path) -> None:
    tasks = plan(tmp_path, write_subjects(tmp_path / "preprocessed", 12))
    fewer = on_fewer(tasks, 0.5, 0)
    for task, less in zip(tasks, fewer, strict=True):
        assert less.validation_subjects == task.validation_subjects
        assert set(less.training_subjects) < set(task.training_subjects)
        assert not set(less.training_subjects) & set(less.validation_subjects)
        assert less.key != task.key
    assert [task.key for task in on_fewer(tasks, 1.0, 0)] == [task.key for task in tasks]
    with pytest.raises(SplitError, match=r"^dose: 0\.1 of 6 subjects with recurrence are 1"):
        on_fewer(tasks, 0.1, 0)


def test_what_fusion_trains_within_a_subset_stays_within_it(tmp_path: Path) -> None:
    splits = Splits(LABELS, tuple(tuple(s for s in LABELS if FOLD_OF[s] == k) for k in range(5)), ())
    fitted = TRAINING.model_copy(update={"fusion": "fitted"})
    fewer = on_fewer(plan(tmp_path, splits, training=fitted), 0.5, 0)
    kept = {subject for task in fewer for subject in task.training_subjects}
    assert len(kept) == 40
    for inner in inner_tasks(fewer):
        assert set(inner.training_subjects) == kept - set(inner.validation_subjects)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve subjects in two folds, trained on all and on two halves."""
    folder = tmp_path_factory.mktemp("curve")
    curve = {"sets": ["dose"], "shares": [0.5, 1], "draws": 2, "growth": [2]}
    write_project(
        folder, split={"folds": 2, "test_fraction": 0}, evidence={"learning_curve": curve, "resamples": 200}
    )
    write_json(folder / "work/tuning/best.json", {})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for stage in ("split", "train", "repeat", "learning_curve"):
            run_stage(stage)
    return folder


def answers(project: Path):
    splits = read_splits(project / "work/splits/splits.json")
    whole = {"dose": read_out_of_fold(project / "work/training", "dose", splits)}
    return read_curve_answers(project / "work/learning_curve", whole, splits, {})


def test_the_stage_trains_every_draw_of_every_share_below_the_whole(project: Path) -> None:
    found = answers(project)["dose"]
    assert found.subjects == (6, 12)
    assert [rows.shape for rows in found.p_rice] == [(2, 12), (1, 12)]
    assert found.is_rice.sum() == 6
    written = CurveTrainings.model_validate(read_json(project / "work/learning_curve/learning_curve.json"))
    assert [(t.modality_set, t.share, t.draw, t.subjects) for t in written.trainings] == [
        ("dose", 0.5, 0, 6),
        ("dose", 0.5, 1, 6),
    ]


def test_the_evidence_takes_the_curve_or_says_why_it_carries_no_forecast(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    # twelve subjects of random voxels have no participants.tsv
    monkeypatch.setattr(scalars, "cohort_scalars", lambda *asked: {s: {"ptv_ml": 1.0} for s in asked[2]})
    monkeypatch.setattr(group_baselines, "cohort_convolutions", lambda *_: {})
    write_guards([], [], Path("work/guards/guards.json"), Path("work/guards/verdict.json"))
    run_stage("evidence")
    curve = read_evidence(Path("work/evidence/evidence.json")).learning_curves["dose"]
    assert [(p.subjects, len(p.draws)) for p in curve.macro_f1.points] == [(6, 2), (12, 1)]
    assert curve.macro_f1.refusal == "a curve of 2 sizes could bend in any way; 3 are asked for"


def test_a_second_run_trains_nothing_again_and_another_draw_trains_that_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)

    def kept() -> dict[str, int]:
        return {
            p.parent.name: p.stat().st_mtime_ns for p in Path("work/store/learning_curve").glob("*/fold.json")
        }

    before = kept()
    assert len(before) == 4
    params = read_json(project / "params.yaml")
    params["evidence"]["learning_curve"]["draws"] = 3
    write_json(project / "params.yaml", params)
    run_stage("learning_curve")
    after = kept()
    assert len(after) == 6 and before.items() <= after.items()


@pytest.mark.parametrize(("shares", "said"), [([0.95], "0.95 and 1 of"), ([0.5, 0.55], "0.55 and 0.5 of")])
def test_shares_of_as_many_subjects_are_refused(shares: list[float], said: str, tmp_path: Path) -> None:
    asked = LearningCurveParams(sets=["dose"], shares=shares, draws=2, growth=[2])
    setup = setup_of(tmp_path, write_subjects(tmp_path / "preprocessed", 12))
    with pytest.raises(SplitError, match=rf"^dose: {re.escape(said)} the subjects are (6|12) both"):
        runpy.run_path(str(STAGE))["plan"](setup, asked)


def test_a_missing_fold_is_named(project: Path) -> None:
    fold = project / "work/learning_curve/dose/0.5-1/dose/fold-1/predictions.tsv"
    content = fold.read_bytes()
    fold.unlink()
    try:
        with pytest.raises(ResultError, match=r"predictions\.tsv"):
            answers(project)
    finally:
        fold.write_bytes(content)


def test_where_no_curve_is_asked_for_there_is_none(tmp_path: Path) -> None:
    write_json(tmp_path / "learning_curve.json", CurveTrainings().model_dump(mode="json"))
    splits = Splits(LABELS, (tuple(LABELS),), ())
    assert read_curve_answers(tmp_path, {}, splits, {}) == {}
    write_json(tmp_path / "learning_curve.json", {"curves": []})
    with pytest.raises(
        ResultError, match=r"learning_curve\.json is not of this version.*dvc repro -f learning_curve"
    ):
        read_curve_answers(tmp_path, {}, splits, {})
