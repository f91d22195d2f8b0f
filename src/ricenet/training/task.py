"""What determines one training, and the content address that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ricenet.config.training import AugmentationParams, NetworkParams, TrainingParams
from ricenet.runtime.files import content_digest, read_json
from ricenet.runtime.git import has_changes, head_commit
from ricenet.training.history import FoldIdentity
from ricenet.vocabulary import Label

WEIGHTS, HISTORY, PREDICTIONS, RECORD = "weights.safetensors", "history.csv", "predictions.tsv", "fold.json"
"""Results of a finished fold; the record is written last."""

CHECKPOINT, CHECKPOINT_BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
"""The last two states of an unfinished fold."""


_WITHOUT_INFLUENCE = {"checkpoint_every_epochs", "memory", "overrides"}


@dataclass(frozen=True)
class CodeState:
    """The code that trains. uncommitted_changes: whether src or params.yaml differ from the commit."""

    commit: str | None
    uncommitted_changes: bool


@cache
def code_state(project: Path) -> CodeState:
    """The code of a project's folder, as it was when this process first asked."""
    return CodeState(head_commit(project), has_changes(project, "src", "params.yaml"))


@dataclass(frozen=True)
class FoldTask:
    """One fold of one modality set.

    training: the settings of this modality set (`TrainingParams.of_set`). spacing_mm: voxel size of
    the cube. subject_keys: content addresses of the preprocessed volumes. code: digest of the
    modules that train. preprocessed: a folder with a folder per subject. store: a folder with a
    folder per finished or begun fold, by key. code_state: recorded, but no part of the key. own_settings:
    dotted names of parameters in which the folds of a set differ by intention, since each searched its own.
    """

    modality_set: str
    fold: int
    seed: int
    training: TrainingParams
    augmentation: AugmentationParams
    network: NetworkParams
    cube_voxels: int
    spacing_mm: float
    labels: Mapping[str, Label]
    training_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    subject_keys: Mapping[str, str]
    code: str
    preprocessed: Path
    store: Path
    code_state: CodeState = field(default_factory=lambda: code_state(Path.cwd()))
    own_settings: frozenset[str] = frozenset()

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings that influence the result, by dotted name."""
        return _dotted(
            {
                "training": self.training.model_dump(exclude=_WITHOUT_INFLUENCE),
                "augmentation": self.augmentation.model_dump(),
                "network": self.network.model_dump(),
            }
        )

    @cached_property
    def key(self) -> str:
        """Content address of the result: settings, subjects, their labels and volumes, and the code."""
        everyone = [*self.training_subjects, *self.validation_subjects]
        return content_digest(
            {
                "modality_set": self.modality_set,
                "fold": self.fold,
                "seed": self.seed,
                "parameters": self.parameters,
                "cube": [self.cube_voxels, self.spacing_mm],
                "subjects": {"train": self.training_subjects, "validation": self.validation_subjects},
                "labels": {subject: self.labels[subject] for subject in everyone},
                "volumes": {subject: self.subject_keys[subject] for subject in everyone},
                "code": self.code,
            }
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Whom the fold learnt from and is judged on, and digests of what all folds of a set have in common.

        All of it follows from the key, so it holds for folds too that were trained before it was kept.
        """
        everyone = sorted([*self.training_subjects, *self.validation_subjects])
        subjects = {"training": list(self.training_subjects), "validation": list(self.validation_subjects)}
        return {"subjects": subjects, "digests": self._digests(everyone)}

    def _digests(self, everyone: Sequence[str]) -> dict[str, str]:
        common = {name: value for name, value in self.parameters.items() if name not in self.own_settings}
        return {
            "parameters": content_digest([common, sorted(self.own_settings), self.seed]),
            "labels": content_digest({subject: self.labels[subject] for subject in everyone}),
            "preprocessing": content_digest(
                [
                    {subject: self.subject_keys[subject] for subject in everyone},
                    self.cube_voxels,
                    self.spacing_mm,
                ]
            ),
            "code": self.code,
        }

    @property
    def identity(self) -> FoldIdentity:
        """The name of this training in logs and to observers."""
        return FoldIdentity(self.modality_set, self.fold, self.key)

    @property
    def folder(self) -> Path:
        """Where the results are kept, and the checkpoint until then."""
        return self.store / self.key

    @property
    def is_finished(self) -> bool:
        """Whether the results are complete."""
        return (self.folder / RECORD).is_file()

    @property
    def record(self) -> dict[str, Any]:
        """What fold.json says about the training; of a finished one, as it was written then."""
        if self.is_finished:
            written: dict[str, Any] = read_json(self.folder / RECORD)
            return written
        return {
            "modality_set": self.modality_set,
            "fold": self.fold,
            "key": self.key,
            "seed": self.seed,
            "parameters": self.parameters,
            "train_subjects": len(self.training_subjects),
            "validation_subjects": len(self.validation_subjects),
            "commit": self.code_state.commit,
            "uncommitted_changes": self.code_state.uncommitted_changes,
        }


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        below = isinstance(value, Mapping)
        result |= _dotted(value, f"{prefix}{name}.") if below else {prefix + name: value}
    return result
