"""Guard: volumes that were normalised by something else than the subject itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ricenet.screening.guards.input_fingerprint import PreprocessedLook
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import MODALITIES

NAME = "foreign_normalisation"

TOLERANCE = 0.002
"""Of an MRI's mean and SD, in SDs; rounding to float16 leaves a hundredth of it (docs/guards.md)."""


def faults(look: PreprocessedLook) -> list[str]:
    """What is wrong with a subject's normalisation, in words without a subject."""
    found = []
    for modality, mean, sd in zip(MODALITIES, look.means, look.sds, strict=False):
        # turned around so that what is no number is a fault
        if not (abs(mean) <= TOLERANCE and abs(sd - 1) <= TOLERANCE):
            found.append(f"{modality} has mean {mean:.3f} and SD {sd:.3f} within its brain")
    if look.outside != 0:
        found.append(f"MRI of up to {look.outside:.3f} outside the brain")
    if look.dose_error != 0:
        found.append(f"dose differs by up to {look.dose_error:.4f} units from dose.nii.gz / dose_unit_gy")
    return found


def foreign_normalisation(subjects: Sequence[str], look: Callable[[str], PreprocessedLook]) -> GuardResult:
    """Look whether each MRI has mean 0 and SD 1 within its own brain, and each dose its physical unit.

    look: reads one subject's; each is read once.
    """
    wrong = {subject: problems for subject in subjects if (problems := faults(look(subject)))}
    if not wrong:
        found = f"{len(subjects)} subjects, each normalised by its own brain, each dose in its unit"
        return GuardResult(name=NAME, outcome="passed", found=found)
    first = min(wrong)
    return GuardResult(
        name=NAME,
        outcome="failed",
        found=f"{len(wrong)} subject(s) are normalised by something else than themselves; "
        f"{first}: {'; '.join(wrong[first])}",
        remedy="Make them again: delete their folders under work/preprocessed and run dvc repro preprocess.",
        subjects=tuple(sorted(wrong)),
    )
