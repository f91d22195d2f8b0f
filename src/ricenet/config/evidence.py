"""The sections `guards`, `evidence`, `robustness` and `report` of the parameter file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ricenet.config.types import Count, ModalitySets, Positive, Section, Seed
from ricenet.config.validation import distinct, shares_of_a_whole

GuardName = Literal[
    "subject_in_two_places",
    "same_image",
    "similar_image",
    "label_leakage",
    "site_shortcut",
    "foreign_normalisation",
    "trained_on_validation",
    "tuned_on_validation",
]
"""In the order in which they are reported."""


Harmonisation = Literal["none", "combat"]
"""Of the sites' intensities (docs/sites.md)."""


class GuardParams(Section):
    """Guards against leaks. tolerated: guards whose failure does not stop the pipeline (but a promotion).

    similar_correlation: of what two subjects' scans do not share with the cohort; above it a warning.
    """

    tolerated: list[GuardName]
    similar_correlation: Annotated[float, Field(gt=0, lt=1)]


class LearningCurveParams(Section):
    """The score at growing numbers of training subjects, and its forecast.

    sets: modality sets that are trained on fewer as well; none: no curve. shares: of the training subjects;
    all of them are in the curve anyway. draws: subsets of every share. growth: numbers of subjects of the
    forecast, in multiples of today's; a curve tells nothing of what lies far beyond it.
    """

    sets: ModalitySets
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], AfterValidator(shares_of_a_whole)]
    draws: Annotated[int, Field(ge=2, le=20)]
    growth: list[Annotated[float, Field(gt=1, le=4)]]


class EvidenceParams(Section):
    """Statistics of the cross-validation.

    resamples: of every bootstrap. target_error: share of wrong answers that the three-way vote aims at.
    conformal_coverage: of sets of labels, of each label (`ricenet.evaluation.evidence.conformal`).
    repeat_fold_seeds: each divides the subjects into other folds, which are trained as well; repeat_sets:
    for these modality sets. harmonisation: by site, of the intensities that baselines see.
    """

    resamples: Annotated[int, Field(ge=200)]
    target_error: Annotated[float, Field(gt=0, lt=0.5)]
    conformal_coverage: Annotated[float, Field(ge=0.5, lt=1)]
    repeat_fold_seeds: Annotated[list[Seed], AfterValidator(distinct)]
    repeat_sets: ModalitySets
    learning_curve: LearningCurveParams
    harmonisation: Harmonisation = "none"


class RobustnessParams(Section):
    """Perturbations of held-out subjects' input: the strengths of each kind; an empty list excludes it.

    noise_sd: of the brain's intensities. bias_field: largest change of the scanner's sensitivity, as a share.
    """

    modality_sets: ModalitySets | None
    dose_shift_mm: list[Positive]
    dose_rotation_degrees: list[Positive]
    noise_sd: list[Positive]
    bias_field: list[Annotated[float, Field(gt=0, lt=1)]]
    batch_size: Count


class ReportParams(Section):
    """The report. pdf: also as report.pdf (needs the extra `pdf`)."""

    pdf: bool
