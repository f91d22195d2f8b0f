"""The score at growing numbers of subjects: the power law, its forecast, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import predictions_of
from scipy.optimize import least_squares
from sklearn.metrics import f1_score
from small_evidence import evidence, write_robustness
from small_evidence import write_evidence as write_evidence_of

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence import learning_curve as module
from ricenet.evaluation.evidence.build import CrossValidation, EvidenceSettings, build_evidence
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.learning_curve import learning_curve
from ricenet.evaluation.evidence.power_law import EXPONENT, PowerLaw, fit_power_laws
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.evaluation.evidence.written import write_evidence
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.report.learning_curve import curve_rows, curve_sentences, learning_curve_figure
from ricenet.tracking import evidence_content
from ricenet.vocabulary import PAPER_VOLUMES

SIZES = np.array([20.0, 40.0, 60.0, 80.0])


def law_of(scores, sds=0.01, log_sd=EXPONENT.log_sd, log_mean=EXPONENT.log_mean):
    rows = np.atleast_2d(scores)
    laws = fit_power_laws(SIZES, rows, np.full(4, sds), np.full(len(rows), log_mean), log_sd)
    return PowerLaw.first(laws)


def test_scores_that_lie_on_a_power_law_give_that_law():
    # 0.9 - 0.1 (n / 80)^-1: 0.5, 0.7, 0.7667, 0.8, and 0.85 at 160
    found = law_of([0.5, 0.7, 0.9 - 0.4 / 3, 0.8], sds=0.001, log_sd=10.0)
    assert found.asymptote == pytest.approx(0.9, abs=0.005)
    assert found.exponent == pytest.approx(1.0, abs=0.05)
    assert found.score(160) == pytest.approx(0.85, abs=0.003)
    assert found.score(80) == pytest.approx(0.8, abs=0.001)


def slow_fit(scores, sds, log_mean, log_sd):
    """The same sum of squares by scipy, from several starts."""

    def residuals(x):
        asymptote, gap, log_c = x
        curve = asymptote - gap * (SIZES / 80) ** -np.exp(log_c)
        return np.append((curve - scores) / sds, (log_c - log_mean) / log_sd)

    bounds = ([0, 0, np.log(0.02)], [1, np.inf, np.log(8)])
    starts = [(a, g, c) for a in (0.8, 0.95) for g in (0.1,) for c in (-1.0, 0.5)]
    return min((least_squares(residuals, start, bounds=bounds) for start in starts), key=lambda f: f.cost)


def test_the_search_over_exponents_agrees_with_scipys_optimiser():
    rng = np.random.default_rng(0)
    rising = 0.85 - 0.1 * (SIZES / 80) ** -0.7
    sds = np.array([0.04, 0.03, 0.025, 0.02])
    curves = rising + rng.normal(size=(12, 4)) * sds
    means = rng.normal(*EXPONENT, size=12)
    found = fit_power_laws(SIZES, curves, sds, means, EXPONENT.log_sd)
    for i, curve in enumerate(curves):
        best = slow_fit(curve, sds, means[i], EXPONENT.log_sd)
        law = PowerLaw.model_validate(
            {"asymptote": found.asymptote[i], "gap": found.gap[i], "exponent": found.exponent[i], "whole": 80}
        )
        ours = [(law.score(n) - y) / sd for n, y, sd in zip(SIZES, curve, sds, strict=True)]
        ours.append((np.log(law.exponent) - means[i]) / EXPONENT.log_sd)
        assert np.sum(np.square(ours)) / 2 == pytest.approx(best.cost, abs=0.02)
        asymptote, gap, log_c = best.x
        assert found.scores(160)[i] == pytest.approx(asymptote - gap * 2 ** -np.exp(log_c), abs=0.005)


def test_a_law_stays_between_nothing_and_perfection():
    falling, steep = law_of([0.8, 0.75, 0.7, 0.65]), law_of([0.4, 0.7, 0.85, 0.97])
    assert falling.gap == 0 and falling.asymptote == pytest.approx(0.725)
    assert steep.asymptote <= 1 and steep.score(1000) <= 1


def answers_of(separations, draws=3, n=80, seed=0, rice=32):
    """Answers that part the labels the more, the larger the number of subjects learned from."""
    rng = np.random.default_rng(seed)
    is_rice = np.arange(n) < rice
    case = rng.normal(size=n)

    def p_rice(separation):
        own = 0.8 * case + 0.6 * rng.normal(size=n)
        return 1 / (1 + np.exp(-(own + separation * (is_rice - 0.5))))

    *fewer, whole = separations
    rows = [np.array([p_rice(s) for _ in range(draws)]) for s in fewer] + [p_rice(whole)[np.newaxis]]
    sizes = tuple(int(x) for x in np.linspace(0, n, len(separations) + 1)[1:])
    return CurveAnswers(is_rice, sizes, tuple(rows))


def curve_of(answers, growth=(1.5, 2)):
    now = scores_with_intervals(answers.p_rice[-1][0], answers.is_rice, 7, 300)
    return learning_curve(answers, now, growth, 7), now


RISING = (0.3, 0.9, 1.2, 1.4)


def test_a_point_is_the_mean_of_its_draws():
    answers = answers_of(RISING)
    curve, now = curve_of(answers)
    first = curve.macro_f1.points[0]
    truth = answers.is_rice
    expected = [f1_score(truth, p >= 0.5, average="macro") for p in answers.p_rice[0]]
    assert first.draws == pytest.approx(expected)
    assert first.score.value == pytest.approx(np.mean(expected))
    assert [p.subjects for p in curve.macro_f1.points] == [20, 40, 60, 80]
    assert curve.macro_f1.points[-1].score.value == pytest.approx(now.macro_f1.value)


def test_a_rising_curve_forecasts_more_with_less_certainty_further_on():
    curve, now = curve_of(answers_of(RISING))
    assert curve.auc.refusal == ""
    near, far = curve.auc.forecasts
    assert (near.subjects, far.subjects) == (120, 160)
    assert curve.auc.law.score(80) < near.score.value < far.score.value < 1
    assert near.score.low < near.score.value < near.score.high <= 1
    # an interval falls with the square root of the number judged
    assert far.interval_width == pytest.approx((now.auc.high - now.auc.low) / np.sqrt(2))


def test_equal_arguments_give_equal_curves():
    assert curve_of(answers_of(RISING)) == curve_of(answers_of(RISING))


def test_draws_that_differ_more_widen_the_forecast():
    alike = answers_of(RISING)
    calm = CurveAnswers(
        alike.is_rice, alike.subjects, tuple(np.repeat(p[:1], len(p), 0) for p in alike.p_rice)
    )
    wide, narrow = (curve_of(a)[0].auc.forecasts[-1].score for a in (alike, calm))
    assert wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (answers_of((1.5, 1.5, 1.5, 1.5)), "is not shown to rise between 20 and 80 subjects"),
        (answers_of((3.5, 2.5, 1.5, 0.5)), "falls between 20 and 80 subjects"),
        (answers_of((0.5, 2.5)), "a curve of 2 sizes could bend in any way; 3 are asked for"),
        (answers_of(RISING, n=40, rice=8), "only 8 subjects have the rarer label; 10 are asked for"),
    ],
    ids=["flat", "falling", "two sizes", "few of a label"],
)
def test_no_forecast_is_made_where_none_can_be(answers, said):
    curve, _ = curve_of(answers)
    assert said in curve.auc.refusal
    assert curve.auc.law is None and curve.auc.forecasts == ()
    assert len(curve.auc.points) == len(answers.subjects)
    _, auc = curve_sentences(curve)
    assert "No forecast: " in auc and said in auc


def test_the_luck_of_subsets_is_that_of_means_of_their_subjects():
    """Against subsets drawn from one cohort, subject by subject."""
    subjects, whole, draws = np.array([4.0, 8.0]), 8, 2
    rng = np.random.default_rng(1)
    worth = rng.normal(size=(40_000, 16))
    order = np.argsort(rng.random((draws, 40_000, whole)), axis=2)
    of_draw = [np.take_along_axis(worth[:, :whole], o[:, :4], 1).mean(axis=1) for o in order]
    slow = np.cov([np.mean(of_draw, axis=0), worth[:, :8].mean(axis=1), worth.mean(axis=1)])
    # draws that differ as they do where the variance of a subject's worth is 1: by (1 - 1/2) / 4
    given = (np.array([0.5, -0.5]) * np.sqrt(2 * 0.125), np.zeros(1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "REPLICATES", 40_000)
        fast = np.cov(module._learned_from(subjects, given, [2.0], _Sure(np.random.default_rng(2))).T)
    assert fast == pytest.approx(slow, abs=0.006)


class _Sure:
    """A generator whose chi-square is its mean, so that the variance is taken as known."""

    def __init__(self, rng):
        self.normal = rng.normal

    def chisquare(self, freedom, size):
        return np.full(size, freedom)


def test_the_sentence_and_the_table_say_what_is_expected():
    curve, _ = curve_of(answers_of(RISING))
    _, auc = curve_sentences(curve)
    far = curve.auc.forecasts[-1]
    assert f"from 2 times the subjects (160) it is expected between {far.score.low:.2f} and " in auc
    assert auc.endswith("A curve from 20 to 80 subjects cannot tell more.")
    rows = curve_rows(curve)
    assert [row.subjects for row in rows] == [20, 40, 60, 80, 120, 160]
    assert rows[0].seen == "seen, 3 draws" and rows[-1].seen == "expected"
    assert rows[-1].scores[1] == (far.score, far.interval_width)


def test_the_text_of_a_figure_of_one_panel_lies_within_it():
    curve, _ = curve_of(answers_of(RISING))
    figure = learning_curve_figure({"dose": curve}, {"dose": "dose"})
    figure.draw_without_rendering()
    texts = [figure._supxlabel, figure.legends[0]]
    for box in (text.get_window_extent() for text in texts):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_a_run_keeps_its_curves_with_its_evidence(tmp_path):
    answers = answers_of(RISING)
    of_sets = predictions_of(answers.is_rice, {"dose": answers.p_rice[-1][0]})
    rows = of_sets["dose"]
    folds = tuple(tuple(p.participant_id for p in rows if p.fold == k) for k in range(5))
    splits = Splits({p.participant_id: p.label for p in rows}, folds, ())
    scalars = {p.participant_id: {"days_rt_end_to_event": 50.0 + i} for i, p in enumerate(rows)}
    found = CrossValidation(of_sets, scalars, curves={"dose": answers})
    settings = EvidenceSettings(7, 300, 0.1, 0.9, growth=(1.5, 2))
    made = build_evidence(found, (), None, splits, PAPER_VOLUMES, (), settings)
    assert made.learning_curves == {"dose": curve_of(answers)[0]}
    assert made.beyond_time.keys() == {"dose"}
    write_evidence(made, of_sets, scalars, (), tmp_path / "evidence")
    assert read_evidence(tmp_path / "evidence/evidence.json") == made


def test_forecasts_are_metrics_of_the_sets_run(tmp_path, monkeypatch):
    curve, _ = curve_of(answers_of(RISING))
    write_evidence_of(tmp_path, evidence("digest").model_copy(update={"learning_curves": {"dose": curve}}))
    write_robustness(tmp_path)
    monkeypatch.setattr(evidence_content, "gate_of", lambda *_: "passed")
    metrics = evidence_content.evidence_metrics(tmp_path / "work", "dose", "digest")
    far = curve.auc.forecasts[-1].score
    names = ("auc_at_160_subjects", "auc_at_160_subjects_low", "auc_at_160_subjects_high")
    assert [metrics[name] for name in names] == [far.value, far.low, far.high]
    assert "auc_at_160_subjects" not in evidence_content.evidence_metrics(
        tmp_path / "work", "event", "digest"
    )
