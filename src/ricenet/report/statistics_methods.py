"""The methods, second part: statistics, baselines, robustness, the test set; and the references of both."""

from __future__ import annotations

from collections.abc import Iterator

from ricenet.config.evidence import EvidenceParams
from ricenet.report.promoted_votes import evaluations_text
from ricenet.report.protocol import Protocol
from ricenet.report.results import Results

_INTERVALS = {
    "bootstrap": "by bootstrap of subjects within labels",
    "exact bound": "bounds from the exact rates",
}


def statistics(results: Results, protocol: Protocol) -> str:
    """Scores, intervals, tests and calibration."""
    evidence = results.evidence
    parts = [
        "Scores were computed from the pooled out-of-fold predictions (RICE positive, threshold 0.5). 95 % "
        f"intervals are by subject: bootstrap within labels ({evidence.resamples} resamples, "
        "bias-corrected and accelerated) for macro-F1, balanced accuracy, AUC and Brier score, exact "
        "(Clopper-Pearson) for sensitivity and specificity; where no resample differed, a bound from the "
        "exact rates. They do not cover the choice of folds or the random start of training."
    ]
    if evidence.comparisons:
        parts.append(
            f"The {len(evidence.comparisons)} pairs of modality sets were compared on common subjects by "
            "exact permutation tests that swap the two answers within subjects (macro-F1; area under the ROC "
            "curve, by ranks; mid-p) and by McNemar's exact test, each corrected over all pairs by Holm's "
            "method."
        )
    if evidence.contributions:
        parts.append("Contributions of the volumes are exact Shapley values over the trained sets.")
    if evidence.learning_curves:
        parts.append(
            "Learning curves: the same folds were trained on nested subsets of their subjects, stratified "
            "by label, and judged on the same subjects; a power law with a prior on its exponent was fitted, "
            "and its intervals cover who was judged, who was learned from, and the exponent."
        )
    return " ".join([*parts, *_trust(protocol.params.evidence, bool(evidence.calibration))])


def _trust(settings: EvidenceParams, calibrated: bool) -> Iterator[str]:
    if calibrated:
        yield (
            "Probabilities were held against perfect calibration by a score test of calibration intercept 0 "
            f"and slope 1 with {settings.resamples} cohorts of labels drawn from them; intervals of both are "
            "exact (conditional logistic regression). "
            "They were recalibrated by temperature or Platt scaling (slope 0 or above), both with a prior "
            "around no change, whichever had the lower cross-fitted log-loss; choice and parameters come "
            "from the other folds' predictions. The threshold of confidence under which a case is called "
            "indeterminate was set in the same way, "
            f"aiming at an error of {settings.target_error * 100:g} %. Sets of labels are class-conditional "
            f"conformal sets for a coverage of {settings.conformal_coverage * 100:g} % of each label, "
            "with thresholds from the other folds' predictions."
        )


def audit(results: Results, protocol: Protocol) -> str:
    """The baselines; nothing without any."""
    baselines = results.evidence.audit.baselines
    if not baselines:
        return ""
    titles = ", ".join(baseline.title for baseline in baselines)
    harmonised = (
        " Intensities were harmonised by site (ComBat), fitted to the training folds without labels."
        if results.evidence.audit.harmonised
        else ""
    )
    beyond = (
        " The networks' held-out logits were added to a logistic regression on the days since radiotherapy "
        "and tested by likelihood ratio."
        if results.evidence.beyond_time
        else ""
    )
    return (
        f"In the same folds, {len(baselines)} baseline{'' if len(baselines) == 1 else 's'} without an image "
        f"network ({titles}) were fitted and "
        "compared with the networks on the same subjects, to tell whether a network beats what a table knows."
        f"{harmonised}{beyond}"
    )


def robustness(results: Results, protocol: Protocol) -> str:
    """What was perturbed; nothing where nothing was."""
    effects = [effect for row in results.robustness.effects.values() for effect in row]
    if not effects:
        return ""
    titles = ", ".join(dict.fromkeys(effect.title for effect in effects))
    return (
        "Each held-out subject's input was perturbed and predicted again by the network that had not seen "
        f"the subject ({titles}); the flip rate is the share of answers that changed."
    )


def test_set(results: Results, protocol: Protocol) -> str:
    """Who voted on the test set, or that nobody did."""
    if not results.votes:
        return results.no_vote if results.splits.test else ""
    titles, votes = results.titles(results.votes), results.votes
    kinds = " or ".join(dict.fromkeys(_INTERVALS[vote.interval_by] for vote in votes.values()))
    forced = "; ".join(titles[name] for name, vote in votes.items() if vote.forced)
    gate = f" Let through although it failed conditions of promotion: {forced}." if forced else ""
    count = evaluations_text(next(iter(votes.values())).evaluations)
    return (
        f"On the test set the networks of the {len(results.splits.folds)} folds decided by majority "
        f"({'; '.join(titles.values())}); intervals are {kinds}. The ledger counts {count} of this test "
        f"set.{gate}"
    )


REFERENCES = (
    "RICE-NET: arXiv:2603.11827.",
    "ANTs: Avants et al., NeuroImage 2011;54:2033.",
    "HD-BET: Isensee et al., Hum Brain Mapp 2019;40:4952.",
    "ResNet: He et al., CVPR 2016; MONAI: Cardoso et al., arXiv:2211.02701.",
    "Bootstrap, BCa: Efron, J Am Stat Assoc 1987;82:171.",
    "Exact intervals: Clopper and Pearson, Biometrika 1934;26:404.",
    "McNemar, Psychometrika 1947;12:153. Swapped ranks: Bandos et al., Stat Med 2005;24:2873. Mid-p: "
    "Lancaster, J Am Stat Assoc 1961;56:223.",
    "Holm, Scand J Stat 1979;6:65.",
    "Shapley, Contributions to the Theory of Games II, 1953.",
    "Calibration slope and intercept: Cox, Biometrika 1958;45:562; Van Calster et al., BMC Med 2019;17:230. "
    "Temperature: Guo et al., ICML 2017. Platt scaling: Platt, Adv Large Margin Classifiers 1999:61. "
    "Reject option: Chow, IEEE Trans Inf Theory 1970;16:41.",
    "Conformal sets: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005. "
    "Decision curve: Vickers and Elkin, Med Decis Making 2006;26:565.",
    "Learning curves: Figueroa et al., BMC Med Inform Decis Mak 2012;12:8; Viering and Loog, IEEE Trans "
    "Pattern Anal Mach Intell 2023;45:7799.",
    "Within sites: van Klaveren et al., BMC Med Res Methodol 2014;14:5. Sites left out: Steyerberg and "
    "Harrell, J Clin Epidemiol 2016;69:245. ComBat: Johnson et al., Biostatistics 2007;8:118; Fortin et al., "
    "NeuroImage 2018;167:104.",
    "Occlusion: Zeiler and Fergus, ECCV 2014.",
    "CLAIM 2024: Tejani et al., Radiol Artif Intell 2024;6:e240300.",
    "TRIPOD+AI: Collins et al., BMJ 2024;385:e078378.",
    "STARD-AI: Sounderajah et al., Nat Med 2025;31:3283, doi:10.1038/s41591-025-03953-8.",
    "PROBAST+AI: Moons et al., BMJ 2025;388:e082505, doi:10.1136/bmj-2024-082505.",
    "FUTURE-AI: Lekadir et al., BMJ 2025;388:e081554, doi:10.1136/bmj-2024-081554.",
    "Kappa: Cohen, Educ Psychol Meas 1960;20:37.",
)
"""Of the methods above."""
