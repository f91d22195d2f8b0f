"""The methods as paragraphs to paste into a paper, with this run's numbers filled in."""

from __future__ import annotations

from collections import Counter

from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe
from ricenet.config.training import AugmentationParams, TrainingParams
from ricenet.report.protocol import Protocol
from ricenet.report.results import Results
from ricenet.report.statistics_methods import audit, robustness, statistics, test_set
from ricenet.vocabulary import volumes_and_recipe

_TRANSFORMS = {"rigid": "a rigid transform", "affine": "an affine transform"}
_METRICS = {"mattes": "mutual information (Mattes)", "cross_correlation": "cross-correlation"}
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
    "products": f"{_BESIDE}, and on products of the dose's intensities and of how bright each MRI remains "
    "when it is opened by balls of four radii; the mean of both logits counted.",
    "fitted": f"{_BESIDE}; both logits were added by non-negative weights, fitted to answers for subjects "
    "that neither had seen (nested cross-validation).",
}
_EQUAL = "everything else being the same for all of them"


def methods_paragraphs(results: Results, protocol: Protocol) -> list[str]:
    """Subjects, preprocessing, network, search for settings, statistics, robustness: each a paragraph."""
    paragraphs = (_subjects, _preprocessing, _network, _search, statistics, audit, robustness, test_set)
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
        f"contrast enhancement, RICE) were used in {_validation(results, protocol)}{held_out}. "
        f"Division was by {protocol.params.split.by}, and the same for all models "
        f"(seed {protocol.params.seed}).{_visits(results)}"
    )


def _visits(results: Results) -> str:
    if (found := results.visits) is None:
        return ""
    return (
        f" {found.several} of {found.patients} subjects of the cross-validation had several labelled "
        f"follow-up visits, {found.visits} in all; a subject's visits were in one fold, and all of them were "
        "trained on. Results are those of the first labelled visit, unless the visit is named; intervals "
        "over all visits come from subjects drawn with all their visits."
    )


def _validation(results: Results, protocol: Protocol) -> str:
    folds = len(results.splits.folds)
    if protocol.params.split.by == "site":
        return f"a leave-one-site-out cross-validation over {folds} sites"
    return f"a {folds}-fold cross-validation, stratified by outcome"


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
    if recipe.network.name == "visits":
        channels = "with visits in the order of time"
    return (
        f"Recipe {recipe.training.recipe}: a three-dimensional {recipe.network.described(monai)}, "
        f"{channels}, which saw {seen.get(recipe.input, crops)}{_withheld(recipe)}, was trained"
    )


def _withheld(recipe: Recipe) -> str:
    if not recipe.network.may_lack_volumes:
        return ""
    share = f"{100 * recipe.network.channel_dropout:g} %"
    return f", of {share} of the training samples a random non-empty subset of the volumes"


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
