"""Training of one fold of one modality set: resumable, repeatable, kept by the content of its inputs.

Source: RICE-NET section 2 (Adam, cross-entropy, weighted random sampler, the last epoch counts).
Randomness is counter-based, so a resumed training ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.runtime import randomness
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.files import write_json
from ricenet.runtime.machine import keep_freed_memory
from ricenet.runtime.store import seal
from ricenet.training import networks, predictions, sampler
from ricenet.training.augmentation import augment, draw_augmentation, varied_mris
from ricenet.training.batches import Batch, SubjectBatches
from ricenet.training.checkpoint import Arithmetic, CheckpointFiles, capture, restore
from ricenet.training.hardware import Hardware, memory_explained, repeatability
from ricenet.training.history import EpochMetrics, EpochObserver, EpochSpeed, FoldIdentity, write_history
from ricenet.training.optimisation import Optimisation
from ricenet.training.task import HISTORY, PREDICTIONS, RECORD, RESULTS, WEIGHTS, FoldTask
from ricenet.training.tensors_file import write_tensors
from ricenet.vocabulary import Label

logger = logging.getLogger(__name__)

Scores = tuple[float, NDArray[np.float64]]
"""Mean loss, and p_rice (N,)."""

Outcome = tuple[Batch, torch.Tensor, torch.Tensor]
"""A batch, its mean loss () and its logits (B, 2), on the device."""


def first_network(task: FoldTask) -> torch.nn.Module:
    """The network before the first epoch: random weights by set and fold, and the given ones over them.

    Raises TrainingError: the initial weights do not fit.
    """
    network = networks.initial_network(
        task.network, task.modality_set, task.fold, task.seed, len(task.members), task.variable_columns
    )
    if task.initial_weights is not None:
        task.initial_weights.load_into(network, task.network.name)
    return network


class _Run:
    """The moving parts of one training."""

    def __init__(self, task: FoldTask, hardware: Hardware) -> None:
        self.task, self.hardware = task, hardware
        self.training, self.validation = (
            SubjectBatches(task, subjects, hardware.device)
            for subjects in (task.training_subjects, task.validation_subjects)
        )
        self.known = [task.labels[subject] for subject in task.training_subjects]
        self.optimisation = Optimisation(first_network(task), task.training, hardware)

    def generator(self, purpose: str, *detail: str | int) -> np.random.Generator:
        """Randomness for one purpose in this set and fold."""
        task = self.task
        return randomness.generator_for(purpose, task.seed, task.modality_set, task.fold, *detail)

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss and macro-F1 over the samples of an epoch, as augmented."""
        order = sampler.draw_epoch(self.known, self.generator("sampling", epoch))
        repeats = sampler.occurrences(order)
        # cut by position in the epoch, so that subjects and their repeats stay together
        places = self._cut(len(order))
        outcomes = []
        for step, (here, batch) in enumerate(
            zip(places, self.training([order[p] for p in places]), strict=True)
        ):
            self.optimisation.set_learning_rate((epoch - 1 + step / len(places)) / self.task.epochs)
            augmented = self.augmented(batch, epoch, repeats[here])
            outcomes.append((batch, *self.optimisation.step(augmented, batch.variables, batch.classes)))
        loss, p_rice = self._collected(outcomes, epoch, "training")
        return loss, predictions.macro_f1([self.known[position] for position in order], p_rice)

    def augmented(self, batch: Batch, epoch: int, repeats: NDArray[np.int64]) -> torch.Tensor:
        """Volumes (B, C, X, Y, Z) float32 as varied for this epoch; drawn by set, fold, epoch and subject."""
        task, mris = self.task, len(self.task.volumes.mris)
        drawn = [
            draw_augmentation(
                task.augmentation, mris, self.generator("augmentation", epoch, subject, int(repeat))
            )
            for subject, repeat in zip(batch.subjects, repeats, strict=True)
        ]
        return augment(
            batch.volumes, varied_mris(task.volumes, task.modality_set), drawn, task.grid.spacing_mm
        )

    def validate(self, epoch: int) -> Scores:
        """Mean loss and p_rice (N,) of the validation subjects, in the precision of the training."""
        outcomes = []
        for batch in self.validation(self._cut(len(self.task.validation_subjects))):
            logits = self.optimisation.logits(batch.volumes.float(), batch.variables)
            outcomes.append((batch, torch.nn.functional.cross_entropy(logits, batch.classes), logits))
        return self._collected(outcomes, epoch, "validation")

    def final_p_rice(self) -> NDArray[np.float64]:
        """p_rice (N,) of the validation subjects in float32, as every later prediction is made."""
        trained, size = self.optimisation.network, self.task.training.batch_size
        parts = [
            networks.predict_logits(trained, batch.volumes.float(), size, batch.variables)
            for batch in self.validation(self._cut(len(self.task.validation_subjects)))
        ]
        return networks.p_rice(torch.cat(parts)).numpy()

    def _cut(self, count: int) -> list[NDArray[np.int64]]:
        return sampler.in_batches(np.arange(count), self.task.training.batch_size)

    def _collected(self, outcomes: Sequence[Outcome], epoch: int, part: str) -> Scores:
        """Mean over all samples, fetched from the device at once: it is not waited for batch by batch.

        Raises TrainingError: a loss that is not finite.
        """
        losses = torch.stack([loss for _, loss, _ in outcomes]).double().cpu().numpy()
        for value, (batch, *_) in zip(losses, outcomes, strict=True):
            if not np.isfinite(value):
                raise TrainingError(
                    f"{self.task.identity}, epoch {epoch}: the {part} loss is {value} "
                    f"for subjects {', '.join(batch.subjects)}. "
                    f"Lower training.learning_rate (now {self.task.training.learning_rate:g}) "
                    "or examine these subjects' volumes"
                )
        p_rice = networks.p_rice(torch.cat([logits for *_, logits in outcomes]).cpu()).numpy()
        return float(np.average(losses, weights=[len(batch.subjects) for batch, *_ in outcomes])), p_rice


def train_fold(task: FoldTask, observer: EpochObserver | None = None) -> FoldIdentity:
    """Train one fold to its last epoch, from its last checkpoint if it has one; finished ones are kept.

    Results go to `task.folder`: weights, history, predictions of the validation subjects, the record, and
    the hashes that mark them as complete. Damaged ones are made again, with a warning.
    Raises TrainingError: a loss that is not finite, memory that ran out, or initial weights that do not fit.
    ScanError: volumes that cannot be used. VariableError: variables that cannot be encoded. StoreError:
    results cannot be written.
    """
    identity = task.identity
    if task.is_finished:
        return identity
    task.discard_damaged()
    keep_freed_memory()
    threads = torch.get_num_threads()
    try:
        with repeatability(task.training.deterministic), memory_explained(str(identity), task.training):
            run, history = _begun_or_resumed(task)
            _train(run, history, observer or EpochObserver())
            _keep(run, history)
    finally:
        torch.set_num_threads(threads)
    if observer is not None:
        observer.on_finished(identity, history)
    return identity


def _begun_or_resumed(task: FoldTask) -> tuple[_Run, list[EpochMetrics]]:
    """A training at its beginning, or after its last checkpoint and with the arithmetic of that.

    Other numbers of threads, or another precision, would add and round otherwise.
    """
    checkpoint = CheckpointFiles(task.folder).read()
    hardware = Hardware.choose(task.training.precision)
    if checkpoint is None:
        return _Run(task, hardware), []
    torch.set_num_threads(checkpoint.arithmetic.threads)
    run = _Run(task, replace(hardware, bfloat16=checkpoint.arithmetic.bfloat16))
    restore(checkpoint, run.optimisation.network, run.optimisation.optimiser)
    logger.info("%s: resumed after epoch %d", task.identity, checkpoint.epoch)
    return run, list(checkpoint.history)


def _train(run: _Run, history: list[EpochMetrics], observer: EpochObserver) -> None:
    """Train the epochs that the history lacks, and add them to it."""
    task, checkpoints = run.task, CheckpointFiles(run.task.folder)
    arithmetic = Arithmetic(torch.get_num_threads(), run.hardware.bfloat16)
    waiting = run.training.volumes
    for epoch in range(len(history) + 1, task.epochs + 1):
        start, waited_s = time.monotonic(), waiting.waited_s
        train_loss, train_macro_f1 = run.train_epoch(epoch)
        training_s = time.monotonic() - start
        validation_loss, p_rice = run.validate(epoch)
        validation_macro_f1 = predictions.macro_f1(_validation_labels(task), p_rice)
        history.append(EpochMetrics(train_loss, train_macro_f1, validation_loss, validation_macro_f1))
        if epoch % task.training.checkpoint_every_epochs == 0 and epoch < task.epochs:
            state = capture(run.optimisation.network, run.optimisation.optimiser, history, arithmetic)
            checkpoints.write(state)
        speed = EpochSpeed(
            time.monotonic() - start,
            len(task.training_subjects) / training_s,
            (waiting.waited_s - waited_s) / training_s,
            run.hardware.peak_memory_gb,
        )
        observer.on_epoch(task.identity, epoch, history[-1], speed)


def _keep(run: _Run, history: Sequence[EpochMetrics]) -> None:
    """Write the results; their hashes last, since they mark the fold as finished."""
    task = run.task
    p_rice = run.final_p_rice()
    write_tensors(run.optimisation.network.state_dict(), task.folder / WEIGHTS)
    write_history(history, task.folder / HISTORY)
    rows = zip(task.validation_subjects, _validation_labels(task), p_rice.tolist(), strict=True)
    predictions.write_predictions(
        [predictions.Prediction(subject, label, task.fold, p) for subject, label, p in rows],
        task.folder / PREDICTIONS,
    )
    write_json(task.folder / RECORD, task.record | run.hardware.record)
    seal(task.folder, (*RESULTS, RECORD))
    CheckpointFiles(task.folder).remove()


def _validation_labels(task: FoldTask) -> list[Label]:
    return [task.labels[subject] for subject in task.validation_subjects]
