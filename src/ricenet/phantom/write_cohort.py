"""Writing a synthetic cohort in the raw layout, with its ground truth in a folder of its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import Weights
from ricenet.phantom.phantom_subject import Cause, draw_cause, write_subject
from ricenet.runtime.errors import CohortError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.machine import Backend, Share
from ricenet.runtime.randomness import generator_for, seed_for

COLUMNS = {
    "participant_id": "Subject.",
    "label": "What the new lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known; here always: synthetic.",
    "subset": "train (cross-validation) or test (independent).",
    "site": "Scanner site; here without any effect.",
    "age_years": "Age at surgery; here without any effect.",
    "sex": "F or M; here without any effect.",
    "days_rt_end_to_event": "Days from the end of radiotherapy to the event; here without any effect.",
}


def write_phantom(
    folder: Path,
    subjects: int,
    seed: int,
    weights: Weights,
    *,
    test_fraction: float,
    spacing_mm: float,
    single_fraction_share: float,
    backend: Backend = "processes",
    workers: Share = 2,
) -> None:
    """Write a cohort of `subjects` heads into a new folder; the same arguments give the same bytes.

    Raises CohortError: the folder exists and holds something, or a subject could not be made.
    """
    require_new_folder(folder)
    names = [f"sub-{index:03d}" for index in range(1, subjects + 1)]
    causes = [draw_cause(name, seed, weights) for name in names]
    test = held_out_subjects(causes, test_fraction, seed)
    with atomic_folder(folder) as temporary:
        task = functools.partial(_write_one, temporary, spacing_mm, seed, single_fraction_share)
        outcomes = run_tasks(task, causes, backend, workers, 1, "phantom subjects")
        failed = [f"{outcome.task.subject}: {outcome.error}" for outcome in outcomes if outcome.error]
        if failed:
            raise CohortError("phantom subjects could not be made:\n" + "\n".join(failed))
        _write_tables(temporary, causes, test, seed)


def require_new_folder(folder: Path) -> None:
    """Refuse to write over what somebody has.

    Raises CohortError: the folder exists and holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(f"{folder} exists and is not empty; name a new folder or remove it first")


def held_out_subjects(causes: Sequence[Cause], fraction: float, seed: int) -> set[str]:
    """The same share of each label, ordered by a draw of each subject's own."""
    chosen: set[str] = set()
    total = round(fraction * len(causes))
    for label in ("recurrence", "rice"):
        of_label = [c.subject for c in causes if c.label == label]
        of_label.sort(key=lambda name: seed_for("phantom", seed, name, "subset"))
        chosen.update(of_label[: round(total * len(of_label) / len(causes))])
    return chosen


def _write_one(
    folder: Path, spacing_mm: float, seed: int, single_fraction_share: float, cause: Cause
) -> None:
    write_subject(folder, shared_template(spacing_mm), cause, seed, single_fraction_share)


def _write_tables(folder: Path, causes: Sequence[Cause], test: set[str], seed: int) -> None:
    rows = ["\t".join(COLUMNS)]
    for cause in causes:
        rng = generator_for("phantom", seed, cause.subject, "table")
        values = [
            cause.subject,
            cause.label,
            "synthetic",
            "test" if cause.subject in test else "train",
            str(rng.choice(["phantom-a", "phantom-b"])),
            str(int(rng.integers(35, 80))),
            str(rng.choice(["F", "M"])),
            str(int(rng.integers(30, 600))),
        ]
        rows.append("\t".join(values))
    write_text(folder / PARTICIPANTS_TABLE, "\n".join(rows) + "\n")
    write_json(folder / "participants.json", {name: {"Description": text} for name, text in COLUMNS.items()})
    write_json(
        folder / "dataset_description.json",
        {
            "Name": f"RICE-NET phantom, seed {seed}",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "Synthetic": True,
            "License": "CC0, apart from the MNI152 maps it is made from (docs/phantom.md)",
        },
    )
