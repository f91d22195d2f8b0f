"""What a registered version is, in words: its labels, its input, its output and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ricenet
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import is_rice_task


def model_card(ensemble: EnsembleRecord, scores: dict[str, Any], cohort: str | None, synthetic: bool) -> str:
    """A version's description, as Markdown.

    scores: the set's entry of metrics.json, or empty. cohort: the raw cohort's folder.
    synthetic: it holds phantoms.
    """
    names = [spec.name for spec in ensemble.members]
    side = ensemble.grid.voxels
    shape = (len(names), side, side, side)
    paragraphs = [
        f"**RICE-NET, {ensemble.modality_set}**: {ensemble.folds} folds and their majority vote, "
        f"telling {_told_apart(ensemble)}.",
        "**Research software, not a medical device: not for clinical use.**",
        f"Input: preprocessed volumes (N, {', '.join(map(str, shape))}), float32, in the order "
        f"{', '.join(names)}{_variables_words(ensemble)}. Output: {_output(ensemble)}. "
        f"Loading needs the package ricenet {ricenet.__version__}.",
    ]
    if scores:
        paragraphs.append(
            f"Cross-validated macro-F1: {scores['macro_f1_mean']:.3f}, SD over folds "
            f"{scores['macro_f1_sd']:.3f}, {scores['n']} subjects."
        )
    if cohort is not None:
        made_up = " (synthetic)" if synthetic else ""
        # the folder's name alone: its place may name a person or an institution
        paragraphs.append(f"Trained on the cohort `{Path(cohort).name}`{made_up}.")
    return "\n\n".join(paragraphs) + "\n"


def question(ensemble: EnsembleRecord) -> str:
    """What a registered model answers."""
    two = is_rice_task(ensemble.label_names)
    return "Recurrence or RICE" if two else f"Which of {', '.join(ensemble.label_names)}"


def _told_apart(ensemble: EnsembleRecord) -> str:
    if is_rice_task(ensemble.label_names):
        return "recurrence from radiation-induced contrast enhancement (RICE)"
    return f"{', '.join(ensemble.label_names)} apart"


def _output(ensemble: EnsembleRecord) -> str:
    if is_rice_task(ensemble.label_names):
        return (
            "each fold's probability of RICE, how many folds say RICE, the mean probability, the calibrated "
            "one, the label, and the three-way answer"
        )
    return (
        "each fold's probability of every label, how many folds say each, their means, the calibrated ones, "
        "the label, and the answer, which may be none"
    )


def _variables_words(ensemble: EnsembleRecord) -> str:
    if not ensemble.variables:
        return ""
    names = ", ".join(spec.name for spec in ensemble.variables)
    used = "which the networks use" if ensemble.network.uses_variables else "which no network uses"
    return f"; and the variables {names}, {used}"
