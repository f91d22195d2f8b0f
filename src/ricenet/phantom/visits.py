"""Further follow-ups of a phantom: the same head and lesion scanned again, the lesion having grown.

The first visit is the event of a cohort of one visit each, to the bit. At later ones the lesion is larger,
whatever the label is, and its core enhances as before: a later visit says nothing new of the cause. So size,
days and the visit's number are no evidence. A control has no lesion at any visit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.visit_names import sample_name
from ricenet.cohort.visits import Visit, write_sessions
from ricenet.phantom.acquisition import place
from ricenet.phantom.contrasts import contrast_of
from ricenet.phantom.lesions import make_lesions, without_lesion
from ricenet.phantom.phantom_subject import Cause, Head, SyntheticSubject, write_ground_truth
from ricenet.vocabulary import EVENT, PREVIOUS, Volumes
from ricenet.volume import save_nifti

GROWTH_MM = 1.5
"""By which the lesion's radius grows from one visit to the next."""

DAYS_APART = (60, 120)
"""Least and most days between two visits."""


@dataclass(frozen=True)
class FollowUps:
    """A phantom's visits. days: of each, since the end of radiotherapy, the first being the event."""

    days: tuple[int, ...]

    @classmethod
    def draw(cls, cause: Cause, seed: int, first_day: int, most: int) -> FollowUps:
        """One to `most` visits, equally often each number; whatever the label is."""
        rng = cause.stream(seed, "visits")
        days = [first_day]
        for _ in range(int(rng.integers(1, most + 1)) - 1):
            days.append(days[-1] + int(rng.integers(DAYS_APART[0], DAYS_APART[1] + 1)))
        return cls(tuple(days))

    def write(self, cohort: Path, first: SyntheticSubject, seed: int, volumes: Volumes) -> None:
        """Write the table of visits, and the files and ground truth of those after the first."""
        patient, label = first.cause.subject, first.cause.label
        visits = [
            Visit(number=number, days=days, label=label, label_source="synthetic")
            for number, days in enumerate(self.days, start=1)
        ]
        # first: by it the files of later visits are found
        # no session of its own is that of the visit before
        others = [session for session in volumes.sessions if session not in (EVENT, PREVIOUS)]
        write_sessions(cohort / patient, visits, others)
        for number in range(2, len(self.days) + 1):
            visit = make_visit(first, number, seed, volumes)
            raw = RawSubject(cohort, visit.cause.subject, volumes)
            for name, scan in visit.scans.items():
                save_nifti(scan, raw.scan(name))
            write_ground_truth(cohort, visit, volumes)


def make_visit(first: SyntheticSubject, number: int, seed: int, volumes: Volumes) -> SyntheticSubject:
    """The head at a later visit; of its scans, those of the event, newly placed. number: from 2."""
    anatomy, plan = first.anatomy, first.plan
    cause = replace(first.cause, subject=sample_name(first.cause.subject, number))
    # the patient's own draws: the same place and shape as before
    drawn = first.cause.stream(seed, "lesions")
    lesions = make_lesions(anatomy, cause.evidence, drawn, growth_mm=GROWTH_MM * (number - 1))
    if not cause.has_lesion:
        lesions = without_lesion(lesions)
    head, spacing_mm = Head(cause, anatomy, lesions, plan), anatomy.grid.spacing_mm[0]
    placements, scans = dict(first.placements), {}
    for spec in (spec for spec in volumes.mris if spec.session == EVENT):
        placements[spec.name] = place(anatomy, spacing_mm, cause.stream(seed, f"placement-{spec.name}"))
        rng = cause.stream(seed, f"scan-{spec.name}")
        contrast = contrast_of(spec.suffix)
        scans[spec.name] = head.scanned(contrast, placements[spec.name], rng, at_event=True)
    return SyntheticSubject(**vars(head), placements=placements, scans=scans)
