"""Deals subjects to the test set and to folds so that, as a cohort grows or is corrected, they stay.

Where nothing is given, subjects come one after another, in the order of their hashed names, each to the fold
that has fewest of its label; of equal ones to the smallest; of equal ones to the one that its hashed name
prefers. Where a former division is given, its subjects stay, newcomers come after them in the same way, and
then as few move as the bounds need:

- any two folds differ by one subject of a label at most, and by one subject in all;
- nobody changes between the test set and the folds while the test set holds its share of each label, give
  or take one and the rounding.

So a subject that joins moves nobody. No function of names and labels alone can promise that: a division that
every newcomer leaves as it is gives each subject a place without regard to the others, and folds of any size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import ceil, floor

from ricenet.runtime.randomness import seed_for
from ricenet.vocabulary import LABELS

Labels = Mapping[str, str]

NOBODY: Mapping[str, int] = {}


def deal_folds(
    labels: Labels,
    folds: int,
    seed: int,
    former: Mapping[str, int] = NOBODY,
    label_names: Sequence[str] = LABELS,
) -> dict[str, int]:
    """The fold of each subject. former: the folds of those who have one already; others are ignored."""
    found = {subject: former[subject] for subject in labels if subject in former}
    for subject in _in_hashed_order("joins a fold", seed, labels.keys() - found.keys()):
        sizes, of_label = _sizes(found, labels, folds, label_names)
        fewest = of_label[labels[subject]]
        found[subject] = min(
            range(folds), key=lambda k: (fewest[k], sizes[k], seed_for("fold", seed, subject, k))
        )
    while (move := _balancing_move(found, labels, folds, label_names)) is not None:
        label, source, target = move
        candidates = [s for s, fold in found.items() if fold == source and labels[s] == label]
        moved = min(
            candidates, key=lambda subject: (subject in former, seed_for("fold", seed, subject, target))
        )
        found[moved] = target
    return found


def as_folds(fold_of: Mapping[str, int], folds: int) -> tuple[tuple[str, ...], ...]:
    """The subjects of each fold, in order of name."""
    return tuple(tuple(sorted(s for s, fold in fold_of.items() if fold == k)) for k in range(folds))


def draw_test(
    labels: Labels,
    fraction: float,
    seed: int,
    former: Collection[str] = (),
    settled: Collection[str] = (),
    label_names: Sequence[str] = LABELS,
) -> set[str]:
    """The test set's subjects, in all as many as `fraction` of them, rounded up.

    former: who is in it already. settled: who is in a fold already, and stays there.
    """
    quota, found = share_of_labels(labels, fraction, label_names), set(former) & labels.keys()
    for label in label_names:
        own = {subject for subject in labels if labels[subject] == label}
        inside, share = own & found, _share(len(own), fraction)
        queue = _in_hashed_order("joins the test set", seed, own - inside - set(settled))
        inside |= set(queue[: max(0, quota[label] - len(inside))])
        least, most = max(1, floor(share) - 1), ceil(share) + 1
        inside = set(_in_hashed_order("stays in the test set", seed, inside)[:most])
        outside = _in_hashed_order("joins the test set", seed, own - inside)
        inside |= set(outside[: max(0, least - len(inside))])
        found = (found - own) | inside
    return found


def share_of_labels(labels: Labels, fraction: float, label_names: Sequence[str] = LABELS) -> dict[str, int]:
    """How many of each label a test set holds that is drawn from these subjects: one at least.

    Their share, rounded by largest remainders, so that all together are `fraction` of everyone, rounded up.
    """
    counts = {label: sum(found == label for found in labels.values()) for label in label_names}
    quota = {label: floor(_share(n, fraction)) for label, n in counts.items()}
    left = ceil(_share(len(labels), fraction)) - sum(quota.values())
    by_remainder = sorted(label_names, key=lambda label: quota[label] - _share(counts[label], fraction))
    quota |= {label: quota[label] + 1 for label in by_remainder[:left]}
    for label in label_names:
        largest = max(quota, key=lambda name: quota[name])
        if quota[label] == 0 and quota[largest] > 1:
            quota |= {label: 1, largest: quota[largest] - 1}
    return quota


def _share(subjects: int, fraction: float) -> float:
    # 35 * 0.2 is 7.000000000000001
    return round(subjects * fraction, 9)


def _balancing_move(
    found: Mapping[str, int], labels: Labels, folds: int, label_names: Sequence[str]
) -> tuple[str, int, int] | None:
    """(label, from, to) of one move that the bounds need; None where they hold."""
    sizes, of_label = _sizes(found, labels, folds, label_names)
    every = range(folds)
    for label, counts in of_label.items():
        fullest = max(every, key=lambda k: (counts[k], sizes[k], -k))
        emptiest = min(every, key=lambda k: (counts[k], sizes[k], k))
        if counts[fullest] - counts[emptiest] > 1:
            return label, fullest, emptiest
    largest, smallest = max(every, key=lambda k: sizes[k]), min(every, key=lambda k: sizes[k])
    if sizes[largest] - sizes[smallest] > 1:
        # labels differ by one at most, so the largest has one more of two at least
        label = next(label for label, counts in of_label.items() if counts[largest] > counts[smallest])
        return label, largest, smallest
    return None


def _sizes(
    found: Mapping[str, int], labels: Labels, folds: int, label_names: Sequence[str]
) -> tuple[list[int], dict[str, list[int]]]:
    of_label = {label: [0] * folds for label in label_names}
    for subject, fold in found.items():
        of_label[labels[subject]][fold] += 1
    return [sum(counts) for counts in zip(*of_label.values(), strict=True)], of_label


def _in_hashed_order(purpose: str, seed: int, subjects: Collection[str]) -> list[str]:
    return sorted(subjects, key=lambda subject: seed_for(purpose, seed, subject))
