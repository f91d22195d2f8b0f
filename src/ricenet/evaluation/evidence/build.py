"""All evidence of a run, from its held-out predictions, scalars and guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
from ricenet.evaluation.evidence.comparison import compare_pairs
from ricenet.evaluation.evidence.conformal import conformal_sets
from ricenet.evaluation.evidence.contribution import contributions
from ricenet.evaluation.evidence.curve_points import CurveAnswers
from ricenet.evaluation.evidence.group_baselines import Convolutions, group_models
from ricenet.evaluation.evidence.learning_curve import learning_curve
from ricenet.evaluation.evidence.missing_volumes import missing_volumes
from ricenet.evaluation.evidence.net_benefit import decision_curve
from ricenet.evaluation.evidence.record import (
    DecisionCurve,
    Evidence,
    Repeats,
)
from ricenet.evaluation.evidence.sites import site_evidence
from ricenet.evaluation.evidence.subgroups import subgroup_scores
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.metrics import best_set
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.screening.guards.result import GuardResult
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import VariableSpec, Volumes


@dataclass(frozen=True)
class CrossValidation:
    """What a run's cross-validation left behind, of everyone outside the test set.

    predictions: held out, by modality set. scalars: by subject. convolutions: of the subjects' volumes;
    without them no regression sees volumes. curves: answers of trainings on fewer subjects, by modality set.
    by_subset: predictions of networks that may lack volumes, by modality set and the volumes that were there.
    """

    predictions: Mapping[str, Sequence[Prediction]]
    scalars: Mapping[str, Scalars]
    convolutions: Convolutions | None = None
    curves: Mapping[str, CurveAnswers] = field(default_factory=dict)
    by_subset: Mapping[str, Mapping[str, Sequence[Prediction]]] = field(default_factory=dict)


@dataclass(frozen=True)
class EvidenceSettings:
    """How it is judged; docs/evidence.md says what each is.

    target_error, coverage: shares that the three-way vote and sets of labels aim at. growth: of the forecasts
    of learning curves, in multiples of today's subjects. harmonisation: of what baselines see of intensities.
    """

    seed: int
    resamples: int
    target_error: float
    coverage: float
    growth: Sequence[float] = ()
    harmonisation: Harmonisation = "none"


def build_evidence(
    found: CrossValidation,
    guards: Sequence[GuardResult],
    repeats: Repeats | None,
    splits: Splits,
    volumes: Volumes,
    variables: Sequence[VariableSpec],
    settings: EvidenceSettings,
) -> Evidence:
    """Everything that evidence.json holds; equal arguments give equal evidence."""
    predictions, scalars, convolutions = found.predictions, found.scalars, found.convolutions
    seed, resamples = settings.seed, settings.resamples
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
    best = best_set({name: score.macro_f1.value for name, score in scores.items()})
    plain = scalar_models(volumes, variables)
    models = (*plain, *group_models(plain, volumes.names if convolutions else ()))
    models = (*models, *source_models(scalars, models))
    harmonise = intensity_features(volumes) if settings.harmonisation == "combat" else ()
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
            name: gained
            for name, held in networks.items()
            if (gained := beyond_time(held, scalars, seed, resamples)) is not None
        },
        calibration=calibrated,
        abstention={
            name: abstention(
                held.p_rice[name], held.is_rice, held.fold, of_set.recalibration, settings.target_error
            )
            for (name, held), of_set in zip(networks.items(), calibrated.values(), strict=True)
        },
        conformal={
            name: conformal_sets(held.p_rice[name], held.is_rice, held.fold, settings.coverage)
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
            name: learning_curve(answers, scores[name], settings.growth, seed)
            for name, answers in found.curves.items()
        },
        guards=tuple(guards),
        missing_volumes=missing_volumes(
            found.by_subset, predictions, seed, resamples, settings.target_error, settings.coverage
        ),
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
