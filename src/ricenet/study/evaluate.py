"""What a plan asks for, from a cohort's answers, computed as at home; withheld where too few stand behind it.

Macro-F1, balanced accuracy, sensitivity and specificity are those of the folds' majority vote; AUC, Brier
score and calibration those of the mean probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.abstention import INDETERMINATE
from ricenet.evaluation.evidence.conformal import label_sets
from ricenet.evaluation.evidence.weak_calibration import weak_calibration
from ricenet.evaluation.intervals import Estimate, constant, share_of
from ricenet.evaluation.metrics import Confusion, confusion_matrix
from ricenet.evaluation.scores import SCORES, Scores, scores_with_intervals
from ricenet.inference.three_way import DecisionThreshold
from ricenet.study.answers import CohortAnswers
from ricenet.study.plan import AnalysisPlan, MetricName
from ricenet.study.result import AS_GIVEN, PERFORMANCE, RECALIBRATED, SETS, THREE_WAY, ResultNumber
from ricenet.vocabulary import LABELS

MOST_ROC_STEPS = 10

_OF_LABEL = {"sensitivity": "rice", "specificity": "recurrence"}
"""Metrics that need one label alone."""


@dataclass(frozen=True)
class Evaluator:
    """Evaluates answers by a plan. decision: the package's thresholds, where there are any."""

    answers: CohortAnswers
    plan: AnalysisPlan
    decision: DecisionThreshold | None

    @property
    def n(self) -> dict[str, int]:
        """Judged subjects, by label."""
        rice = int(self.answers.is_rice.sum())
        return dict(zip(LABELS, (len(self.answers.is_rice) - rice, rice), strict=True))

    def confusion(self) -> Confusion | None:
        """Of the majority's answers; None where a label has too few."""
        if self._lacking(LABELS):
            return None
        return confusion_matrix(*(_labels(of) for of in (self.answers.is_rice, self.answers.says_rice)))

    def numbers(self, also: Sequence[MetricName]) -> Iterator[ResultNumber]:
        """Everything but subgroups. also: metrics beyond the plan."""
        yield from self._performance(also)
        if self.plan.calibration:
            yield from self._calibration(AS_GIVEN, self.answers.p_rice)
            yield from self._calibration(RECALIBRATED, self.answers.calibrated)
        if self.plan.three_way:
            yield from self._three_way()
        if self.plan.label_sets:
            yield from self._label_sets()

    def roc(self) -> tuple[tuple[float, float], ...]:
        """Points (1 - specificity, sensitivity), no more than leave the least count of either label in each
        step.

        A curve of all steps would tell the order of the subjects.
        """
        if self._lacking(LABELS) or "auc" not in self.plan.metrics:
            return ()
        steps = min(MOST_ROC_STEPS, min(self.n.values()) // self.plan.smallest_cell)
        return coarse_roc(self.answers.p_rice, self.answers.is_rice, steps)

    def scores(self) -> Scores:
        """Of all subjects, whatever the plan asks for."""
        answers, plan = self.answers, self.plan
        of_votes, of_p = (
            scores_with_intervals(values, answers.is_rice, plan.seed, plan.resamples)
            for values in (answers.says_rice.astype(np.float64), answers.p_rice)
        )
        return of_votes.model_copy(update={"auc": of_p.auc, "brier": of_p.brier})

    def _performance(self, also: Sequence[MetricName]) -> Iterator[ResultNumber]:
        asked = {name: name in self.plan.metrics for name in SCORES if name in {*self.plan.metrics, *also}}
        scores = None if self._lacking(LABELS) else self.scores()
        for name, planned in asked.items():
            label = _OF_LABEL.get(name)
            lacking = self._lacking(LABELS if label is None else (label,))
            if lacking:
                yield ResultNumber(part=PERFORMANCE, name=name, planned=planned, withheld=lacking)
            elif scores is not None:
                yield ResultNumber(
                    part=PERFORMANCE, name=name, planned=planned, estimate=getattr(scores, name)
                )
            else:
                of_label = self.answers.is_rice == (label == "rice")
                right = (self.answers.says_rice == self.answers.is_rice)[of_label]
                yield ResultNumber(part=PERFORMANCE, name=name, planned=planned, estimate=share_of(right))

    def _calibration(self, part: str, p_rice: NDArray[np.float64] | None) -> Iterator[ResultNumber]:
        lacking = self._lacking(LABELS)
        if p_rice is None:
            lacking = "the package holds no recalibration"
        if lacking or p_rice is None:
            yield ResultNumber(part=part, name="slope and intercept", planned=True, withheld=lacking)
            return
        found = weak_calibration(p_rice, self.answers.is_rice, self.plan.seed, self.plan.resamples)
        same = "" if found.slope else "every probability is the same"
        yield ResultNumber(part=part, name="slope", planned=True, estimate=found.slope, withheld=same)
        yield ResultNumber(part=part, name="intercept", planned=True, estimate=found.intercept)
        yield ResultNumber(
            part=part, name="p of perfect calibration", planned=True, estimate=constant(found.p)
        )

    def _three_way(self) -> Iterator[ResultNumber]:
        unknown = "the package holds no threshold" if self.decision is None else self._tells_few
        if unknown:
            yield ResultNumber(part=THREE_WAY, name="answered", planned=True, withheld=unknown)
            return
        said = np.array([vote.three_way for vote in self.answers.votes])
        answered = said != INDETERMINATE
        wrong = said != np.array(_labels(self.answers.is_rice))
        yield ResultNumber(part=THREE_WAY, name="answered", planned=True, estimate=share_of(answered))
        yield self._share(THREE_WAY, "wrong among the answered", wrong[answered])

    def _label_sets(self) -> Iterator[ResultNumber]:
        by = None if self.decision is None else self.decision.conformal
        if by is None or not by.known or self._tells_few:
            unknown = self._tells_few or "the package holds no thresholds of sets"
            yield ResultNumber(part=SETS, name="true label in the set", planned=True, withheld=unknown)
            return
        holds, is_rice = label_sets(self.answers.p_rice, by), self.answers.is_rice
        covered, size = holds[np.arange(len(is_rice)), is_rice.astype(np.int64)], holds.sum(axis=1)
        for label, subjects in zip(LABELS, (~is_rice, is_rice), strict=True):
            yield self._share(SETS, f"true label in the set, {label}", covered[subjects])
        yield ResultNumber(part=SETS, name="sets of one label", planned=True, estimate=share_of(size == 1))
        yield self._share(SETS, "right among sets of one label", covered[size == 1])

    def _share(self, part: str, name: str, hits: NDArray[np.bool_]) -> ResultNumber:
        """A share of some subjects, where they are enough."""
        if len(hits) < self.plan.smallest_cell:
            few = f"of fewer than {self.plan.smallest_cell} subjects" if len(hits) else "of nobody"
            return ResultNumber(part=part, name=name, planned=True, withheld=few)
        return ResultNumber(part=part, name=name, planned=True, estimate=share_of(hits))

    @property
    def _tells_few(self) -> str:
        """Why no share of the whole cohort is told; nothing where it is.

        Its denominator would be the sum of both labels, and so tell the smaller one's count.
        """
        few = any(0 < n < self.plan.smallest_cell for n in self.n.values())
        return self._lacking(LABELS) if few else ""

    def _lacking(self, labels: Sequence[str]) -> str:
        """Why a number of these labels cannot be had; nothing where it can."""
        least = self.plan.smallest_cell
        for label in labels:
            if not self.n[label]:
                return f"not defined: no subject has {label}"
            if self.n[label] < least:
                return f"withheld: fewer than {least} subjects have {label}"
        return ""


def coarse_roc(
    p_rice: NDArray[np.float64], is_rice: NDArray[np.bool_], steps: int
) -> tuple[tuple[float, float], ...]:
    """Sensitivity at evenly spaced false positive rates, linear between the curve's own points, to two
    places.
    """
    from sklearn.metrics import roc_curve

    if steps < 2:
        return ()
    false_positive, sensitivity, _ = roc_curve(is_rice, p_rice, drop_intermediate=False)
    # of points above each other the highest
    last = np.append(np.diff(false_positive) > 0, True)
    at = np.linspace(0, 1, steps + 1)
    found = np.interp(at, false_positive[last], sensitivity[last])
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in zip(at, found, strict=True))


def group_scores(
    answers: CohortAnswers, inside: NDArray[np.bool_], seed: int, resamples: int
) -> dict[str, Estimate]:
    """Sensitivity, specificity and AUC of a group, two subjects of each label at least."""
    is_rice = answers.is_rice[inside]
    right = answers.says_rice[inside] == is_rice
    return {
        "sensitivity": share_of(right[is_rice]),
        "specificity": share_of(right[~is_rice]),
        "auc": scores_with_intervals(answers.p_rice[inside], is_rice, seed, resamples).auc,
    }


def _labels(is_rice: NDArray[np.bool_]) -> list[str]:
    return [LABELS[int(rice)] for rice in is_rice]
