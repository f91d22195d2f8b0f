"""The page of a result: the same aggregates as result.json, for people, beside what the home results were."""

from __future__ import annotations

from ricenet.display.templates import render
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.scores import SCORES
from ricenet.study.package_record import HomeResults
from ricenet.study.plan import AnalysisPlan
from ricenet.study.result import AS_GIVEN, PERFORMANCE, SETS, THREE_WAY, ResultNumber, StudyResult

TITLES = {**SCORES, "auc": "AUC"}


def result_page(result: StudyResult, plan: AnalysisPlan, home: HomeResults | None) -> str:
    """The page as HTML text; nothing is loaded from elsewhere."""
    parts: dict[str, list[ResultNumber]] = {}
    for number in result.numbers:
        parts.setdefault(number.part, []).append(number)
    return render(
        "ricenet.study",
        "result.html",
        "result.css",
        {"estimate": estimate_text},
        result=result,
        plan=plan,
        parts=parts,
        titles=TITLES,
        home=home_numbers(home),
        home_n=None if home is None else home.n,
    )


def home_numbers(home: HomeResults | None) -> dict[tuple[str, str], Estimate]:
    """The numbers of home that have a counterpart in a result, by part and name."""
    if home is None:
        return {}
    found = {(PERFORMANCE, name): getattr(home.scores, name) for name in SCORES}
    found |= {
        (AS_GIVEN, "slope"): home.calibration.slope,
        (AS_GIVEN, "intercept"): home.calibration.intercept,
        (THREE_WAY, "answered"): home.answered,
        (THREE_WAY, "wrong among the answered"): home.wrong_among_answered,
    }
    for label, covered in (home.covered or {}).items():
        found[SETS, f"true label in the set, {label}"] = covered
    return {place: estimate for place, estimate in found.items() if estimate is not None}


def estimate_text(estimate: Estimate) -> str:
    """A number for a table's cell; without the interval where that is a single point."""
    return estimate.text() if estimate.low < estimate.high else f"{estimate.value:.2f}"
