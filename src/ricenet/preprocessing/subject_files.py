"""The files of a preprocessed subject: the network's arrays, NIfTI with sidecars for people, measurements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.preprocessing.derivative_files import (
    brain_file,
    brain_mask_file,
    image_file,
    image_sidecar,
    mask_sidecar,
    sidecar_file,
)
from ricenet.preprocessing.intensity import dose_in_units
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE
from ricenet.preprocessing.network_input import write_volume
from ricenet.preprocessing.preprocess_subject import PreprocessedSubject
from ricenet.runtime.files import write_json
from ricenet.volume import Volume, save_nifti


def write_subject(result: PreprocessedSubject, folder: Path, raw: RawSubject, dose_unit_gy: float) -> None:
    """Write the network's arrays, NIfTI files for people with what BIDS says of them, and what was measured.

    Raises ScanError: a value that float16 cannot hold.
    """
    given, dose = result.measurements.brain_source == "given", result.measurements.dose
    alpha_beta_gy = None if dose is None else dose.eqd2_alpha_beta_gy
    crops = {f".{name}": (crop.volumes, crop.brain) for name, crop in result.crops.items()}
    masks = {brain_mask_file(raw.subject): result.brain_mask}
    for suffix, (volumes, brain) in {"": (result.volumes, result.brain), **crops}.items():
        for name, volume in volumes.items():
            spec, values = raw.volumes[name], np.asarray(volume.data, dtype=np.float32)
            if spec.kind == "dose":
                values = dose_in_units(values, dose_unit_gy)
            write_volume(values, folder, raw.subject, name, suffix)
            sidecar = image_sidecar(raw, spec, volume.grid, alpha_beta_gy)
            _write_image(volume, folder, image_file(raw.subject, spec, suffix), sidecar)
        masks[brain_file(raw.subject, suffix)] = brain
    for file, mask in masks.items():
        _write_image(mask, folder, file, mask_sidecar(raw, mask.grid, given=given))
    write_json(folder / MEASUREMENTS_FILE, result.measurements.model_dump(mode="json"))


def _write_image(volume: Volume, folder: Path, file: str, sidecar: Mapping[str, object]) -> None:
    save_nifti(volume, folder / file)
    write_json(folder / sidecar_file(file), sidecar)
