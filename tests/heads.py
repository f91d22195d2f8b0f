"""Small phantom heads that several tests share."""

from __future__ import annotations

from pathlib import Path

from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import Weights
from ricenet.phantom.phantom_subject import draw_cause, write_subject

WEIGHTS = Weights(dose=4.5, post_op=-2.5, event=1.2, intercept=-1.0)


def write_head(folder: Path, subject: str = "sub-001", seed: int = 7, spacing_mm: float = 3.0) -> Path:
    """Write one phantom subject into a cohort folder and return the folder."""
    write_subject(
        folder,
        shared_template(spacing_mm),
        draw_cause(subject, seed, WEIGHTS),
        seed,
        single_fraction_share=0.0,
    )
    return folder
