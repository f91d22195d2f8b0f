"""Whether a new case is like the training subjects: the ranges of what was measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ricenet.cohort.checked import CHECKED_COHORT_FILE, EXCLUDED_FILE, read_usable_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.params import QualityParams
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import CohortError, ResultError, SplitError
from ricenet.runtime.files import read_json
from ricenet.training.ensemble import EnsembleRecord
from ricenet.vocabulary import MODALITIES, PAPER_VOLUMES, Modality, Volumes

PREPROCESSED = {
    "brain_ml": "brain volume in ml",
    "dose_max_gy": "largest dose in Gy",
    "registration_normalised_mutual_information": "similarity of event and post-op scan once registered",
}
"""Quantities that preprocessing measured, in words."""

SPACING = {
    f"{modality}_{edge}_spacing_mm": f"{edge} voxel spacing of {modality} in mm"
    for modality in MODALITIES
    for edge in ("finest", "coarsest")
}
"""Quantities of the raw files, in words; a scan's axes differ, so both ends count."""

TOLERANCE = 1e-3
"""By which share of itself an end of a range may be passed without a word."""


@dataclass(frozen=True)
class TrainingRanges:
    """Smallest and largest value of each quantity among the training subjects.

    not_compared: why some quantities have no range, to be told with every prediction. plausible: limits that
    hold for any head, whatever the training subjects were (None where there is none of the two).
    """

    limits: Mapping[str, tuple[float, float]]
    subjects: int
    not_compared: tuple[str, ...] = ()
    plausible: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """No ranges at all."""
        return cls({}, 0, (f"not compared with the training subjects: {reason}",))

    def warnings(self, measured: Mapping[str, Any]) -> tuple[str, ...]:
        """What of a case is implausible, what lies outside the ranges, and what could not be compared."""
        implausible = (
            f"{PREPROCESSED[name]} is {measured[name]:.6g}, but {_limit_text(low, high)} is plausible"
            for name, (low, high) in self.plausible.items()
            if not (low is None or low <= measured[name]) or not (high is None or measured[name] <= high)
        )
        outside = (
            f"{words} is {measured[name]:.6g}, outside the range of the {self.subjects} training subjects, "
            f"{self.limits[name][0]:.6g} to {self.limits[name][1]:.6g}"
            for name, words in (PREPROCESSED | SPACING).items()
            if name in self.limits and not _within(measured[name], *self.limits[name])
        )
        return (*implausible, *outside, *self.not_compared)

    def with_plausible(self, quality: QualityParams) -> TrainingRanges:
        """These ranges with the limits of quality control, which need no training subject."""
        least_ml, most_ml = quality.brain_ml
        limits: dict[str, tuple[float | None, float | None]] = {
            "brain_ml": (least_ml, most_ml),
            "registration_normalised_mutual_information": (quality.least_mutual_information, None),
        }
        return replace(self, plausible=limits)


def _limit_text(low: float | None, high: float | None) -> str:
    return (
        f"{low:g} or more" if high is None else f"{high:g} or less" if low is None else f"{low:g} to {high:g}"
    )


def _within(value: float, low: float, high: float) -> bool:
    # spacings come from headers of few digits, and differ in the last ones
    return low - TOLERANCE * abs(low) <= value <= high + TOLERANCE * abs(high)


def training_ranges(project: Path, ensemble: EnsembleRecord) -> TrainingRanges:
    """The ranges among a model's training subjects, from what their preprocessing left in work/.

    project: the project's folder. ensemble: the content of ensemble.json.
    Where work/ lacks what is needed, or holds it for other data than the model's, there are no
    ranges, and the result says why.
    """
    work = project / "work"
    try:
        splits = read_splits(work / "splits" / "splits.json")
        at_hand = {
            "preprocessing_digest": read_json(work / "preprocessed" / "summary.json")["digest"],
            "splits_digest": splits.digest,
        }
        if others := [name for name, digest in at_hand.items() if getattr(ensemble, name) != digest]:
            return TrainingRanges.unknown(f"work/ is not what the model was trained on ({', '.join(others)})")
        subjects = splits.development
        preprocessed = _preprocessed_limits(work / "preprocessed", subjects)
    except (OSError, ValueError, SplitError, ResultError) as error:
        return TrainingRanges.unknown(_reason(error))
    spacing, not_compared = _spacing_limits(project, ensemble, splits)
    return TrainingRanges(preprocessed | spacing, len(subjects), not_compared)


def preprocessed_quantities(measured: Measurements, volumes: Volumes) -> dict[str, float]:
    """What of a subject's measurements is compared, and the dose's factor; without what it lacks."""
    last, dose = measured.mris[volumes.last_session_reference.name].registration, measured.dose
    found = {"brain_ml": measured.brain_ml}
    if dose is not None:
        found |= {"dose_max_gy": dose.dose_max_gy, "dose_factor": dose.factor}
    if last is not None:
        found["registration_normalised_mutual_information"] = last.similarity
    return found


def spacings_mm(raw: RawSubject) -> dict[str, float]:
    """The finest and the coarsest voxel spacing of each raw scan, from its header alone."""
    return {
        name: value
        for modality in MODALITIES
        for name, value in zip(_spacing_names(modality), _extremes_mm(raw.scan(modality)), strict=True)
    }


def _spacing_names(modality: Modality) -> tuple[str, str]:
    return f"{modality}_finest_spacing_mm", f"{modality}_coarsest_spacing_mm"


def _extremes_mm(path: Path) -> tuple[float, float]:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        affine = np.asarray(nib.nifti1.load(path).affine, np.float64)
    except (OSError, EOFError, ImageFileError, HeaderDataError, WrapStructError):
        # the reader's message may hold the whole path, which is the user's own affair
        raise ValueError(f"{path.name} cannot be read") from None
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths.min()), float(lengths.max())


def _preprocessed_limits(folder: Path, subjects: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    measured = [Measurements.of_subject(folder / subject) for subject in subjects]
    quantities = [preprocessed_quantities(of_subject, PAPER_VOLUMES) for of_subject in measured]
    return _limits([{name: of_subject[name] for name in PREPROCESSED} for of_subject in quantities])


def _spacing_limits(
    project: Path, ensemble: EnsembleRecord, splits: Splits
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """Ranges of the raw scans' spacings, where the raw cohort is still there, and why they are not."""
    told = "voxel spacing is not compared with the training subjects: "
    try:
        cohort = read_usable_cohort(project / CHECKED_COHORT_FILE, project / EXCLUDED_FILE)
        if cohort.digest != ensemble.data_digest:
            return {}, (f"{told}work/cohort is not what the model was trained on (data_digest)",)
        root = project / cohort.root
        return _limits([spacings_mm(RawSubject(root, subject)) for subject in splits.development]), ()
    except (OSError, ValueError, CohortError, ResultError) as error:
        return {}, (f"{told}{_reason(error)}",)


def _limits(records: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    return {
        name: (min(record[name] for record in records), max(record[name] for record in records))
        for name in (records[0] if records else ())
    }


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        # the file's name alone: its place may name a person or an institution
        return f"{Path(error.filename).name} cannot be read"
    return " ".join(str(error).split())
