"""Bundles of small untrained ensembles, one of every kind, with subjects for them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from preprocessed_subjects import MEASUREMENTS
from small_ensembles import ensemble_record, untrained

from ricenet.bundle.metadata import Exported
from ricenet.bundle.write_bundle import write_bundle
from ricenet.cohort.layout import RawSubject
from ricenet.config.inputs import Box
from ricenet.config.network_params import DenseNetParams, ResNetParams
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.inference.three_way import DecisionThreshold
from ricenet.preprocessing.crops import Crop
from ricenet.preprocessing.measurements import CropMeasurements
from ricenet.preprocessing.network_input import read_volumes
from ricenet.preprocessing.preprocess_subject import PreprocessedSubject
from ricenet.preprocessing.subject_files import write_subject
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import EnsembleRecord, read_record, write_ensemble
from ricenet.training.tensors_file import write_tensors
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume

THRESHOLD = DecisionThreshold(
    recalibration=Recalibration(method="Platt", slope=0.7, intercept=-0.4), least_confidence=0.8
)
SUBJECTS = ("sub-001", "sub-002", "sub-003")
PREPROCESSING = {
    "cube_voxels": 32,
    "spacing_mm": 6.0,
    "dose_unit_gy": 60.0,
    "crop": {"voxels": 16, "spacing_mm": 4.0, "isodose": 0.8},
}
KINDS: dict[str, dict[str, Any]] = {
    "head": {
        "modality_set": "post_op+dose",
        "folds": 4,
        "network": ResNetParams(widen_factor=0.05, stem_stride=2),
    },
    "crop": {
        "modality_set": "event+dose",
        "folds": 3,
        "network": ResNetParams(name="resnet10", widen_factor=0.05, stem_stride=1),
        "input": "crop",
    },
    "brain": {
        "modality_set": "dose",
        "folds": 1,
        "network": DenseNetParams(),
        "input": "brain",
        "box": Box(first=(1, 0, 2), shape=(30, 32, 30)),
    },
}
"""The three inputs, and the three networks that MONAI has."""


@dataclass(frozen=True)
class Bundled:
    """A bundle, and the ensemble of which it was made."""

    folder: Path
    files: Path
    exported: Exported


def decided_ensemble(files: Path, record: EnsembleRecord) -> None:
    """An ensemble whose folds and subjects get answers that differ."""
    paths = []
    for fold in range(record.folds):
        network = untrained(record.modality_set, fold, network=record.network)
        adapt(network, torch.Generator().manual_seed(fold), (len(record.members), *record.grid.shape))
        paths.append(files.with_name(f"{files.name}-{fold}.safetensors"))
        write_tensors(network.state_dict(), paths[-1])
    write_ensemble(files, record, paths)


def adapt(network: torch.nn.Module, generator: torch.Generator, shape: tuple[int, ...]) -> None:
    """Give batch norm the statistics of some volumes; without any an untrained network says 0.5 of all."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 0.5
    spread = torch.arange(1.0, 4.0).reshape(-1, 1, 1, 1, 1)
    with torch.no_grad():
        network.train()(spread * torch.randn(3, *shape, generator=generator))


def write_bundled(folder: Path, kind: str) -> Bundled:
    settings = {"preprocessing": PREPROCESSING, **KINDS[kind]}
    name = settings.pop("modality_set")
    keys = tuple(f"key{fold}" for fold in range(settings["folds"]))
    files = folder / "ensembles" / kind
    files.parent.mkdir(parents=True, exist_ok=True)
    decided_ensemble(files, ensemble_record(name, fold_keys=keys, **settings))
    threshold = THRESHOLD if kind != "brain" else None
    exported = Exported(f"rice-net-{name}", "3", read_record(files), threshold, synthetic=True)
    write_bundle(folder / kind, files, exported)
    return Bundled(folder / kind, files, exported)


def write_subjects(folder: Path) -> None:
    """What preprocessing leaves of subjects, as its own function writes it."""
    head, crop = Grid.cube(np.array([3.0, -8.0, 12.0]), 6.0, 32), Grid.cube(np.zeros(3), 4.0, 16)
    placed = CropMeasurements(
        voxels=16,
        affine=crop.affine.tolist(),
        placed_by="dose",
        high_dose_regions=1,
        second_region=0.0,
        brain_share=1.0,
    )
    for number, subject in enumerate(SUBJECTS):
        volumes, cropped = (_volumes(grid, number) for grid in (head, crop))
        brains = [Volume(np.ones(grid.shape, np.bool_), grid) for grid in (head, crop)]
        result = PreprocessedSubject(
            volumes, brains[0], brains[0], MEASUREMENTS, {"crop": Crop(cropped, brains[1], placed)}
        )
        write_subject(result, folder / subject, RawSubject(folder, subject, PAPER_VOLUMES), 60.0)


def _volumes(grid: Grid, number: int) -> dict[str, Volume]:
    """MRIs in SDs; doses in Gy whose 60th no float16 holds."""
    rng = np.random.default_rng(number)
    mris = {name: rng.normal(number, 1 + number, grid.shape) for name in ("post_op", "event")}
    dose_gy = rng.uniform(0, 30 * (1 + number), grid.shape)
    return {
        name: Volume(values.astype(np.float32), grid) for name, values in (mris | {"dose": dose_gy}).items()
    }


def our_p_rice(bundled: Bundled, subjects: Path) -> np.ndarray:
    """Each fold's p_rice by ricenet itself, (subjects, folds)."""
    ensemble = Ensemble.load(bundled.files)
    names, grid = [spec.name for spec in ensemble.members], ensemble.record.grid
    return ensemble.predict(np.stack([read_volumes(subjects / s, s, names, grid) for s in SUBJECTS]))


def without_ricenet(code: str, *arguments: str, cwd: Path) -> Any:
    """What a Python that cannot import ricenet prints last, as JSON."""
    blocked = "import sys\nsys.modules['ricenet'] = None\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", blocked + code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
