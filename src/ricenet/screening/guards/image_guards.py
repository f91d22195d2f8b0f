"""Guards of images: the same under two names, and two subjects whose images are nearly the same.

All heads resemble one another, the more so once standardised. What distinguishes them is what remains of a
coarse copy after the cohort's mean is taken away, within a band: details too fine to survive another grid
or noise, and the wide shades of a scanner, are filtered out. docs/guards.md has the measured margins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.raw_record import RawRecord
from ricenet.cohort.visit_names import session_at
from ricenet.screening.guards.input_fingerprint import InputFingerprint, ReadFingerprint
from ricenet.screening.guards.result import GuardResult, listed
from ricenet.vocabulary import Kind, Volumes

FEWEST_SUBJECTS = 3
"""Of two subjects, what differs from their mean is each other's opposite, whatever they are."""

FINEST_MRI_MM, COARSEST_MRI_MM = 4.2, 18.0
"""SDs of the Gaussians between which an MRI is compared."""

COARSEST_DOSE_MM = 3.0
"""The same of a dose: smooth as it is, plans differ in their edges."""

LEAST_IN_BRAIN = 0.5
"""Share of the subjects in whose brain a voxel lies, for it to count."""

ROWS_AT_ONCE = 512

Image = tuple[str, str]
"""Subject and volume."""

Features = NDArray[np.float32]


def same_image(
    records: Mapping[str, RawRecord], volumes: Volumes, patients: Mapping[str, str] = MappingProxyType({})
) -> GuardResult:
    """Look for equal voxels: of two subjects, at any time, and of one subject at several times.

    records: by participant_id. A dose is compared with doses alone. patients: by the sample of a later visit;
    one file that several visits of a patient share is one image.
    """
    holders: dict[tuple[Kind, str], list[Image]] = defaultdict(list)
    seen = set[tuple[str, str, str]]()
    for subject in sorted(records):
        patient = patients.get(subject, subject)
        visit = int(subject.removeprefix(f"{patient}v")) if subject in patients else 1
        for spec in volumes:
            file = patient, session_at(spec.session, visit), spec.suffix
            if (digest := records[subject].voxels.get(spec.name)) is not None and file not in seen:
                holders[spec.kind, digest].append((subject, spec.name))
            seen.add(file)
    repeated = sorted(group for group in holders.values() if len(group) > 1)
    if not repeated:
        images = sum(map(len, holders.values()))
        found = f"{images} scans of {len(records)} subjects, no two with the same voxels"
        return GuardResult.of("same_image", "passed", found)
    groups = [" = ".join(f"{subject} {name}" for subject, name in group) for group in repeated]
    found = f"{len(repeated)} image(s) occur more than once: {listed(groups)}"
    remedy = "Find out which subject each belongs to; exclude the copy in exclude.tsv, or replace it."
    subjects = (subject for group in repeated for subject, _ in group)
    return GuardResult.of("same_image", "failed", found, remedy, subjects)


@dataclass(frozen=True)
class SimilarPair:
    """Two images of different subjects, and their correlation."""

    one: Image
    other: Image
    correlation: float

    def __str__(self) -> str:
        return f"{' '.join(self.one)} and {' '.join(self.other)} {self.correlation:.2f}"


@dataclass(frozen=True)
class _Mean:
    """Of the cohort, by volume: (X, Y, Z). core: voxels in enough brains."""

    images: Mapping[str, NDArray[np.float32]]
    core: NDArray[np.bool_]


def similar_image(
    subjects: Sequence[str],
    read: ReadFingerprint,
    volumes: Volumes,
    limit: float,
    patients: Mapping[str, str] = MappingProxyType({}),
) -> GuardResult:
    """Look for images of different subjects whose correlation is above `limit`.

    read: each subject is read several times, one at a time. MRIs are compared with MRIs at any time, doses
    with doses. patients: by the sample of a later visit; visits of one patient are alike, and no pair.
    """
    if len(subjects) < FEWEST_SUBJECTS:
        found = f"{len(subjects)} subjects; to know what they have in common takes {FEWEST_SUBJECTS}"
        return GuardResult.of("similar_image", "not applicable", found)
    pairs, highest = similar_pairs(subjects, read, volumes, limit, patients)
    if not pairs:
        found = f"no two of {len(subjects)} subjects correlate above {limit:g} (highest {highest:.2f})"
        return GuardResult.of("similar_image", "passed", found)
    found = f"{len(pairs)} pair(s) of scans correlate above {limit:g}: {listed(list(map(str, pairs)))}"
    remedy = "Compare their pages (work/quality); of one patient's subjects, exclude one in exclude.tsv."
    concerned = (subject for pair in pairs for subject, _ in (pair.one, pair.other))
    return GuardResult.of("similar_image", "warning", found, remedy, concerned)


def similar_pairs(
    subjects: Sequence[str],
    read: ReadFingerprint,
    volumes: Volumes,
    limit: float,
    patients: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[SimilarPair], float]:
    """Pairs above the limit, most similar first, and the highest correlation of all pairs."""
    mean = _mean(subjects, read, volumes)
    pairs, highest = list[SimilarPair](), -1.0
    for kind in ("mri", "dose"):
        images, rows = list[Image](), list[Features]()
        for subject in subjects:
            seen = read(subject)
            for spec in volumes:
                if spec.kind == kind and spec.name in seen.coarse:
                    images.append((subject, spec.name))
                    rows.append(_features(spec.name, kind, seen, mean))
        for found, top in _above(images, rows, limit, patients):
            pairs += found
            highest = max(highest, top)
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair.one, pair.other)), highest


def _mean(subjects: Sequence[str], read: ReadFingerprint, volumes: Volumes) -> _Mean:
    """Means over the subjects: of an MRI over those in whose brain a voxel lies, of the dose over all."""
    totals: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    for subject in subjects:
        for name, image in read(subject).coarse.items():
            counted = image != 0 if volumes[name].kind == "mri" else np.ones(image.shape, bool)
            totals[name] = totals.get(name, 0.0) + image.astype(np.float64)
            counts[name] = counts.get(name, 0) + counted.astype(np.int64)
    images = {name: (totals[name] / np.maximum(counts[name], 1)).astype(np.float32) for name in totals}
    return _Mean(images, counts[volumes.reference.name] >= LEAST_IN_BRAIN * len(subjects))


def _features(name: str, kind: Kind, seen: InputFingerprint, mean: _Mean) -> Features:
    """An image's own features, of mean 0 and length 1: (voxels that count,), of a dose all."""
    from scipy.ndimage import gaussian_filter

    image = seen.coarse[name].astype(np.float32)
    rest = image - mean.images[name]
    if kind == "dose":
        values = (rest - gaussian_filter(rest, COARSEST_DOSE_MM / seen.spacing_mm)).ravel()
    else:
        rest *= image != 0
        fine = gaussian_filter(rest, FINEST_MRI_MM / seen.spacing_mm)
        values = (fine - gaussian_filter(rest, COARSEST_MRI_MM / seen.spacing_mm))[mean.core]
    centred = values - values.mean()
    length = np.linalg.norm(centred)
    unit: Features = centred / length if length > 0 else np.zeros_like(centred)
    return unit


def _above(
    images: Sequence[Image], rows: Sequence[Features], limit: float, patients: Mapping[str, str]
) -> Iterator[tuple[list[SimilarPair], float]]:
    """Of each block of rows: pairs of different subjects above the limit, and the highest correlation."""
    features = np.array(rows)
    owner = np.unique([patients.get(subject, subject) for subject, _ in images], return_inverse=True)[1]
    for start in range(0, len(images), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        correlation = features[block] @ features.T
        # each pair once, and none within a subject
        correlation[owner[block, None] >= owner[None, :]] = -1
        pairs = [
            SimilarPair(images[start + i], images[j], float(correlation[i, j]))
            for i, j in np.argwhere(correlation > limit)
        ]
        yield pairs, float(correlation.max())
