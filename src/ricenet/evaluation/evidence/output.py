"""The evidence as files: one for programs, and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.evidence.contribution import subject_contributions
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.evidence.scalars import Scalars, scalars_table
from ricenet.evaluation.intervals import Scores
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text

_SCORES = ("macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier")


def write_evidence(
    evidence: Evidence,
    held_out: HeldOut,
    scalars: Mapping[str, Scalars],
    gates: Sequence[GateRecord],
    folder: Path,
) -> None:
    """Write evidence.json, its tables (CSV, TSV), and gate/<modality set>.json for promotion."""
    with atomic_folder(folder) as temporary:
        write_json(temporary / "evidence.json", evidence.model_dump(mode="json"))
        write_text(temporary / "scores.csv", scores_table(evidence))
        write_text(temporary / "comparisons.csv", comparisons_table(evidence))
        write_text(temporary / "contributions.csv", contributions_table(evidence))
        write_text(temporary / "scalars.tsv", scalars_table(scalars))
        for gate in gates:
            write_json(temporary / "gate" / f"{gate.modality_set}.json", gate.model_dump(mode="json"))
        if evidence.contributions:
            write_text(temporary / "log_loss.tsv", log_loss_table(held_out))


def scores_table(evidence: Evidence) -> str:
    """CSV text: a row a score of a modality set or a baseline."""
    rows: dict[tuple[str, str], Scores] = {("network", name): found for name, found in evidence.sets.items()}
    rows |= {("baseline", baseline.name): baseline.scores for baseline in evidence.audit.baselines}
    header = ["kind", "name", "n", "score", "value", "ci_low", "ci_high", "method"]
    return table_text(
        header,
        [
            [kind, name, found.n, score, *_numbers(getattr(found, score)), getattr(found, score).method]
            for (kind, name), found in rows.items()
            for score in _SCORES
        ],
        ",",
    )


def comparisons_table(evidence: Evidence) -> str:
    """CSV text: a row a pair of modality sets."""
    tests = ("p_macro_f1", "p_mcnemar", "p_delong")
    columns = [column for test in tests for column in (test, f"{test}_holm")]
    header = ["a", "b", "n", "macro_f1", "macro_f1_low", "macro_f1_high", "auc", "auc_low", "auc_high"]
    return table_text(
        [*header, "only_a_right", "only_b_right", *columns],
        [
            [c.a, c.b, c.n, *_numbers(c.macro_f1), *_numbers(c.auc), c.only_a_right, c.only_b_right]
            + [f"{getattr(c, column):.6f}" for column in columns]
            for c in evidence.comparisons
        ],
        ",",
    )


def contributions_table(evidence: Evidence) -> str:
    """CSV text: a row a modality's Shapley value of a score."""
    return table_text(
        ["score", "modality", "shapley_value", "ci_low", "ci_high"],
        [
            [contribution.score, modality, *_numbers(value)]
            for contribution in evidence.contributions
            for modality, value in contribution.modalities.items()
        ],
        ",",
    )


def log_loss_table(held_out: HeldOut) -> str:
    """TSV text: by how much each modality lowers each subject's log-loss, in nats."""
    found = subject_contributions(held_out)
    rows = [
        [subject, *(f"{values[i]:.6f}" for values in found.values())]
        for i, subject in enumerate(held_out.subjects)
    ]
    return table_text(["participant_id", *found], rows)


def _numbers(estimate: Estimate) -> list[str]:
    return [f"{number:.6f}" for number in (estimate.value, estimate.low, estimate.high)]
