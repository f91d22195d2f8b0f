"""Steps of a fold's training on noise, to see what they take; nothing is read or kept."""

from __future__ import annotations

import torch

from ricenet.runtime.randomness import generator_for
from ricenet.training.augmentation import augment, draw_augmentation
from ricenet.training.hardware import Hardware
from ricenet.training.optimisation import Optimisation
from ricenet.training.task import FoldTask
from ricenet.vocabulary import channels


class TrialSteps:
    """The network of a fold, and a batch of noise for it."""

    def __init__(self, task: FoldTask) -> None:
        self.task, self.hardware = task, Hardware.choose(task.training.precision)
        self._optimisation = Optimisation(
            task.modality_set, task.fold, task.seed, task.network, task.training, self.hardware
        )
        samples = min(task.training.batch_size, len(task.training_subjects))
        shape = (samples, len(channels(task.modality_set)), *(task.cube_voxels,) * 3)
        noise = torch.Generator().manual_seed(0)
        self._volumes = torch.randn(shape, generator=noise).half().to(self.hardware.device)
        self._classes = (torch.arange(samples) % 2).to(self.hardware.device)

    def step(self) -> float:
        """Augment and learn, as a training does; returns the loss, so it is waited for."""
        task = self.task
        drawn = [
            draw_augmentation(task.augmentation, generator_for("trial", sample))
            for sample in range(len(self._volumes))
        ]
        augmented = augment(self._volumes, task.modality_set, drawn, task.spacing_mm)
        loss, _ = self._optimisation.step(augmented, self._classes)
        return float(loss)
