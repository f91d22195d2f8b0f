"""Ensembles of untrained networks as narrow as they get, in memory and on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from ricenet.config.network_params import NetworkParams, ResNetParams
from ricenet.training.ensemble_record import EnsembleRecord, write_ensemble
from ricenet.training.networks import initial_network
from ricenet.training.tensors_file import write_tensors

NARROW = ResNetParams(widen_factor=0.05, stem_stride=2)


def ensemble_record(modality_set: str, **changes: Any) -> EnsembleRecord:
    content: dict[str, Any] = {
        "modality_set": modality_set,
        "folds": 2,
        "network": NARROW,
        "fold_keys": ("key0", "key1"),
        "data_digest": "data",
        "preprocessing_digest": "preprocessing",
        "splits_digest": "splits",
        "preprocessing": {"cube_voxels": 16, "spacing_mm": 8.0},
    }
    return EnsembleRecord(**content | changes)


def untrained(
    modality_set: str,
    fold: int = 0,
    seed: int = 0,
    network: NetworkParams = NARROW,
    variables: int = 0,
    classes: int = 2,
) -> torch.nn.Module:
    channels = len(modality_set.split("+"))
    return initial_network(network, modality_set, fold, seed, channels, variables, classes=classes)


def write_untrained(folder: Path, record: EnsembleRecord, seed: int = 0) -> str:
    """The ensemble of a record with each fold's first weights; returns its digest."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{fold}.safetensors" for fold in range(record.folds)]
        for fold, path in enumerate(paths):
            columns = len(record.encoders[fold].columns) if record.network.uses_variables else 0
            classes = len(record.label_names)
            network = untrained(record.modality_set, fold, seed, record.network, columns, classes)
            write_tensors(network.state_dict(), path)
        return write_ensemble(folder, record, paths)
