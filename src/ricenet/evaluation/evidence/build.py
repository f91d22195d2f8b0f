"""All evidence of a run, from its held-out predictions, scalars and guards; and the files it is kept in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ricenet.cohort.participants import MISSING
from ricenet.cohort.splits import Splits
from ricenet.config.evidence import Harmonisation
from ricenet.evaluation.evidence.abstention import abstention
from ricenet.evaluation.evidence.audit import answers_of, audit, majority_scores
from ricenet.evaluation.evidence.baselines import (
    Scalars,
    intensity_features,
    scalar_models,
    source_models,
)
from ricenet.evaluation.evidence.beyond_time import beyond_time
from ricenet.evaluation.evidence.calibration import calibration, recalibrated_by_fold
from ricenet.evaluation.evidence.calibration_record import Calibration
from ricenet.evaluation.evidence.comparison import TESTS, compare_pairs
from ricenet.evaluation.evidence.conformal import conformal_sets
from ricenet.evaluation.evidence.contribution import contributions, subject_contributions
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.group_baselines import Convolutions, group_models
from ricenet.evaluation.evidence.learning_curve import learning_curve
from ricenet.evaluation.evidence.missing_volumes import missing_volumes
from ricenet.evaluation.evidence.net_benefit import decision_curve
from ricenet.evaluation.evidence.record import (
    EVIDENCE_FILE,
    Comparison,
    Contribution,
    DecisionCurve,
    Evidence,
    Repeats,
)
from ricenet.evaluation.evidence.scalars import scalars_table
from ricenet.evaluation.evidence.site_record import Sites
from ricenet.evaluation.evidence.sites import site_evidence
from ricenet.evaluation.evidence.subgroups import subgroup_scores
from ricenet.evaluation.evidence.visits import VISITS_FILE, VISITS_TABLE, VisitEvidence
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.metrics import best_set
from ricenet.evaluation.scores import SCORES, scores_with_intervals
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.screening.guards.result import GuardResult
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import VariableSpec, Volumes


def build_evidence(
    predictions: Mapping[str, Sequence[Prediction]],
    scalars: Mapping[str, Scalars],
    guards: Sequence[GuardResult],
    repeats: Repeats | None,
    splits: Splits,
    volumes: Volumes,
    variables: Sequence[VariableSpec],
    seed: int,
    resamples: int,
    target_error: float,
    coverage: float,
    convolutions: Convolutions | None = None,
    curves: Mapping[str, CurveAnswers] | None = None,
    growth: Sequence[float] = (),
    harmonisation: Harmonisation = "none",
    by_subset: Mapping[str, Mapping[str, Sequence[Prediction]]] = MappingProxyType({}),
) -> Evidence:
    """Everything that evidence.json holds; equal arguments give equal evidence.

    predictions: held out, by modality set. scalars: of every subject outside the test set.
    convolutions: of their volumes, likewise; without them no regression sees volumes.
    curves: answers of trainings on fewer subjects, by modality set; growth: of the forecasts.
    harmonisation: of what the baselines see of intensities.
    by_subset: predictions of networks that may lack volumes, by modality set and the volumes that were there.
    """
    everyone = _everyone(predictions)
    networks = {name: HeldOut.of({name: rows}) for name, rows in predictions.items()}
    scores = {
        name: scores_with_intervals(held.p_rice[name], held.is_rice, seed, resamples)
        for name, held in networks.items()
    }
    calibrated = {
        name: calibration(held.p_rice[name], held.is_rice, held.fold, seed, resamples)
        for name, held in networks.items()
    }
    best = best_set({name: found.macro_f1.value for name, found in scores.items()})
    plain = scalar_models(volumes, variables)
    models = (*plain, *group_models(plain, volumes.names if convolutions else ()))
    models = (*models, *source_models(scalars, models))
    harmonise = intensity_features(volumes) if harmonisation == "combat" else ()
    return Evidence(
        seed=seed,
        resamples=resamples,
        splits_digest=splits.digest,
        volumes=volumes,
        excluded=_excluded(networks, splits),
        majority=majority_scores(everyone),
        chance_macro_f1=everyone.chance_macro_f1,
        sets=scores,
        comparisons=compare_pairs(predictions, seed, resamples),
        contributions=contributions(HeldOut.of(predictions), volumes, seed, resamples),
        audit=audit(
            networks, scores, everyone, scalars, models, volumes, seed, resamples, convolutions, harmonise
        ),
        beyond_time={
            name: found
            for name, held in networks.items()
            if (found := beyond_time(held, scalars, seed, resamples)) is not None
        },
        calibration=calibrated,
        abstention={
            name: abstention(held.p_rice[name], held.is_rice, held.fold, of_set.recalibration, target_error)
            for (name, held), of_set in zip(networks.items(), calibrated.values(), strict=True)
        },
        conformal={
            name: conformal_sets(held.p_rice[name], held.is_rice, held.fold, coverage)
            for name, held in networks.items()
        },
        subgroups=subgroup_scores(networks[best], best, scalars, variables, seed, resamples),
        decision_curve=_decision_curve(networks[best], best, calibrated[best], seed, resamples),
        sites=site_evidence(
            networks[best],
            best,
            everyone,
            scalars,
            models,
            lambda model, held: answers_of(model, held, scalars, convolutions, harmonise),
            seed,
            resamples,
        ),
        repeats=repeats,
        learning_curves={
            name: learning_curve(answers, scores[name], growth, seed)
            for name, answers in (curves or {}).items()
        },
        guards=tuple(guards),
        missing_volumes=missing_volumes(by_subset, predictions, seed, resamples, target_error, coverage),
    )


def _decision_curve(held: HeldOut, name: str, by: Calibration, seed: int, resamples: int) -> DecisionCurve:
    p_rice = recalibrated_by_fold(held.p_rice[name], held.fold, by.by_fold(held.folds))
    return decision_curve(p_rice, held.is_rice, seed, resamples)


def _everyone(predictions: Mapping[str, Sequence[Prediction]]) -> HeldOut:
    """Each subject that any set judges, once."""
    by_subject = {p.participant_id: p for of_set in predictions.values() for p in of_set}
    return HeldOut.of({"": list(by_subject.values())})


def _excluded(networks: Mapping[str, HeldOut], splits: Splits) -> dict[str, tuple[str, ...]]:
    """Subjects outside the test set that a modality set does not judge, of the sets that have such."""
    left = {name: sorted(set(splits.development) - set(held.subjects)) for name, held in networks.items()}
    return {name: tuple(subjects) for name, subjects in left.items() if subjects}


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
