"""The evidence of a run as it is kept in work/evidence/evidence.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.beyond_time import BeyondTime
from ricenet.evaluation.evidence.calibration_record import (
    Abstention,
    Calibration,
    ConformalSets,
    SubsetDecision,
)
from ricenet.evaluation.evidence.learning_curve import LearningCurve
from ricenet.evaluation.evidence.site_record import Sites
from ricenet.evaluation.evidence.swap_tests import LEVEL
from ricenet.evaluation.held_out import read_out_of_fold
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.labels.held_out import read_out_of_fold_labels
from ricenet.evaluation.metrics import best_set, pooled_macro_f1
from ricenet.evaluation.scores import Scores
from ricenet.runtime.records import Record
from ricenet.screening.guards.result import GuardResult
from ricenet.training.label_predictions import macro_f1_of
from ricenet.vocabulary import Volumes, is_rice_task

EVIDENCE_FILE = Path("work/evidence/evidence.json")
REPEATS_FILE = "repeats.json"


def false_claim_probability(only_a_right: int, only_b_right: int) -> float:
    """How probable it is that the side that is alone right more often is not the better one.

    The probability that a flat Beta prior, updated by who is right where only one is, leaves below a half.
    Source: Christodoulou et al. 2025 (false outperformance claims), for paired answers. Deviation: subjects
    on whom both sides agree say nothing of which is better, and have no part in it.

    >>> false_claim_probability(3, 0)
    0.0625
    """
    from scipy import stats

    more, fewer = max(only_a_right, only_b_right), min(only_a_right, only_b_right)
    return float(stats.beta.cdf(0.5, more + 1, fewer + 1))


class Comparison(Record):
    """Two modality sets on n subjects in common. Differences: a minus b. *_holm: corrected over all pairs.

    *_can_tell: whether any answers of these subjects, swapped between a and b, could have shown a difference.
    """

    a: str
    b: str
    n: int
    macro_f1: Estimate
    auc: Estimate
    only_a_right: int
    only_b_right: int
    p_macro_f1: float
    p_macro_f1_holm: float
    p_mcnemar: float
    p_mcnemar_holm: float
    p_auc: float
    p_auc_holm: float
    macro_f1_can_tell: bool
    auc_can_tell: bool

    @property
    def false_claim(self) -> float:
        """How probable it is that the side with more right answers is not right more often in others."""
        return false_claim_probability(self.only_a_right, self.only_b_right)

    @property
    def differs(self) -> bool:
        """Whether a difference of the macro-F1 is shown, this comparison being the only one."""
        return self.p_macro_f1 <= LEVEL


class Contribution(Record):
    """Shapley values of the volumes for one score; empty, everything: the score of none and of all.

    In units of the score; for the log-loss, its decrease in nats a subject. n: subjects with all volumes.
    recipe: by which the sets were trained; "" for the main one.
    """

    recipe: str = ""
    score: str
    n: int
    empty: float
    everything: float
    modalities: dict[str, Estimate]


class Gain(Record):
    """Network minus baseline on the network's n subjects. p_macro_f1: of the swap test."""

    n: int
    macro_f1: Estimate
    auc: Estimate
    p_macro_f1: float


class Baseline(Record):
    """A baseline in the network's folds. incomplete: how many subjects lack a feature."""

    name: str
    title: str
    features: tuple[str, ...]
    incomplete: int
    scores: Scores
    gains: dict[str, Gain]
    """By modality set."""


class Audit(Record):
    """Baselines beside the networks. skipped: why a baseline could not be had. verdict: in words."""

    baselines: tuple[Baseline, ...]
    skipped: dict[str, str]
    network: str
    """The modality set with the highest cross-validated macro-F1."""
    verdict: str
    harmonised: tuple[str, ...] = ()
    """Features that baselines saw harmonised by site; convolutions with them."""
    unharmonised: int = 0
    """Subjects whose site is not in the folds that judge them, and who kept their features as they are."""


class Subgroup(Record):
    """The best set in one group of the held-out subjects. rice: how many of the n have RICE.

    None: no subject of the label; of the AUC, fewer than two of a label.
    """

    variable: str
    group: str
    n: int
    rice: int
    sensitivity: Estimate | None
    specificity: Estimate | None
    auc: Estimate | None


class NetBenefit(Record):
    """At one threshold probability. model, everyone: net benefit of the networks, of calling everyone RICE.

    gain: of the networks, over the better of everyone and nobody.
    """

    threshold: float
    model: float
    everyone: float
    gain: Estimate


class DecisionCurve(Record):
    """Net benefit of the best set, by rising threshold."""

    points: tuple[NetBenefit, ...] = ()


class Repeats(Record):
    """Other divisions into folds; none where no repetition is asked for.

    macro_f1: of each modality set, pooled, in the order of the seeds.
    Source: Krstajic et al. 2014 (repeated cross-validation). Network starts stay the same, so only the
    division differs.
    """

    fold_seeds: tuple[int, ...] = ()
    macro_f1: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class SubsetEvidence(Record):
    """A network's answers from some of its volumes. decision: for new cases with these volumes."""

    volumes: str
    scores: Scores
    decision: SubsetDecision


class MissingVolumes(Record):
    """A modality set whose networks may lack volumes. subsets: small ones first, all volumes last.

    comparisons: with separate networks of the same volumes (b); a is `answers_from` the subset.
    """

    modality_set: str
    subsets: tuple[SubsetEvidence, ...]
    comparisons: tuple[Comparison, ...]

    def decisions(self) -> dict[str, SubsetDecision]:
        """By the volumes that there are, where some are missing."""
        return {of_subset.volumes: of_subset.decision for of_subset in self.subsets[:-1]}


class Evidence(Record):
    """All of it. contributions: empty where not every combination of the volumes was trained.

    excluded: subjects that lack a volume, by the modality set that needs it. Comparisons, gains and
    contributions are on common subjects, of which each says how many.
    """

    seed: int
    resamples: int
    splits_digest: str
    volumes: Volumes
    excluded: dict[str, tuple[str, ...]]
    majority: Scores
    chance_macro_f1: float
    """Of guessing both labels equally often, at the cohort's share of RICE."""
    sets: dict[str, Scores]
    comparisons: tuple[Comparison, ...]
    contributions: tuple[Contribution, ...]
    audit: Audit
    beyond_time: dict[str, BeyondTime] = Field(default_factory=dict)
    """By modality set; none where few subjects have a known time, nor in records of earlier versions."""
    calibration: dict[str, Calibration]
    abstention: dict[str, Abstention]
    conformal: dict[str, ConformalSets] = Field(default_factory=dict)
    """By modality set; empty in records of earlier versions."""
    subgroups: tuple[Subgroup, ...] = ()
    """Of the best set, as the decision curve; both empty in records of earlier versions."""
    decision_curve: DecisionCurve = DecisionCurve()
    sites: Sites | None = None
    """Of the best set; None where fewer than two sites are known, and in records of earlier versions."""
    repeats: Repeats | None
    learning_curves: dict[str, LearningCurve] = Field(default_factory=dict)
    """By modality set; empty where none is asked for, and in records of earlier versions."""
    guards: tuple[GuardResult, ...]
    missing_volumes: tuple[MissingVolumes, ...] = Field(default=(), exclude_if=lambda value: not value)
    """Of networks that may lack volumes."""

    @property
    def best_set(self) -> str:
        """The modality set with the highest macro-F1."""
        return best_set({name: found.macro_f1.value for name, found in self.sets.items()})

    def decisions_from(self, modality_set: str) -> dict[str, SubsetDecision]:
        """What decides new cases that lack volumes of the set, by those that there are; often none."""
        found = (of_set for of_set in self.missing_volumes if of_set.modality_set == modality_set)
        return next((of_set.decisions() for of_set in found), {})

    def comparison(self, a: str, b: str) -> Comparison | None:
        """The comparison of two sets, in whichever order it was made."""
        return next((c for c in self.comparisons if {c.a, c.b} == {a, b}), None)


def score_repeats(
    folder: Path,
    divisions: Mapping[int, Splits],
    modality_sets: Sequence[str],
    excluded: Mapping[str, Collection[str]],
) -> Repeats:
    """Pooled macro-F1 of every set in every division.

    folder: with `<fold seed>/<modality set>/fold-<k>/predictions.tsv`. excluded: subjects that lack a volume,
    by set. Raises ResultError: a file is missing.
    """
    if not divisions:
        return Repeats()
    found = {
        name: tuple(
            _pooled(folder / str(seed), name, splits, excluded.get(name, ()))
            for seed, splits in divisions.items()
        )
        for name in modality_sets
    }
    return Repeats(fold_seeds=tuple(divisions), macro_f1=found)


def _pooled(training: Path, name: str, splits: Splits, excluded: Collection[str]) -> float:
    if is_rice_task(splits.label_names):
        return pooled_macro_f1(read_out_of_fold(training, name, splits, excluded))
    rows = read_out_of_fold_labels(training, name, splits, excluded)
    said = np.array([p.probabilities for p in rows])
    return macro_f1_of([p.label for p in rows], said, splits.label_names)


def read_repeats(folder: Path) -> Repeats | None:
    """What the stage `repeat` found; None where no repetition is asked for.

    Raises ResultError: missing, or not such a file.
    """
    found = Repeats.read(folder / REPEATS_FILE, "repeat")
    return found if found.fold_seeds else None


def read_evidence(path: Path = EVIDENCE_FILE) -> Evidence:
    """Read what the stage `evidence` wrote.

    Raises ResultError: missing, or not such a file.
    """
    return Evidence.read(path, "evidence")
