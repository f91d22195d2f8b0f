"""Small phantom heads, and plainer ones, that several tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause, write_subject
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume

DOSE_HEIGHT = MECHANISMS["dose_height"]


def write_head(folder: Path, subject: str = "sub-001", seed: int = 7, spacing_mm: float = 3.0) -> Path:
    """Write one phantom subject into a cohort folder and return the folder."""
    write_subject(
        folder,
        shared_template(spacing_mm),
        draw_cause(subject, seed, DOSE_HEIGHT),
        seed,
        single_fraction_share=0.0,
    )
    return folder


def copy_head(source: Path, folder: Path, subject: str) -> RawSubject:
    """The head of `sub-001` in a cohort folder of its own, under another name; without the truth."""
    head, copy = RawSubject(source, "sub-001"), RawSubject(folder, subject)
    for name in PAPER_VOLUMES.names:
        copy.scan(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(head.scan(name), copy.scan(name))
    shutil.copy(head.dose_sidecar, copy.dose_sidecar)
    return copy


BOX_GRID = Grid.cube(np.zeros(3), 3.0, 60)
"""180 mm along every axis."""


def boxed_brain(side_mm: float) -> Volume:
    """The mask of a cube in the middle of BOX_GRID."""
    inside = np.abs(np.arange(60) - 29.5) * 3.0 < side_mm / 2
    return Volume(np.einsum("i,j,k->ijk", inside, inside, inside).astype(np.bool_), BOX_GRID)
