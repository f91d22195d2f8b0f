"""A model card for the registry: what a version is for, and what is known of it.

Built from the run's evidence alone, without a heavy package.
"""

from __future__ import annotations

from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.labels.record import LabelEvidence
from ricenet.evaluation.robustness.effects import Robustness
from ricenet.evaluation.scores import Scores
from ricenet.report.facts import Facts, model_facts
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


def model_card_sections(
    evidence: Evidence, modality_set: str, robustness: Robustness | None = None, synthetic: bool = False
) -> str:
    """The card of a modality set's model, in Markdown.

    robustness: of the run, where it was measured. synthetic: trained on phantoms.
    """
    facts = model_facts(evidence, modality_set, robustness)
    sections = (
        ("Intended use", _intended_use(evidence.volumes, modality_set, synthetic)),
        ("Data", _data(facts)),
        ("Scores", _scores(evidence, modality_set, facts)),
        ("Against simple baselines", evidence.audit.verdict),
        ("Calibration and three-way vote", _calibration(facts)),
        ("Robustness", f"{facts['perturbation'] or 'Not examined'}."),
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


def _data(facts: Facts) -> str:
    return (
        f"{facts['development']}. The test set is not described: its evaluations are in the "
        "ledger, with the word `forced` where a model was let through the gate in spite of a failed "
        "condition. A version promoted so says why in its tags `ricenet.forced_past` and "
        "`ricenet.promotion_reason`."
    )


def _scores(evidence: Evidence, modality_set: str, facts: Facts) -> str:
    found: Scores = evidence.sets[modality_set]
    rows = [f"| {title} | {getattr(found, name).text()} |" for name, title in _SCORES.items()]
    return "\n".join(
        [
            "| cross-validation, out of fold | value (95 % interval) |",
            "|---|---|",
            *rows,
            "",
            f"{facts['chance']}. Intervals are by subject; they do not cover the chance in folds and in "
            "training.",
        ]
    )


def _calibration(facts: Facts) -> str:
    if not facts["calibration"]:
        return "Not examined."
    said = (facts[name] for name in ("calibration", "three_way", "answered_by", "label_sets"))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said if text)


def _guards(evidence: Evidence) -> str:
    lines = [f"- {g.name.replace('_', ' ')}: {g.outcome}" for g in evidence.guards]
    return "\n".join(lines) or "None has run."


def _limits(subjects: int, synthetic: bool) -> str:
    kind = "generated subjects" if synthetic else "subjects"
    return (
        f"All of this is known from {subjects} {kind} of one cohort; no outside cohort was tested. Scanners, "
        "doses and populations other than those of training may change every number."
    )
