"""Evidence and robustness of the ten subjects of small_results, made by hand.

Out of fold, post_op gets one of four rice and one of four recurrence wrong and every other set gets all right
(p_rice 0.9 or 0.2): macro-F1 3/4 or 1, AUC 3/4 or 1, Brier 0.2 or 0.025. The intervals are made up.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from small_results import write_text

from ricenet.cohort.splits import read_splits
from ricenet.evaluation.evidence.calibration_record import (
    Abstention,
    Bin,
    Calibration,
    ConformalSets,
    ConformalThresholds,
    Recalibration,
)
from ricenet.evaluation.evidence.record import (
    EVIDENCE_FILE,
    Audit,
    Baseline,
    Comparison,
    Contribution,
    DecisionCurve,
    Evidence,
    Gain,
    NetBenefit,
    Subgroup,
)
from ricenet.evaluation.evidence.weak_calibration import WeakCalibration
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Effect, Robustness
from ricenet.evaluation.scores import Scores
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import PAPER_VOLUMES

DEVELOPMENT = 8
VERDICT = "dose beats the best table of scalars (dose scalars): macro-F1 +0.35 (+0.10 to +0.60)."


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    """A value with an interval of a tenth on both sides where none is given."""
    return Estimate(
        value=value,
        low=value - 0.1 if low is None else low,
        high=value + 0.1 if high is None else high,
        method="bca",
    )


def scores(right: float, brier: float) -> Scores:
    """Scores that all equal the share of right answers, which is the same in both classes."""
    share = estimate(right, max(right - 0.3, 0.0), min(right + 0.2, 1.0))
    return Scores(
        n=DEVELOPMENT, macro_f1=share, balanced_accuracy=share, auc=share, sensitivity=share,
        specificity=share, brier=estimate(brier, brier / 2, brier * 2),
    )  # fmt: skip


def set_scores(name: str) -> Scores:
    return scores(0.75, 0.2) if name == "post_op" else scores(1.0, 0.025)


def comparison(a: str, b: str) -> Comparison:
    better, worse = (2 if b == "post_op" else 0), (2 if a == "post_op" else 0)
    difference = estimate((better - worse) / 8)
    p = 1.0 if better == worse else 0.5
    return Comparison(
        a=a, b=b, n=DEVELOPMENT, macro_f1=difference, auc=difference, only_a_right=better,
        only_b_right=worse, p_macro_f1=p, p_macro_f1_holm=1.0, p_mcnemar=p, p_mcnemar_holm=1.0,
        p_auc=p, p_auc_holm=1.0, macro_f1_can_tell=False, auc_can_tell=False,
    )  # fmt: skip


def audit() -> Audit:
    dose = Baseline(
        name="dose", title="dose scalars", features=("dose_max_gy", "v60_ml"), incomplete=1,
        scores=scores(0.65, 0.24),
        gains={name: Gain(n=DEVELOPMENT, macro_f1=estimate(set_scores(name).macro_f1.value - 0.65, 0.1, 0.6),
                          auc=estimate(0.3), p_macro_f1=0.01) for name in PAPER_VOLUMES.sets},
    )  # fmt: skip
    return Audit(
        baselines=(dose,), skipped={"lesion": "no masks of lesion and cavity"}, network="dose",
        verdict=VERDICT,
    )  # fmt: skip


def calibration() -> Calibration:
    def bins(low: float, high: float) -> tuple[Bin, ...]:
        return (
            Bin(n=4, mean_p_rice=low, share_rice=Estimate(value=0.0, low=0.0, high=0.6, method="exact")),
            Bin(n=4, mean_p_rice=high, share_rice=Estimate(value=1.0, low=0.4, high=1.0, method="exact")),
        )

    return Calibration(
        weak=WeakCalibration(intercept=estimate(0.2, -0.5, 0.9), slope=estimate(0.4, 0.1, 0.8), p=0.012),
        log_loss=0.164,
        scaled_log_loss=0.05, temperature_log_loss=0.05, platt_log_loss=0.06,
        recalibration=Recalibration(method="temperature", slope=2.0, intercept=0.0),
        recalibrations=(Recalibration(method="temperature", slope=2.0, intercept=0.0),) * 2,
        bins=bins(0.2, 0.9),
        scaled_bins=bins(0.06, 0.99),
    )  # fmt: skip


def abstention() -> Abstention:
    return Abstention(
        target_error=0.1, threshold=0.8, coverage=Estimate(value=0.75, low=0.35, high=0.97, method="exact"),
        error=Estimate(value=0.0, low=0.0, high=0.46, method="exact"),
        curve=((0.5, 0.0), (1.0, 0.0)),
    )  # fmt: skip


def conformal() -> ConformalSets:
    return ConformalSets(
        thresholds=ConformalThresholds(coverage=0.75, rice_from=0.9, recurrence_to=0.2),
        cases={"recurrence": 4, "rice": 4}, needed=3,
        covered={"recurrence": estimate(0.75), "rice": estimate(1.0)},
        one=estimate(0.875), one_right=estimate(1.0), both=estimate(0.0), neither=estimate(0.125),
    )  # fmt: skip


def evidence(splits_digest: str) -> Evidence:
    """Evidence with every part but repeats."""
    shapley = {name: estimate(0.2) for name in PAPER_VOLUMES.names}
    return Evidence(
        seed=7,
        resamples=999,
        splits_digest=splits_digest,
        volumes=PAPER_VOLUMES,
        excluded={},
        chance_macro_f1=0.5,
        majority=Scores(
            n=DEVELOPMENT,
            macro_f1=estimate(1 / 3),
            balanced_accuracy=estimate(0.5, 0.5, 0.5),
            auc=estimate(0.5, 0.5, 0.5),
            sensitivity=estimate(0.0, 0.0, 0.6),
            specificity=estimate(1.0, 0.4, 1.0),
            brier=estimate(0.25),
        ),
        sets={name: set_scores(name) for name in PAPER_VOLUMES.sets},
        comparisons=tuple(comparison(a, b) for a, b in combinations(PAPER_VOLUMES.sets, 2)),
        contributions=tuple(
            Contribution(score=score, n=DEVELOPMENT, empty=0.4, everything=1.0, modalities=shapley)
            for score in ("macro_f1", "auc", "log_loss")
        ),
        audit=audit(),
        calibration=dict.fromkeys(PAPER_VOLUMES.sets, calibration()),
        abstention=dict.fromkeys(PAPER_VOLUMES.sets, abstention()),
        conformal=dict.fromkeys(PAPER_VOLUMES.sets, conformal()),
        subgroups=(
            Subgroup(
                variable="site",
                group="north",
                n=5,
                rice=4,
                sensitivity=estimate(1.0),
                specificity=estimate(1.0),
                auc=None,
            ),
            Subgroup(
                variable="site",
                group="south",
                n=3,
                rice=0,
                sensitivity=None,
                specificity=estimate(1.0),
                auc=None,
            ),
        ),
        decision_curve=DecisionCurve(
            points=tuple(
                NetBenefit(threshold=t, model=0.5, everyone=0.5 - t, gain=estimate(t)) for t in (0.25, 0.5)
            )
        ),
        repeats=None,
        guards=(
            GuardResult(name="same_image", outcome="passed", found="No image occurs twice."),
            GuardResult(
                name="label_leakage",
                outcome="warning",
                found="The site gives the label of 7 of 8.",
                remedy="Examine how the sites were chosen.",
                subjects=("sub-001",),
            ),
        ),
    )


def write_evidence(project: Path, made: Evidence | None = None) -> Evidence:
    """Write evidence.json of a project whose splits are written; returns what is in it."""
    made = made or evidence(read_splits(project / "work/splits/splits.json").digest)
    write_text(project / EVIDENCE_FILE, made.model_dump_json())
    return made


def effect(perturbation: str, title: str, strength: float | None, unit: str, flip_rate: float) -> Effect:
    return Effect(
        perturbation=perturbation, title=title, strength=strength, unit=unit, subjects=DEVELOPMENT, trials=2,
        flip_rate=estimate(flip_rate, 0.0, min(flip_rate + 0.2, 1.0)), change=estimate(-0.02),
        absolute_change=estimate(0.05),
    )  # fmt: skip


def robustness() -> Robustness:
    """Noise for every set; a shifted and a swapped dose for those with dose."""
    noise = effect("noise", "noise on the MRI", 0.1, "SD", 0.125)
    dose = (
        effect("dose_shift", "dose shifted", 3, "mm", 0.25),
        effect("dose_swap", "dose of another patient", None, "", 0.5),
    )
    return Robustness(
        seed=7,
        volumes=PAPER_VOLUMES,
        effects={
            name: ((noise,) if name != "dose" else ()) + (dose if "dose" in name else ())
            for name in PAPER_VOLUMES.sets
        },
    )


def write_robustness(project: Path, made: Robustness | None = None) -> Robustness:
    """Write robustness.json of a project; returns what is in it."""
    made = made or robustness()
    write_text(project / ROBUSTNESS_FILE, made.model_dump_json())
    return made
