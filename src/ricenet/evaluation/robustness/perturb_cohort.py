"""Every held-out subject, asked of the networks that did not train on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.evaluation.robustness.answers import SubjectAnswers, subject_answers
from ricenet.evaluation.robustness.donors import draw_donors
from ricenet.evaluation.robustness.given import Source
from ricenet.evaluation.robustness.perturbations import Perturbation
from ricenet.runtime.errors import ResultError
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.progress import task_progress
from ricenet.training.ensemble import Ensemble
from ricenet.training.networks import preferred_device

logger = logging.getLogger(__name__)


def open_ensembles(folder: Path, names: Sequence[str], splits: Splits) -> dict[str, Ensemble]:
    """The ensembles of some modality sets; all stay in memory (0.7 GB a set at the paper's scale).

    Raises RegistryError: missing or damaged. ResultError: trained with other splits, or on different cubes.
    """
    ensembles = {name: Ensemble.load(folder / name) for name in names}
    for name, ensemble in ensembles.items():
        trained_with = ensemble.record.splits_digest
        if trained_with != splits.digest:
            raise ResultError(
                f"ensemble {name}: trained with splits {trained_with[:12]}, but splits.json is "
                f"{splits.digest[:12]}; whom it held out would be a guess. Run `dvc repro train`"
            )
    cubes = {name: _cube(ensemble) for name, ensemble in ensembles.items()}
    if len(set(cubes.values())) > 1:
        listed = "; ".join(f"{name}: {n} voxels of {mm:g} mm" for name, (n, mm) in cubes.items())
        raise ResultError(f"the ensembles were trained on different cubes ({listed}). Run `dvc repro train`")
    return ensembles


def cube_voxels(ensembles: Mapping[str, Ensemble]) -> int:
    """The size of the cubes on which the ensembles were trained."""
    return _cube(next(iter(ensembles.values())))[0]


def cohort_answers(
    ensembles: Mapping[str, Ensemble],
    splits: Splits,
    source: Source,
    perturbations: Sequence[Perturbation],
    batch_size: int,
) -> list[SubjectAnswers]:
    """Answers for everyone outside the test set, in order of fold; one subject's volumes in memory at a time.

    Raises ScanError or ResultError: a subject's files are missing or do not belong together.
    """
    keep_freed_memory()
    donors = draw_donors(splits, source.seed)
    device = preferred_device()
    answers = []
    with task_progress("perturbing", len(splits.development)) as advance:
        for fold, subjects in enumerate(splits.folds):
            networks = {name: ensemble.networks[fold] for name, ensemble in ensembles.items()}
            for subject in subjects:
                given = source.given(subject, donors[subject], device)
                answers.append(subject_answers(given, networks, perturbations, batch_size))
                advance()
    return answers


def _cube(ensemble: Ensemble) -> tuple[int, float]:
    preprocessing = ensemble.record.preprocessing
    return int(preprocessing["cube_voxels"]), float(preprocessing["spacing_mm"])
