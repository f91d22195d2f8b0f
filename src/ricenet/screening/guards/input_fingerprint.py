"""What guards need of preprocessed volumes, and the guard of their normalisation.

Of each subject, coarse copies and what is wrong with its normalisation are kept in the store by the files'
content.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import CheckedCohort
from ricenet.config.inputs import InputGrid
from ricenet.config.params import ExecutionParams
from ricenet.preprocessing.derivative_files import brain_file, image_file
from ricenet.preprocessing.intensity import dose_in_units
from ricenet.preprocessing.network_input import map_volume, volume_file
from ricenet.runtime.arrays import write_array
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import content_digest, file_digest, read_json, write_json
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require
from ricenet.screening.guards.appearance import appearance
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import VolumeSpec
from ricenet.volume import load_nifti

COARSE_MM = 6.0
"""Voxels of the coarse copies, or those of the cube where these are larger."""

TOLERANCE = 0.002
"""Of an MRI's mean and SD, in SDs; rounding to float16 leaves a hundredth of it (docs/guards.md)."""

_IMAGES, _NUMBERS = "coarse.npy", "normalisation.json"


@dataclass(frozen=True)
class InputFingerprint:
    """Of one subject. coarse: (X, Y, Z) float16 by volume, means of blocks of the network's input.

    faults: what is wrong with the normalisation, in words without a subject. appearance: numbers of how each
    MRI looks, by volume and name.
    """

    coarse: Mapping[str, NDArray[np.float16]]
    spacing_mm: float
    faults: tuple[str, ...]
    appearance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> InputFingerprint:
        """From a folder of the store."""
        images, numbers = np.load(folder / _IMAGES, allow_pickle=False), read_json(folder / _NUMBERS)
        coarse = dict(zip(numbers["volumes"], images, strict=True))
        return cls(coarse, numbers["spacing_mm"], tuple(numbers["faults"]), numbers["appearance"])


ReadFingerprint = Callable[[str], InputFingerprint]
"""Reads one subject's, for together they may be large."""


def input_fingerprints(
    cohort: CheckedCohort, preprocessed: Path, dose_unit_gy: float, execution: ExecutionParams, store: Store
) -> ReadFingerprint:
    """Compute what the store does not hold yet, a subject a task.

    Raises CohortError: some subjects cannot be read; all of them are named, the others stay in the store.
    ResultError: a file of preprocessing is missing.
    """
    volumes = {
        subject.participant_id: tuple(spec for spec in cohort.volumes if spec.name in subject.scans)
        for subject in cohort.subjects
    }
    code = code_digest("ricenet.screening.guards.input_fingerprint")
    keys = {
        subject: content_digest(
            [
                _digests(preprocessed / subject, subject, specs),
                [s.model_dump() for s in specs],
                dose_unit_gy,
                code,
            ]
        )
        for subject, specs in volumes.items()
    }
    write = functools.partial(_write, preprocessed.absolute(), volumes, dose_unit_gy)
    remedy = "Make these files again: dvc repro -f preprocess"
    folders = per_subject("preprocessed volumes", write, keys, store, execution, remedy)
    return lambda subject: InputFingerprint.read(folders[subject])


def fingerprint(
    folder: Path, subject: str, volumes: Sequence[VolumeSpec], dose_unit_gy: float
) -> InputFingerprint:
    """Read a subject's preprocessed volumes, one at a time.

    Raises ScanError: they have another shape than the brain, or the brain is empty.
    """
    brain_path = folder / brain_file(subject)
    brain = load_nifti(brain_path)
    inside = brain.data >= 0.5
    if not inside.any():
        raise ScanError(subject, brain_path.name, "an empty brain", "Run `dvc repro -f preprocess`.")
    head = InputGrid("head", inside.shape[0], brain.grid.spacing_mm[0])
    factor = max(1, int(COARSE_MM // head.spacing_mm))
    coarse, faults = dict[str, NDArray[np.float16]](), list[str]()
    looks: dict[str, Mapping[str, float]] = {}
    for spec in volumes:
        values = map_volume(folder, subject, spec.name, head)
        coarse[spec.name] = block_means(values, factor)
        if spec.kind == "dose":
            faults += _dose_faults(values, folder / image_file(subject, spec), dose_unit_gy)
        else:
            faults += _mri_faults(spec, values, inside)
            looks[spec.name] = appearance(values, inside)
    return InputFingerprint(coarse, head.spacing_mm * factor, tuple(faults), looks)


def block_means(volume: NDArray[Any], factor: int) -> NDArray[np.float16]:
    """Means over blocks of `factor` voxels a side; what remains at the upper ends is dropped."""
    x, y, z = (n // factor for n in volume.shape)
    whole = volume[: x * factor, : y * factor, : z * factor]
    blocks = whole.reshape(x, factor, y, factor, z, factor)
    means: NDArray[np.float16] = blocks.mean(axis=(1, 3, 5), dtype=np.float32).astype(np.float16)
    return means


def foreign_normalisation(subjects: Sequence[str], read: ReadFingerprint) -> GuardResult:
    """Check that each MRI has mean 0 and SD 1 within its own brain, and each dose its physical unit."""
    wrong = {subject: faults for subject in subjects if (faults := read(subject).faults)}
    if not wrong:
        found = f"{len(subjects)} subjects, each normalised by its own brain, each dose in its unit"
        return GuardResult.of("foreign_normalisation", "passed", found)
    first = min(wrong)
    number = f"{len(wrong)} subject(s) are normalised by something else than themselves"
    found = f"{number}; {first}: {'; '.join(wrong[first])}"
    remedy = "Make them again: delete their folders under work/preprocessed and run dvc repro preprocess."
    return GuardResult.of("foreign_normalisation", "failed", found, remedy, wrong)


def _mri_faults(spec: VolumeSpec, values: NDArray[np.float16], brain: NDArray[np.bool_]) -> list[str]:
    faults = []
    inside = values[brain].astype(np.float64)
    mean, sd = inside.mean(), inside.std()
    # turned around so that what is no number is a fault
    if spec.scale is None and not (abs(mean) <= TOLERANCE and abs(sd - 1) <= TOLERANCE):
        faults.append(f"{spec.name} has mean {mean:.3f} and SD {sd:.3f} within its brain")
    if (outside := np.abs(values[~brain]).max(initial=0)) != 0:
        faults.append(f"{spec.name} of up to {outside:.3f} outside the brain")
    return faults


def _dose_faults(values: NDArray[np.float16], dose_gy: Path, unit_gy: float) -> list[str]:
    expected = dose_in_units(np.asarray(load_nifti(dose_gy).data, np.float32), unit_gy).astype(np.float16)
    error = float(np.abs(values.astype(np.float32) - expected.astype(np.float32)).max())
    return [f"dose differs by up to {error:.4f} units from {dose_gy.name} / dose_unit_gy"] if error else []


def _digests(folder: Path, subject: str, volumes: Sequence[VolumeSpec]) -> list[str]:
    """Of the files themselves: what preprocessing says it wrote may have been changed since."""
    doses = [image_file(subject, spec) for spec in volumes if spec.kind == "dose"]
    inputs = [volume_file(spec.name) for spec in volumes]
    return [
        file_digest(require(folder / name, "preprocess")) for name in (*inputs, brain_file(subject), *doses)
    ]


def _write(
    preprocessed: Path,
    volumes: Mapping[str, Sequence[VolumeSpec]],
    dose_unit_gy: float,
    subject: str,
    folder: Path,
) -> None:
    found = fingerprint(preprocessed / subject, subject, volumes[subject], dose_unit_gy)
    write_array(folder / _IMAGES, np.stack(list(found.coarse.values())))
    numbers = {"volumes": list(found.coarse), "spacing_mm": found.spacing_mm, "faults": found.faults}
    write_json(folder / _NUMBERS, {**numbers, "appearance": found.appearance})
