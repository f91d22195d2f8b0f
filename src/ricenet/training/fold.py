"""Training of folds: resumable, repeatable, kept by the content of their inputs.

Modality sets of one fold that see the same subjects in the same way train in step: each batch is read and
augmented once, and every set takes its channels. Randomness is counter-based, and neither the set nor its
company is part of what is drawn for a sample, so a fold ends with the same weights alone or in company,
resumed or not: bit for bit on a CPU.
Source: RICE-NET section 2 (weighted random sampler, augmentation). Training in step is ours.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.runtime import randomness
from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import keep_freed_memory
from ricenet.training import sampler
from ricenet.training.augmentation import augment, draw_augmentation, varied_mris
from ricenet.training.batches import Batch, SubjectBatches
from ricenet.training.checkpoint import Arithmetic, Checkpoint, CheckpointFiles
from ricenet.training.hardware import Hardware, memory_explained, repeatability
from ricenet.training.history import EpochObserver, EpochSpeed, FoldIdentity
from ricenet.training.one_training import OneTraining
from ricenet.training.task import FoldTask
from ricenet.training.tensors_file import not_written

logger = logging.getLogger(__name__)

Failures = dict[str, RicenetError]
"""By the key of a fold."""


def train_fold(task: FoldTask, observer: EpochObserver | None = None) -> FoldIdentity:
    """Train one fold to its last epoch, from its last checkpoint if it has one; finished ones are kept.

    Results go to `task.folder`: weights, history, predictions of the validation subjects, the record, and
    the hashes that mark them as complete. Damaged ones are made again, with a warning.
    Raises TrainingError: a loss that is not finite, memory that ran out, or initial weights that do not fit.
    ScanError: volumes that cannot be used. VariableError: variables that cannot be encoded. StoreError:
    results cannot be written.
    """
    if not task.is_finished:
        failures: Failures = {}
        _in_step([task], observer or EpochObserver(), failures)
        for error in failures.values():
            raise error
    return task.identity


def train_together(tasks: Sequence[FoldTask], observer: EpochObserver | None = None) -> list[str | None]:
    """Train folds in step, which `groups_in_step` found to be alike; finished ones are kept.

    Returns for each what ended it (`train_fold`), None where it is finished. One that fails does not stop
    the others.
    """
    unfinished = [task for task in tasks if not task.is_finished]
    failures: Failures = {}
    # of what they share, such as a volume that only one set needs: alone, each answers for itself
    each_alone = True
    with contextlib.suppress(RicenetError):
        _in_step(unfinished, observer or EpochObserver(), failures)
        each_alone = False
    # not while the error is handled: it holds the company's volumes and networks, and memory may have run out
    for task in unfinished if each_alone else ():
        if task.key not in failures and not task.is_finished:
            with _noting_failure(task, failures):
                train_fold(task, observer)
    return [str(failures[task.key]) if task.key in failures else None for task in tasks]


def _in_step(tasks: Sequence[FoldTask], observer: EpochObserver, failures: Failures) -> None:
    """Train folds in step, those that were resumed with the arithmetic with which they began.

    Other numbers of threads, or another precision, would add and round otherwise. failures: gets the error of
    each that ends early. Raises RicenetError: what concerns all of them.
    """
    if not tasks:
        return
    for task in tasks:
        task.discard_damaged()
    keep_freed_memory()
    settings, threads = tasks[0].training, torch.get_num_threads()
    hardware = Hardware.choose(settings.precision)
    here = Arithmetic(threads, hardware.bfloat16)
    checkpoints = {task.key: CheckpointFiles(task.folder).read() for task in tasks}
    by_arithmetic: dict[Arithmetic, list[FoldTask]] = {}
    for task in tasks:
        checkpoint = checkpoints[task.key]
        by_arithmetic.setdefault(here if checkpoint is None else checkpoint.arithmetic, []).append(task)
    try:
        for arithmetic, alike in by_arithmetic.items():
            torch.set_num_threads(arithmetic.threads)
            of_these = replace(hardware, bfloat16=arithmetic.bfloat16)
            where = ", ".join(str(task.identity) for task in alike)
            with repeatability(settings.deterministic), memory_explained(where, settings):
                _Company(alike, of_these, checkpoints, failures).train(observer)
    finally:
        torch.set_num_threads(threads)


class _Company:
    """Folds that train in step, and what they share: volumes, order of samples, augmentation.

    failures: gets the error of each that ends early.
    Raises ScanError: volumes that cannot be used.
    """

    def __init__(
        self,
        tasks: Sequence[FoldTask],
        hardware: Hardware,
        checkpoints: Mapping[str, Checkpoint | None],
        failures: Failures,
    ) -> None:
        # of what is the same for all of them
        self._task, self._hardware, self._failures = tasks[0], hardware, failures
        needed = {spec.name for task in tasks for spec in task.members}
        self._names = [spec.name for spec in self._task.volumes if spec.name in needed]
        self._training, self._validation = (
            SubjectBatches(self._task, subjects, self._names, hardware.device, grid)
            for subjects, grid in (
                # augmentation moves into a box what lies beside it
                (self._task.training_subjects, self._task.grid.whole),
                (self._task.validation_subjects, self._task.grid),
            )
        )
        self._known = [self._task.labels[subject] for subject in self._task.training_subjects]
        self._members: list[OneTraining] = []
        for task in tasks:
            with _noting_failure(task, failures):
                checkpoint = checkpoints[task.key]
                self._members.append(OneTraining(task, hardware, checkpoint, self._names))
                if checkpoint is not None:
                    logger.info("%s: resumed after epoch %d", task.identity, checkpoint.epoch)

    def train(self, observer: EpochObserver) -> None:
        """Train every epoch that one of them lacks, and keep the results."""
        waiting = self._training.volumes
        for epoch in range(1, self._task.epochs + 1):
            lacking = [one for one in self._going if len(one.history) < epoch]
            if not lacking:
                continue
            start, waited_s = time.monotonic(), waiting.waited_s
            self._learn(lacking, epoch)
            training_s = time.monotonic() - start
            for batch in self._validation(self._validation_places):
                volumes = batch.volumes.float()
                for one in lacking:
                    one.validate(batch, volumes)
            for one in lacking:
                with _noting_failure(one.task, self._failures):
                    one.end_epoch()
            speed = EpochSpeed(
                (time.monotonic() - start) / len(lacking),
                len(lacking) * len(self._known) / training_s,
                (waiting.waited_s - waited_s) / training_s,
                self._hardware.peak_memory_gb,
            )
            for one in lacking:
                one.trained_s += speed.seconds
                if one.task.key not in self._failures:
                    observer.on_epoch(one.task.identity, epoch, one.history[-1], speed)
        for one in self._going:
            with _noting_failure(one.task, self._failures):
                one.keep(self._validation, self._validation_places)
                observer.on_finished(one.task.identity, one.history)

    @property
    def _going(self) -> list[OneTraining]:
        return [one for one in self._members if one.task.key not in self._failures]

    @property
    def _validation_places(self) -> list[NDArray[np.int64]]:
        return self._cut(len(self._task.validation_subjects))

    def _learn(self, members: Iterable[OneTraining], epoch: int) -> None:
        """Let members learn from the samples of an epoch, as augmented."""
        order = sampler.draw_epoch(self._known, self._generator("sampling", epoch))
        repeats = sampler.occurrences(order)
        # cut by position in the epoch, so that subjects and their repeats stay together
        places = self._cut(len(order))
        batches = self._training([order[p] for p in places])
        for step, (here, batch) in enumerate(zip(places, batches, strict=True)):
            augmented = self._augmented(batch, epoch, repeats[here])
            progress = (epoch - 1 + step / len(places)) / self._task.epochs
            counts = repeats[here].tolist()
            samples = [(epoch, s, n) for s, n in zip(batch.subjects, counts, strict=True)]
            for one in members:
                one.learn(batch, augmented, progress, samples)

    def _augmented(self, batch: Batch, epoch: int, repeats: NDArray[np.int64]) -> torch.Tensor:
        """Volumes (B, C, X, Y, Z) float32 as varied for this epoch; drawn by fold, epoch and subject."""
        task = self._task
        drawn = [
            draw_augmentation(
                task.augmentation,
                len(task.volumes.mris),
                self._generator("augmentation", epoch, subject, int(repeat)),
            )
            for subject, repeat in zip(batch.subjects, repeats, strict=True)
        ]
        varied = varied_mris(task.volumes, "+".join(self._names))
        return augment(batch.volumes, varied, drawn, task.grid.spacing_mm, task.grid.part)

    def _generator(self, purpose: str, *detail: str | int) -> np.random.Generator:
        """Randomness for one purpose in this fold, whatever the set."""
        return randomness.generator_for(purpose, self._task.seed, self._task.fold, *detail)

    def _cut(self, count: int) -> list[NDArray[np.int64]]:
        return sampler.in_batches(np.arange(count), self._task.training.batch_size)


@contextlib.contextmanager
def _noting_failure(task: FoldTask, failures: Failures) -> Iterator[None]:
    """An error that concerns one fold ends this one alone; kept without its frames, which hold a network."""
    try:
        yield
    except (RicenetError, OSError) as error:
        found = not_written(task.folder, error) if isinstance(error, OSError) else error
        found.__cause__ = found.__context__ = None
        failures[task.key] = found.with_traceback(None)
