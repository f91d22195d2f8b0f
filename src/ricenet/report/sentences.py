"""The report in a few sentences, each with its numbers and intervals."""

from __future__ import annotations

from ricenet.evaluation.evidence.contribution import contribution_sentence
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.labels.record import LabelEvidence
from ricenet.inference.test_ledger import UNKNOWN
from ricenet.report.external_validation import external_sentences
from ricenet.report.promoted_votes import PromotedVote, evaluations_text
from ricenet.report.results import Results
from ricenet.screening.guards.result import GuardResult, guards_verdict

SECTIONS = {
    "summary": "Summary",
    "cohort": "Cohort",
    "flow": "Flow of subjects",
    "figures": "Figures of the paper",
    "scores": "All scores",
    "contribution": "Contribution of the modalities",
    "audit": "Shortcut audit",
    "guards": "Guards against leaks",
    "calibration": "Calibration and abstention",
    "subgroups": "Subgroups and decisions",
    "sites": "Sites",
    "robustness": "Robustness",
    "test": "Test set",
    "external": "External validation",
    "occlusion": "Occlusion",
    "subjects": "Subjects to look at",
    "methods": "Methods",
    "checklists": "Checklists",
    "protocol": "Protocol",
}
"""Titles of the page's sections by anchor, in order."""


def sections_of(results: Results) -> dict[str, str]:
    """Those of a run: where a patient has several visits, theirs after the subgroups'."""
    if results.visits is None:
        return SECTIONS
    visits = {"subgroups": SECTIONS["subgroups"], "visits": "Visits"}
    titled = [visits if anchor == "subgroups" else {anchor: title} for anchor, title in SECTIONS.items()]
    return {anchor: title for part in titled for anchor, title in part.items()}


_GATE = {"passed": "passed", "forced": "past the gate", UNKNOWN: "not recorded"}


def summary_sentences(results: Results) -> list[tuple[str, str]]:
    """(anchor of the section that says more, sentence), in the page's order."""
    evidence, best = results.evidence, results.evidence.best_set
    sentences = [
        ("scores", best_sentence(evidence)),
        ("contribution", contribution_sentence(evidence.contributions, evidence.volumes)),
        ("audit", evidence.audit.verdict),
        ("guards", _guards_sentence(evidence.guards)),
        ("calibration", _calibration_sentence(evidence, best)),
        ("sites", _sites_sentence(evidence)),
        ("robustness", _robustness_sentence(results, best)),
        *(("test", _vote_sentence(results, name, vote)) for name, vote in results.votes.items()),
        ("test", results.no_vote),
        *(("external", sentence) for sentence in external_sentences(results.validations)),
    ]
    return [(anchor, sentence) for anchor, sentence in sentences if sentence]


def gate_text(gate: str) -> str:
    """The ledger's column `gate`, for people."""
    return _GATE.get(gate, gate)


def best_sentence(evidence: Evidence | LabelEvidence) -> str:
    """Which modality set has the highest macro-F1, beside chance."""
    name = evidence.best_set
    best = evidence.sets[name]
    chosen = (
        f" It is the best of {len(evidence.sets)} sets on the same subjects, which flatters it."
        if len(evidence.sets) > 1
        else ""
    )
    return (
        f"In the cross-validation of {best.n} subjects the highest macro-F1 is that of "
        f"{evidence.volumes.set_title(name)}: {best.macro_f1.text()}, with an AUC of {best.auc.text()}; the "
        f"chance level is {evidence.chance_macro_f1:.2f}, always naming the commoner label gives "
        f"{evidence.majority.macro_f1.value:.2f}.{chosen}"
    )


def _guards_sentence(guards: tuple[GuardResult, ...]) -> str:
    if not guards:
        return "No guard against leaks has run."
    raised = [g.name.replace("_", " ") for g in guards if g.outcome in ("failed", "warning")]
    named = f" To look at: {', '.join(raised)}." if raised else ""
    return f"Guards against leaks: {guards_verdict(guards)}.{named}"


def _sites_sentence(evidence: Evidence) -> str:
    if evidence.sites is None:
        return ""
    best = evidence.volumes.set_title(evidence.best_set)
    return f"{len(evidence.sites.rows)} sites, {best}: {evidence.sites.verdict}"


def _calibration_sentence(evidence: Evidence, name: str) -> str:
    if (found := evidence.calibration.get(name)) is None:
        return ""
    text = (
        f"The probabilities of {evidence.volumes.set_title(name)} {found.weak.sentence}. "
        f"{found.recalibration.sentence} {found.gain_sentence}"
    )
    return f"{text} {abstention_sentence(evidence, name)}" if name in evidence.abstention else text


def abstention_sentence(evidence: Evidence, name: str) -> str:
    """What the three-way vote of a modality set reaches, in words."""
    vote = evidence.abstention[name]
    aim = f"aiming at {vote.target_error * 100:g} % of wrong answers"
    if vote.error is None:
        return f"Its three-way vote, {aim}, answers nobody."
    return (
        f"Its three-way vote, {aim}, answers a share of {vote.coverage.text()} of held-out subjects, "
        f"{vote.error.text()} of them wrongly."
    )


def _robustness_sentence(results: Results, best: str) -> str:
    effects = results.robustness.effects.get(best, ())
    if not effects:
        return ""
    worst = max(effects, key=lambda effect: effect.flip_rate.value)
    return (
        f"Of the perturbations of its input, {worst.full_title()} changes most answers of "
        f"{results.volumes.set_title(best)}: a share of {worst.flip_rate.text()}."
    )


def _vote_sentence(results: Results, name: str, vote: PromotedVote) -> str:
    forced = " It votes past the gate, conditions of which it failed." if vote.forced else ""
    return (
        f"On the test set of {vote.n} subjects the vote of {results.volumes.set_title(name)} has a macro-F1 "
        f"of {vote.macro_f1.text()}, after {evaluations_text(vote.evaluations)} of this test set.{forced}"
    )
