"""All evidence of a run with other labels than the paper's two; and the files it is kept in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.baselines import Scalars, scalar_models
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.net_benefit import decision_curve
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, DecisionCurve, Repeats
from ricenet.evaluation.evidence.scalars import scalars_table
from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said
from ricenet.evaluation.evidence.written import comparisons_table, contributions_table
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.labels.abstention import label_abstention
from ricenet.evaluation.labels.baselines import LabelBaseline, label_baselines
from ricenet.evaluation.labels.calibration import (
    LabelCalibration,
    label_calibration,
    label_recalibrated_by_fold,
)
from ricenet.evaluation.labels.comparison import compare_label_pairs
from ricenet.evaluation.labels.conformal import label_conformal_sets
from ricenet.evaluation.labels.contribution import label_contributions
from ricenet.evaluation.labels.held_out import LabelHeldOut
from ricenet.evaluation.labels.metrics import events_of
from ricenet.evaluation.labels.record import LabelEvidence
from ricenet.evaluation.labels.scores import LABEL_SCORES, LabelScores, chance_macro_f1, label_scores
from ricenet.evaluation.metrics import best_set
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.screening.guards.result import GuardResult
from ricenet.training.label_predictions import LabelPrediction
from ricenet.vocabulary import VariableSpec, Volumes


def build_label_evidence(
    predictions: Mapping[str, Sequence[LabelPrediction]],
    scalars: Mapping[str, Scalars],
    guards: Sequence[GuardResult],
    repeats: Repeats | None,
    splits: Splits,
    controls: Sequence[str],
    volumes: Volumes,
    variables: Sequence[VariableSpec],
    seed: int,
    resamples: int,
    target_error: float,
    coverage: float,
) -> LabelEvidence:
    """Everything that evidence.json holds; equal arguments give equal evidence.

    predictions: held out, by modality set. scalars: of every subject outside the test set.
    Raises ResultError: a set whose subjects lack a label.
    """
    names = splits.label_names
    networks = {name: LabelHeldOut.of({name: rows}, names) for name, rows in predictions.items()}
    for name, held in networks.items():
        _require_labels(name, held)
    everyone = _everyone(predictions, splits)
    scores = {name: label_scores(held, name, seed, resamples) for name, held in networks.items()}
    calibrated = {name: label_calibration(held, name, seed, resamples) for name, held in networks.items()}
    best = best_set({name: found.macro_f1.value for name, found in scores.items()})
    baselines = label_baselines(
        networks, everyone, scalars, scalar_models(volumes, variables), seed, resamples
    )
    chance = chance_macro_f1(everyone.counts)
    return LabelEvidence(
        seed=seed,
        resamples=resamples,
        splits_digest=splits.digest,
        volumes=volumes,
        label_names=names,
        controls=tuple(controls),
        counts=dict(zip(names, everyone.counts, strict=True)),
        excluded=_excluded(networks, splits),
        chance_macro_f1=chance,
        sets=scores,
        among_events=_among_events(networks, events_of(names, controls), seed, resamples),
        comparisons=compare_label_pairs(predictions, names, seed, resamples),
        contributions=label_contributions(LabelHeldOut.of(predictions, names), volumes, seed, resamples),
        baselines=baselines,
        verdict=label_verdict(volumes.set_title(best), best, scores[best], baselines, chance),
        calibration=calibrated,
        abstention={
            name: label_abstention(held, name, calibrated[name].recalibration, target_error)
            for name, held in networks.items()
        },
        conformal={name: label_conformal_sets(held, name, coverage) for name, held in networks.items()},
        decision_curves=_decision_curves(networks[best], best, calibrated[best], seed, resamples),
        repeats=repeats,
        guards=tuple(guards),
    )


def label_verdict(
    title: str, network: str, of: LabelScores, baselines: Sequence[LabelBaseline], chance: float
) -> str:
    """In words, whether the best network beats chance and the best regression on scalars."""
    majority, *regressions = baselines
    frequent = majority.scores.macro_f1.value
    beats = "beats" if of.macro_f1.low > max(chance, frequent) else "is not shown to beat"
    said = (
        f"The best network ({title}, macro-F1 {of.macro_f1.text()}) {beats} chance ({chance:.2f} for "
        f"guessing, {frequent:.2f} for the most frequent label)"
    )
    if not regressions:
        return f"{said}. There are no scalars to compare it with."
    strongest = max(regressions, key=lambda baseline: baseline.scores.macro_f1.value)
    gain = strongest.gains[network]
    shown = gain.p_macro_f1 <= LEVEL
    so = "is not shown to beat" if not shown else "beats" if gain.macro_f1.value > 0 else "is worse than"
    return (
        f"{said}; it {so} the best of {len(regressions)} regressions, on {strongest.title} "
        f"({strongest.scores.macro_f1.text()}): the gain in macro-F1 is {gain.macro_f1.text(signed=True)}, "
        f"{p_said(gain.p_macro_f1)}."
    )


def _require_labels(name: str, held_out: LabelHeldOut) -> None:
    """Make sure that each label has what intervals need. Raises ResultError."""
    few = [label for label, n in zip(held_out.label_names, held_out.counts, strict=True) if n < 2]
    if few:
        raise ResultError(
            f"{name}: fewer than two held-out subjects have the label {' or '.join(few)}, so that nothing "
            "can be said of it. Add subjects, or take it out of labels in params.yaml"
        )


def _everyone(predictions: Mapping[str, Sequence[LabelPrediction]], splits: Splits) -> LabelHeldOut:
    """Each subject that any set judges, once."""
    by_subject = {p.participant_id: p for of_set in predictions.values() for p in of_set}
    return LabelHeldOut.of({"": list(by_subject.values())}, splits.label_names)


def _excluded(networks: Mapping[str, LabelHeldOut], splits: Splits) -> dict[str, tuple[str, ...]]:
    left = {name: sorted(set(splits.development) - set(held.subjects)) for name, held in networks.items()}
    return {name: tuple(subjects) for name, subjects in left.items() if subjects}


def _among_events(
    networks: Mapping[str, LabelHeldOut], events: tuple[str, ...], seed: int, resamples: int
) -> dict[str, LabelScores]:
    if not events:
        return {}
    among = {name: held.among(events) for name, held in networks.items()}
    return {name: label_scores(held, name, seed, resamples) for name, held in among.items()}


def _decision_curves(
    held: LabelHeldOut, name: str, by: LabelCalibration, seed: int, resamples: int
) -> dict[str, DecisionCurve]:
    folds = sorted(set(held.fold.tolist()))
    p = label_recalibrated_by_fold(held.probabilities[name], held.fold, by.by_fold(folds))
    return {
        label: decision_curve(p[:, k], held.is_label(k), seed, resamples)
        for k, label in enumerate(held.label_names)
    }


def write_label_evidence(
    evidence: LabelEvidence, scalars: Mapping[str, Scalars], gates: Sequence[GateRecord], folder: Path
) -> None:
    """Write evidence.json, its tables (CSV, TSV), and gate/<modality set>.json for promotion."""
    with atomic_folder(folder) as temporary:
        write_json(temporary / EVIDENCE_FILE.name, evidence.model_dump(mode="json"))
        write_text(temporary / "scores.csv", label_scores_table(evidence))
        write_text(temporary / "comparisons.csv", comparisons_table(evidence.comparisons))
        write_text(temporary / "contributions.csv", contributions_table(evidence.contributions))
        write_text(temporary / "scalars.tsv", scalars_table(scalars))
        for gate in gates:
            write_json(temporary / "gate" / f"{gate.modality_set}.json", gate.model_dump(mode="json"))


def label_scores_table(evidence: LabelEvidence) -> str:
    """CSV text: a row a score of a modality set, of the same among events, or of a baseline.

    label: of the scores of one label against the rest.
    """
    rows = [("network", name, found) for name, found in evidence.sets.items()]
    rows += [("network, among events", name, found) for name, found in evidence.among_events.items()]
    rows += [("baseline", baseline.name, baseline.scores) for baseline in evidence.baselines]
    return table_text(
        ["kind", "name", "n", "score", "label", "value", "ci_low", "ci_high", "method"],
        [
            [kind, name, found.n, score, label, *_numbers(of), of.method]
            for kind, name, found in rows
            for score, label, of in _scores(found)
        ],
        ",",
    )


def _scores(found: LabelScores) -> list[tuple[str, str, Estimate]]:
    whole = [(score, "", getattr(found, score)) for score in LABEL_SCORES]
    by_label = {"auc": found.aucs, "sensitivity": found.sensitivities, "specificity": found.specificities}
    return whole + [(score, label, of) for score, labels in by_label.items() for label, of in labels.items()]


def _numbers(estimate: Estimate) -> list[str]:
    return [f"{number:.6f}" for number in (estimate.value, estimate.low, estimate.high)]
