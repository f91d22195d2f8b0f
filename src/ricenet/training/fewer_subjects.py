"""The same folds trained on fewer subjects: nested subsets of a cohort, for a learning curve.

A subset is drawn of the whole cohort, and each fold learns from those of it that it does not hold out: so a
share stands for a smaller cohort, divided likewise, and judged on the same people as the whole one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ricenet.runtime.errors import SplitError
from ricenet.runtime.randomness import seed_for
from ricenet.training.task import FoldTask
from ricenet.vocabulary import LABELS


def nested_subset(
    labels: Mapping[str, str], fold_of: Mapping[str, int], share: float, seed: int, draw: int
) -> set[str]:
    """A share of each label's subjects, to the nearest one, spread evenly over the folds.

    share: above 0, up to 1. Of one draw, a smaller share's subset lies within a larger one's; of another
    draw, everything is drawn anew. A subject's turn depends on those of its label and fold alone.
    Raises SplitError: fewer subjects of a label than folds would be left, so that some fold had none to miss.
    """
    folds = len(set(fold_of.values()))
    chosen: set[str] = set()
    for label in LABELS:
        of_label = [subject for subject in fold_of if labels[subject] == label]
        count = round(share * len(of_label))
        if count < folds:
            raise SplitError(
                f"{share:g} of {len(of_label)} subjects with {label} are {count}, and {folds} folds need at "
                f"least {folds} of each label; raise the shares of evidence.learning_curve"
            )
        chosen |= set(_in_turn(of_label, fold_of, seed, draw)[:count])
    return chosen


def _in_turn(subjects: Sequence[str], fold_of: Mapping[str, int], seed: int, draw: int) -> list[str]:
    """The subjects in the order in which they join, fold after fold."""

    def drawn(subject: str) -> int:
        return seed_for("learning curve", seed, draw, subject)

    turn: dict[str, float] = {}
    for fold in sorted({fold_of[subject] for subject in subjects}):
        inside = sorted((s for s in subjects if fold_of[s] == fold), key=drawn)
        turn |= {subject: (rank + 0.5) / len(inside) for rank, subject in enumerate(inside)}
    return sorted(subjects, key=lambda subject: (turn[subject], drawn(subject)))


def on_fewer(tasks: Sequence[FoldTask], share: float, draw: int) -> list[FoldTask]:
    """The folds of one modality set, trained on a share of its subjects and judged as before.

    The draw follows from the tasks' own seed. Raises SplitError: as `nested_subset`.
    """
    fold_of = {subject: task.fold for task in tasks for subject in task.validation_subjects}
    first = tasks[0]
    try:
        kept = nested_subset(first.labels, fold_of, share, first.seed, draw)
    except SplitError as error:
        raise SplitError(f"{first.modality_set}: {error}") from None
    return [
        replace(task, training_subjects=tuple(s for s in task.training_subjects if s in kept))
        for task in tasks
    ]
