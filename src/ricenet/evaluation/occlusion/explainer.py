"""Explaining a subject's prediction: which networks speak for it, their votes, and their occlusion maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import (
    CHECKED_COHORT_FILE,
    EXCLUDED_FILE,
    CheckedCohort,
    having,
    read_usable_cohort,
)
from ricenet.cohort.description import is_synthetic
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.splits import Splits, read_splits
from ricenet.evaluation.evidence.calibration import recalibrated, recalibration
from ricenet.evaluation.evidence.conformal import conformal_thresholds, label_set, set_said, why_no_set
from ricenet.evaluation.held_out import HeldOut, lacking, read_out_of_fold
from ricenet.evaluation.occlusion.explained_case import Case
from ricenet.evaluation.occlusion.sensitivity import Progress
from ricenet.evaluation.occlusion.subject_explainer import SubjectExplainer
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.errors import ResultError
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import require_rice_task
from ricenet.vocabulary import LABELS, Volumes

if TYPE_CHECKING:
    from ricenet.config.params import ExplainParams, Params


@dataclass(frozen=True)
class Explainer:
    """Explains subjects by the networks of one modality set.

    cohort: the usable subjects. project: the folder that holds work/ and the raw cohort, whose masks only a
    synthetic one knows. seed: of the untrained weights. coverage: of sets of labels; None: none are told.
    """

    ensemble: Ensemble
    cohort: CheckedCohort
    splits: Splits
    project: Path
    settings: ExplainParams
    seed: int
    coverage: float | None = None

    @classmethod
    def open(cls, project: Path, modality_set: str, params: Params) -> Self:
        """The ensemble, subjects and splits of a project folder; networks are read when they are asked.

        Raises RegistryError, SplitError or ResultError: files are missing or do not belong together.
        """
        return cls(
            Ensemble.at(project / "models" / "ensembles" / modality_set),
            read_usable_cohort(project / CHECKED_COHORT_FILE, project / EXCLUDED_FILE),
            read_splits(project / "work" / "splits" / "splits.json"),
            project,
            params.explain,
            params.seed,
            params.evidence.conformal_coverage,
        )

    def __post_init__(self) -> None:
        """Raise ResultError where the ensemble was trained with other splits: held out would be a guess.

        RegistryError: it tells other labels apart than the paper's two.
        """
        require_rice_task(self.ensemble.record, "occlusion explains")
        trained_with = self.ensemble.record.splits_digest
        if trained_with != self.splits.digest:
            raise ResultError(
                f"ensemble {self.ensemble.modality_set}: trained with splits {trained_with[:12]}, but "
                f"splits.json is {self.splits.digest[:12]}; it may have been trained on a subject to "
                "explain. Run `dvc repro train`"
            )

    @property
    def volumes(self) -> Volumes:
        """As the cohort declares them."""
        return self.cohort.volumes

    @property
    def preprocessed(self) -> Path:
        """The folder with a folder a subject."""
        return self.project / "work" / "preprocessed"

    @property
    def raw(self) -> Path:
        """The cohort's folder."""
        return self.project / self.cohort.root

    @cached_property
    def synthetic(self) -> bool:
        """Whether the cohort is made up."""
        return is_synthetic(self.raw)

    def subjects(self, per_label: int | None) -> list[str]:
        """The first subjects of each label outside the test set that have the volumes of the modality set.

        per_label: how many of each, by name, in the order of LABELS; None: all.
        """
        usable = set(having(self.cohort, self.ensemble.modality_set))
        found = [subject for subject in self.splits.development if subject in usable]
        of_label = {label: [s for s in found if self.splits.labels[s] == label] for label in LABELS}
        return [subject for label in LABELS for subject in of_label[label][:per_label]]

    def require_explainable(self, subjects: Sequence[str], voted: bool) -> None:
        """Make sure that subjects named by a person can be explained.

        voted: the ensemble's vote on the test set is in the ledger, so that nothing of it is new.
        Raises ResultError: a subject that is not preprocessed, lacks a volume of the modality set, or is of a
        test set that was not evaluated yet.
        """
        known = [subject.participant_id for subject in self.cohort.subjects]
        if unknown := [subject for subject in subjects if subject not in known]:
            there = f"{known[0]} to {known[-1]}, {len(known)} in all" if known else "none"
            raise ResultError(
                f"not preprocessed: {', '.join(unknown)}; {self.preprocessed} has {there}. Run "
                "`dvc repro preprocess`, or name another subject"
            )
        usable = having(self.cohort, self.ensemble.modality_set)
        if lacking := [subject for subject in subjects if subject not in usable]:
            raise ResultError(
                f"{', '.join(lacking)}: without a volume that {self.ensemble.modality_set} needs. Name a "
                "modality set whose volumes the subject has (--set)"
            )
        tested = self.splits.visits_of(self.splits.test)
        if not voted and (kept := [subject for subject in subjects if subject in tested]):
            raise ResultError(
                f"of the independent test set: {', '.join(kept)}; explaining shows the prediction, which is "
                "an evaluation on that set. Promote this ensemble (`ricenet promote`) and run `dvc repro`, "
                "which votes and records that in the ledger; then its test subjects can be explained"
            )

    def explain(self, subject: str, progress: Progress | None = None) -> Case:
        """Explain a subject by the networks that did not train on it.

        Raises ResultError or ScanError: preprocessed volumes are missing or damaged, or a hidden cube is
        larger than what the networks see.
        """
        held = held_out_folds(self.splits, subject, self.cohort.visits_with(subject))
        used = self.ensemble.record.network.uses_variables
        known = variables_of(self.cohort, self.preprocessed) if used else {}
        made = SubjectExplainer(self.ensemble, self.settings, self.seed, self.synthetic)
        return made.explain(
            RawSubject(self.raw, subject, self.volumes),
            self.preprocessed / subject,
            self.splits.labels_of_visits.get(subject, "n/a"),
            {subject: known.get(subject, {})},
            held,
            lambda p_rice: self._calibrated(float(np.mean(p_rice)), held),
            {"splits": self.splits.digest[:12], **self._label_set(subject, held)},
            progress,
        )

    def _calibrated(self, p_rice: float, held: Sequence[int]) -> float:
        """Recalibrated as evidence does: by the held-out subjects of all folds but the subject's own."""
        return float(recalibrated(np.array([p_rice]), recalibration(*self.calibrated_by(held)))[0])

    def _label_set(self, subject: str, held: Sequence[int]) -> dict[str, str]:
        """A held-out subject's set of labels, as evidence has it: by thresholds of the other folds."""
        # of later visits no set is known: thresholds and answers are those of first events
        if self.coverage is None or len(held) != 1 or subject not in self._held_out.subjects:
            return {}
        p_rice, is_rice, _ = self.calibrated_by(held)
        by, known = conformal_thresholds(p_rice, is_rice, self.coverage), self._held_out
        at = known.subjects.index(subject)
        found = label_set(float(known.p_rice[self.ensemble.modality_set][at]), by)
        said = f"not known: {why_no_set(by)}" if found is None else set_said(found, self.coverage)
        return {"set of labels": said}

    def calibrated_by(
        self, held: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
        """p_rice, truth and fold of the subjects that recalibrate whom these folds held out."""
        known = self._held_out
        used = known.fold != held[0] if len(held) == 1 else np.ones(len(known.fold), bool)
        return known.p_rice[self.ensemble.modality_set][used], known.is_rice[used], known.fold[used]

    @cached_property
    def _held_out(self) -> HeldOut:
        name = self.ensemble.modality_set
        excluded = lacking(self.cohort, self.splits, name)
        return HeldOut.of(
            {name: read_out_of_fold(self.project / "work" / "training", name, self.splits, excluded)}
        )


def held_out_folds(splits: Splits, subject: str, visits: Collection[str] = ()) -> list[int]:
    """The folds whose networks did not train on a subject: one, or all for a subject of no fold.

    visits: of the same patient, any of which a network may have seen.
    """
    of_patient = {subject, *visits}
    validated_by = [
        k for k, fold in enumerate(splits.folds) if of_patient.intersection(splits.visits_of(fold))
    ]
    return validated_by or list(range(len(splits.folds)))
