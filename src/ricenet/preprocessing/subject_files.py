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
from ricenet.volume import Grid, Volume, save_nifti


def write_subject(result: PreprocessedSubject, folder: Path, raw: RawSubject, dose_unit_gy: float) -> None:
    """Write the network's arrays, NIfTI files for people with what BIDS says of them, and what was measured.

    Raises ScanError: a value that float16 cannot hold.
    """
    measured = result.measurements
    crops = {f".{name}": (crop.volumes, crop.brain) for name, crop in result.crops.items()}
    cubes = {"": (result.volumes, result.brain), **crops}
    for suffix, (volumes, _) in cubes.items():
        for name, volume in volumes.items():
            values = np.asarray(volume.data, dtype=np.float32)
            if raw.volumes[name].kind == "dose":
                values = dose_in_units(values, dose_unit_gy)
            write_volume(values, folder, raw.subject, name, suffix)
    alpha_beta_gy = None if measured.dose is None else measured.dose.eqd2_alpha_beta_gy
    for name in result.volumes:
        spec = raw.volumes[name]
        files = {image_file(raw.subject, spec, suffix): of[name] for suffix, (of, _) in cubes.items()}
        _write_images(files, folder, image_sidecar(raw, spec, _grids(files), alpha_beta_gy))
    masks = {brain_file(raw.subject, suffix): brain for suffix, (_, brain) in cubes.items()}
    masks |= {brain_mask_file(raw.subject): result.brain_mask}
    _write_images(masks, folder, mask_sidecar(raw, _grids(masks), given=measured.brain_source == "given"))
    write_json(folder / MEASUREMENTS_FILE, measured.model_dump(mode="json"))


def _grids(files: Mapping[str, Volume]) -> dict[str, Grid]:
    return {file: volume.grid for file, volume in files.items()}


def _write_images(files: Mapping[str, Volume], folder: Path, sidecar: Mapping[str, object]) -> None:
    """Write one volume on all its grids, with the sidecar of all."""
    for file, volume in files.items():
        save_nifti(volume, folder / file)
    write_json(folder / sidecar_file(next(iter(files))), sidecar)
