"""Cross-validation repeated with other folds: how much of a score is the luck of one division.

Source: Krstajic et al. 2014 (repeated cross-validation). Network starts stay the same, so only the division
differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Repeats
from ricenet.evaluation.predictions import read_out_of_fold
from ricenet.training.predictions import Prediction, macro_f1

REPEATS_FILE = "repeats.json"


def score_repeats(folder: Path, divisions: Mapping[int, Splits], modality_sets: Sequence[str]) -> Repeats:
    """Pooled macro-F1 of every set in every division.

    folder: with `<fold seed>/<modality set>/fold-<k>/predictions.tsv`. Raises ResultError: a file is missing.
    """
    return Repeats(
        fold_seeds=tuple(divisions),
        macro_f1={
            name: tuple(
                _pooled(read_out_of_fold(folder / str(seed), name, splits))
                for seed, splits in divisions.items()
            )
            for name in modality_sets
        },
    )


def read_repeats(folder: Path) -> Repeats | None:
    """What the stage `repeat` found; None where no repetition is asked for.

    Raises ResultError: missing, or not such a file.
    """
    found = Repeats.read(folder / REPEATS_FILE, "repeat")
    return found if found.fold_seeds else None


def _pooled(predictions: Sequence[Prediction]) -> float:
    held_out = HeldOut.of({"": predictions})
    return macro_f1([p.label for p in predictions], held_out.p_rice[""])
