"""A tiny phantom of five volumes: the paper's three, FLAIR and ADC at the event."""

from __future__ import annotations

from pathlib import Path

from heads import DOSE_HEIGHT

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.phantom.write_cohort import write_phantom
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import load_nifti, save_nifti

FIVE_VOLUMES = Volumes(
    [
        *PAPER_VOLUMES,
        VolumeSpec(
            name="event_flair", kind="mri", session="event", suffix="FLAIR", title="event FLAIR",
            required=False,
        ),
        VolumeSpec(
            name="event_adc", kind="mri", session="event", suffix="ADC", title="event ADC", required=False,
            scale=1000.0,
        ),
    ]
)  # fmt: skip


def write_five_volume_cohort(
    folder: Path, subjects: int = 8, seed: int = 2, spacing_mm: float = 6.0, test_fraction: float = 0.25
) -> Path:
    """Write 2 to 12 subjects into a new folder, each with the mask of its brain, so that none is extracted.

    With seed 2, eight subjects are four of each label, and the two of the test set one of each.
    """
    write_phantom(
        folder, subjects, seed, DOSE_HEIGHT, test_fraction=test_fraction, spacing_mm=spacing_mm,
        single_fraction_share=0.2, volumes=FIVE_VOLUMES, backend="serial",
    )  # fmt: skip
    for path in sorted(folder.glob("sub-*")):
        brain = load_nifti(folder / GROUND_TRUTH / path.name / "brain.nii.gz")
        save_nifti(brain, RawSubject(folder, path.name, FIVE_VOLUMES).brain_mask)
    return folder
