"""Guard: hospitals or scanners that have other shares of the labels, and images by which they are recognised.

A network is then rewarded for the scanner's look, which says nothing of a patient in another hospital. Two
questions: does the label depend on where a subject was scanned, and if so, can that be read from the images?
The second is asked within labels, since a lesion that tells the label tells something of the site too.

Sources: Fisher, Freeman and Halton's test (as scipy has it: exact for two sites and two labels, or else by
random tables); penalised discriminant analysis (Hastie, Buja and Tibshirani 1995), cross-validated, with
permutations within labels (Ojala and Garriga 2010).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.randomness import generator_for, seed_for
from ricenet.screening.guards.input_fingerprint import ReadFingerprint
from ricenet.screening.guards.properties import COLUMN, Properties
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import Volumes

SOURCES = ("site", "scanner", "manufacturer", "field_strength_t")
"""Columns of participants.tsv that say where a subject was scanned."""

LEAST_P = 0.005
"""Of all sources together (Bonferroni), so that without a shortcut fewer than 1 in 100 are warned."""

TABLES, PERMUTATIONS = 9999, 999

FOLDS, FEWEST_OF_A_SOURCE = 5, 5
"""Of the ridge regression; sources of fewer subjects are not looked for in images."""

_REMEDY = (
    "A network may learn the scanner in place of the lesion. Judge with every site left out "
    "(split.by: site), read the sites' table in the report before any pooled score, and add subjects of the "
    "label that a site lacks"
)


@dataclass(frozen=True)
class Dependence:
    """Labels by source. p: that they would differ so by chance, corrected for the number of sources.

    shares: the least and the largest share of the label that differs most, of sources with
    FEWEST_OF_A_SOURCE subjects; None where there are not two.
    """

    source: str
    p: float
    label: str
    shares: tuple[float, float] | None

    def __str__(self) -> str:
        """Without any source's name."""
        between = (
            f", {self.label} being {self.shares[0]:.0%} to {self.shares[1]:.0%} of a {self.source}'s subjects"
            if self.shares
            else ""
        )
        return f"the label depends on the {self.source} (p {self.p:.1g}{between})"


@dataclass(frozen=True)
class Readability:
    """How well the source is told from images: balanced accuracy, what guessing gives, and p of chance."""

    accuracy: float
    guessing: float
    p: float

    @property
    def is_shown(self) -> bool:
        """Whether chance is improbable."""
        return self.p <= LEAST_P


def site_shortcut(
    properties: Properties, labels: Mapping[str, str], read: ReadFingerprint, volumes: Volumes
) -> GuardResult:
    """Look for a source on which the label depends, and for images that tell the source.

    properties: by name, then by subject, as of participants.tsv. labels: of the labelled subjects. read:
    their fingerprints.
    """
    sources = dict(_sources(properties, labels))
    if not sources:
        found = f"participants.tsv names no two of any of {', '.join(SOURCES)}, or there is one label only"
        return GuardResult.of("site_shortcut", "not applicable", found)
    tested = [dependence(source, of_subject, labels, len(sources)) for source, of_subject in sources.items()]
    dependent = [of_source for of_source in tested if of_source.p <= LEAST_P]
    if not dependent:
        least = min(of_source.p for of_source in tested)
        said = f"the label is not shown to depend on {' or '.join(sources)} (p {least:.2g})"
        return GuardResult.of("site_shortcut", "passed", said)
    worst = min(dependent, key=lambda of_source: of_source.p)
    seen = readability(sources[worst.source], labels, read, volumes)
    if seen is None:
        told = f"too few subjects to tell whether images show the {worst.source}"
    elif seen.is_shown:
        told = (
            f"and the images tell the {worst.source}: balanced accuracy {seen.accuracy:.2f} where guessing "
            f"gives {seen.guessing:.2f}"
        )
    else:
        told = f"the images are not shown to tell the {worst.source} (p {seen.p:.2g})"
    joined = "; ".join(map(str, dependent))
    return GuardResult.of("site_shortcut", "warning", f"{joined}; {told}", f"{_REMEDY}.")


def dependence(
    source: str, of_subject: Mapping[str, str], labels: Mapping[str, str], tested: int = 1
) -> Dependence:
    """Whether labels depend on a source. of_subject: the source of each. tested: how many sources are."""
    from scipy import stats

    names, known = sorted(set(of_subject.values())), sorted({labels[s] for s in of_subject})
    counts = Counter((of_subject[s], labels[s]) for s in of_subject)
    table = np.array([[counts[name, label] for label in known] for name in names])
    if table.shape == (2, 2):
        p = float(stats.fisher_exact(table).pvalue)
    else:
        # by the number of subjects, not by their order
        rng = generator_for("site shortcut", seed_for("table", *table.ravel().tolist()))
        drawn = stats.MonteCarloMethod(n_resamples=TABLES, rng=rng)
        p = float(stats.fisher_exact(table, method=drawn).pvalue)
    enough = table[table.sum(axis=1) >= FEWEST_OF_A_SOURCE]
    shares = enough / enough.sum(axis=1, keepdims=True)
    if len(enough) < 2:
        return Dependence(source, min(1.0, p * tested), known[-1], None)
    widest = int(np.argmax(np.ptp(shares, axis=0) + 1e-12 * np.arange(len(known))))
    ends = float(shares[:, widest].min()), float(shares[:, widest].max())
    return Dependence(source, min(1.0, p * tested), known[widest], ends)


def readability(
    of_subject: Mapping[str, str], labels: Mapping[str, str], read: ReadFingerprint, volumes: Volumes
) -> Readability | None:
    """How well images tell the source within labels; None where fewer than two have enough subjects."""
    sizes = Counter(of_subject.values())
    subjects = sorted(s for s in of_subject if sizes[of_subject[s]] >= FEWEST_OF_A_SOURCE)
    if len({of_subject[s] for s in subjects}) < 2:
        return None
    features = _features(subjects, read, volumes)
    source = np.unique([of_subject[s] for s in subjects], return_inverse=True)[1]
    label = np.unique([labels[s] for s in subjects], return_inverse=True)[1]
    return told_by(features, source, label)


def told_by(
    features: NDArray[np.float64], source: NDArray[np.int64], label: NDArray[np.int64]
) -> Readability:
    """How well features (N, F) tell the source (N,), against sources permuted within labels (N,)."""
    generator = generator_for("site shortcut", "permutations", len(source))
    held_out = held_out_ridge(features)
    found = accuracy(held_out, source)
    permuted = (accuracy(held_out, _within(source, label, generator)) for _ in range(PERMUTATIONS))
    as_good = sum(value >= found for value in permuted)
    return Readability(found, 1 / len(np.unique(source)), (1 + as_good) / (1 + PERMUTATIONS))


def held_out_ridge(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, N): what each subject's answer by a ridge regression takes of everyone's target; 0 in its own fold.

    Answers are linear in the targets, so that one matrix serves every permutation. Features (N, F) are
    standardised by the training subjects; the penalty is F, so that more features shrink as one does.
    """
    n, count = features.shape
    fold = generator_for("site shortcut", "folds", n).permutation(n) % FOLDS
    taken = np.zeros((n, n))
    for k in range(FOLDS):
        own, others = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        mean, sd = features[others].mean(axis=0), features[others].std(axis=0)
        x = (features - mean) / np.where(sd > 0, sd, 1.0)
        kernel = x[others] @ x[others].T + count * np.eye(len(others))
        weights = np.linalg.solve(kernel, x[others] @ x[own].T).T
        # the targets' mean over the training subjects is no part of the penalty
        taken[np.ix_(own, others)] = weights + (1 - weights.sum(axis=1, keepdims=True)) / len(others)
    return taken


def accuracy(taken: NDArray[np.float64], source: NDArray[np.int64]) -> float:
    """Balanced accuracy (1 / sources by guessing) of the source (N,) whose answer exceeds its share most."""
    names = np.unique(source)
    targets = (source[:, np.newaxis] == names).astype(np.float64)
    told = names[np.argmax(taken @ targets / targets.mean(axis=0), axis=1)]
    return float(np.mean([(told[source == name] == name).mean() for name in names]))


def _sources(properties: Properties, labels: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each source that has two values among labelled subjects of two labels, and the subjects' own."""
    for source in SOURCES:
        given = properties.get(f"{COLUMN} {source}", {})
        known = {s: str(value) for s, value in given.items() if value is not None and s in labels}
        if len(set(known.values())) > 1 and len({labels[s] for s in known}) > 1:
            yield source, known


def _features(subjects: Sequence[str], read: ReadFingerprint, volumes: Volumes) -> NDArray[np.float64]:
    """(N, F) of the MRIs that all subjects have."""
    seen = [read(subject).appearance for subject in subjects]
    common = [spec.name for spec in volumes.mris if all(spec.name in of_subject for of_subject in seen)]
    return np.array([[v for name in common for v in of_subject[name].values()] for of_subject in seen])


def _within(
    source: NDArray[np.int64], label: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Sources permuted among subjects of the same label."""
    permuted = source.copy()
    for one in np.unique(label):
        where = np.flatnonzero(label == one)
        permuted[where] = source[generator.permutation(where)]
    return permuted
