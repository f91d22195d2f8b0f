"""What networks answer to one held-out subject as it is, and perturbed in every way.

It is asked of the networks that did not train on it. A perturbed volume is made once and shown to every
network that takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid, Part
from ricenet.evaluation.robustness.perturbations import DonorLabel, Given, Perturbation
from ricenet.preprocessing.derivative_files import brain_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.tables import require
from ricenet.training.ensemble import Ensemble
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import LABELS, Volumes
from ricenet.volume import load_nifti

if TYPE_CHECKING:
    import torch

ANSWERS = "answers.json"

Trial = tuple[int, int]
"""The perturbation's place in the list, and which of its trials."""


@dataclass(frozen=True)
class SubjectAnswers:
    """p_rice by modality set: of the input as it is, and (trials,) of each perturbation, by its place.

    Of other labels than the paper's two the probability of each, (K,) and (trials, K).
    """

    subject: str
    given: Mapping[str, float | list[float]]
    perturbed: Mapping[str, Mapping[int, NDArray[np.float64]]]

    def __or__(self, other: SubjectAnswers) -> SubjectAnswers:
        """Answers of other networks to the same subject besides."""
        return SubjectAnswers(
            self.subject, {**self.given, **other.given}, {**self.perturbed, **other.perturbed}
        )

    def write(self, folder: Path) -> None:
        """Keep them in a folder; to the last bit."""
        perturbed = {
            name: [[place, answers.tolist()] for place, answers in by_place.items()]
            for name, by_place in self.perturbed.items()
        }
        write_json(folder / ANSWERS, {"given": dict(self.given), "perturbed": perturbed})

    @classmethod
    def read(cls, subject: str, folder: Path) -> Self:
        """Read what `write` wrote."""
        content = read_json(folder / ANSWERS)
        perturbed = {
            name: {place: np.array(answers) for place, answers in by_place}
            for name, by_place in content["perturbed"].items()
        }
        return cls(subject, content["given"], perturbed)


@dataclass(frozen=True)
class Source:
    """Where subjects are read. having: the subjects with all volumes, by modality set. variables: by subject.
    grids: of what each set's networks see.
    """

    preprocessed: Path
    volumes: Volumes
    having: Mapping[str, Collection[str]]
    variables: Mapping[str, SubjectVariables]
    grids: Mapping[str, InputGrid]
    seed: int

    def given(
        self, subject: str, sets: Collection[str], donors: Mapping[DonorLabel, str], device: torch.device
    ) -> Given:
        """Read a subject's volumes that some modality sets of one input see, and its donors' doses.

        Of a box all of its cube, so that what is moved comes from beside it, and the brain is a whole one.

        Raises ScanError: volumes missing, damaged or of another size. ResultError: another preprocessed file
        is missing.
        """
        import torch

        seen = {spec.name for modality_set in sets for spec in self.volumes.members(modality_set)}
        names = [name for name in self.volumes.names if name in seen]
        (grid,) = {self.grids[modality_set].whole for modality_set in sets}
        dose = self.volumes.dose.name if self.volumes.dose else None
        brain = load_nifti(
            require(self.preprocessed / subject / brain_file(subject, grid.suffix), "preprocess")
        )
        volumes = self._read(subject, names, grid)
        mris = Measurements.of_subject(self.preprocessed / subject).mris
        doses = (
            {k: self._read(donor, [dose], grid)[dose] for k, donor in donors.items()} if dose in names else {}
        )
        return Given(
            subject=subject,
            volumes={name: torch.from_numpy(values).to(device) for name, values in volumes.items()},
            brain=torch.from_numpy(brain.data > 0.5).to(device),
            spacing_mm=float(np.mean(brain.grid.spacing_mm)),
            brain_mean_sd={n: m.mean_in_sds for n, m in mris.items() if m.mean_in_sds is not None},
            donor_doses={kind: torch.from_numpy(values).to(device) for kind, values in doses.items()},
            seed=self.seed,
        )

    def _read(self, subject: str, names: Sequence[str], grid: InputGrid) -> dict[str, NDArray[np.float32]]:
        volumes = read_volumes(self.preprocessed / subject, subject, names, grid).astype(np.float32)
        return dict(zip(names, volumes, strict=True))


def held_out_answers(
    subject: str,
    fold: int,
    ensembles: Mapping[str, Ensemble],
    donors: Mapping[DonorLabel, str],
    source: Source,
    perturbations: Sequence[Perturbation],
    batch_size: int,
) -> SubjectAnswers:
    """Ask the networks of the fold that held the subject out, those of one input after the other.

    ensembles: of the modality sets whose volumes the subject has.
    Raises ScanError or ResultError: as `Source.given`. VariableError: a variable that cannot be encoded.
    """
    from ricenet.training.networks import preferred_device

    known, found = {subject: source.variables.get(subject, {})}, SubjectAnswers(subject, {}, {})
    for grid in dict.fromkeys(source.grids[name] for name in ensembles):
        networks = {
            name: ensemble.answering(fold, known)
            for name, ensemble in ensembles.items()
            if source.grids[name] == grid
        }
        given = source.given(subject, networks, donors, preferred_device())
        found |= subject_answers(given, source.volumes, networks, perturbations, batch_size, grid.part)
    return found


def subject_answers(
    given: Given,
    volumes: Volumes,
    networks: Mapping[str, torch.nn.Module],
    perturbations: Sequence[Perturbation],
    batch_size: int,
    part: Part | None = None,
) -> SubjectAnswers:
    """Ask each modality set's network, in its evaluation mode and on the subject's device.

    batch_size: perturbed inputs in memory; it has no influence on the answers. part: of the volumes, that the
    networks see; None: all.
    """
    import torch

    x, y, z = part or (slice(None),) * 3
    members = {name: [spec.name for spec in volumes.members(name)] for name in networks}
    found: dict[str, dict[int, list[float | list[float]]]] = {name: {} for name in networks}
    seen = {volume for names in members.values() for volume in names}
    for trials in _batches(perturbations, given, batch_size):
        changed = {
            spec.name: torch.stack(
                [perturbations[place].change(given, spec, trial) for place, trial in trials]
            )
            for spec in perturbations[trials[0][0]].volumes
            if spec.name in seen
        }
        for name, network in networks.items():
            if changed.keys() & set(members[name]):
                inputs = _inputs(given, members[name], changed, len(trials))
                answers = _ask(network, inputs[:, :, x, y, z])
                for (place, _), answer in zip(trials, answers, strict=True):
                    found[name].setdefault(place, []).append(answer.tolist())
    as_it_is = {name: _inputs(given, members[name], {}, 1)[:, :, x, y, z] for name in networks}
    return SubjectAnswers(
        given.subject,
        {name: _ask(net, as_it_is[name])[0].tolist() for name, net in networks.items()},
        {name: {i: np.array(p) for i, p in sorted(by_place.items())} for name, by_place in found.items()},
    )


def _batches(perturbations: Sequence[Perturbation], given: Given, size: int) -> Iterator[list[Trial]]:
    """Trials that change the same volumes, so many at a time."""
    by_volumes: dict[tuple[str, ...], list[Trial]] = {}
    for place, perturbation in enumerate(perturbations):
        if perturbation.possible(given):
            names = tuple(spec.name for spec in perturbation.volumes)
            by_volumes.setdefault(names, []).extend((place, trial) for trial in range(perturbation.trials))
    for trials in by_volumes.values():
        yield from (trials[first : first + size] for first in range(0, len(trials), size))


def _inputs(given: Given, names: Sequence[str], changed: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
    """(n, C, X, Y, Z): the set's channels, as they are where they are not changed."""
    import torch

    as_they_are = {name: given.volumes[name].expand(n, *given.brain.shape) for name in names}
    return torch.stack([changed.get(name, as_they_are[name]) for name in names], dim=1)


def _ask(network: torch.nn.Module, inputs: torch.Tensor) -> NDArray[np.float64]:
    """p_rice (N,), or of other labels than the paper's two the probability of each (N, K)."""
    from ricenet.training.networks import p_rice, predict_logits, probabilities

    logits = predict_logits(network, inputs, len(inputs))
    answers: NDArray[np.float64] = (p_rice if logits.shape[1] == len(LABELS) else probabilities)(
        logits
    ).numpy()
    return answers
