"""A case that lacks volumes: what of it the networks see, in whose space it lies, and what decides its vote.

A network that was trained with volumes withheld answers from those that there are. Its calibration and
thresholds are those of the answers from these very volumes, where a new case's networks see it as they saw
the held-out: not where the missing volume would have placed the crop.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid
from ricenet.inference.three_way import NO_EVIDENCE, DecisionThreshold, ThreeWayAnswer
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import CohortError
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import Volumes


def volumes_of_case(record: EnsembleRecord, given: Collection[str], subject: str) -> Volumes:
    """The declaration by which a case is checked and preprocessed. given: names of its volumes.

    Of networks that may lack volumes those that the case has, all of them required: its first MRI is the one
    into whose space it is brought. Of others, all volumes of the training.
    Raises CohortError: no volume of the set, no MRI, or none in a session whose dose or MRI could then not be
    placed.
    """
    if not record.network.may_lack_volumes:
        return record.volumes
    there = [spec for spec in record.volumes if spec.name in given]
    members = ", ".join(spec.name for spec in record.members)
    if not any(spec in record.members for spec in there):
        raise CohortError(f"{subject}: none of the volumes {members} is given; the model needs one at least")
    # the reference MRI of training stays it wherever it is there
    first = [spec for spec in there if spec.kind == "mri"][:1]
    placed = {spec.session for spec in there if spec.kind == "mri"}
    unplaced = [spec for spec in there if spec.session not in placed]
    if not first or unplaced:
        lacking = sorted({spec.session for spec in unplaced or there})
        raise CohortError(
            f"{subject}: no MRI of session {', '.join(lacking)} is given, into whose space "
            f"{', '.join(spec.name for spec in unplaced or there)} would have to be brought. Give the MRI, "
            "or leave these volumes out"
        )
    return Volumes(spec.model_copy(update={"required": True}) for spec in there)


def missing_of(record: EnsembleRecord, there: Volumes) -> tuple[str, ...]:
    """The volumes of the set that a case lacks, by the declaration that it is read by."""
    return tuple(spec.name for spec in record.members if spec.name not in there.names)


def read_present(
    folder: Path, subject: str, names: Sequence[str], missing: Collection[str], grid: InputGrid
) -> NDArray[np.floating]:
    """A subject's volumes (C, X, Y, Z) in the order of the names; NaN where one is missing.

    Raises ScanError: as `read_volumes`.
    """
    there = [name for name in names if name not in missing]
    found = read_volumes(folder, subject, there, grid)
    if not missing:
        return found
    volumes = np.full((len(names), *grid.shape), np.nan, np.float16)
    volumes[[names.index(name) for name in there]] = found
    return volumes


def decision_from(
    record: EnsembleRecord, threshold: DecisionThreshold | None, missing: Collection[str]
) -> tuple[DecisionThreshold | None, ThreeWayAnswer]:
    """What decides a case that lacks volumes; and, where that is None, what is answered in its place."""
    if threshold is None or not missing:
        return threshold, NO_EVIDENCE
    there = record.volumes.set_name({spec.name for spec in record.members} - set(missing))
    if moved := [name for name in _placing(record) if name in missing]:
        return None, _uncalibrated(
            f"without {', '.join(moved)} the crop lies elsewhere than in training, so that no held-out "
            "subject was answered like this"
        )
    found = threshold.with_volumes(there)
    return found, _uncalibrated(f"no evidence is at hand of answers from {there} alone")


def said_of_missing(record: EnsembleRecord, there: Volumes, missing: Collection[str]) -> list[str]:
    """What to say of a case that lacks volumes, besides its answer."""
    if not missing:
        return []
    names = ", ".join(spec.name for spec in record.members if spec.name not in missing)
    said = [f"{', '.join(missing)} missing: answered from {names} alone, by the one network trained for that"]
    if there.reference.name != record.volumes.reference.name:
        said.append(
            f"preprocessed in the space of {there.reference.name}, as {record.volumes.reference.name} is "
            "missing, in whose space the training subjects lie"
        )
    return said


def _placing(record: EnsembleRecord) -> tuple[str, ...]:
    """The volumes by which what the networks see is placed (`input_of`)."""
    declared = record.volumes
    if record.input == "crop" and declared.dose is not None:
        return (declared.dose.name,)
    if record.input in ("crop", "crop_by_change"):
        return (declared.reference.name, declared.last_session_reference.name)
    return ()


def _uncalibrated(reason: str) -> ThreeWayAnswer:
    said = f"uncalibrated: {reason}"
    return NO_EVIDENCE.model_copy(update={"why": said, "labels_why": said})
