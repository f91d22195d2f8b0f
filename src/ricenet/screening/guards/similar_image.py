"""Guard: two subjects whose images are nearly the same, such as a patient who was exported twice.

All heads resemble one another, the more so once standardised. What tells them apart is what is left of a
coarse copy after the cohort's mean is taken away, within a band: details too fine to survive another grid
or noise, and the wide shades of a scanner, are filtered out. docs/guards.md has the measured margins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.screening.guards.input_fingerprint import MRI_CHANNELS, PreprocessedLook
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import MODALITIES

NAME = "similar_image"

FEWEST_SUBJECTS = 3
"""Of two subjects, what differs from their mean is each other's opposite, whatever they are."""

FINEST_MRI_MM, COARSEST_MRI_MM = 4.2, 18.0
"""SDs of the Gaussians between which an MRI is looked at."""

COARSEST_DOSE_MM = 3.0
"""The same of a dose: smooth as it is, plans differ in their edges."""

LEAST_IN_BRAIN = 0.5
"""Share of the subjects in whose brain a voxel lies, for it to count."""

ROWS_AT_ONCE = 512

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SimilarPair:
    """Two scans of different subjects, as (subject, modality), and their correlation."""

    one: tuple[str, str]
    other: tuple[str, str]
    correlation: float


@dataclass(frozen=True)
class _Mean:
    """Of the cohort, by channel: (3, X, Y, Z). core: voxels that count."""

    images: NDArray[np.float32]
    core: NDArray[np.bool_]


def similar_image(
    subjects: Sequence[str], look: Callable[[str], PreprocessedLook], limit: float
) -> GuardResult:
    """Look for scans of different subjects whose correlation is above `limit`.

    look: reads one subject's; each is read twice, one at a time. MRIs are compared with MRIs at either
    time, doses with doses.
    """
    if len(subjects) < FEWEST_SUBJECTS:
        found = f"{len(subjects)} subjects; to know what they have in common takes {FEWEST_SUBJECTS}"
        return GuardResult(name=NAME, outcome="not applicable", found=found)
    pairs, highest = similar_pairs(subjects, look, limit)
    if not pairs:
        found = f"no two of {len(subjects)} subjects correlate above {limit:g} (highest {highest:.2f})"
        return GuardResult(name=NAME, outcome="passed", found=found)
    told = "; ".join(
        f"{' '.join(pair.one)} and {' '.join(pair.other)} {pair.correlation:.2f}" for pair in pairs[:10]
    )
    more = f"; and {len(pairs) - 10} more" if len(pairs) > 10 else ""
    return GuardResult(
        name=NAME,
        outcome="warning",
        found=f"{len(pairs)} pair(s) of scans correlate above {limit:g}: {told}{more}",
        remedy="Look at them side by side (work/quality); if they are one patient's, put one of the subjects "
        "into the cohort's exclude.tsv.",
        subjects=tuple(sorted({subject for pair in pairs for subject, _ in (pair.one, pair.other)})),
    )


def similar_pairs(
    subjects: Sequence[str], look: Callable[[str], PreprocessedLook], limit: float
) -> tuple[list[SimilarPair], float]:
    """Pairs above the limit, most similar first, and the highest correlation of all pairs."""
    mean = _mean(subjects, look)
    mri = [(subject, modality) for subject in subjects for modality in MODALITIES[:MRI_CHANNELS]]
    dose = [(subject, MODALITIES[-1]) for subject in subjects]
    mri_features = np.empty((len(mri), int(mean.core.sum())), np.float32)
    dose_features = np.empty((len(dose), mean.core.size), np.float32)
    for row, subject in enumerate(subjects):
        seen = look(subject)
        start = MRI_CHANNELS * row
        mri_features[start : start + MRI_CHANNELS] = _mri_features(seen, mean)
        dose_features[row] = _dose_features(seen, mean)
    found = list(_above(mri, mri_features, limit)) + list(_above(dose, dose_features, limit))
    pairs = [pair for part, _ in found for pair in part]
    highest = max(top for _, top in found)
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair.one, pair.other)), highest


def _mean(subjects: Sequence[str], look: Callable[[str], PreprocessedLook]) -> _Mean:
    """Means over the subjects: of an MRI over those in whose brain a voxel lies, of the dose over all."""
    first = look(subjects[0])
    total = np.zeros(first.coarse.shape, np.float64)
    counts = np.zeros((MRI_CHANNELS, *first.coarse.shape[1:]), np.int64)
    for subject in subjects:
        coarse = look(subject).coarse
        total += coarse
        counts += coarse[:MRI_CHANNELS] != 0
    total[:MRI_CHANNELS] /= np.maximum(counts, 1)
    total[MRI_CHANNELS:] /= len(subjects)
    return _Mean(total.astype(np.float32), counts[0] >= LEAST_IN_BRAIN * len(subjects))


def _mri_features(look: PreprocessedLook, mean: _Mean) -> Features:
    """(2, voxels that count), each row of mean 0 and length 1."""
    from scipy.ndimage import gaussian_filter

    rows = []
    for channel in range(MRI_CHANNELS):
        image = look.coarse[channel].astype(np.float32)
        rest = (image - mean.images[channel]) * (image != 0)
        fine = gaussian_filter(rest, FINEST_MRI_MM / look.spacing_mm)
        rows.append((fine - gaussian_filter(rest, COARSEST_MRI_MM / look.spacing_mm))[mean.core])
    return _unit(np.stack(rows))


def _dose_features(look: PreprocessedLook, mean: _Mean) -> Features:
    """(1, voxels), of mean 0 and length 1."""
    from scipy.ndimage import gaussian_filter

    rest = look.coarse[-1].astype(np.float32) - mean.images[-1]
    return _unit((rest - gaussian_filter(rest, COARSEST_DOSE_MM / look.spacing_mm)).reshape(1, -1))


def _unit(rows: NDArray[np.float32]) -> Features:
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Features = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return unit


def _above(
    names: Sequence[tuple[str, str]], features: Features, limit: float
) -> Iterator[tuple[list[SimilarPair], float]]:
    """Of each block of rows: pairs of different subjects above the limit, and the highest correlation."""
    owner = np.unique([subject for subject, _ in names], return_inverse=True)[1]
    for start in range(0, len(names), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        correlation = features[block] @ features.T
        # each pair once, and none within a subject
        correlation[owner[block, None] >= owner[None, :]] = -1
        pairs = [
            SimilarPair(names[start + i], names[j], float(correlation[i, j]))
            for i, j in np.argwhere(correlation > limit)
        ]
        yield pairs, float(correlation.max())
