"""One network that may lack volumes beside a network for each set of volumes: the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.evaluation.evidence.missing_volumes import answers_from
from ricenet.evaluation.evidence.record import Comparison, Evidence
from ricenet.evaluation.scores import Scores
from ricenet.runtime.files import read_known
from ricenet.training.task import SECONDS, TRAINED_S


@dataclass(frozen=True)
class MissingVolumesRow:
    """volumes: those that the one network saw. separate: another set with the same ones, None where none was
    trained; compared: with it, the one network first. *_s: seconds of training, None where not known.
    """

    modality_set: str
    volumes: str
    scores: Scores
    separate: str | None = None
    separate_scores: Scores | None = None
    compared: Comparison | None = None
    separate_s: float | None = None


def missing_volumes_rows(evidence: Evidence, seconds: Mapping[str, float]) -> list[MissingVolumesRow]:
    """A row a subset of volumes and separate network. seconds: of training, by modality set."""
    rows = []
    for of_set in evidence.missing_volumes:
        for subset in of_set.subsets:
            name = answers_from(of_set.modality_set, subset.volumes)
            alone = MissingVolumesRow(of_set.modality_set, subset.volumes, subset.scores)
            beside = [
                replace(
                    alone,
                    separate=c.b,
                    separate_scores=evidence.sets[c.b],
                    compared=c,
                    separate_s=seconds.get(c.b),
                )
                for c in of_set.comparisons
                if c.a == name
            ]
            rows += beside or [alone]
    return rows


def training_seconds(folds: Path, store: Path, modality_sets: Sequence[str]) -> dict[str, float]:
    """How long each set's folds trained, by their networks alone; without sets of which that is not known.

    folds: work/training. store: of folds, by key. A fold that was resumed, or trained by an earlier version,
    has not noted it.
    """
    found = {name: [_noted(path, store) for path in (folds / name).glob("fold-*")] for name in modality_sets}
    return {
        name: sum(s for s in noted if s is not None)
        for name, noted in found.items()
        if noted and None not in noted
    }


def _noted(fold: Path, store: Path) -> float | None:
    record = read_known(fold / "fold.json", dict) or {}
    noted = read_known(store / str(record.get("key", "none")) / SECONDS, dict) or {}
    value = noted.get(TRAINED_S)
    return float(value) if isinstance(value, int | float) else None
