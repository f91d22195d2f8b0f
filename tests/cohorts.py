"""Tiny valid cohorts, for tests to use whole or to spoil in one place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import PARTICIPANTS_TABLE, RawSubject
from ricenet.runtime.errors import CohortError
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import LABELS, PAPER_VOLUMES
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

TINY_SHAPE = (12, 12, 12)
SIDECAR = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30, "PrescriptionGy": 60.0}

# of the subject that tests spoil
FILES: dict[str, str] = {
    "post_op": "sub-002/ses-postop/anat/sub-002_ses-postop_ce-gadolinium_T1w.nii.gz",
    "event": "sub-002/ses-event/anat/sub-002_ses-event_ce-gadolinium_T1w.nii.gz",
    "dose": "sub-002/ses-postop/rt/sub-002_ses-postop_dose.nii.gz",
}
SIDECAR_FILE = "sub-002/ses-postop/rt/sub-002_ses-postop_dose.json"

Voxels = NDArray[np.float32]


def write_tiny_cohort(folder: Path, subjects: int = 4) -> Path:
    """A valid cohort of 12 cubed volumes, labels by turns; the last two of four or more are the test set."""
    rows = []
    for index in range(subjects):
        subject = f"sub-{index + 1:03d}"
        write_tiny_subject(folder, subject)
        is_test = subjects >= 4 and index >= subjects - 2
        rows.append(
            {
                "participant_id": subject,
                "label": LABELS[index % 2],
                "label_source": "synthetic",
                "subset": "test" if is_test else "train",
                "site": "centre A",
            }
        )
    write_participants(folder, rows)
    return folder


def write_tiny_subject(folder: Path, subject: str) -> None:
    """A ball of 83 mm for a head and a dose around its middle, on three different grids; and the sidecar."""
    raw = RawSubject(folder, subject)
    radius = np.linalg.norm(np.indices(TINY_SHAPE) - 5.5, axis=0)
    for index, modality in enumerate(PAPER_VOLUMES.names):
        affine = np.diag([16.0, 16.0, 16.0 + index, 1.0])
        affine[:3, 3] = -88.0 - index
        values = generator_for("tiny cohort", subject, modality).uniform(30.0, 60.0, TINY_SHAPE)
        values = np.where(radius < 3, values, 0) if modality == "dose" else values * (radius < 5.2) + 1
        save_nifti(Volume(values.astype(np.float32), Grid(TINY_SHAPE, affine)), raw.scan(modality))
    raw.dose_sidecar.write_text(json.dumps(SIDECAR), encoding="utf-8")


def write_participants(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """The participants table, its columns those of the first row."""
    lines = [list(rows[0]), *([row[column] for column in rows[0]] for row in rows)]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join("\t".join(cells) + "\n" for cells in lines)
    (folder / PARTICIPANTS_TABLE).write_text(text, encoding="utf-8")


def read_table(folder: Path) -> list[dict[str, str]]:
    """The rows of the participants table, to be changed and written again."""
    header, *lines = (folder / PARTICIPANTS_TABLE).read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def refusal(cohort: Path) -> str:
    """The message with which a cohort is refused; the test fails where it is not."""
    with pytest.raises(CohortError) as refused:
        admit(check_cohort(cohort), exclude_faulty=False)
    return str(refused.value)


def change_voxels(path: Path, change: Callable[[Voxels], Voxels]) -> None:
    """Write a volume again with other voxels, on its own grid."""
    volume = load_nifti(path)
    save_nifti(Volume(change(np.array(volume.data, np.float32)), volume.grid), path)


def change_header(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a compressed NIfTI file, counted from its start."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)))


def change_cell(cohort: Path, subject: str, **cells: str) -> None:
    """Overwrite cells of one subject's row."""
    rows = [row | cells if row["participant_id"] == subject else row for row in read_table(cohort)]
    write_participants(cohort, rows)


def one_voxel(value: float) -> Callable[[Voxels], Voxels]:
    """The change that sets voxel (3, 4, 5)."""

    def change(voxels: Voxels) -> Voxels:
        voxels[3, 4, 5] = value
        return voxels

    return change
