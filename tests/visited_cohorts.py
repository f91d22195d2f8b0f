"""Tiny cohorts of patients with several follow-ups, for tests to use whole or to spoil in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from cohorts import write_tiny_cohort

from ricenet.cohort.layout import RawSubject
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Volume, load_nifti, save_nifti

Row = tuple[str, str, str]
"""Of a table of visits: session_id, days, label."""


def write_sessions(folder: Path, patient: str, rows: Sequence[Row]) -> Path:
    """The table of a patient's visits, written anew."""
    path = folder / patient / f"{patient}_sessions.tsv"
    lines = [("session_id", "days_since_rt_end", "label"), *rows]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def add_visit(folder: Path, patient: str, visit: int) -> None:
    """A later visit's scan, for a patient with a table of visits: the first one's head, other voxels."""
    raw = RawSubject(folder, f"{patient}v{visit}")
    first = load_nifti(RawSubject(folder, patient).scan("event"))
    own = generator_for("tiny visit", patient, visit).uniform(0.8, 1.2, first.data.shape)
    save_nifti(Volume((first.data * own).astype(np.float32), first.grid), raw.scan("event"))


def write_visited_cohort(
    folder: Path, subjects: int = 4, visits: Mapping[str, Sequence[Row]] | None = None
) -> Path:
    """A tiny cohort of which sub-001 and sub-002 have further visits: two and three in all, or as given."""
    write_tiny_cohort(folder, subjects)
    given = visits or {
        "sub-001": [("ses-event", "90", "recurrence"), ("ses-event2", "180", "recurrence")],
        "sub-002": [
            *(("ses-event", "60", "rice"), ("ses-event2", "150", "n/a"), ("ses-event3", "240", "recurrence"))
        ],
    }
    for patient, rows in given.items():
        write_sessions(folder, patient, rows)
        for visit in range(2, len(rows) + 1):
            add_visit(folder, patient, visit)
    return folder
