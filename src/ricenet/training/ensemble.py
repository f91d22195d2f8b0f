"""The folds of one modality set as one classifier, read from disk without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import RegistryError
from ricenet.training.ensemble_record import EnsembleRecord, intact_record, read_record, weights_name
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import LABELS, Volumes, VolumeSpec, is_rice_task

if TYPE_CHECKING:
    import torch

_BATCH = 8
_MOST_KEPT = 32
"""Networks that a process keeps of ensembles that it reads as they are used: a fold of every modality set."""


@dataclass(frozen=True)
class Ensemble:
    """The trained folds of one modality set; `record` is the content of ensemble.json.

    weights: the SHA-256 of each fold's file, of an ensemble that was read.
    """

    record: EnsembleRecord
    networks: Sequence[torch.nn.Module]
    weights: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an ensemble, onto the GPU where there is one, ready to predict.

        Raises RegistryError: files missing, damaged, or not those that ensemble.json describes. FormatError:
        of another version.
        """
        record, weights = intact_record(folder)
        networks = [_load_network(record, folder, fold) for fold in range(record.folds)]
        return cls(record, networks, weights)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """As `load`, but each network is read when it is first used: it travels between processes, and where
        no network is asked torch is not imported. The files may not go meanwhile.
        """
        record, weights = intact_record(folder)
        return cls(record, _NetworksOnDisk(folder.absolute(), record.digest, record.folds), weights)

    @property
    def modality_set(self) -> str:
        """The modality set that it takes."""
        return self.record.modality_set

    @property
    def volumes(self) -> Volumes:
        """All volumes that were declared when it was trained."""
        return self.record.volumes

    @property
    def members(self) -> tuple[VolumeSpec, ...]:
        """The volumes that it takes, in channel order."""
        return self.record.members

    @property
    def digest(self) -> str:
        """Content address of weights and provenance."""
        return self.record.digest

    def fold_content(self, fold: int) -> dict[str, Any]:
        """For content keys: what one fold's answers depend on, of an ensemble that was read. No other fold's
        weights, and not what it was trained on.
        """
        record = self.record
        encoder = record.encoders[fold].model_dump(mode="json") if record.network.uses_variables else None
        return {
            "weights": self.weights[fold],
            "network": record.network.model_dump(mode="json"),
            "members": [spec.name for spec in self.members],
            "grid": record.grid.content,
            "encoder": encoder,
            "fused": record.fused[fold].model_dump(mode="json") if record.fused else None,
        }

    def predict(
        self,
        volumes: NDArray[np.floating] | torch.Tensor,
        variables: Mapping[str, SubjectVariables] | None = None,
    ) -> NDArray[np.float64]:
        """Each fold's probability of RICE.

        volumes: (N, C, X, Y, Z), C the members of the modality set; one that is missing is NaN, for networks
        that may lack some. variables: by subject, in the same order; only networks that use them need them.
        Returns (N, folds).
        Raises RegistryError: volumes of another number of dimensions or channels, one that is missing and may
        not be, variables that are missing, or networks of other labels than the paper's two. VariableError: a
        variable that cannot be encoded.
        """
        import torch

        if not is_rice_task(self.record.label_names):
            raise RegistryError(
                f"the ensemble {self.modality_set} tells {', '.join(self.record.label_names)} apart, which "
                "p_rice alone cannot say; this needs the labels recurrence and rice (docs/labels.md)"
            )
        answers = np.ascontiguousarray(self.probabilities(volumes, variables)[:, :, LABELS.index("rice")])
        if not self.record.fused:
            return answers
        batch = torch.as_tensor(volumes, dtype=torch.float32)
        return self._with_regressions(batch.numpy(), answers, self._there(batch))

    def probabilities(
        self,
        volumes: NDArray[np.floating] | torch.Tensor,
        variables: Mapping[str, SubjectVariables] | None = None,
    ) -> NDArray[np.float64]:
        """Each fold's network's probability of each label (N, folds, K), in the order of the labels.

        Arguments and errors as of `predict`.
        """
        import torch

        from ricenet.training.networks import predict_logits, probabilities

        batch = torch.as_tensor(volumes, dtype=torch.float32)
        if batch.ndim != 5 or batch.shape[1] != len(self.members):
            raise RegistryError(
                f"volumes of shape {tuple(batch.shape)} given to the ensemble {self.modality_set}; "
                f"expected (subjects, {len(self.members)}, X, Y, Z)"
            )
        self._there(batch)
        encoded = self._encoded(len(batch), variables)
        if not len(batch):
            return np.empty((0, len(self.networks), len(self.record.label_names)))
        folds = [
            probabilities(predict_logits(network, batch, _BATCH, of_fold)).numpy()
            for network, of_fold in zip(self.networks, encoded, strict=True)
        ]
        return np.stack(folds, axis=1)

    def of_subject(
        self, fold: int, variables: Mapping[str, SubjectVariables], network: torch.nn.Module | None = None
    ) -> torch.nn.Module:
        """A fold's network of volumes alone; the subject's variables, where it uses any, stay as they are.

        variables: of one subject. network: another of the same kind in place of the fold's.
        Raises VariableError: a variable that cannot be encoded.
        """
        from ricenet.training.networks import WithVariables

        network = network or self.networks[fold]
        if not self.record.network.uses_variables:
            return network
        return WithVariables(network, self.record.encoders[fold].encode(variables))

    def answering(self, fold: int, variables: Mapping[str, SubjectVariables]) -> torch.nn.Module:
        """What answers for a fold: its network (as `of_subject`), and what is beside it, as one network."""
        from ricenet.training.networks import Joined

        network = self.of_subject(fold, variables)
        return Joined(network, partial(self._fused, fold)).eval() if self.record.fused else network

    def _fused(
        self, fold: int, volumes: NDArray[np.floating], p_rice: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        beside = self.record.fused[fold]
        return beside.p_rice(p_rice, beside.features(volumes, self.members))

    def _there(self, batch: torch.Tensor) -> NDArray[np.bool_]:
        """Which volumes (N, C) are not missing. Raises RegistryError: one is that may not be, or all are."""
        from ricenet.training.withheld_volumes import present_in

        there: NDArray[np.bool_] = present_in(batch).numpy()
        if not there.all() and not self.record.network.may_lack_volumes:
            raise RegistryError(
                f"a volume is missing (NaN) for the ensemble {self.modality_set}, which needs all of its "
                "volumes. Give them all, or train with network.channel_dropout"
            )
        if not there.any(axis=1).all():
            raise RegistryError(
                f"all volumes of a subject are missing (NaN) for {self.modality_set}; give one"
            )
        return there

    def _with_regressions(
        self, volumes: NDArray[np.float32], answers: NDArray[np.float64], there: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Answers (N, folds) of both together. there: (N, C); subjects with the same volumes go together."""
        names, joined = np.array([spec.name for spec in self.members]), answers.copy()
        for present in np.unique(there, axis=0):
            rows = (there == present).all(axis=1)
            fused = self.record.fused_from(names[present].tolist())
            seen = [spec for spec, there in zip(self.members, present, strict=True) if there]
            groups = fused[0].features(volumes[rows][:, present], seen)
            columns = (of_fold.p_rice(p, groups) for of_fold, p in zip(fused, answers[rows].T, strict=True))
            joined[rows] = np.stack([*columns], axis=1)
        return joined

    def _encoded(
        self, subjects: int, variables: Mapping[str, SubjectVariables] | None
    ) -> Sequence[torch.Tensor | None]:
        """The variables (N, V) as each fold encodes them; None for networks that use none."""
        if not self.record.network.uses_variables:
            return [None] * len(self.networks)
        if variables is None or len(variables) != subjects:
            names = ", ".join(spec.name for spec in self.record.variables)
            raise RegistryError(
                f"the ensemble {self.modality_set} needs the variables of all {subjects} subjects: {names}"
            )
        return [encoder.encode(variables) for encoder in self.record.encoders]


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


def _load_network(record: EnsembleRecord, folder: Path, fold: int) -> torch.nn.Module:
    from ricenet.training.networks import build_network, preferred_device
    from ricenet.training.tensors_file import read_tensors

    variables = len(record.encoders[fold].columns) if record.network.uses_variables else 0
    columns = record.encoders[fold].columns if variables else ()
    classes = len(record.label_names)
    network = build_network(record.network, len(record.members), variables, record.members, columns, classes)
    weights, _ = read_tensors(folder / weights_name(fold))
    network.load_state_dict(weights)
    return network.eval().to(preferred_device())


@dataclass(frozen=True)
class _NetworksOnDisk(Sequence["torch.nn.Module"]):
    """The networks of an ensemble with this digest, each read when it is first asked for."""

    folder: Path
    digest: str
    folds: int

    def __len__(self) -> int:
        return self.folds

    @overload
    def __getitem__(self, fold: int) -> torch.nn.Module: ...
    @overload
    def __getitem__(self, fold: slice) -> Sequence[torch.nn.Module]: ...
    def __getitem__(self, fold: int | slice) -> torch.nn.Module | Sequence[torch.nn.Module]:
        if isinstance(fold, slice):
            return [self[k] for k in range(self.folds)[fold]]
        return _kept_network(self.folder, self.digest, range(self.folds)[fold])


@lru_cache(maxsize=_MOST_KEPT)
def _kept_network(folder: Path, digest: str, fold: int) -> torch.nn.Module:
    del digest  # of the files, which are read once for each
    return _load_network(read_record(folder), folder, fold)
