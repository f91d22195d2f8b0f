"""How many subjects are enough? The score at growing numbers of them, and what more would give.

The score at n subjects is what such training reaches on average with cohorts of n, judged on patients like
these. What was measured differs from it by two kinds of luck, which are simulated together:

- who is judged: the bootstrap of subjects, the same ones for every size, since all sizes judge the same;
- who was learned from: each subject is worth more or less than others, with a variance that follows from how
  the draws of a share differ. Subsets of one cohort share subjects, so they differ less than cohorts do, by
  the share that is left out (Cochran 1977, finite populations), and a larger cohort keeps those at hand.

A power law is fitted to each simulated curve, with a prior on its exponent that is drawn anew each time, as
Bardsley et al. 2014 sample a posterior; the forecast is that of a cohort with its own luck of who is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Statistic, score_of
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.power_law import EXPONENT, Floats, PowerLaw, fit_power_laws
from ricenet.evaluation.intervals import Estimate, Probabilities, Truth
from ricenet.evaluation.scores import Scores
from ricenet.runtime.randomness import generator_for
from ricenet.runtime.records import Record

REPLICATES = 2000
"""Simulated curves."""

FEWEST_SIZES = 3
"""Of a curve: through two sizes goes any curve."""

FEWEST_OF_A_LABEL = 10
"""Judged: with fewer, one answer moves the score by more than a curve rises."""

_DOUBT = 0.1
"""Largest share of simulated worlds in which a curve does not rise, that still carries a forecast. A smaller
one would refuse half of the curves that rise slowly, and flatter those that are left."""

_TAIL = 0.025
_LEAST_SD = 0.005
"""Of a size's score: sizes that chance made alike are not known exactly."""

CurveScore = Literal["macro_f1", "auc"]
CURVE_SCORES: dict[CurveScore, Callable[[Probabilities, Truth], Statistic]] = {
    "macro_f1": scores.macro_f1,
    "auc": scores.auc,
}


class CurvePoint(Record):
    """Mean score of the draws of one size, with its 95 % interval; draws: each one's."""

    subjects: int
    score: Estimate
    draws: tuple[float, ...]


class Forecast(Record):
    """At growth times as many subjects. interval_width: of the 95 % interval that so many judged would give.

    score: what networks trained on so many would score on patients like these.
    """

    growth: float
    subjects: int
    score: Estimate
    interval_width: float


class ScoreCurve(Record):
    """One score. law, forecasts: none where the curve carries none; refusal says why, else ""."""

    points: tuple[CurvePoint, ...]
    law: PowerLaw | None
    forecasts: tuple[Forecast, ...]
    refusal: str


class LearningCurve(Record):
    """Of one modality set, judged on the same n subjects at every size."""

    n: int
    macro_f1: ScoreCurve
    auc: ScoreCurve


def learning_curve(answers: CurveAnswers, now: Scores, growth: Sequence[float], seed: int) -> LearningCurve:
    """Points and forecasts of both scores.

    now: of the networks trained on all. growth: numbers of subjects, in multiples of today's, above 1.
    """
    found = {
        name: _score_curve(
            _Measured.of(answers, statistic, growth, generator_for("learning curve", seed, name)),
            _refusal(answers),
            getattr(now, name),
            growth,
        )
        for name, statistic in CURVE_SCORES.items()
    }
    return LearningCurve(n=len(answers.is_rice), **found)


def _refusal(answers: CurveAnswers) -> str:
    """Why these answers carry no forecast, whatever the scores; "" where nothing is known."""
    sizes, rice = len(answers.subjects), int(answers.is_rice.sum())
    rarer = min(rice, len(answers.is_rice) - rice)
    if sizes < FEWEST_SIZES:
        return f"a curve of {sizes} sizes could bend in any way; {FEWEST_SIZES} are asked for"
    if rarer < FEWEST_OF_A_LABEL:
        return f"only {rarer} subjects have the rarer label; {FEWEST_OF_A_LABEL} are asked for"
    return ""


@dataclass(frozen=True)
class _Measured:
    """Mean score of each size (P,), and by how much luck moved them in B simulated worlds (B, P).

    ahead: likewise of the sizes that are forecast (B, G).
    """

    subjects: Floats
    draws: tuple[Floats, ...]
    mean: Floats
    luck: Floats
    ahead: Floats
    prior: Floats

    @classmethod
    def of(
        cls,
        answers: CurveAnswers,
        statistic: Callable[[Probabilities, Truth], Statistic],
        growth: Sequence[float],
        rng: np.random.Generator,
    ) -> _Measured:
        subjects = np.array(answers.subjects, dtype=np.float64)
        draws = tuple(
            np.array([score_of(statistic(p, answers.is_rice), len(p)) for p in rows])
            for rows in answers.p_rice
        )
        mean = np.array([of_size.mean() for of_size in draws])
        counts = _judged(answers.is_rice, rng)
        judged = [
            np.mean([statistic(p, answers.is_rice)(counts) for p in rows], axis=0) for rows in answers.p_rice
        ]
        who_is_judged = np.stack(judged, axis=1)
        learned = _learned_from(subjects, draws, growth, rng)
        return cls(
            subjects,
            draws,
            mean,
            who_is_judged - who_is_judged.mean(axis=0) + learned[:, : len(subjects)],
            learned[:, len(subjects) :],
            rng.normal(*EXPONENT, size=REPLICATES),
        )

    @property
    def sds(self) -> Floats:
        """By which luck moves each size's score (P,)."""
        found: Floats = np.maximum(self.luck.std(axis=0), _LEAST_SD)
        return found


def _judged(is_rice: Truth, rng: np.random.Generator) -> Floats:
    """How often each subject is judged in each world (B, N); labels keep their numbers."""
    counts = np.zeros((REPLICATES, len(is_rice)))
    for of_label in (is_rice, ~is_rice):
        n = int(of_label.sum())
        counts[:, of_label] = rng.multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    return counts


def _learned_from(
    subjects: Floats, draws: Sequence[Floats], growth: Sequence[float], rng: np.random.Generator
) -> Floats:
    """Luck of who was learned from (B, P + G), of sizes at hand and of those to come.

    The luck of a subset is the mean of its subjects'. Of one subject it has the variance that the draws of
    each share show; that variance is itself uncertain, by the degrees of freedom that there are.
    """
    whole = subjects[-1]
    freedom = np.array([len(of_size) - 1 for of_size in draws[:-1]], dtype=np.float64)
    between = np.array([of_size.var(ddof=1) for of_size in draws[:-1]])
    variance = (freedom @ (between * subjects[:-1] / (1 - subjects[:-1] / whole))) / freedom.sum()
    sizes = np.append(subjects, whole * np.array(growth))
    of = np.array([*(len(of_size) for of_size in draws), *(1 for _ in growth)], dtype=np.float64)
    larger, fewer_draws = np.maximum.outer(sizes, sizes), np.maximum.outer(of, of)
    # subjects in common, over the product of both sizes: all of the smaller in the same draw, else by chance
    shared = (1 / larger + (fewer_draws - 1) / np.maximum(larger, whole)) / fewer_draws
    spread = np.sqrt(variance * freedom.sum() / rng.chisquare(freedom.sum(), size=REPLICATES))
    root = np.linalg.cholesky(shared + 1e-12 * np.eye(len(sizes)))
    found: Floats = spread[:, np.newaxis] * (rng.normal(size=(REPLICATES, len(sizes))) @ root.T)
    return found


def _score_curve(measured: _Measured, refusal: str, now: Estimate, growth: Sequence[float]) -> ScoreCurve:
    points = tuple(
        CurvePoint(subjects=int(n), score=_interval(mean, mean - luck), draws=tuple(of_size.tolist()))
        for n, mean, luck, of_size in zip(
            measured.subjects, measured.mean, measured.luck.T, measured.draws, strict=True
        )
    )
    if refused := refusal or _not_rising(measured):
        return ScoreCurve(points=points, law=None, forecasts=(), refusal=refused)
    sizes, sds = measured.subjects, measured.sds
    law = fit_power_laws(
        sizes, measured.mean[np.newaxis], sds, np.array([EXPONENT.log_mean]), EXPONENT.log_sd
    )
    worlds = np.clip(measured.mean - measured.luck, 0, 1)
    laws = fit_power_laws(sizes, worlds, sds, measured.prior, EXPONENT.log_sd)
    forecasts = tuple(
        Forecast(
            growth=times,
            subjects=round(times * sizes[-1]),
            score=_interval(float(law.scores(times * sizes[-1])[0]), laws.scores(times * sizes[-1]) + luck),
            interval_width=(now.high - now.low) / float(np.sqrt(times)),
        )
        for times, luck in zip(growth, measured.ahead.T, strict=True)
    )
    return ScoreCurve(points=points, law=PowerLaw.first(law), forecasts=forecasts, refusal="")


def _not_rising(measured: _Measured) -> str:
    """Why a curve that is not shown to rise carries no forecast; "" where it rises in nearly all worlds."""
    weights = measured.sds**-2.0
    log_size = np.log(measured.subjects)
    centred = weights * (log_size - (weights @ log_size) / weights.sum())
    slopes = (measured.mean - measured.luck) @ centred
    if (slopes <= 0).mean() <= _DOUBT:
        return ""
    first, last = measured.mean[0], measured.mean[-1]
    direction = "falls" if (slopes >= 0).mean() <= _DOUBT else "is not shown to rise"
    return (
        f"the score {direction} between {measured.subjects[0]:g} and {measured.subjects[-1]:g} subjects "
        f"({first:.2f} and {last:.2f}), so what more of them would give is not known"
    )


def _interval(value: float, worlds: NDArray[np.float64]) -> Estimate:
    low, high = np.clip(np.quantile(worlds, [_TAIL, 1 - _TAIL]), 0, 1)
    return Estimate(value=float(value), low=float(low), high=float(high), method="percentile")
