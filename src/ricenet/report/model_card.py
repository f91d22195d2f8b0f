"""A model card for the registry: what a version is for, and what is known of it.

Built from the run's evidence alone, without a heavy package.
"""

from __future__ import annotations

from collections.abc import Iterable

from ricenet.evaluation.evidence.calibration_record import Calibration
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.labels.record import LabelEvidence
from ricenet.evaluation.robustness.effects import Effect, Robustness
from ricenet.evaluation.scores import Scores
from ricenet.screening.guards.result import guards_verdict
from ricenet.vocabulary import Volumes

_SCORES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "sensitivity": "sensitivity for RICE",
    "specificity": "specificity for RICE",
    "brier": "Brier score",
}


SINGLE_NETWORKS = (
    "Shares answered and wrong are those of the single networks that had not seen the subject. The ensemble "
    "of the folds answers by the mean of its networks and needs the majority of them to agree, at the same "
    "threshold, so its own shares differ."
)
"""Of whom the three-way vote's figures are."""


def model_card_sections(
    evidence: Evidence, modality_set: str, robustness: Robustness | None = None, synthetic: bool = False
) -> str:
    """The card of a modality set's model, in Markdown.

    robustness: of the run, where it was measured. synthetic: trained on phantoms.
    """
    sections = (
        ("Intended use", _intended_use(evidence.volumes, modality_set, synthetic)),
        ("Data", _data(evidence, modality_set)),
        ("Scores", _scores(evidence, modality_set)),
        ("Against simple baselines", evidence.audit.verdict),
        ("Calibration and three-way vote", _calibration(evidence, modality_set)),
        ("Robustness", _robustness(robustness, modality_set)),
        ("Guards against leaks", _guards(evidence)),
        ("Limits", _limits(evidence.sets[modality_set].n, synthetic)),
    )
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections) + "\n"


def label_card_sections(evidence: LabelEvidence, modality_set: str, synthetic: bool) -> str:
    """The same of other labels than the paper's two: what it tells apart, its scores, and its limits."""
    scores = evidence.sets[modality_set]
    counts = ", ".join(f"{n} {label}" for label, n in evidence.counts.items())
    among = evidence.among_events.get(modality_set)
    sections = {
        "Intended use": (
            f"Research on telling {', '.join(evidence.label_names)} apart. Not a medical device: not for "
            f"clinical use.{' Trained on phantoms: it says nothing about patients.' if synthetic else ''}"
        ),
        "Data": f"Cross-validation of {scores.n} subjects: {counts}.",
        "Scores": (
            f"Macro-F1 {scores.macro_f1.text()}, mean AUC of each label against the rest "
            f"{scores.auc.text()}; chance gives a macro-F1 of {evidence.chance_macro_f1:.2f}."
        ),
        "Among events alone": among and f"Macro-F1 {among.macro_f1.text()}, of {among.n} subjects.",
        "Against simple baselines": evidence.verdict,
        "Calibration": f"New cases: {evidence.calibration[modality_set].recalibration.text}.",
        "Guards against leaks": guards_verdict(evidence.guards) if evidence.guards else "None has run.",
        "Limits": _limits(scores.n, synthetic),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text) + "\n"


def _intended_use(volumes: Volumes, modality_set: str, synthetic: bool) -> str:
    phantom = " **Trained on synthetic phantoms: it says nothing about patients.**" if synthetic else ""
    return (
        "Research only; not a medical device, and no guide to the treatment of a patient. Separates tumour "
        "recurrence from radiation-induced contrast enhancement (RICE) after radiotherapy of a glioblastoma, "
        f"from {volumes.set_title(modality_set, ', ')}; `p_rice` is the probability of RICE.{phantom}"
    )


def _data(evidence: Evidence, modality_set: str) -> str:
    return (
        f"{evidence.sets[modality_set].n} subjects in cross-validation; splits "
        f"`{evidence.splits_digest[:12]}`. The test set is not described: its evaluations are in the "
        "ledger, with the word `forced` where a model was let through the gate in spite of a failed "
        "condition. A version promoted so says why in its tags `ricenet.forced_past` and "
        "`ricenet.promotion_reason`."
    )


def _scores(evidence: Evidence, modality_set: str) -> str:
    found: Scores = evidence.sets[modality_set]
    rows = [f"| {title} | {getattr(found, name).text()} |" for name, title in _SCORES.items()]
    return "\n".join(
        [
            "| cross-validation, out of fold | value (95 % interval) |",
            "|---|---|",
            *rows,
            "",
            f"The chance level of the macro-F1 is {evidence.chance_macro_f1:.2f}; always naming the commoner "
            f"label gives {evidence.majority.macro_f1.value:.2f}. Intervals are by subject; they do not "
            "cover the chance in folds and in training.",
        ]
    )


def _calibration(evidence: Evidence, modality_set: str) -> str:
    found: Calibration | None = evidence.calibration.get(modality_set)
    if found is None:
        return "Not examined."
    text = f"Probabilities {found.weak.sentence}. {found.recalibration.sentence} {found.gain_sentence}"
    vote = evidence.abstention.get(modality_set)
    if vote is None:
        return text
    if vote.threshold is None:
        return (
            f"{text} No confidence reaches the target error of "
            f"{vote.target_error * 100:g} %: every vote is indeterminate."
        )
    error = "" if vote.error is None else f", {vote.error.text()} of them wrong"
    return (
        f"{text} Three-way vote (rice, recurrence, indeterminate) for an error of "
        f"{vote.target_error * 100:g} %: an answer from a confidence of {vote.threshold:.2f}; held-out "
        "subjects answered: "
        f"{vote.coverage.text()}{error}. {SINGLE_NETWORKS}"
    )


def _robustness(robustness: Robustness | None, modality_set: str) -> str:
    effects: Iterable[Effect] = robustness.effects.get(modality_set, ()) if robustness else ()
    worst = max(effects, key=lambda effect: effect.flip_rate.value, default=None)
    if worst is None:
        return "Not examined."
    strength = "" if worst.strength is None else f", {worst.strength:g} {worst.unit}".rstrip()
    return f"Most answers change under: {worst.title}{strength}, a share of {worst.flip_rate.text()}."


def _guards(evidence: Evidence) -> str:
    lines = [f"- {g.name.replace('_', ' ')}: {g.outcome}" for g in evidence.guards]
    return "\n".join(lines) or "None has run."


def _limits(subjects: int, synthetic: bool) -> str:
    kind = "generated subjects" if synthetic else "subjects"
    return (
        f"All of this is known from {subjects} {kind} of one cohort; no outside cohort was tested. Scanners, "
        "doses and populations other than those of training may change every number."
    )
