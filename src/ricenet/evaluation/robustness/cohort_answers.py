"""Answers for everyone outside the test set, each subject's once: unchanged ones come from the store.

A subject's key holds what its answers depend on: its files and its donors' doses by content, its variables,
the networks of its own fold, and what is done to its input. So nobody is asked again because another subject
joins without a label, or for another number of resamples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ricenet.cohort.splits import Splits
from ricenet.config.evidence import RobustnessParams
from ricenet.config.inputs import InputGrid
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.network_workers import PRELOAD, asking_bytes, network_workers, tool_versions
from ricenet.evaluation.robustness.donors import draw_donors
from ricenet.evaluation.robustness.perturbations import DonorLabel, perturbations
from ricenet.evaluation.robustness.perturbed_answers import Source, SubjectAnswers, held_out_answers
from ricenet.preprocessing.derivative_files import brain_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import content_digest, file_digest
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require
from ricenet.training.ensemble import Ensemble

REMEDY = "Mend these files, or make them again (dvc repro -f preprocess)"


def open_ensembles(folder: Path, names: Sequence[str], splits: Splits) -> dict[str, Ensemble]:
    """The ensembles of some modality sets; their networks are read when they are asked.

    Raises RegistryError: missing or damaged. ResultError: trained with other splits, or on different cubes.
    """
    ensembles = {name: Ensemble.at(folder / name) for name in names}
    for name, ensemble in ensembles.items():
        trained_with = ensemble.record.splits_digest
        if trained_with != splits.digest:
            raise ResultError(
                f"ensemble {name}: trained with splits {trained_with[:12]}, but splits.json is "
                f"{splits.digest[:12]}; which subjects it held out is not known. Run `dvc repro train`"
            )
    grids = {name: ensemble.record.grid for name, ensemble in ensembles.items()}
    if len(set(grids.values())) > len({grid.name for grid in grids.values()}):
        listed = "; ".join(f"{name}: {grid}" for name, grid in grids.items())
        raise ResultError(f"the ensembles were trained on different cubes ({listed}). Run `dvc repro train`")
    return ensembles


def cohort_answers(
    ensembles: Mapping[str, Ensemble],
    splits: Splits,
    source: Source,
    params: RobustnessParams,
    execution: ExecutionParams,
    store: Store,
) -> list[SubjectAnswers]:
    """Answers for everyone outside the test set, in order of fold; a worker holds one subject's volumes.

    A subject that lacks a volume is not asked of the networks that need it.
    Raises ResultError: a subject's files are missing. CohortError: subjects failed; all of them are named,
    the others stay in the store.
    """
    asked = dict(_asked(ensembles, splits, source))
    keys = _Keys(ensembles, source, params)
    members = max((len(ensemble.members) for ensemble in ensembles.values()), default=0)
    voxels = max((math.prod(grid.shape) for grid in source.grids.values()), default=0)
    folders = per_subject(
        "robustness",
        # relative paths would not be those of a worker elsewhere
        _Ask(asked, ensembles, replace(source, preprocessed=source.preprocessed.absolute()), params),
        {subject: keys.of(subject, of_subject) for subject, of_subject in asked.items()},
        store,
        network_workers(execution, asking_bytes(members, voxels, params.batch_size)),
        REMEDY,
        (*PRELOAD, "ricenet.evaluation.robustness.perturbed_answers"),
    )
    return [SubjectAnswers.read(subject, folder) for subject, folder in folders.items()]


@dataclass(frozen=True)
class _Asked:
    """Which networks a subject is asked of: a fold's, of some modality sets; and whose doses it gets."""

    fold: int
    sets: tuple[str, ...]
    donors: Mapping[DonorLabel, str]


def _asked(ensembles: Mapping[str, Ensemble], splits: Splits, source: Source) -> Iterator[tuple[str, _Asked]]:
    dose = source.volumes.dose
    donors = draw_donors(splits, source.having[dose.name] if dose else (), source.seed)
    for fold, subjects in enumerate(splits.folds):
        for subject in subjects:
            if sets := tuple(name for name in ensembles if subject in source.having[name]):
                yield subject, _Asked(fold, sets, donors.get(subject, {}))


class _Keys:
    """Content keys of subjects' answers; every file is hashed once."""

    def __init__(self, ensembles: Mapping[str, Ensemble], source: Source, params: RobustnessParams) -> None:
        self._ensembles, self._source = ensembles, source
        self._digest = functools.cache(self._file_digest)
        self._common = {
            "seed": source.seed,
            "params": params.model_dump(mode="json", exclude={"modality_sets"}),
            "volumes": [[spec.name, spec.kind, spec.scale] for spec in source.volumes],
            "versions": tool_versions(),
            "code": code_digest(
                "ricenet.evaluation.robustness.perturbed_answers",
                "ricenet.evaluation.robustness.perturbations",
            ),
        }

    def of(self, subject: str, asked: _Asked) -> str:
        """Raises ResultError: a file of preprocessing is missing."""
        source, networks = self._source, {name: self._ensembles[name] for name in asked.sets}
        measured = Measurements.of_subject(source.preprocessed / subject).mris
        seen = {spec.name for ensemble in networks.values() for spec in ensemble.members}
        content = {
            **self._common,
            # random numbers are drawn for each
            "subject": subject,
            "networks": {name: ensemble.fold_content(asked.fold) for name, ensemble in networks.items()},
            "inputs": self._inputs(subject, asked),
            "brain_means": {name: measured[name].mean_in_sds for name in sorted(seen & measured.keys())},
            "variables": dict(source.variables.get(subject, {}))
            if any(ensemble.record.network.uses_variables for ensemble in networks.values())
            else {},
        }
        return content_digest(content)

    def _inputs(self, subject: str, asked: _Asked) -> dict[str, Any]:
        """By input: the subject's files and its donors' doses, as far as a set of this input sees them."""
        volumes, dose = self._source.volumes, self._source.volumes.dose
        seen: dict[InputGrid, set[str]] = {}
        for name in asked.sets:
            grid = self._source.grids[name].whole
            seen.setdefault(grid, set()).update(spec.name for spec in volumes.members(name))
        found: dict[str, Any] = {}
        for grid, names in seen.items():
            files = [
                brain_file(subject, grid.suffix),
                *(volume_file(name, grid.suffix) for name in sorted(names)),
            ]
            donors = asked.donors if dose is not None and dose.name in names else {}
            found[grid.name] = {
                "files": {file: self._digest(subject, file) for file in files},
                "donors": {
                    label: self._digest(donor, volume_file(dose.name, grid.suffix))
                    for label, donor in donors.items()
                    if dose is not None
                },
            }
        return found

    def _file_digest(self, subject: str, file: str) -> str:
        return file_digest(require(self._source.preprocessed / subject / file, "preprocess"))


@dataclass(frozen=True)
class _Ask:
    """Asks one subject, in whatever process."""

    asked: Mapping[str, _Asked]
    ensembles: Mapping[str, Ensemble]
    source: Source
    params: RobustnessParams

    def __call__(self, subject: str, folder: Path) -> None:
        keep_freed_memory()
        asked = self.asked[subject]
        held_out_answers(
            subject,
            asked.fold,
            {name: self.ensembles[name] for name in asked.sets},
            asked.donors,
            self.source,
            perturbations(self.params, self.source.volumes),
            self.params.batch_size,
        ).write(folder)
