"""Training of one fold of one modality set: resumable, repeatable, kept by the content of its inputs.

Source: RICE-NET section 2 (Adam, cross-entropy, weighted random sampler, the last epoch counts).
Randomness is counter-based, so a resumed training ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet import dataset, network, randomness
from ricenet.augmentation import augment, draw_augmentation
from ricenet.errors import TrainingError
from ricenet.files import atomic_path, write_json
from ricenet.modalities import LABELS, Label
from ricenet.training import predictions, sampling
from ricenet.training.checkpoint import capture, read_checkpoint, restore, write_checkpoint
from ricenet.training.history import EpochMetrics, EpochObserver, FoldIdentity, NullObserver, write_history
from ricenet.training.task import CHECKPOINT, HISTORY, PREDICTIONS, RECORD, WEIGHTS, FoldTask

logger = logging.getLogger(__name__)


class _Run:
    """The moving parts of one training."""

    def __init__(self, task: FoldTask, identity: FoldIdentity) -> None:
        self.task, self.identity = task, identity
        self.device = network.preferred_device()
        self.training = dataset.load_volumes(
            task.preprocessed, task.training_subjects, task.modality_set, task.cube_voxels
        )
        self.validation = dataset.load_volumes(
            task.preprocessed, task.validation_subjects, task.modality_set, task.cube_voxels
        )
        self.network = network.initial_network(
            task.modality_set, task.fold, task.seed, task.network.widen_factor, task.network.stem_stride
        ).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=task.training.learning_rate,
            weight_decay=task.training.weight_decay,
            fused=True,
        )

    def generator(self, purpose: str, *detail: str | int) -> np.random.Generator:
        """Randomness for one purpose in this set and fold."""
        task = self.task
        return randomness.generator_for(purpose, task.seed, task.modality_set, task.fold, *detail)

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss and macro-F1 over the samples of an epoch, as augmented."""
        task = self.task
        known = [task.labels[subject] for subject in task.training_subjects]
        order = sampling.draw_epoch(known, self.generator("sampling", epoch))
        repeats = np.array(sampling.occurrences(order))
        self.network.train()
        losses, probabilities = [], []
        # cut by position in the epoch, so that subjects and their repeats stay together
        for places in sampling.in_batches(np.arange(len(order)), task.training.batch_size):
            loss, p_rice = self.train_batch(epoch, order[places], repeats[places])
            losses.append(loss * len(places))
            probabilities.append(p_rice)
        seen = [known[position] for position in order]
        return sum(losses) / len(order), predictions.macro_f1(seen, np.concatenate(probabilities))

    def train_batch(
        self, epoch: int, positions: NDArray[np.int64], repeats: NDArray[np.int64]
    ) -> tuple[float, NDArray[np.float64]]:
        """One step; returns the mean loss and p_rice (B,) before it."""
        task = self.task
        subjects = [task.training_subjects[position] for position in positions]
        drawn = [
            draw_augmentation(task.augmentation, self.generator("augmentation", epoch, subject, int(repeat)))
            for subject, repeat in zip(subjects, repeats, strict=True)
        ]
        volumes = self.training[torch.from_numpy(positions)].to(self.device)
        logits = self.network(augment(volumes, task.modality_set, drawn, task.spacing_mm))
        loss = torch.nn.functional.cross_entropy(logits, self.classes(subjects).to(self.device))
        value = self.finite(loss.detach(), epoch, "training", subjects)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return value, network.p_rice(logits.detach().cpu()).numpy()

    def validate(self, epoch: int) -> tuple[float, NDArray[np.float64]]:
        """Mean loss and p_rice (N,) of the validation subjects."""
        subjects = self.task.validation_subjects
        logits = network.predict_logits(self.network, self.validation, self.task.training.batch_size)
        loss = torch.nn.functional.cross_entropy(logits, self.classes(subjects))
        return self.finite(loss, epoch, "validation", subjects), network.p_rice(logits).numpy()

    def classes(self, subjects: Sequence[str]) -> torch.Tensor:
        """Class indices (B,) of subjects."""
        return torch.tensor([LABELS.index(self.task.labels[subject]) for subject in subjects])

    def finite(self, loss: torch.Tensor, epoch: int, part: str, subjects: Sequence[str]) -> float:
        """The loss as a number; raises TrainingError where it is not finite."""
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.identity}, epoch {epoch}: the {part} loss is {value} "
                f"for subjects {', '.join(subjects)}. "
                f"Lower training.learning_rate (now {self.task.training.learning_rate:g}) "
                "or look at these subjects' volumes"
            )
        return value


def train_fold(task: FoldTask, observer: EpochObserver | None = None) -> FoldIdentity:
    """Train one fold to its last epoch, from its last checkpoint if it has one; finished ones are kept.

    Results go to `task.folder`: weights, history, predictions of the validation subjects, and the
    record that marks them as complete.
    Raises TrainingError: a loss that is not finite. ScanError: volumes that cannot be used.
    """
    observer = observer or NullObserver()
    identity = task.identity
    if task.is_finished:
        return identity
    run = _Run(task, identity)
    history = _resume(run)
    for epoch in range(len(history) + 1, task.training.epochs + 1):
        train_loss, train_macro_f1 = run.train_epoch(epoch)
        validation_loss, p_rice = run.validate(epoch)
        validation_macro_f1 = predictions.macro_f1(_validation_labels(task), p_rice)
        history.append(EpochMetrics(train_loss, train_macro_f1, validation_loss, validation_macro_f1))
        if epoch % task.training.checkpoint_every_epochs == 0 and epoch < task.training.epochs:
            write_checkpoint(capture(run.network, run.optimiser, history), task.folder / CHECKPOINT)
        observer.on_epoch(identity, epoch, history[-1])
    _keep(run, history)
    observer.on_finished(identity, history)
    return identity


def _resume(run: _Run) -> list[EpochMetrics]:
    checkpoint = read_checkpoint(run.task.folder / CHECKPOINT)
    if checkpoint is None:
        return []
    restore(checkpoint, run.network, run.optimiser)
    logger.info("%s: resumed after epoch %d", run.identity, checkpoint.epoch)
    return list(checkpoint.history)


def _keep(run: _Run, history: Sequence[EpochMetrics]) -> None:
    """Write the results; the record last, since it marks the fold as finished."""
    from safetensors.torch import save_file

    task = run.task
    _, p_rice = run.validate(len(history))
    with atomic_path(task.folder / WEIGHTS) as temporary:
        save_file({name: value.cpu() for name, value in run.network.state_dict().items()}, temporary)
    write_history(history, task.folder / HISTORY)
    rows = zip(task.validation_subjects, _validation_labels(task), p_rice.tolist(), strict=True)
    predictions.write_predictions(
        [predictions.Prediction(subject, label, task.fold, p) for subject, label, p in rows],
        task.folder / PREDICTIONS,
    )
    write_json(task.folder / RECORD, task.record)
    # the second pattern: what a kill in the middle of a write has left
    for leftover in (task.folder / CHECKPOINT, *task.folder.glob(".partial-*")):
        leftover.unlink(missing_ok=True)


def _validation_labels(task: FoldTask) -> list[Label]:
    return [task.labels[subject] for subject in task.validation_subjects]
