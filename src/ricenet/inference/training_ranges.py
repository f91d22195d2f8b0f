"""Whether a new case is like the training subjects: the ranges of what was measured on them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ricenet.cohort.checked import CHECKED_COHORT_FILE, EXCLUDED_FILE, read_usable_cohort
from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.params import QualityParams
from ricenet.nifti_file import read_nifti_affine
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import CohortError, ResultError, SplitError
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import Volumes

_SIMILARITY = "_similarity"
TOLERANCE = 1e-3
"""By which share of itself an end of a range may be passed without a word."""


@dataclass(frozen=True)
class TrainingRanges:
    """Smallest and largest value of each quantity among the training subjects.

    words: the quantities, for people. not_compared: why some have no range, said with every prediction.
    plausible: limits that hold for any head, whatever the training subjects were (None where there is none
    of the two).
    """

    words: Mapping[str, str]
    limits: Mapping[str, tuple[float, float]]
    subjects: int
    not_compared: tuple[str, ...] = ()
    plausible: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def warnings(self, measured: Mapping[str, float]) -> tuple[str, ...]:
        """What of a case is implausible, what lies outside the ranges, and what could not be compared."""
        known = [(name, words, measured[name]) for name, words in self.words.items() if name in measured]
        implausible = (
            f"{words} is {value:.6g}, but {_limit_text(*self.plausible[name])} is plausible"
            for name, words, value in known
            if name in self.plausible and not _between(value, *self.plausible[name])
        )
        outside = (
            f"{words} is {value:.6g}, outside the range of the {self.subjects} training subjects, "
            f"{self.limits[name][0]:.6g} to {self.limits[name][1]:.6g}"
            for name, words, value in known
            if name in self.limits and not _within(value, *self.limits[name])
        )
        return (*implausible, *outside, *self.not_compared)

    def with_plausible(self, quality: QualityParams) -> TrainingRanges:
        """These ranges with the limits of quality control, which need no training subject."""
        least_ml, most_ml = quality.brain_ml
        limits: dict[str, tuple[float | None, float | None]] = {"brain_ml": (least_ml, most_ml)}
        similar = [name for name in self.words if name.endswith(_SIMILARITY)]
        limits |= dict.fromkeys(similar, (quality.least_mutual_information, None))
        return replace(self, plausible=limits)


def quantities(volumes: Volumes) -> dict[str, str]:
    """What is compared, in words: what preprocessing measured, and the voxel spacings of the raw files.

    A scan's axes differ, so both ends of its spacing count.
    """
    words = {"brain_ml": "brain volume in ml"}
    if volumes.dose is not None:
        words["dose_max_gy"] = f"largest {volumes.dose.title} in Gy"
    for spec in volumes.mris:
        if spec != volumes.reference:
            fixed = volumes.reference_of(spec).title
            words[spec.name + _SIMILARITY] = f"similarity of {spec.title} and {fixed} once registered"
    for spec in volumes:
        for edge in ("finest", "coarsest"):
            words[f"{spec.name}_{edge}_spacing_mm"] = f"{edge} voxel spacing of {spec.title} in mm"
    return words


def _limit_text(low: float | None, high: float | None) -> str:
    return (
        f"{low:g} or more" if high is None else f"{high:g} or less" if low is None else f"{low:g} to {high:g}"
    )


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _within(value: float, low: float, high: float) -> bool:
    # spacings come from headers of few digits, and differ in the last ones
    return low - TOLERANCE * abs(low) <= value <= high + TOLERANCE * abs(high)


def training_ranges(project: Path, ensemble: EnsembleRecord) -> TrainingRanges:
    """The ranges among a model's training subjects, from what their preprocessing left in work/.

    project: the project's folder. ensemble: the content of ensemble.json.
    Where work/ lacks what is needed, or holds it for other data than the model's, there are no
    ranges, and the result says why.
    """
    work, words = project / "work", quantities(ensemble.volumes)
    try:
        splits = read_splits(work / "splits" / "splits.json")
        summary = read_summary(work / "preprocessed")
        at_hand = {
            "preprocessing_digest": summary["digest"],
            "splits_digest": splits.digest,
        }
        if others := [name for name, digest in at_hand.items() if getattr(ensemble, name) != digest]:
            return unknown_ranges(
                f"work/ is not what the model was trained on ({', '.join(others)})", ensemble.volumes
            )
        measured = [
            Measurements.of_subject(work / "preprocessed" / name)
            for name in splits.visits_of(splits.development)
        ]
    except (OSError, ValueError, SplitError, ResultError) as error:
        return unknown_ranges(_reason(error), ensemble.volumes)
    preprocessed = _limits([preprocessed_quantities(one, ensemble.volumes) for one in measured])
    spacing, not_compared = _spacing_limits(project, ensemble, splits)
    return TrainingRanges(words, preprocessed | spacing, len(measured), not_compared)


def unknown_ranges(reason: str, volumes: Volumes) -> TrainingRanges:
    """No ranges at all."""
    return TrainingRanges(quantities(volumes), {}, 0, (f"not compared with the training subjects: {reason}",))


def preprocessed_quantities(measured: Measurements, volumes: Volumes) -> dict[str, float]:
    """What of a subject's measurements is compared, and the dose's factor; without what it lacks."""
    found = {"brain_ml": measured.brain_ml}
    if measured.dose is not None:
        found |= {"dose_max_gy": measured.dose.dose_max_gy, "dose_factor": measured.dose.factor}
    for spec in volumes.mris:
        of_mri = measured.mris.get(spec.name)
        if of_mri is not None and of_mri.registration is not None:
            found[spec.name + _SIMILARITY] = of_mri.registration.similarity
    return found


def spacings_mm(raw: RawSubject) -> dict[str, float]:
    """The finest and the coarsest voxel spacing of each raw volume that there is, from its header alone."""
    found: dict[str, float] = {}
    for spec in raw.volumes:
        if spec.required or is_there(raw.scan(spec.name)):
            finest, coarsest = _extremes_mm(raw.scan(spec.name))
            found |= {
                f"{spec.name}_finest_spacing_mm": finest,
                f"{spec.name}_coarsest_spacing_mm": coarsest,
            }
    return found


def _extremes_mm(path: Path) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        affine = read_nifti_affine(path)
    except (OSError, EOFError, zlib.error, ValueError, HeaderDataError, WrapStructError):
        # the reader's message may hold the whole path, which is the user's own affair
        raise ValueError(f"{path.name} cannot be read") from None
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return float(lengths.min()), float(lengths.max())


def _spacing_limits(
    project: Path, ensemble: EnsembleRecord, splits: Splits
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """Ranges of the raw scans' spacings, where the raw cohort is still there, and why they are not."""
    reason = "voxel spacing is not compared with the training subjects: "
    try:
        cohort = read_usable_cohort(project / CHECKED_COHORT_FILE, project / EXCLUDED_FILE)
        if cohort.digest != ensemble.data_digest:
            return {}, (f"{reason}work/cohort is not what the model was trained on (data_digest)",)
        root = project / cohort.root
        raws = [
            RawSubject(root, subject, ensemble.volumes) for subject in splits.visits_of(splits.development)
        ]
        return _limits([spacings_mm(raw) for raw in raws]), ()
    except (OSError, ValueError, CohortError, ResultError) as error:
        return {}, (f"{reason}{_reason(error)}",)


def _limits(subjects: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Of each quantity, over the subjects that have it."""
    known = {name: [one[name] for one in subjects if name in one] for one in subjects for name in one}
    return {name: (min(values), max(values)) for name, values in known.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        # the file's name alone: its place may name a person or an institution
        return f"{Path(error.filename).name} cannot be read"
    return " ".join(str(error).split())
