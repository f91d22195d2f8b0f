"""What is computed of a cohort's answers by a plan, by hand; and what is withheld, in words."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
from study_answers import answers_of

from ricenet.evaluation.evidence.calibration_record import ConformalThresholds, Recalibration
from ricenet.inference.three_way import DecisionThreshold
from ricenet.study.cohort import OTHERS, groups_of
from ricenet.study.evaluate import Evaluator, coarse_roc
from ricenet.study.plan import AnalysisPlan, SubgroupPlan
from ricenet.study.result import AS_GIVEN, PERFORMANCE, RECALIBRATED, SETS, THREE_WAY, ResultNumber
from ricenet.study.subgroups import subgroup_result

PLAN = AnalysisPlan(resamples=200, smallest_cell=3)
DECISION = DecisionThreshold(
    recalibration=Recalibration(method="temperature", slope=1.0, intercept=0.0),
    least_confidence=0.8,
    conformal=ConformalThresholds(coverage=0.75, rice_from=0.3, recurrence_to=0.7),
)
P_RICE = [0.1, 0.2, 0.35, 0.6, 0.9, 0.4, 0.75, 0.85, 0.95, 0.99]
LABELS = ["recurrence"] * 5 + ["rice"] * 5


def numbers_of(
    p_rice: list[float],
    labels: list[str],
    decision: DecisionThreshold | None = DECISION,
    plan: AnalysisPlan = PLAN,
) -> dict[tuple[str, str], ResultNumber]:
    evaluator = Evaluator(answers_of([[p] for p in p_rice], labels, decision), plan, decision)
    return {(n.part, n.name): n for n in evaluator.numbers(())}


def value(number: ResultNumber) -> float:
    assert number.estimate is not None, number.withheld
    return number.estimate.value


def test_scores_are_those_of_other_programs() -> None:
    found = numbers_of(P_RICE, LABELS)
    is_rice, says_rice = np.array(LABELS) == "rice", np.array(P_RICE) >= 0.5
    assert value(found[PERFORMANCE, "macro_f1"]) == pytest.approx(
        f1_score(is_rice, says_rice, average="macro")
    )
    assert value(found[PERFORMANCE, "auc"]) == pytest.approx(roc_auc_score(is_rice, P_RICE))
    assert value(found[PERFORMANCE, "brier"]) == pytest.approx(brier_score_loss(is_rice, P_RICE))
    assert (value(found[PERFORMANCE, "sensitivity"]), value(found[PERFORMANCE, "specificity"])) == (0.8, 0.6)


def test_votes_decide_scores_of_answers_and_means_those_of_probabilities() -> None:
    # two of three folds say rice of the first subject, and their mean is 0.4
    folds = [[0.55, 0.55, 0.1], *([p] * 3 for p in P_RICE[1:])]
    evaluator = Evaluator(answers_of(folds, LABELS), PLAN, None)
    scores = evaluator.scores()
    assert scores.specificity.value == pytest.approx(2 / 5)
    assert scores.auc.value == pytest.approx(roc_auc_score(np.array(LABELS) == "rice", [0.4, *P_RICE[1:]]))


def test_the_three_way_vote_answers_from_its_confidence_on() -> None:
    found = numbers_of(P_RICE, LABELS)
    # confidences of 0.8 and above: 0.1, 0.2, 0.9 of recurrence, 0.85, 0.95, 0.99 of RICE; 0.9 is wrong
    assert value(found[THREE_WAY, "answered"]) == pytest.approx(0.6)
    assert value(found[THREE_WAY, "wrong among the answered"]) == pytest.approx(1 / 6)


def test_sets_of_labels_cover_whom_their_thresholds_cover() -> None:
    found = numbers_of(P_RICE, LABELS)
    # recurrence is in sets up to 0.7: four of five; RICE from 0.3 on: all five
    assert value(found[SETS, "true label in the set, recurrence"]) == pytest.approx(0.8)
    assert value(found[SETS, "true label in the set, rice"]) == 1.0
    # 0.35, 0.6 and 0.4 could be either
    assert value(found[SETS, "sets of one label"]) == pytest.approx(0.7)
    assert value(found[SETS, "right among sets of one label"]) == pytest.approx(6 / 7)


def test_a_cohort_of_one_label_has_no_auc_and_says_why() -> None:
    found = numbers_of(P_RICE, ["rice"] * 10)
    for name in ("macro_f1", "auc", "balanced_accuracy", "brier", "specificity"):
        assert found[PERFORMANCE, name].estimate is None
        assert found[PERFORMANCE, name].withheld == "not defined: no subject has recurrence"
    assert value(found[PERFORMANCE, "sensitivity"]) == 0.6
    assert found[AS_GIVEN, "slope and intercept"].withheld == "not defined: no subject has recurrence"


def test_no_number_tells_of_a_label_with_few_subjects() -> None:
    found = numbers_of(P_RICE, ["recurrence"] * 8 + ["rice"] * 2)
    shown = {place for place, number in found.items() if number.estimate is not None}
    # shares of the whole cohort have its size as denominator, so that the two would be told
    assert shown == {(PERFORMANCE, "specificity")}
    assert found[PERFORMANCE, "auc"].withheld == "withheld: fewer than 3 subjects have rice"
    evaluator = Evaluator(
        answers_of([[p] for p in P_RICE], ["recurrence"] * 8 + ["rice"] * 2), PLAN, DECISION
    )
    assert evaluator.confusion() is None and evaluator.roc() == ()


def test_shares_of_few_are_withheld() -> None:
    sure = DECISION.model_copy(update={"least_confidence": 0.96})
    found = numbers_of(P_RICE, LABELS, sure)
    assert value(found[THREE_WAY, "answered"]) == pytest.approx(0.1)
    assert found[THREE_WAY, "wrong among the answered"].withheld == "of fewer than 3 subjects"


def test_without_thresholds_in_the_package_it_is_said_that_there_are_none() -> None:
    found = numbers_of(P_RICE, LABELS, None)
    assert found[RECALIBRATED, "slope and intercept"].withheld == "the package holds no recalibration"
    assert found[THREE_WAY, "answered"].withheld == "the package holds no threshold"
    assert found[SETS, "true label in the set"].withheld == "the package holds no thresholds of sets"


def test_equal_probabilities_have_no_calibration_slope() -> None:
    found = numbers_of([0.6] * 10, LABELS)
    assert found[AS_GIVEN, "slope"].withheld == "every probability is the same"
    assert found[AS_GIVEN, "intercept"].estimate is not None


def test_only_what_the_plan_names_is_computed_and_what_is_asked_for_is_marked() -> None:
    plan = PLAN.model_copy(
        update={"metrics": ("macro_f1",), "calibration": False, "three_way": False, "label_sets": False}
    )
    evaluator = Evaluator(answers_of([[p] for p in P_RICE], LABELS), plan, None)
    assert [(n.name, n.decided) for n in evaluator.numbers(("auc",))] == [
        ("macro_f1", "in the sealed plan"),
        ("auc", "decided after the package was sealed"),
    ]
    assert evaluator.roc() == ()


def test_the_roc_curve_has_no_step_of_few_subjects() -> None:
    # 12 and 16 subjects, at least 5 of either label in a step: two steps
    p_rice = np.linspace(0.01, 0.99, 28)
    is_rice = np.arange(28) >= 12
    assert (
        len(Evaluator(answers_of(p_rice[:, None].tolist(), _labels(is_rice)), AnalysisPlan(), None).roc())
        == 3
    )
    assert coarse_roc(p_rice, is_rice, 2) == ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0))


def test_the_roc_curve_lies_between_its_own_points() -> None:
    # thresholds at 0.8, 0.6, 0.4, 0.2: (0, 1/2), (1/2, 1/2), (1/2, 1), (1, 1)
    p_rice, is_rice = np.array([0.8, 0.6, 0.4, 0.2]), np.array([True, False, True, False])
    assert coarse_roc(p_rice, is_rice, 4) == ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.75, 1.0), (1.0, 1.0))
    assert coarse_roc(p_rice, is_rice, 1) == ()


def _labels(is_rice: np.ndarray) -> list[str]:
    return ["rice" if one else "recurrence" for one in is_rice]


def test_texts_that_the_plan_does_not_name_are_in_no_result() -> None:
    values: list[str | float | None] = ["F", "M", "Erika Mustermann", None, "F", "M", "F", "M", "F", "M"]
    found = subgroup_result(
        answers_of([[p] for p in P_RICE], LABELS),
        SubgroupPlan(column="sex", groups=("F",)),
        values,
        PLAN,
        True,
    )
    assert "Mustermann" not in found.model_dump_json()
    assert groups_of(SubgroupPlan(column="sex", groups=("F",)), values)[OTHERS] == [v != "F" for v in values]


def test_numbers_are_divided_by_the_cuts_of_the_plan() -> None:
    found = groups_of(SubgroupPlan(column="age_years", cuts=(50.0, 60.0)), [49.9, 50.0, 60.0, None])
    assert found == {
        "below 50": [True, False, False, False],
        "50 to below 60": [False, True, False, False],
        "60 or more": [False, False, True, False],
        OTHERS: [False, False, False, True],
    }


def test_a_group_has_the_scores_of_its_own_subjects() -> None:
    values: list[str | float | None] = ["F", "M"] * 12
    labels = (["recurrence"] * 2 + ["rice"] * 2) * 6
    p_rice = [0.9 if label == "rice" else 0.1 for label in labels]
    p_rice[0] = 0.95
    found = subgroup_result(
        answers_of([[p] for p in p_rice], labels),
        SubgroupPlan(column="sex", groups=("F", "M")),
        values,
        PLAN,
        True,
    )
    women, men, others = found.groups
    assert women.n == {"recurrence": 6, "rice": 6} and others.n == {"recurrence": 0, "rice": 0}
    assert women.specificity is not None and women.specificity.value == pytest.approx(5 / 6)
    assert women.auc is not None and women.auc.value == pytest.approx(30 / 36)
    assert men.auc is not None and men.auc.value == 1.0
    assert others.auc is None and others.mark == ""


def test_a_column_that_the_table_lacks_is_said_to_be_lacking() -> None:
    answers = answers_of([[p] for p in P_RICE], LABELS)
    found = subgroup_result(answers, SubgroupPlan(column="sex", groups=("F",)), None, PLAN, True)
    assert found.groups == () and "no such column" in found.withheld
