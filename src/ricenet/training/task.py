"""What determines one training, and the content address that follows from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.config.inputs import InputGrid
from ricenet.config.network_params import NetworkParams
from ricenet.config.training import AugmentationParams, TrainingParams
from ricenet.runtime.files import content_digest, read_json
from ricenet.runtime.formats import KEY, TRAINED
from ricenet.runtime.git import CODE, has_changes, head_commit
from ricenet.runtime.store import CONTENTS, is_sealed
from ricenet.training.history import FoldIdentity
from ricenet.training.predictions import predictions_file
from ricenet.training.variables import SubjectVariables, VariableEncoder
from ricenet.vocabulary import (
    LABELS,
    PAPER_VOLUMES,
    LabelNames,
    VariableSpec,
    Volumes,
    VolumeSpec,
    is_rice_task,
)

if TYPE_CHECKING:
    import torch

    from ricenet.training.initial_weights import InitialWeights

WEIGHTS, HISTORY, PREDICTIONS, RECORD = "weights.safetensors", "history.csv", "predictions.tsv", "fold.json"
RESULTS = (WEIGHTS, HISTORY, PREDICTIONS)
"""Of a finished fold; after them comes the record, and last the hashes of all of them."""

SECONDS, TRAINED_S = "seconds.json", "trained_s"
"""How long a fold trained, beside its results and no part of them: those repeat."""

logger = logging.getLogger(__name__)

CHECKPOINT, CHECKPOINT_BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
"""The last two states of an unfinished fold."""

TRAIN_AGAIN = "Move it away and train again"

_WITHOUT_INFLUENCE = {"recipe", "checkpoint_every_epochs", "checkpoint_pause_s", "memory", "overrides"}


@dataclass(frozen=True)
class CodeState:
    """The code that trains. uncommitted_changes: whether code or params.yaml differ from the commit."""

    commit: str | None
    uncommitted_changes: bool


@cache
def code_state(project: Path) -> CodeState:
    """The code of a project's folder, as it was when this process first asked."""
    return CodeState(head_commit(project), has_changes(project, *CODE, "params.yaml"))


@dataclass(frozen=True)
class FoldTask:
    """One fold of one modality set.

    training: the settings of this modality set (`TrainingParams.of_set`). grid: of what the network sees.
    subject_keys: content addresses of the preprocessed volumes. code: digest of the
    modules that train. preprocessed: a folder with a folder per subject. store: a folder with a
    folder per finished or begun fold, by key. volumes: all declared ones. variables: values by subject.
    excluded: subjects that lack a volume of the set. code_state: recorded, but no part of the key.
    own_settings: dotted names of parameters in which the folds of a set differ by intention, since each
    searched its own. left_out: another fold that is held out and validated as well. label_names: the classes.
    """

    modality_set: str
    fold: int
    seed: int
    training: TrainingParams
    augmentation: AugmentationParams
    network: NetworkParams
    grid: InputGrid
    labels: Mapping[str, str]
    training_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    subject_keys: Mapping[str, str]
    code: str
    preprocessed: Path
    store: Path
    volumes: Volumes = PAPER_VOLUMES
    variable_specs: tuple[VariableSpec, ...] = ()
    variables: Mapping[str, SubjectVariables] = field(default_factory=dict)
    initial_weights: InitialWeights | None = None
    excluded: tuple[str, ...] = ()
    code_state: CodeState = field(default_factory=lambda: code_state(Path.cwd()))
    own_settings: frozenset[str] = frozenset()
    left_out: int | None = None
    label_names: LabelNames = LABELS

    @property
    def members(self) -> tuple[VolumeSpec, ...]:
        """The volumes of the modality set, in channel order."""
        return self.volumes.members(self.modality_set)

    @property
    def prediction_files(self) -> dict[str, str]:
        """Which volumes of the set the held-out are answered from, by the file with these answers.

        All of them; of a network that may lack volumes, every other subset too.
        """
        *others, everything = self.volumes.subsets(self.modality_set)
        further = others if self.network.may_lack_volumes else []
        return {PREDICTIONS: everything} | {predictions_file(subset): subset for subset in further}

    @property
    def results(self) -> tuple[str, ...]:
        """The files of a finished fold, apart from its record."""
        return tuple(dict.fromkeys((*RESULTS, *self.prediction_files)))

    @property
    def epochs(self) -> int:
        """How many are trained."""
        return self.training.epochs_for(len(self.training_subjects))

    @property
    def subjects(self) -> tuple[str, ...]:
        """All that take part: those of training, then those of validation."""
        return (*self.training_subjects, *self.validation_subjects)

    @cached_property
    def encoder(self) -> VariableEncoder:
        """How the variables become numbers, learnt from the training subjects."""
        known = [self.variables.get(subject, {}) for subject in self.training_subjects]
        return VariableEncoder.fitted(self.variable_specs, known)

    @property
    def variable_columns(self) -> int:
        """How many numbers the network gets beside the volumes: none where it uses no variables."""
        return len(self.encoder.columns) if self.network.uses_variables else 0

    def encoded_variables(self, subjects: Sequence[str]) -> torch.Tensor:
        """(N, V) float32, V the `variable_columns`. Raises VariableError: a value that cannot be encoded."""
        if not self.network.uses_variables:
            return VariableEncoder().encode({subject: {} for subject in subjects})
        return self.encoder.encode({subject: self.variables.get(subject, {}) for subject in subjects})

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings that influence the result, by dotted name."""
        initial_weights = None if self.initial_weights is None else self.initial_weights.digest
        return _dotted(
            {
                "training": self.training.model_dump(exclude=_WITHOUT_INFLUENCE),
                "augmentation": self.augmentation.model_dump(),
                "network": {**self.network.model_dump(), "initial_weights": initial_weights},
            }
        )

    @cached_property
    def key(self) -> str:
        """Content address of the result: settings, subjects, what is known of them, and the code."""
        return content_digest(
            {
                "modality_set": self.modality_set,
                "fold": self.fold,
                "seed": self.seed,
                "parameters": self.parameters,
                "grid": self.grid.content,
                "channels": [spec.model_dump(include={"name", "kind", "scale"}) for spec in self.members],
                # each of them has its own draws of augmentation
                "mris": [spec.name for spec in self.volumes.mris],
                "subjects": {"train": self.training_subjects, "validation": self.validation_subjects},
                "known": self._known(self.subjects),
                "code": self.code,
                **self._classes,
            }
        )

    @property
    def _classes(self) -> dict[str, Any]:
        """Where they are not the paper's two, so that those keep their keys."""
        return {} if is_rice_task(self.label_names) else {"label_names": list(self.label_names)}

    def _known(self, subjects: Sequence[str]) -> dict[str, Any]:
        """What the network can learn from, by subject: labels, volumes, and variables where it uses them."""
        known: dict[str, Any] = {
            "labels": {subject: self.labels[subject] for subject in subjects},
            "volumes": {subject: self.subject_keys[subject] for subject in subjects},
        }
        if self.network.uses_variables:
            specs = [spec.model_dump(include={"name", "kind"}) for spec in self.variable_specs]
            values = {subject: dict(self.variables.get(subject, {})) for subject in subjects}
            known["variables"] = [specs, values]
        return known

    @property
    def provenance(self) -> dict[str, Any]:
        """Which subjects the fold learnt from and is judged on, and digests of what the folds of a set share.

        All of it follows from the key.
        """
        subjects = {"training": list(self.training_subjects), "validation": list(self.validation_subjects)}
        common = {name: value for name, value in self.parameters.items() if name not in self.own_settings}
        known = self._known(sorted(self.subjects))
        volumes = known.pop("volumes")
        parts = known | {
            "parameters": [common, sorted(self.own_settings), self.seed],
            "preprocessing": [volumes, self.grid.content],
        }
        digests = {name: content_digest(content) for name, content in parts.items()}
        return {"subjects": subjects, "digests": {**digests, "code": self.code}}

    @property
    def identity(self) -> FoldIdentity:
        """The name of this training in logs and to observers."""
        return FoldIdentity(self.modality_set, self.fold, self.key, self.left_out)

    @property
    def folder(self) -> Path:
        """Where the results are kept, and the checkpoint until then."""
        return self.store / self.key

    @property
    def is_finished(self) -> bool:
        """Whether the results are complete, and their files those that were written, by their hashes."""
        return is_sealed(self.folder)

    def discard_damaged(self) -> None:
        """Delete results that are not as they were written, so that the fold is trained again; or nothing.

        Checkpoints stay: a kill may have come before the last step of keeping results.
        Raises FormatError: another version wrote them.
        """
        found = [
            self.folder / name for name in (CONTENTS, RECORD, *self.results) if (self.folder / name).exists()
        ]
        if found and self._written_record() is None:
            logger.warning(
                "%s: its results in the store are damaged or incomplete (%s): it is trained again",
                *(self.identity, ", ".join(path.name for path in found)),
            )
            for path in found:
                path.unlink()

    @property
    def record(self) -> dict[str, Any]:
        """What fold.json says about the training; of a finished one, as it was written then.

        Raises FormatError: another version wrote it.
        """
        if (written := self._written_record()) is not None:
            return written
        return {
            KEY: TRAINED.number,
            "modality_set": self.modality_set,
            "fold": self.fold,
            "key": self.key,
            "seed": self.seed,
            "parameters": self.parameters,
            "train_subjects": len(self.training_subjects),
            "validation_subjects": len(self.validation_subjects),
            "excluded_subjects": list(self.excluded),
            "commit": self.code_state.commit,
            "uncommitted_changes": self.code_state.uncommitted_changes,
            **({"box": self.grid.box.model_dump()} if self.grid.box else {}),
            **self._classes,
        }

    def _written_record(self) -> dict[str, Any] | None:
        """What lies in the store, None where nothing does or what does is damaged."""
        path = self.folder / RECORD
        try:
            written = read_json(path)
        except (OSError, ValueError):
            return None
        if isinstance(written, dict):
            TRAINED.require(written.get(KEY, 1), str(path), TRAIN_AGAIN)
        return written if self.is_finished else None


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        below = isinstance(value, Mapping)
        result |= _dotted(value, f"{prefix}{name}.") if below else {prefix + name: value}
    return result
