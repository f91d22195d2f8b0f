"""The methods as paragraphs to paste into a paper, with this run's numbers filled in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ricenet.config.evidence import EvidenceParams
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe
from ricenet.config.training import AugmentationParams, TrainingParams
from ricenet.report.protocol import Protocol
from ricenet.report.results import Results, evaluations_text
from ricenet.vocabulary import volumes_and_recipe

_TRANSFORMS = {"rigid": "a rigid transform", "affine": "an affine transform"}
_METRICS = {"mattes": "mutual information (Mattes)", "cross_correlation": "cross-correlation"}
_INTERVALS = {
    "bootstrap": "by bootstrap of subjects within labels",
    "exact bound": "bounds from the exact rates",
}
_NESTED = (
    "The search was nested: each fold had one of its own, within the other folds' subjects, so that no "
    "subject had a part in the choice of the settings that predicted it."
)
_NOT_NESTED = (
    "The search was not nested: its folds are those of the scores, so that the subjects on whom these sets "
    "are judged had a part in the choice of their settings, which flatters their scores."
)
_BESIDE = (
    " Beside each network answered a Bayesian logistic regression on intensities and pooled random "
    "convolutions of the same volumes, with a prior variance for each group of features, fitted to the same "
    "subjects"
)
_FUSIONS = {
    "none": "",
    "mean": f"{_BESIDE}; the mean of both logits counted.",
    "fitted": f"{_BESIDE}; both logits were added by non-negative weights, fitted to answers for subjects "
    "that neither had seen (nested cross-validation).",
}
_EQUAL = "everything else being the same for all of them"


def methods_paragraphs(results: Results, protocol: Protocol) -> list[str]:
    """Subjects, preprocessing, network, search for settings, statistics, robustness: each a paragraph."""
    paragraphs = (_subjects, _preprocessing, _network, _search, _statistics, _audit, _robustness, _test)
    return [text for paragraph in paragraphs if (text := paragraph(results, protocol))]


def _subjects(results: Results, protocol: Protocol) -> str:
    rows = {label: (development, test) for label, development, test in results.counts()}
    development, test = rows["all"]
    kind = "synthetic phantoms, generated and not imaged," if results.synthetic else "subjects"
    held_out = (
        f", and an independent test set of {test} ({rows['recurrence'][1]} and {rows['rice'][1]}) "
        "was set aside"
        if test
        else "; no test set was set aside"
    )
    return (
        f"{development + test} {kind} with a known outcome entered the analysis: {development} "
        f"({rows['recurrence'][0]} with tumour recurrence and {rows['rice'][0]} with radiation-induced "
        f"contrast enhancement, RICE) were used in a {len(results.splits.folds)}-fold cross-validation, "
        "stratified by "
        f"outcome{held_out}. Division was by subject, and the same for all models "
        f"(seed {protocol.params.seed})."
    )


def _preprocessing(results: Results, protocol: Protocol) -> str:
    settings = protocol.params.preprocessing
    given = sum("brain_mask" in subject.scans for subject in results.cohort.subjects)
    masks = f" ({given} brain masks were given with the data instead)" if given else ""
    order = {"linear": "linearly", "bspline": "by B-splines (the dose linearly)"}[settings.interpolation]
    return (
        f"{_registration(results, protocol)}{_brain(settings)}{masks}. {_units(results, settings)}. All "
        f"volumes were interpolated once, {order}, to cubes of {settings.cube_voxels} voxels of "
        f"{settings.spacing_mm:g} mm a side, centred on the brain.{_crop(results, protocol)}"
    )


def _crop(results: Results, protocol: Protocol) -> str:
    crop, recipes = protocol.params.preprocessing.crop, protocol.params.by_recipe
    used = {volumes_and_recipe(name)[1] for name in results.metrics} & recipes.keys()
    if crop is None or all(recipes[name].input in ("head", "brain") for name in used):
        return ""
    return (
        f" Crops of {crop.voxels} voxels of {crop.spacing_mm:g} mm a side were cut likewise, around the "
        f"largest region of at least {crop.isodose * 100:g} % of the dose plateau, and around the largest "
        "change between the sessions."
    )


def _registration(results: Results, protocol: Protocol) -> str:
    reference, settings = results.volumes.reference, protocol.params.preprocessing.registration
    others = [spec.title for spec in results.volumes.mris if spec != reference]
    if not others:
        return ""
    moved = f"{', '.join(others)} {'were' if len(others) > 1 else 'was'}"
    return (
        f"The {moved} registered to the {reference.title} with "
        f"ANTs (antspyx {protocol.versions.get('antspyx', 'of unknown version')}; "
        f"{_TRANSFORMS[settings.transform]}, {_METRICS[settings.metric]}). "
    )


def _brain(settings: PreprocessingParams) -> str:
    brain = settings.brain
    if brain.engine == "original":
        return "The brain was extracted with HD-BET (2.x)"
    mirrored = ", with mirroring" if brain.mirroring else ""
    return f"The brain was extracted with the networks of HD-BET (mode {brain.mode}{mirrored})"


def _units(results: Results, settings: PreprocessingParams) -> str:
    parts = ["MRIs were standardised to the mean and standard deviation of the brain"]
    parts += [
        f"the {spec.title}, which is quantitative, was divided by {spec.scale:g} instead"
        for spec in results.volumes.mris
        if spec.scale is not None
    ]
    if results.volumes.dose is not None:
        eqd2 = settings.eqd2_alpha_beta_gy
        converted = "" if eqd2 is None else f"converted to EQD2 (alpha/beta {eqd2:g} Gy) and "
        parts.append(f"the dose was {converted}divided by {settings.dose_unit_gy:g} Gy")
    return "; ".join(parts)


def _network(results: Results, protocol: Protocol) -> str:
    params, monai = protocol.params, protocol.versions.get("monai", "of unknown version")
    own = results.titles(results.ordered({*params.training.overrides, *results.tuned})).values()
    exceptions = f" Settings of their own: {'; '.join(own)} (see the protocol)." if own else ""
    of_recipe = Counter(volumes_and_recipe(name)[1] for name in results.metrics)
    trained = [
        f"{_trained(params.by_recipe[name], monai)} {_sets(sets, not own)}: "
        f"{_optimised(params.by_recipe[name].training)}"
        for name, sets in sorted(of_recipe.items())
        if name in params.by_recipe
    ]
    used = [params.by_recipe[name] for name in of_recipe if name in params.by_recipe]
    mirrored = [recipe for recipe in used if recipe.augmentation.mirroring]
    mirroring = (
        f" Left and right were exchanged with a probability of {mirrored[0].augmentation.mirroring:g} for "
        f"the recipe {mirrored[0].training.recipe}."
        if mirrored
        else ""
    )
    return (
        f"{' '.join(trained)} Training subjects were drawn with replacement by inverse frequency of their "
        f"label. {_augmentation(params.augmentation)}{mirroring}{exceptions} The network of the last epoch "
        "predicted the subjects of the fold that it had not seen; no epoch was chosen by its score."
    )


def _trained(recipe: Recipe, monai: str) -> str:
    crops = "a crop around the high-dose region, or around the change where the set has no dose"
    seen = {
        "head": "the whole head",
        "brain": "the box of these cubes that holds the brain of every subject, the same for all of them",
        "auto": f"{crops}, or the whole head where it has one session",
    }
    by_volume = getattr(recipe.network, "branches", False)
    channels = "with a branch for every volume" if by_volume else "with the volumes as channels"
    return (
        f"Recipe {recipe.training.recipe}: a three-dimensional {recipe.network.described(monai)}, "
        f"{channels}, which saw {seen.get(recipe.input, crops)}, was trained"
    )


def _optimised(training: TrainingParams) -> str:
    length = f"{training.steps} steps" if training.epochs is None else f"{training.epochs} epochs"
    decay = ", cosine decay" if training.schedule == "cosine" else ""
    return (
        f"{length} of {'AdamW' if training.optimiser == 'adamw' else 'Adam'} on the cross-entropy (learning "
        f"rate {training.learning_rate:g}{decay}, weight decay {training.weight_decay:g}, batches of "
        f"{training.batch_size}).{_FUSIONS[training.fusion]}"
    )


def _sets(number: int, equal: bool) -> str:
    if number == 1:
        return "on one modality set"
    return f"for each of {number} modality sets, {_EQUAL if equal else 'in the same folds'}"


def _augmentation(settings: AugmentationParams) -> str:
    return (
        f"Augmentation drew, up to these strengths, rotation by {settings.rotation_degrees:g} degrees, "
        f"scaling by {settings.scaling * 100:g} % and elastic deformation of {settings.elastic_mm:g} mm of "
        f"all volumes, and noise of {settings.noise_sd:g} SD, brightness of {settings.brightness:g} SD and "
        f"gamma of {settings.gamma * 100:g} % of the MRIs."
    )


def _search(results: Results, protocol: Protocol) -> str:
    if not results.tuned:
        return ""
    tuning = protocol.params.tuning
    folds = [values for of_set in results.tuned.values() for values in of_set]
    names = [name.split(".", 1)[1].replace(".", " of ") for values in folds for name in values]
    searched = dict.fromkeys(name.replace("_", " ") for name in names)
    return (
        f"Settings were searched for ({'; '.join(results.titles(results.tuned).values())}): "
        f"{', '.join(searched)}, by the tree-structured Parzen estimator of Optuna, {tuning.trials} trials a "
        f"search, each judged by its cross-validated macro-F1. {_NESTED if tuning.nested else _NOT_NESTED}"
    )


def _statistics(results: Results, protocol: Protocol) -> str:
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


def _audit(results: Results, protocol: Protocol) -> str:
    baselines = results.evidence.audit.baselines
    if not baselines:
        return ""
    titles = ", ".join(baseline.title for baseline in baselines)
    return (
        f"In the same folds, {len(baselines)} baseline{'' if len(baselines) == 1 else 's'} without an image "
        f"network ({titles}) were fitted and "
        "compared with the networks on the same subjects, to tell whether a network beats what a table knows."
    )


def _robustness(results: Results, protocol: Protocol) -> str:
    effects = [effect for row in results.robustness.effects.values() for effect in row]
    if not effects:
        return ""
    titles = ", ".join(dict.fromkeys(effect.title for effect in effects))
    return (
        "Each held-out subject's input was perturbed and predicted again by the network that had not seen "
        f"the subject ({titles}); the flip rate is the share of answers that changed."
    )


def _test(results: Results, protocol: Protocol) -> str:
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
    "Occlusion: Zeiler and Fergus, ECCV 2014.",
    "CLAIM 2024: Tejani et al., Radiol Artif Intell 2024;6:e240300.",
    "TRIPOD+AI: Collins et al., BMJ 2024;385:e078378.",
)
"""Of the methods above."""
