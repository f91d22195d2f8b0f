"""What an ensemble on disk is: its description in ensemble.json, a file of weights a fold, and its digest.

A folder `models/ensembles/<modality set>` holds `fold-<k>.safetensors` and `ensemble.json`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from ricenet.config.inputs import CROPS, Box, InputGrid, InputName
from ricenet.config.network_params import Network
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.runtime.errors import FormatError, RegistryError
from ricenet.runtime.files import atomic_folder, content_digest, file_digest, read_json, write_json
from ricenet.runtime.formats import KEY, TRAINED
from ricenet.runtime.records import Record
from ricenet.training.fusion import FusedFold
from ricenet.training.variables import VariableEncoder
from ricenet.vocabulary import (
    LABELS,
    PAPER_VOLUMES,
    LabelName,
    VariableSpec,
    Volumes,
    VolumeSpec,
    is_rice_task,
)

RECORD = "ensemble.json"


class EnsembleRecord(Record):
    """What ensemble.json says. Digests are content addresses; the ensemble's own is known once it is written.

    volumes, variables: all declared ones. encoders: of the variables, one a fold. preprocessing: the settings
    with which volumes have to be preprocessed before a prediction. input: which of what that makes is seen;
    box: in which part of the cube, left out where it is all. fused: what answers beside each fold's network;
    none without fusion. fused_subsets: the same where volumes are missing, by those that are there.
    label_names: the classes, in the order of the networks' outputs.
    """

    format: int = TRAINED.number
    modality_set: str
    folds: int
    network: Network
    input: InputName = "head"
    box: Box | None = Field(default=None, exclude_if=lambda value: value is None)
    volumes: Volumes = PAPER_VOLUMES
    variables: tuple[VariableSpec, ...] = ()
    encoders: tuple[VariableEncoder, ...] = ()
    fold_keys: tuple[str, ...]
    data_digest: str
    preprocessing_digest: str
    splits_digest: str
    preprocessing: dict[str, Any]
    fused: tuple[FusedFold, ...] = ()
    fused_subsets: dict[str, tuple[FusedFold, ...]] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    label_names: tuple[LabelName, ...] = Field(default=LABELS, exclude_if=is_rice_task)
    digest: str = ""

    @model_validator(mode="after")
    def _box_where_the_brain_is_seen(self) -> Self:
        if (self.input == "brain") != (self.box is not None):
            raise ValueError("a box belongs to the input brain, and to no other")
        return self

    @property
    def members(self) -> tuple[VolumeSpec, ...]:
        """The volumes of the modality set, in channel order."""
        return self.volumes.members(self.modality_set)

    def fused_from(self, names: Sequence[str]) -> tuple[FusedFold, ...]:
        """What answers beside each fold's network from these volumes of the set."""
        return self.fused_subsets.get(self.volumes.set_name(names), self.fused)

    @property
    def grid(self) -> InputGrid:
        """Of what the networks see."""
        if self.input in CROPS:
            crop = self.preprocessing["crop"]
            return InputGrid(self.input, crop["voxels"], crop["spacing_mm"])
        cube = self.preprocessing
        return InputGrid(self.input, cube["cube_voxels"], cube["spacing_mm"], self.box)

    def known_preprocessing(self) -> PreprocessingParams:
        """The settings with which the volumes were made.

        Raises RegistryError: they are not those of this version of ricenet.
        """
        try:
            return PreprocessingParams.model_validate(self.preprocessing)
        except ValidationError as error:
            wrong = sorted({".".join(str(part) for part in e["loc"]) or "all of it" for e in error.errors()})
            raise RegistryError(
                f"the model {self.modality_set} ({self.digest[:12]}) was preprocessed with settings "
                f"that this version of ricenet does not know ({', '.join(wrong)}); use the version that "
                "trained it, or train again"
            ) from None

    def digest_with(self, weights: Sequence[str]) -> str:
        """The ensemble's digest. weights: the SHA-256 of each fold's file."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return content_digest({**content, "weights": list(weights)})


def require_rice_task(record: EnsembleRecord, what: str) -> None:
    """Refuse an ensemble of other labels than the paper's two. what: who does, as the sentence begins.

    Raises RegistryError.
    """
    if not is_rice_task(record.label_names):
        raise RegistryError(
            f"{what} answers of the labels {' and '.join(LABELS)} alone, and the model {record.modality_set} "
            f"({record.digest[:12]}) tells {', '.join(record.label_names)} apart. docs/labels.md says what "
            "such models have"
        )


def write_ensemble(folder: Path, record: EnsembleRecord, weights: Sequence[Path]) -> str:
    """Copy the folds' weights and describe them; replaces the folder as a whole.

    weights: a safetensors file a fold, in the order of folds. Returns the ensemble's digest.
    """
    digest = record.digest_with([file_digest(path) for path in weights])
    with atomic_folder(folder) as temporary:
        for fold, path in enumerate(weights):
            shutil.copyfile(path, temporary / weights_name(fold))
        write_json(temporary / RECORD, record.model_copy(update={"digest": digest}).model_dump(mode="json"))
    return digest


def read_record(folder: Path) -> EnsembleRecord:
    """What ensemble.json says, whatever the weights are.

    Raises RegistryError: missing, or no description of an ensemble. FormatError: of another version.
    """
    path = folder / RECORD
    if not path.is_file():
        raise RegistryError(f"no ensemble in {folder}: {RECORD} not found; `dvc repro train` makes it")
    try:
        content = read_json(path)
    except ValueError as error:
        raise RegistryError(f"{path} is not JSON ({error}); train or download the ensemble again") from None
    if isinstance(content, dict) and "modality_set" in content:
        TRAINED.require(content.get(KEY, 1), str(path), "Train again: dvc repro -f train")
    try:
        return EnsembleRecord.model_validate(content)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, problem["loc"])) or "all of it" for problem in error.errors())
        raise RegistryError(f"{path} does not describe an ensemble ({wrong}); train again") from None


def intact_record(folder: Path) -> tuple[EnsembleRecord, tuple[str, ...]]:
    """The record, and the SHA-256 of each fold's weights, once they fit it. Raises RegistryError."""
    record = read_record(folder)
    paths = [folder / weights_name(fold) for fold in range(record.folds)]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise RegistryError(
            f"{folder}: {', '.join(missing)} not found, ensemble.json names {len(paths)} folds"
        )
    weights = tuple(file_digest(path) for path in paths)
    if record.digest_with(weights) != record.digest:
        raise RegistryError(
            f"{folder}: weights or {RECORD} are not those that were written (digest "
            f"{record.digest[:12]} does not fit); train or download the ensemble again"
        )
    return record, weights


def ensemble_digest(folder: Path) -> str | None:
    """An ensemble's digest, computed from its files; None where they are not an ensemble's, or not all."""
    try:
        record = read_record(folder)
        return record.digest_with([file_digest(folder / weights_name(fold)) for fold in range(record.folds)])
    except (RegistryError, FormatError, OSError):
        return None


def weights_name(fold: int) -> str:
    """The file of a fold's weights."""
    return f"fold-{fold}.safetensors"
