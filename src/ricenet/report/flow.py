"""The flow of subjects from the list to the analysis (CONSORT, STARD), as numbers and as a drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ricenet.cohort.checked import CheckedCohort, ExcludedSubject
from ricenet.cohort.splits import Splits
from ricenet.vocabulary import LABELS

_QUARANTINED = re.compile(r"quarantined \((?P<reason>\w+)\)")


@dataclass(frozen=True)
class Flow:
    """How many subjects there are at each step. reasons: (why, how many) of those that were taken out.

    unlabelled: passed everything, but nobody knows the answer. places: (name, by label) of the labelled.
    """

    listed: int
    quarantined: tuple[tuple[str, int], ...]
    faulty: int
    left_out: int
    usable: int
    unlabelled: int
    labelled: int
    folds: int
    places: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


def flow_of(cohort: CheckedCohort, checked_out: int, splits: Splits) -> Flow:
    """Count a cohort's flow. checked_out: how many of `cohort.excluded`, the first, the check took out."""
    by_check = cohort.excluded[:checked_out]
    quarantined = _quarantine_reasons(by_check)
    unlabelled = sum(subject.label is None for subject in cohort.subjects)
    places = {"cross-validation": splits.development, "independent test set": splits.test}
    return Flow(
        listed=len(cohort.subjects) + len(cohort.excluded),
        quarantined=quarantined,
        faulty=len(by_check) - sum(n for _, n in quarantined),
        left_out=len(cohort.excluded) - len(by_check),
        usable=len(cohort.subjects),
        unlabelled=unlabelled,
        labelled=len(cohort.subjects) - unlabelled,
        folds=len(splits.folds),
        places=tuple((name, _by_label(subjects, splits)) for name, subjects in places.items()),
    )


def _quarantine_reasons(excluded: Iterable[ExcludedSubject]) -> tuple[tuple[str, int], ...]:
    found = (next(filter(None, map(_QUARANTINED.match, s.problems)), None) for s in excluded)
    counts = Counter(match["reason"].replace("_", " ") for match in found if match)
    return tuple(sorted(counts.items()))


def _by_label(subjects: Sequence[str], splits: Splits) -> tuple[tuple[str, int], ...]:
    counts = Counter(splits.labels[subject] for subject in subjects)
    return tuple((label, counts[label]) for label in LABELS)


@dataclass(frozen=True)
class Box:
    """A box of the drawing, in its units. lines: of text, the first of them the title."""

    x: int
    y: int
    width: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        """As high as its lines need."""
        return 18 * len(self.lines) + 18

    @property
    def middle(self) -> int:
        """Of its width."""
        return self.x + self.width // 2


@dataclass(frozen=True)
class FlowDrawing:
    """Boxes and arrows (x, y, x, y) of the flow, and the size of the whole."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, int, int], ...]
    lines: tuple[tuple[int, int, int, int], ...]
    text: str


_MAIN, _SIDE, _GAP = (20, 300), (400, 340), 26
"""Left edge and width of the main column and of the boxes of those taken out; between steps."""


def draw_flow(flow: Flow) -> FlowDrawing:
    """Lay the flow out: those who stay in a column, those who go to its right, two boxes at the end."""
    steps = (
        (_counted("listed", flow.listed, "in participants.tsv or with a folder"), _checked_out(flow)),
        (_counted("passed the checks", flow.usable + flow.left_out), _left_out(flow)),
        (_counted("preprocessed", flow.usable), _counted("without a label", flow.unlabelled)),
        (_counted("labelled", flow.labelled), None),
    )
    boxes, arrows, y = [], [], 10
    for number, (stay, go) in enumerate(steps):
        box = Box(_MAIN[0], y, _MAIN[1], stay)
        boxes.append(box)
        bottom = box.y + box.height
        if go is not None:
            side = Box(_SIDE[0], bottom + 8, _SIDE[1], go)
            boxes.append(side)
            across = side.y + side.height // 2
            arrows.append((box.middle, across, side.x, across))
            y = max(side.y + side.height + 8, bottom + _GAP)
        else:
            y = bottom + 2 * _GAP
        if number + 1 < len(steps):
            arrows.append((box.middle, bottom, box.middle, y))
    return _with_places(flow, boxes, arrows, y)


def _with_places(
    flow: Flow, boxes: list[Box], arrows: list[tuple[int, int, int, int]], y: int
) -> FlowDrawing:
    last = boxes[-1]
    fork = (last.y + last.height + y) // 2
    ends = [
        Box(x, y, width, _place_lines(flow, place))
        for (x, width), place in zip((_MAIN, _SIDE), flow.places, strict=True)
    ]
    lines = [
        (last.middle, last.y + last.height, last.middle, fork),
        (ends[0].middle, fork, ends[1].middle, fork),
    ]
    drawn = [*boxes, *ends]
    return FlowDrawing(
        width=_SIDE[0] + _SIDE[1] + 20,
        height=y + max(box.height for box in ends) + 10,
        boxes=tuple(drawn),
        arrows=(*arrows, *((box.middle, fork, box.middle, box.y) for box in ends)),
        lines=tuple(lines),
        text="; ".join(", ".join(box.lines) for box in drawn),
    )


def _counted(title: str, n: int, *more: str) -> tuple[str, ...]:
    return (f"{title}: {n}", *more)


def _checked_out(flow: Flow) -> tuple[str, ...]:
    reasons = tuple(f"quarantined, {reason}: {n}" for reason, n in flow.quarantined)
    faulty = (f"faulty files or table rows: {flow.faulty}",) if flow.faulty else ()
    total = sum(n for _, n in flow.quarantined) + flow.faulty
    return _counted("taken out by the checks", total, *reasons, *faulty)


def _left_out(flow: Flow) -> tuple[str, ...]:
    return _counted("left out in preprocessing", flow.left_out)


def _place_lines(flow: Flow, place: tuple[str, tuple[tuple[str, int], ...]]) -> tuple[str, ...]:
    name, counts = place
    title = f"{name}, {flow.folds} folds" if name == "cross-validation" else name
    return _counted(title, sum(n for _, n in counts), ", ".join(f"{label} {n}" for label, n in counts))
