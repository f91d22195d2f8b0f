"""What networks answer to a subject as it is, and perturbed in every way.

A perturbed volume is made once and shown to every network that takes its modality.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.evaluation.robustness.given import Given
from ricenet.evaluation.robustness.perturbations import Perturbation
from ricenet.training.networks import p_rice, predict_logits
from ricenet.vocabulary import Modality, members

Trial = tuple[int, int]
"""The perturbation's place in the list, and which of its trials."""


@dataclass(frozen=True)
class SubjectAnswers:
    """p_rice by modality set: of the input as it is, and (trials,) of each perturbation, by its place."""

    subject: str
    given: Mapping[str, float]
    perturbed: Mapping[str, Mapping[int, NDArray[np.float64]]]


@torch.no_grad()
def subject_answers(
    given: Given,
    networks: Mapping[str, torch.nn.Module],
    perturbations: Sequence[Perturbation],
    batch_size: int,
) -> SubjectAnswers:
    """Ask a network a modality set, each in its evaluation mode and on the subject's device.

    batch_size: perturbed inputs in memory; it has no influence on the answers.
    """
    found: dict[str, dict[int, list[float]]] = {name: {} for name in networks}
    seen = {modality for name in networks for modality in members(name)}
    for trials in _batches(perturbations, given, batch_size):
        changed = _changed(given, perturbations, trials, seen)
        for name, network in networks.items():
            if changed.keys() & set(members(name)):
                answers = _ask(network, _inputs(given, name, changed, len(trials)))
                for (place, _), answer in zip(trials, answers, strict=True):
                    found[name].setdefault(place, []).append(float(answer))
    as_it_is = {
        name: float(_ask(network, _inputs(given, name, {}, 1))[0]) for name, network in networks.items()
    }
    perturbed = {
        name: {i: np.array(p) for i, p in sorted(by_place.items())} for name, by_place in found.items()
    }
    return SubjectAnswers(given.subject, as_it_is, perturbed)


def _batches(perturbations: Sequence[Perturbation], given: Given, size: int) -> Iterator[list[Trial]]:
    """Trials that change the same modalities, so many at a time."""
    by_modalities: dict[tuple[Modality, ...], list[Trial]] = {}
    for place, perturbation in enumerate(perturbations):
        if perturbation.possible(given):
            trials = [(place, trial) for trial in range(perturbation.trials)]
            by_modalities.setdefault(perturbation.modalities, []).extend(trials)
    for trials in by_modalities.values():
        yield from (trials[first : first + size] for first in range(0, len(trials), size))


def _changed(
    given: Given, perturbations: Sequence[Perturbation], trials: Sequence[Trial], seen: Collection[Modality]
) -> dict[Modality, torch.Tensor]:
    """(trials, X, Y, Z) of each modality that these trials change and that a network sees."""
    modalities = [m for m in perturbations[trials[0][0]].modalities if m in seen]
    return {
        modality: torch.stack(
            [perturbations[place].change(given, modality, trial) for place, trial in trials]
        )
        for modality in modalities
    }


def _inputs(
    given: Given, modality_set: str, changed: Mapping[Modality, torch.Tensor], n: int
) -> torch.Tensor:
    """(n, C, X, Y, Z): the set's channels, as they are where they are not changed."""
    shape = given.brain.shape
    channels = [
        changed[modality] if modality in changed else given.channel(modality).expand(n, *shape)
        for modality in members(modality_set)
    ]
    return torch.stack(channels, dim=1)


def _ask(network: torch.nn.Module, inputs: torch.Tensor) -> NDArray[np.float64]:
    answers: NDArray[np.float64] = p_rice(predict_logits(network, inputs, len(inputs))).numpy()
    return answers
