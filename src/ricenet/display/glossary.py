"""What the pages' terms mean, and the buttons that open a meaning where its term stands.

A meaning is a popover of HTML: no script opens it, so it works offline, by keyboard (Tab, Enter, Escape), in
a sandboxed frame and under a content security policy. On paper the meanings are a list at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import NamedTuple


class Term(NamedTuple):
    """title: as the list has it. words: a regular expression of the forms in a text. meaning: for people."""

    title: str
    words: str
    meaning: str


TERMS: dict[str, Term] = {
    "rice": Term(
        "RICE",
        "RICE",
        "Radiation-induced contrast enhancement: a lesion that takes up contrast because radiotherapy "
        "damaged the tissue, not because tumour grows. It is the positive label here.",
    ),
    "p-rice": Term(
        "p_rice",
        "p_rice",
        "The probability of RICE that a network gives, from 0 (recurrence) to 1 (RICE). Raw, it only "
        "ranks cases; calibrated, 0.8 means RICE in about four of five.",
    ),
    "macro-f1": Term(
        "macro-F1",
        "[Mm]acro-F1",
        "The mean of two F1 scores, one for each label; F1 is the harmonic mean of precision (the share "
        "of those named that are right) and recall (the share of those with the label that are named). "
        "1: every answer is right. Unlike accuracy it is no better for always naming the commoner label.",
    ),
    "auc": Term(
        "AUC",
        "AUC",
        "Area under the ROC curve: how often, of one subject with RICE and one with recurrence, the one "
        "with RICE has the higher p_rice. 0.5: by chance, 1: always. It depends on no threshold.",
    ),
    "interval": Term(
        "confidence interval",
        "(?:(?:95 % |[Cc]onfidence )[Ii]ntervals?)",
        "A range that would hold the true value in 95 of 100 repetitions with other subjects of the same "
        "kind. It covers the choice of subjects, not faults of the data, nor another hospital.",
    ),
    "chance": Term(
        "chance level",
        "[Cc]hance level|guessing",
        "What is reached without looking: the expected score of answers drawn by the labels' shares.",
    ),
    "sensitivity": Term(
        "sensitivity",
        "[Ss]ensitivity(?: for RICE)?",
        "Of the subjects with RICE, the share that is called RICE.",
    ),
    "specificity": Term(
        "specificity",
        "[Ss]pecificity",
        "Of the subjects with recurrence, the share that is called recurrence.",
    ),
    "balanced-accuracy": Term(
        "balanced accuracy", "[Bb]alanced accuracy", "The mean of sensitivity and specificity; 0.5 by chance."
    ),
    "brier": Term(
        "Brier score",
        "Brier score",
        "The mean squared distance of p_rice from 1 (RICE) or 0 (recurrence). 0 is perfect, 0.25 is "
        "always saying one half.",
    ),
    "log-loss": Term(
        "log-loss",
        "[Ll]og-loss",
        "The mean of the negative logarithm of the probability given to the true label, in nats. Sure and"
        " wrong answers cost most; always saying one half costs 0.69.",
    ),
    "calibration": Term(
        "calibration",
        "(?:[Mm]is|[Rr]e)?[Cc]alibrat(?:ion|ed)",
        "Whether probabilities mean what they say: of the cases with 0.8, four in five should have RICE. "
        "Recalibration maps the probabilities, by held-out subjects, so that they do.",
    ),
    "temperature": Term(
        "temperature",
        "[Tt]emperature(?: scaling)?",
        "One number that makes all probabilities less sure (above 1) or surer (below 1): their logits are"
        " divided by it. At 2, 0.90 becomes 0.75; at 20 everything lies near 0.5, so nothing was left to "
        "trust.",
    ),
    "platt": Term(
        "Platt scaling",
        "Platt(?: scaling)?",
        "Recalibration by two numbers, a slope and an intercept of the logits. Slope 0: every case gets "
        "the share of RICE.",
    ),
    "out-of-fold": Term(
        "out-of-fold",
        "[Oo]ut-of-fold|[Hh]eld[ -]out",
        "Predicted by a network that did not train on the subject: in a cross-validation each subject is "
        "held out once.",
    ),
    "cross-validation": Term(
        "cross-validation",
        "[Cc]ross-validation|[Cc]ross-validated",
        "The subjects are divided into folds. Each fold is predicted by a network that was trained on the"
        " others, so that every subject is predicted once by a network that does not know it.",
    ),
    "test-set": Term(
        "test set",
        "(?:independent )?[Tt]est set",
        "Subjects set aside from the start. Nothing is chosen by them; each evaluation is counted, since "
        "a number that was looked at often means less.",
    ),
    "guard": Term(
        "guard",
        "[Gg]uards?",
        "A check for leakage: the same image or subject on both sides of a division, a label that can be "
        "read from file properties, normalisation by other subjects. A failed guard stops the training.",
    ),
    "gate": Term(
        "gate",
        "gate",
        "The conditions before a model is promoted or votes on the test set: no failed guard, better than"
        " chance, not worse than the present champion. Whoever passes it by force is named.",
    ),
    "baseline": Term(
        "baseline",
        "[Bb]aselines?|table of scalars",
        "A logistic regression on a few plain numbers, such as mean dose or age, in the same folds. If it"
        " does as well as the network, no image was needed.",
    ),
    "shapley": Term(
        "Shapley value",
        "Shapley values?",
        "What one volume adds to a score, averaged over all orders in which volumes could be added. The "
        "values sum to the score of all volumes less that of none.",
    ),
    "occlusion": Term(
        "occlusion map",
        "[Oo]cclusion(?: maps?)?",
        "A small cube of the input is hidden at one place after the other; the map shows by how much "
        "p_rice changes. It tells what the network reacts to, not what causes the enhancement.",
    ),
    "three-way": Term(
        "three-way vote",
        "[Tt]hree-way vote|indeterminate",
        "RICE, recurrence or indeterminate: a case whose calibrated probability is not sure enough gets "
        "no answer. The threshold is set for an allowed share of wrong answers.",
    ),
    "flip-rate": Term(
        "flip rate", "[Ff]lip rate", "The share of subjects whose answer changes when the input is perturbed."
    ),
    "holm": Term(
        "Holm's method",
        "Holm's method",
        "Raises p-values because several questions are asked at once, so that one false finding among all"
        " stays as rare as with one question.",
    ),
    "isodose": Term(
        "isodose line",
        "[Ii]sodose(?: lines?|s)?",
        "Joins the places that got the same dose of radiotherapy, in Gy over the whole course.",
    ),
    "isocentre": Term(
        "isocentre",
        "isocentre",
        "The point around which the treatment machine turns; estimated here as the middle of the high dose.",
    ),
    "dvh": Term(
        "dose-volume histogram",
        "[Dd]ose-volume histogram",
        "Which share of a structure gets a dose or more, for every dose.",
    ),
    "similarity": Term(
        "similarity",
        "[Ss]imilarity",
        "Normalised mutual information of two registered scans: how well one predicts the other. Higher "
        "is better; it depends on the scanners and contrasts.",
    ),
    "digest": Term(
        "digest",
        "[Dd]igest",
        "A fingerprint of content (SHA-256): equal digests mean equal bytes.",
    ),
}
"""By the name that is part of an anchor."""

PLACE = "<!-- meanings -->"
"""Where a page has its meanings; one without it has no buttons."""

_SILENT = "head|script|style|svg|a|button|code|pre|label|legend|select|summary|nav|h1|h2|h3|noscript"
"""Elements whose text is no place for a button."""
_TOKEN = re.compile(rf"(<(?P<silent>{_SILENT})\b.*?</(?P=silent)>|<[^>]*>)", re.DOTALL)
_FORMS = re.compile(
    "|".join(
        rf"(?P<t{number}>(?<![\w@+/-])(?:{term.words})(?![\w@/]|-\w))"
        for number, term in enumerate(TERMS.values())
    )
)
_NAMES = tuple(TERMS)


def with_meanings(html: str) -> str:
    """A page with a button at the first mention of each term under each heading, and the meanings at PLACE.

    html: a whole page. Returned as it is where it has no PLACE.
    """
    if PLACE not in html:
        return html
    used: dict[str, None] = {}
    page = "".join(_with_buttons(html, used))
    found = (
        f'<div popover id="term-{name}" class="term-meaning">{_meaning(name)}</div>'
        for name in TERMS
        if name in used
    )
    return page.replace(
        PLACE, f'<aside class="meanings" aria-label="Meanings of terms">{"".join(found)}</aside>'
    )


def _with_buttons(html: str, used: dict[str, None]) -> Iterator[str]:
    """The page in pieces; notes which terms have a button."""
    seen: set[str] = set()

    def button(match: re.Match[str]) -> str:
        name = _NAMES[int(str(match.lastgroup)[1:])]
        if name in seen:
            return match[0]
        seen.add(name)
        used[name] = None
        return f'<button type="button" class="term" popovertarget="term-{name}">{match[0]}</button>'

    end = 0
    for token in _TOKEN.finditer(html):
        yield _FORMS.sub(button, html[end : token.start()])
        yield token[0]
        end = token.end()
        if token["silent"] == "h2":
            seen.clear()
    yield html[end:]


def _meaning(name: str) -> str:
    term = TERMS[name]
    return f"<strong>{escape(term.title)}</strong> {escape(term.meaning)}"
