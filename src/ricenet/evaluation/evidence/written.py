"""The files in which a run's evidence is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.participants import MISSING
from ricenet.evaluation.evidence.baselines import Scalars
from ricenet.evaluation.evidence.comparison import TESTS
from ricenet.evaluation.evidence.contribution import subject_contributions
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, Comparison, Contribution, Evidence
from ricenet.evaluation.evidence.scalars import scalars_table
from ricenet.evaluation.evidence.site_record import Sites
from ricenet.evaluation.evidence.visits import VISITS_FILE, VISITS_TABLE, VisitEvidence
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.scores import SCORES
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import Volumes


def write_evidence(
    evidence: Evidence,
    predictions: Mapping[str, Sequence[Prediction]],
    scalars: Mapping[str, Scalars],
    gates: Sequence[GateRecord],
    folder: Path,
    visits: tuple[VisitEvidence, str] | None = None,
) -> None:
    """Write evidence.json, its tables (CSV, TSV), and gate/<modality set>.json for promotion.

    visits: of patients with several, with the table of all; None where nobody has.
    """
    with atomic_folder(folder) as temporary:
        write_json(temporary / EVIDENCE_FILE.name, evidence.model_dump(mode="json"))
        write_text(temporary / "scores.csv", scores_table(evidence))
        write_text(temporary / "comparisons.csv", comparisons_table(evidence.comparisons))
        write_text(temporary / "contributions.csv", contributions_table(evidence.contributions))
        write_text(temporary / "scalars.tsv", scalars_table(scalars))
        for gate in gates:
            write_json(temporary / "gate" / f"{gate.modality_set}.json", gate.model_dump(mode="json"))
        if visits is not None:
            write_json(temporary / VISITS_FILE.name, visits[0].model_dump(mode="json"))
            write_text(temporary / VISITS_TABLE, visits[1])
        if evidence.sites is not None:
            write_text(temporary / "sites.csv", sites_table(evidence.sites))
        if evidence.contributions:
            write_text(temporary / "log_loss.tsv", log_loss_table(HeldOut.of(predictions), evidence.volumes))


def scores_table(evidence: Evidence) -> str:
    """CSV text: a row a score of a modality set or a baseline."""
    rows = [("network", name, found) for name, found in evidence.sets.items()]
    rows += [("baseline", baseline.name, baseline.scores) for baseline in evidence.audit.baselines]
    return table_text(
        ["kind", "name", "n", "score", "value", "ci_low", "ci_high", "method"],
        [
            [kind, name, found.n, score, *_numbers(getattr(found, score)), getattr(found, score).method]
            for kind, name, found in rows
            for score in SCORES
        ],
        ",",
    )


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    """CSV text: a row a pair of modality sets."""
    columns = [column for test in TESTS for column in (test, f"{test}_holm")]
    header = ["a", "b", "n", "macro_f1", "macro_f1_low", "macro_f1_high", "auc", "auc_low", "auc_high"]
    return table_text(
        [*header, "only_a_right", "only_b_right", "p_false_claim", *columns],
        [
            [c.a, c.b, c.n, *_numbers(c.macro_f1), *_numbers(c.auc), c.only_a_right, c.only_b_right]
            + [f"{number:.6f}" for number in (c.false_claim, *(getattr(c, column) for column in columns))]
            for c in comparisons
        ],
        ",",
    )


def contributions_table(contributions: Sequence[Contribution]) -> str:
    """CSV text: a row a volume's Shapley value of a score."""
    return table_text(
        ["recipe", "score", "n", "modality", "shapley_value", "ci_low", "ci_high"],
        [
            [contribution.recipe, contribution.score, contribution.n, name, *_numbers(value)]
            for contribution in contributions
            for name, value in contribution.modalities.items()
        ],
        ",",
    )


def sites_table(sites: Sites) -> str:
    """CSV text: a row a site; n/a where a score is not computable."""
    labels = list(sites.rows[0].counts)
    ends = [f"{score}{end}" for score in ("macro_f1", "auc") for end in ("", "_low", "_high")]
    return table_text(
        ["site", "n", *(f"n_{label}" for label in labels), *ends, "why"],
        [
            [row.site, row.n, *(row.counts[label] for label in labels)]
            + [
                cell
                for found in (row.macro_f1, row.auc)
                for cell in (_numbers(found) if found else [MISSING] * 3)
            ]
            + [row.why]
            for row in sites.rows
        ],
        ",",
    )


def log_loss_table(held_out: HeldOut, volumes: Volumes) -> str:
    """TSV text: by how much each volume lowers each subject's log-loss, in nats."""
    found = subject_contributions(held_out, volumes)
    rows = [
        [subject, *(f"{values[i]:.6f}" for values in found.values())]
        for i, subject in enumerate(held_out.subjects)
    ]
    return table_text(["participant_id", *found], rows)


def _numbers(estimate: Estimate) -> list[str]:
    return [f"{number:.6f}" for number in (estimate.value, estimate.low, estimate.high)]
