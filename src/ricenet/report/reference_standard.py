"""How the labels are known, where the participants table says it: readers, certainty, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.cohort.participants import Participant
from ricenet.cohort.splits import Splits
from ricenet.evaluation.reader_agreement import Agreement, agreement


@dataclass(frozen=True)
class ReferenceStandard:
    """Of the labelled subjects: how many have each field; agreement: None where no second reader is known."""

    subjects: int
    with_source: int
    with_reader: int
    with_days: int
    with_certainty: int
    agreement: Agreement | None


def reference_standard(
    splits: Splits, participants: Mapping[str, Participant], seed: int, resamples: int
) -> ReferenceStandard:
    """What the table says of the reference standard of the labelled subjects, the test set's included."""
    rows = [participants[subject] for subject in sorted(splits.labels) if subject in participants]
    twice = [row for row in rows if row.label is not None and row.label_second_reader is not None]
    return ReferenceStandard(
        subjects=len(splits.labels),
        with_source=sum(row.label_source is not None for row in rows),
        with_reader=sum(row.reference_reader is not None for row in rows),
        with_days=sum(row.reference_days_after_event is not None for row in rows),
        with_certainty=sum(row.label_certainty is not None for row in rows),
        agreement=agreement(
            [str(row.label) for row in twice],
            [str(row.label_second_reader) for row in twice],
            seed,
            resamples,
        ),
    )
