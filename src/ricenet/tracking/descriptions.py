"""What MLflow's page says in words of a run, a version and the experiment, made from the results at hand.

MLflow shows the tag `mlflow.note.content` as a description, in Markdown; lists show its first line as it
stands, so that line is plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ricenet.evaluation.evidence.gate import GateRecord, failed_conditions
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.labels.record import LabelEvidence, read_any_evidence
from ricenet.report.sentences import best_sentence
from ricenet.screening.guards.result import guards_verdict
from ricenet.tracking.evidence_content import GATE, gate_of, version_tags
from ricenet.vocabulary import volumes_and_recipe

NOTE = "mlflow.note.content"
"""The tag that MLflow's page shows as a description."""

MACRO_F1, AUC = "ricenet.macro_f1", "ricenet.auc"
"""Tags of a set's run: a score with its 95 % interval, for the list of runs."""

RESEARCH = "Research software, not a medical device: not for clinical use."


def score_tags(work: Path, modality_set: str, digest: str) -> dict[str, str]:
    """Scores and the gate's answer as short text, for the list of runs; nothing where none is at hand."""
    gate = gate_of(work, modality_set, digest)
    if gate is None:
        return {}
    scores = _evidence(work).sets[modality_set]
    return {MACRO_F1: scores.macro_f1.text(), AUC: scores.auc.text(), GATE: version_tags(gate)[GATE]}


def headline(work: Path, modality_set: str, digest: str) -> str:
    """The result in one plain line: set, recipe, macro-F1, AUC, subjects and gate."""
    volumes, recipe = volumes_and_recipe(modality_set)
    of_recipe = f", recipe {recipe}" if recipe else ""
    tags = score_tags(work, modality_set, digest)
    if not tags:
        return f"{volumes}{of_recipe}: trained, not judged yet."
    subjects = _evidence(work).sets[modality_set].n
    return (
        f"{volumes}{of_recipe}: macro-F1 {tags[MACRO_F1]}, AUC {tags[AUC]}, {subjects} held-out subjects; "
        f"gate {tags[GATE]}."
    )


def set_note(work: Path, modality_set: str, digest: str, vote: Mapping[str, float]) -> str:
    """The description of a set's run. vote: its metrics of the test set, or empty."""
    lines = [headline(work, modality_set, digest), ""]
    gate = gate_of(work, modality_set, digest)
    if gate is None:
        lines += ["- Next: `dvc repro` evaluates it", f"- {RESEARCH}"]
        return "\n".join(lines)
    evidence = _evidence(work)
    chance, majority = evidence.chance_macro_f1, evidence.majority.macro_f1.value
    lines.append(f"- Chance gives a macro-F1 of {chance:.2f}, always the commoner label {majority:.2f}")
    if evidence.guards:
        lines.append(f"- Guards against leaks: {guards_verdict(evidence.guards)}")
    lines += [f"- The gate: {failure}" for failure in failed_conditions(gate)]
    if vote:
        lines.append(
            f"- Test set: macro-F1 {vote['test_macro_f1']:.2f}, evaluation {vote['test_evaluations']:.0f}"
        )
    lines += [f"- Next: {_next_step(gate, bool(vote))}", f"- {RESEARCH}"]
    return "\n".join(lines)


def fold_note(modality_set: str, record: Mapping[str, Any], scores: Mapping[str, float]) -> str:
    """The description of a fold's run. record: of its fold.json."""
    score = f"macro-F1 {scores['macro_f1']:.2f}" if "macro_f1" in scores else "not evaluated yet"
    subjects = record.get("validation_subjects")
    held_out = "" if subjects is None else f" on {subjects} held-out subjects"
    return f"Fold {record['fold']} of {modality_set}: {score}{held_out}."


def experiment_note(work: Path) -> str:
    """The description of the experiment: what has a run, and what was found."""
    found = []
    if (work / "evidence" / "evidence.json").is_file():
        best, of = _evidence(work).best_set, _evidence(work).sets
        found = [f"Best of {len(of)} set(s): {best}, macro-F1 {of[best].macro_f1.text()}", ""]
        found += [best_sentence(_evidence(work)), ""]
    return "\n".join(
        [
            *found,
            "A run a modality set, below it a run a fold; quality control and searches have runs of their "
            "own. The open view lists the sets by macro-F1; clear its search field to see all runs.",
            "",
            "- Does one differ from another? `ricenet compare A B` tests the same subjects in pairs",
            "- What was found, in full: `ricenet open report`",
            f"- {RESEARCH}",
        ]
    )


def _next_step(gate: GateRecord, has_voted: bool) -> str:
    if failed_conditions(gate):
        return "see `ricenet open report`; the gate refuses to promote it"
    if has_voted:
        return "`ricenet predict` answers new cases"
    return f"`ricenet promote {gate.modality_set}`, then `dvc repro` lets it vote on the test set"


def _evidence(work: Path) -> Evidence | LabelEvidence:
    return read_any_evidence(work / "evidence" / "evidence.json")
