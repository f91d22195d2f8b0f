"""What preprocessing leaves of a subject, made by hand: for tests of what reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid
from ricenet.preprocessing.derivative_dataset import FORMAT, SUMMARY
from ricenet.preprocessing.derivative_files import brain_file, brain_mask_file, image_file
from ricenet.preprocessing.measurements import (
    MEASUREMENTS_FILE,
    DoseMeasurements,
    Measurements,
    MriMeasurements,
    RegistrationMeasurements,
)
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.files import write_json
from ricenet.vocabulary import PAPER_VOLUMES

NAMES = PAPER_VOLUMES.names


def head_of(voxels: int, spacing_mm: float = 8.0) -> InputGrid:
    """The grid of a whole head."""
    return InputGrid("head", voxels, spacing_mm)


REGISTRATION = RegistrationMeasurements(
    fixed="post_op",
    similarity_before=1.1,
    similarity=1.3,
    head_overlap=0.98,
    searched=False,
    rotation_deg=5.0,
    shift_mm=10.0,
    coverage=1.0,
)
DOSE = DoseMeasurements(
    factor=30.0,
    prescription_gy=60.0,
    eqd2_alpha_beta_gy=None,
    dose_max_gy=62.0,
    dose_mean_gy=15.0,
    v20=0.3,
    v40=0.15,
    v60=0.05,
    ptv_ml=80.0,
    eud8_gy=35.0,
    high_dose_ml=100.0,
    edge_gradient_gy_mm=1.5,
    high_dose_off_middle_mm=40.0,
    given_max_gy=63.0,
    given_v20_ml=400.0,
    given_v40_ml=200.0,
    given_v60_ml=100.0,
    outside_brain=0.25,
)
IDENTITY: list[list[float]] = np.eye(4).tolist()
MEASUREMENTS = Measurements(
    brain_source="hd_bet",
    brain_ml=1400.0,
    cube_affine=IDENTITY,
    mris={
        "post_op": MriMeasurements(world_from_reference=IDENTITY, raw_mean=100.0, raw_sd=20.0, in_target=0.5),
        "event": MriMeasurements(
            world_from_reference=IDENTITY,
            raw_mean=110.0,
            raw_sd=25.0,
            in_target=0.7,
            registration=REGISTRATION,
        ),
    },
    dose=DOSE,
)
"""Of a subject about whom nothing is remarkable."""


def save_volumes(folder: Path, volumes: NDArray[Any], names: Sequence[str] = NAMES) -> None:
    """Write volumes (C, X, Y, Z) as the network's input, whatever their type and content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, volume in zip(names, volumes, strict=True):
        np.save(folder / volume_file(name), volume)


def saved_volumes(folder: Path, names: Sequence[str] = NAMES) -> NDArray[Any]:
    """The network's input (C, X, Y, Z) of a subject."""
    return np.stack([np.load(folder / volume_file(name)) for name in names])


def save_measurements(folder: Path, measured: Measurements | Mapping[str, Any] = MEASUREMENTS) -> None:
    """Write the measurements of a subject."""
    content = measured.model_dump(mode="json") if isinstance(measured, Measurements) else dict(measured)
    write_json(folder / MEASUREMENTS_FILE, content)


def save_summary(
    preprocessed: Path, digest: str = "d" * 64, subjects: Mapping[str, str] | None = None
) -> None:
    """Write which subjects preprocessing left. subjects: their content keys."""
    content = {"format": FORMAT.number, "digest": digest, "subjects": dict(subjects or {})}
    write_json(preprocessed / SUMMARY, content)


def image_of(folder: Path, name: str, suffix: str = "") -> Path:
    """A volume's NIfTI file, or `brain` on the cube. folder: of the subject, under its name."""
    subject = folder.name
    return folder / (
        brain_file(subject, suffix) if name == "brain" else image_file(subject, PAPER_VOLUMES[name], suffix)
    )


def mask_of(folder: Path) -> Path:
    """The brain mask as it was found. folder: of the subject, under its name."""
    return folder / brain_mask_file(folder.name)
