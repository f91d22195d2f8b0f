"""The flow of subjects from the list to the analysis (CONSORT, STARD), as text and as a drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ricenet.cohort.checked import CheckedCohort, ExcludedSubject
from ricenet.cohort.first_events import first_events
from ricenet.cohort.splits import Splits
from ricenet.cohort.visit_names import later_sample

Lines = tuple[str, ...]
"""Of a box; the first is its title."""

_QUARANTINED = re.compile(r"quarantined \((?P<reason>\w+)\)")


@dataclass(frozen=True)
class Flow:
    """steps: who stays, and who goes after that step (nobody after the last). places: of the labelled."""

    steps: tuple[tuple[Lines, Lines], ...]
    places: tuple[Lines, Lines]


def flow_of(cohort: CheckedCohort, checked_out: int, splits: Splits) -> Flow:
    """Count a cohort's flow, by patient: one of whom a single visit was excluded stays.

    checked_out: how many of `cohort.excluded`, the first, the check took out.
    """
    events = first_events(cohort.subjects)
    by_check, by_preprocessing = (
        [one for one in excluded if (later_sample(one.participant_id) or ("",))[0] not in events]
        for excluded in (cohort.excluded[:checked_out], cohort.excluded[checked_out:])
    )
    usable, excluded = len(events), len(by_check) + len(by_preprocessing)
    unlabelled = sum(event.label is None for event in events.values())
    listed = (f"listed: {usable + excluded}", "in participants.tsv or with a folder")
    return Flow(
        steps=(
            (listed, _by_the_checks(by_check)),
            (
                (f"passed the checks: {usable + len(by_preprocessing)}",),
                (f"excluded in preprocessing: {len(by_preprocessing)}",),
            ),
            ((f"preprocessed: {usable}",), (f"without a label: {unlabelled}",)),
            ((f"labelled: {usable - unlabelled}",), ()),
        ),
        places=(
            _place(f"cross-validation, {len(splits.folds)} folds", splits.development, splits),
            _place("independent test set", splits.test, splits),
        ),
    )


def _by_the_checks(excluded: Sequence[ExcludedSubject]) -> Lines:
    found = (next(filter(None, map(_QUARANTINED.match, s.problems)), None) for s in excluded)
    reasons = Counter(match["reason"].replace("_", " ") for match in found if match)
    faulty = len(excluded) - reasons.total()
    return (
        f"taken out by the checks: {len(excluded)}",
        *(f"quarantined, {reason}: {n}" for reason, n in sorted(reasons.items())),
        *([f"faulty files or table rows: {faulty}"] if faulty else []),
    )


def _place(title: str, subjects: Sequence[str], splits: Splits) -> Lines:
    counts = Counter(splits.labels[subject] for subject in subjects)
    return f"{title}: {len(subjects)}", ", ".join(f"{label} {counts[label]}" for label in splits.label_names)


@dataclass(frozen=True)
class Box:
    """A box of the drawing, in its units."""

    x: int
    y: int
    width: int
    lines: Lines

    @property
    def height(self) -> int:
        """As high as its lines need."""
        return 18 * len(self.lines) + 18

    @property
    def bottom(self) -> int:
        """Its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> int:
        """Of its width."""
        return self.x + self.width // 2


@dataclass(frozen=True)
class FlowDrawing:
    """Boxes and arrows (x, y, x, y) of the flow, lines without a tip, and the size of the whole."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, int, int], ...]
    lines: tuple[tuple[int, int, int, int], ...]

    @property
    def text(self) -> str:
        """What the boxes say."""
        return "; ".join(", ".join(box.lines) for box in self.boxes)


_MAIN, _SIDE, _GAP = (20, 300), (400, 340), 26
"""Left edge and width of the main column and of the boxes of those taken out; between steps."""


def draw_flow(flow: Flow) -> FlowDrawing:
    """Lay the flow out: those who stay in a column, those who go to its right, two boxes at the end."""
    boxes, arrows, y = [], [], 10
    for stay, go in flow.steps:
        box = Box(_MAIN[0], y, _MAIN[1], stay)
        boxes.append(box)
        y = box.bottom + 2 * _GAP
        if go:
            side = Box(_SIDE[0], box.bottom + 8, _SIDE[1], go)
            boxes.append(side)
            across, y = side.y + side.height // 2, side.bottom + 8
            arrows += [(box.middle, across, side.x, across), (box.middle, box.bottom, box.middle, y)]
    fork = (box.bottom + y) // 2
    ends = [Box(x, y, width, lines) for (x, width), lines in zip((_MAIN, _SIDE), flow.places, strict=True)]
    return FlowDrawing(
        width=_SIDE[0] + _SIDE[1] + 20,
        height=max(end.bottom for end in ends) + 10,
        boxes=(*boxes, *ends),
        arrows=(*arrows, *((end.middle, fork, end.middle, end.y) for end in ends)),
        lines=(
            (box.middle, box.bottom, box.middle, fork),
            (ends[0].middle, fork, ends[1].middle, fork),
        ),
    )
