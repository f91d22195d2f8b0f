"""The report's first screen: one picture and five sentences, for readers who read no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR, style
from ricenet.evaluation.evidence.record import Baseline, Evidence
from ricenet.evaluation.evidence.swap_tests import LEVEL
from ricenet.evaluation.intervals import Estimate
from ricenet.report.interval_plots import GRID_COLOUR, RULE_COLOUR, point
from ricenet.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NARROW_INCHES = 4.6
"""Of the picture: as wide as a phone, where figures of other widths are scrolled."""
FEW_SUBJECTS = 50
"""Of a test set; with fewer, an interval of the macro-F1 is a quarter wide or more."""


def five_sentences(results: Results) -> list[tuple[str, str]]:
    """(question, answer): what was asked, what came out, how sure, what not to believe, what to do next."""
    return [
        ("Asked", _asked(results)),
        ("Found", _found(results)),
        ("How sure", _how_sure(results)),
        ("Do not believe", _not_to_believe(results)),
        ("Next", _next(results)),
    ]


def in_short_figure(results: Results) -> Figure:
    """Macro-F1 of the best network, of the best table of scalars, and of the votes, beside guessing."""
    from matplotlib.figure import Figure

    rows = _rows(results)
    with style():
        figure = Figure(figsize=(_NARROW_INCHES, 0.8 + 0.55 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for at, (title, estimate, colour) in enumerate(rows):
            point(axes, estimate, at + 0.1, color=colour)
            # over its row: a phone is too narrow for titles beside the axis
            axes.text(0, at - 0.22, f"{title}: {estimate.value:.2f}", ha="left", va="center", fontsize=8.5)
        chance = results.evidence.chance_macro_f1
        axes.axvline(chance, color=RULE_COLOUR, linestyle=(0, (2, 3)), linewidth=1)
        axes.annotate(
            f"guessing: {chance:.2f}", (chance, len(rows) - 0.5), (4, 2), textcoords="offset points",
            fontsize=8.5, va="bottom",
        )  # fmt: skip
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(rows) - 0.4, -0.5)
        axes.set_xlim(0, 1.01)
        axes.set_xlabel("macro-F1 (1: every answer right), with its 95 % interval")
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _rows(results: Results) -> list[tuple[str, Estimate, str]]:
    evidence, best = results.evidence, results.evidence.best_set
    rows = [
        (f"best network: {results.volumes.set_title(best)}", evidence.sets[best].macro_f1, VALIDATION_COLOUR)
    ]
    if (table := _best_table(evidence)) is not None:
        rows.append((f"best table: {table.title}", table.scores.macro_f1, RULE_COLOUR))
    rows += [
        (f"vote on the test set: {results.volumes.set_title(name)}", vote.macro_f1, TEST_COLOUR)
        for name, vote in results.votes.items()
    ]
    return rows


def _asked(results: Results) -> str:
    (_, recurrence, _), (_, rice, _), _ = results.counts()
    titles = [spec.title for spec in results.volumes]
    listed = f"{', '.join(titles[:-1])} and {titles[-1]}" if len(titles) > 1 else titles[0]
    return (
        f"Do {listed} tell whether a new contrast enhancement is tumour recurrence or radiation-induced? "
        f"{recurrence} subjects with recurrence and {rice} with RICE answer that, each by a network that did "
        "not learn from them."
    )


def _found(results: Results) -> str:
    best = results.evidence.best_set
    scores = results.evidence.sets[best]
    return (
        f"The best network sees {results.volumes.set_title(best)}. Of those with RICE it recognises "
        f"{_in_ten(scores.sensitivity.value)}, of those with recurrence {_in_ten(scores.specificity.value)}; "
        "guessing gets 5 in 10 of each."
    )


def _how_sure(results: Results) -> str:
    scores = results.evidence.sets[results.evidence.best_set]
    low, high = scores.macro_f1.low, scores.macro_f1.high
    text = (
        f"With {scores.n} other patients of this kind the macro-F1 might as well be {low:.2f} or {high:.2f} "
        f"as {scores.macro_f1.value:.2f}"
    )
    if not results.votes:
        return f"{text}; it was not tried on an independent test set in this run."
    votes = [
        f"{vote.macro_f1.value:.2f} ({vote.macro_f1.low:.2f} to {vote.macro_f1.high:.2f})"
        for vote in results.votes.values()
    ]
    n = next(iter(results.votes.values())).n
    few = ", too few to decide anything" if n < FEW_SUBJECTS else ""
    return f"{text}; on the independent test set of {n} subjects{few}, it is {' and '.join(votes)}."


def _not_to_believe(results: Results) -> str:
    evidence = results.evidence
    doubts = []
    if failed := [g.name.replace("_", " ") for g in evidence.guards if g.outcome == "failed"]:
        doubts.append(f"any score before the failed guards against leaks ({', '.join(failed)}) are explained")
    if evidence.sets[evidence.best_set].macro_f1.low <= evidence.chance_macro_f1:
        doubts.append("that the network is better than guessing, which its interval does not exclude")
    table = _best_table(evidence)
    if table is not None and not _beats(evidence, table):
        doubts.append(
            f"that a network is needed: a table of scalars ({table.title}, macro-F1 "
            f"{table.scores.macro_f1.value:.2f}) is not shown to be worse"
        )
    if len(evidence.sets) > 1:
        doubts.append(
            f"that the best of {len(evidence.sets)} sets is as good on new patients: being chosen flatters it"
        )
    doubts.append(
        "anything about patients: this cohort is synthetic"
        if results.synthetic
        else _another_hospital(results)
    )
    return f"{'; '.join(doubts)}."


def _another_hospital(results: Results) -> str:
    if results.validations:
        return "that it holds in hospitals other than those under External validation"
    sites = results.evidence.sites
    if sites is not None and sites.folds_are_sites:
        return f"that it holds in hospitals unlike the {len(sites.rows)} that were left out in turn"
    return "that it holds in another hospital, which was not tested"


def _next(results: Results) -> str:
    evidence = results.evidence
    if any(guard.outcome == "failed" for guard in evidence.guards):
        return "Explain the failed guards, mend the cohort, and run `dvc repro` again."
    if results.synthetic:
        return "Look at a few case pages, then bring your own cohort (docs/own-cohort.md)."
    look = "Look at the quality pages and at the surest errors"
    if not results.splits.test:
        return f"{look}; set a test set aside before anything is claimed."
    if not results.votes:
        return f"{look}; then promote a set (`ricenet promote`) and let it vote on the test set, once."
    return (
        "Change nothing because of the test set; ask whether it holds on patients of another hospital, and "
        "take `indeterminate` for no answer."
    )


def _best_table(evidence: Evidence) -> Baseline | None:
    """The baseline with the highest macro-F1."""
    return max(evidence.audit.baselines, key=lambda b: b.scores.macro_f1.value, default=None)


def _beats(evidence: Evidence, table: Baseline) -> bool:
    """Whether the best network is shown to be better than a table, on the same subjects."""
    gain = table.gains.get(evidence.best_set)
    return gain is not None and gain.p_macro_f1 <= LEVEL and gain.macro_f1.value > 0


def _in_ten(share: float) -> str:
    """A share for people.

    >>> _in_ten(0.656), _in_ten(0.7)
    ('6.6 in 10', '7 in 10')
    """
    return f"{round(share * 10, 1):g} in 10"
