"""All evidence of a run, from its held-out predictions, scalars and guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ricenet.evaluation.evidence.abstention import abstention
from ricenet.evaluation.evidence.audit import audit, majority_scores
from ricenet.evaluation.evidence.calibration import calibration
from ricenet.evaluation.evidence.comparison import compare_pairs
from ricenet.evaluation.evidence.contribution import coin_macro_f1, contributions
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Evidence, Repeats
from ricenet.evaluation.evidence.scalars import Scalars
from ricenet.evaluation.intervals import scores_with_intervals
from ricenet.screening.guards.result import GuardResult


def build_evidence(
    held_out: HeldOut,
    scalars: Mapping[str, Scalars],
    guards: Sequence[GuardResult],
    repeats: Repeats | None,
    splits_digest: str,
    seed: int,
    resamples: int,
    target_error: float,
) -> Evidence:
    """Everything that evidence.json holds; equal arguments give equal evidence."""
    resampling = held_out.resampling(seed, resamples)
    is_rice, fold = held_out.is_rice, held_out.fold
    scores = {
        name: scores_with_intervals(p_rice, is_rice, seed, resamples)
        for name, p_rice in held_out.p_rice.items()
    }
    calibrated = {
        name: calibration(p_rice, is_rice, fold, resampling) for name, p_rice in held_out.p_rice.items()
    }
    return Evidence(
        seed=seed,
        resamples=resamples,
        splits_digest=splits_digest,
        majority=majority_scores(held_out),
        chance_macro_f1=coin_macro_f1(resampling.subjects),
        sets=scores,
        comparisons=compare_pairs(held_out, resampling),
        contributions=contributions(held_out, resampling),
        audit=audit(held_out, scores, scalars, resampling),
        calibration=calibrated,
        abstention={
            name: abstention(p_rice, is_rice, fold, calibrated[name].temperature, target_error)
            for name, p_rice in held_out.p_rice.items()
        },
        repeats=repeats,
        guards=tuple(guards),
    )
