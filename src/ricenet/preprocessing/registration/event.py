"""Step 1: how the event scan lies over the post-operative one, and whether that is to be believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import RegistrationParams
from ricenet.preprocessing.registration.ants import RigidResult, failure_of, register_rigid
from ricenet.preprocessing.registration.coarse import averaged
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.randomness import seed_for
from ricenet.volume import Volume, load_nifti

REGISTRATION_FILE = "registration.json"


def register_event(raw: RawSubject, params: RegistrationParams, seed: int) -> RigidResult:
    """Register the event to the post-operative scan, on copies of the spacing that is asked for.

    seed: the project's; each subject has its own stream.
    """
    fixed, moving = (_coarse_copy(raw.scan(name), params.spacing_mm) for name in ("post_op", "event"))
    return register_rigid(
        fixed,
        moving,
        params.metric,
        seed_for("registration", seed, raw.subject),
        spacing_mm=params.spacing_mm,
        transform=params.transform,
    )


def _coarse_copy(scan: Path, spacing_mm: float) -> Volume:
    # one scan's voxels at a time: a fine one takes half a gigabyte
    return averaged(load_nifti(scan), spacing_mm)


def require_registered(registration: RigidResult, subject: str) -> None:
    """Refuse a registration that explains nothing, less than the headers alone did, or half a head.

    Raises ScanError.
    """
    failure = failure_of(registration)
    if failure is not None:
        raise ScanError(
            subject,
            "event T1ce",
            f"registration to the post-op scan failed ({failure})",
            "Check that both scans are this patient's, T1ce, and whole heads.",
        )


def write_registration(registration: RigidResult, folder: Path) -> None:
    """Write a registration as JSON, which keeps every bit."""
    write_json(
        folder / REGISTRATION_FILE,
        {
            "moving_from_fixed": registration.moving_from_fixed.tolist(),
            "similarity": registration.similarity,
            "similarity_before": registration.similarity_before,
            "searched": registration.searched,
            "overlap": registration.overlap,
        },
    )


def read_registration(folder: Path) -> RigidResult:
    """Read what `write_registration` wrote."""
    content = read_json(folder / REGISTRATION_FILE)
    return RigidResult(
        np.array(content["moving_from_fixed"], dtype=np.float64),
        similarity=content["similarity"],
        similarity_before=content["similarity_before"],
        searched=content["searched"],
        overlap=content["overlap"],
    )
