"""The folds of one modality set as one classifier, on disk without pickle.

A folder `models/ensembles/<modality set>` holds `fold-<k>.safetensors` and `ensemble.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.config.training import NetworkParams
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import atomic_folder, content_digest, file_digest, read_json, write_json
from ricenet.vocabulary import channels

if TYPE_CHECKING:
    import torch

RECORD = "ensemble.json"
_KEYS = {"modality_set", "folds", "network", "digest"}
_BATCH = 8


@dataclass(frozen=True)
class Provenance:
    """From what an ensemble was made; digests are content addresses."""

    fold_keys: tuple[str, ...]
    data_digest: str
    preprocessing_digest: str
    splits_digest: str
    preprocessing: Mapping[str, Any]
    """The settings with which volumes have to be preprocessed before a prediction."""


def write_ensemble(
    folder: Path, modality_set: str, weights: Sequence[Path], network: NetworkParams, provenance: Provenance
) -> str:
    """Copy the folds' weights and describe them; replaces the folder as a whole.

    weights: a safetensors file a fold, in the order of folds. Returns the ensemble's digest.
    """
    record: dict[str, Any] = {
        "modality_set": modality_set,
        "folds": len(weights),
        "network": network.model_dump(),
        "fold_keys": list(provenance.fold_keys),
        "data_digest": provenance.data_digest,
        "preprocessing_digest": provenance.preprocessing_digest,
        "splits_digest": provenance.splits_digest,
        "preprocessing": dict(provenance.preprocessing),
    }
    record["digest"] = _digest(record, weights)
    with atomic_folder(folder) as temporary:
        for fold, path in enumerate(weights):
            (temporary / _weights_name(fold)).write_bytes(path.read_bytes())
        write_json(temporary / RECORD, record)
    return str(record["digest"])


@dataclass(frozen=True)
class Ensemble:
    """The trained folds of one modality set; `record` is the content of ensemble.json."""

    record: Mapping[str, Any]
    networks: Sequence[torch.nn.Module]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an ensemble, onto the graphics card where there is one, ready to predict.

        Raises RegistryError: files missing, damaged, or not those that ensemble.json describes.
        """
        from ricenet.training.networks import preferred_device

        record = _read_record(folder)
        paths = [folder / _weights_name(fold) for fold in range(record["folds"])]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise RegistryError(
                f"{folder}: {', '.join(missing)} not found, ensemble.json names {len(paths)} folds"
            )
        if _digest({k: v for k, v in record.items() if k != "digest"}, paths) != record["digest"]:
            raise RegistryError(
                f"{folder}: weights or {RECORD} are not those that were written (digest "
                f"{record['digest'][:12]} does not fit); train or download the ensemble again"
            )
        return cls(record, [_load_network(record, path).to(preferred_device()) for path in paths])

    @property
    def modality_set(self) -> str:
        """The modalities that it takes, in channel order."""
        return str(self.record["modality_set"])

    @property
    def digest(self) -> str:
        """Content address of weights and provenance."""
        return str(self.record["digest"])

    def predict(self, volumes: NDArray[np.floating] | torch.Tensor) -> NDArray[np.float64]:
        """Each fold's probability of RICE.

        volumes: (N, C, X, Y, Z), C the members of the modality set. Returns (N, folds).
        Raises RegistryError: volumes of another number of dimensions or channels.
        """
        import torch

        from ricenet.training.networks import p_rice, predict_logits

        batch = torch.as_tensor(volumes, dtype=torch.float32)
        expected = len(channels(self.modality_set))
        if batch.ndim != 5 or batch.shape[1] != expected:
            raise RegistryError(
                f"volumes of shape {tuple(batch.shape)} given to the ensemble {self.modality_set}; "
                f"expected (subjects, {expected}, X, Y, Z)"
            )
        folds = [p_rice(predict_logits(network, batch, _BATCH)).numpy() for network in self.networks]
        return np.stack(folds, axis=1)


def ensemble_digest(folder: Path) -> str | None:
    """An ensemble's digest, computed from its files; None where they are not an ensemble's, or not all."""
    try:
        record = _read_record(folder)
        paths = [folder / _weights_name(fold) for fold in range(record["folds"])]
        return _digest({k: v for k, v in record.items() if k != "digest"}, paths)
    except (RegistryError, OSError):
        return None


def majority_vote(p_rice: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether more than half of the folds say RICE (p_rice >= 0.5); the mean decides a tie.

    p_rice: (N, folds). Returns (N,).
    Source: RICE-NET section 2 (majority vote of five folds); the tie rule, for even numbers, is ours.

    >>> majority_vote(np.array([[0.6, 0.6, 0.1], [0.9, 0.4, 0.4]]))
    array([ True, False])
    >>> majority_vote(np.array([[0.9, 0.4, 0.4, 0.6]]))
    array([ True])
    """
    votes = (p_rice >= 0.5).sum(axis=1) * 2
    folds = p_rice.shape[1]
    decided: NDArray[np.bool_] = np.where(votes == folds, p_rice.mean(axis=1) >= 0.5, votes > folds)
    return decided


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise RegistryError(f"no ensemble in {folder}: {RECORD} not found; `dvc repro train` makes it")
    try:
        record = read_json(path)
    except ValueError as error:
        raise RegistryError(f"{path} is not JSON ({error}); train or download the ensemble again") from None
    if not isinstance(record, dict) or not record.keys() >= _KEYS:
        raise RegistryError(f"{path} does not describe an ensemble; expected {', '.join(sorted(_KEYS))}")
    return record


def _load_network(record: Mapping[str, Any], path: Path) -> torch.nn.Module:
    from safetensors.torch import load_file

    from ricenet.training.networks import build_network

    shape = record["network"]
    network = build_network(
        record["modality_set"], shape["widen_factor"], shape["stem_stride"], shape.get("norm", "batch")
    )
    network.load_state_dict(load_file(path))
    return network.eval()


def _digest(record: Mapping[str, Any], weights: Sequence[Path]) -> str:
    return content_digest({**record, "weights": [file_digest(path) for path in weights]})


def _weights_name(fold: int) -> str:
    return f"fold-{fold}.safetensors"
