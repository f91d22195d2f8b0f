"""One fold of one modality set while it trains: its network, what it has learned so far, and its files.

Source: RICE-NET section 2 (Adam, cross-entropy, the last epoch counts).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.runtime.errors import TrainingError
from ricenet.runtime.files import write_json
from ricenet.runtime.randomness import generator_for
from ricenet.runtime.store import seal
from ricenet.training import networks
from ricenet.training.batches import Batch, SubjectBatches
from ricenet.training.checkpoint import Arithmetic, Checkpoint, CheckpointFiles, capture, restore
from ricenet.training.hardware import Hardware
from ricenet.training.history import EpochMetrics, write_history
from ricenet.training.label_predictions import macro_f1_of, write_held_out
from ricenet.training.optimisation import Optimisation
from ricenet.training.task import HISTORY, RECORD, SECONDS, TRAINED_S, WEIGHTS, FoldTask
from ricenet.training.tensors_file import write_tensors
from ricenet.training.withheld_volumes import draw_present, withhold

Scores = tuple[float, NDArray[np.float64]]
"""Mean loss, and the probability of each label (N, K)."""

Sample = tuple[int, str, int]
"""Of an epoch, from 1: the subject, and how often it came up earlier."""

Outcome = tuple[tuple[str, ...], torch.Tensor, torch.Tensor]
"""A batch's subjects, mean loss () and logits (B, K), on the device; volumes would pile up over an epoch."""


def first_network(task: FoldTask) -> torch.nn.Module:
    """The network before the first epoch: random weights by set and fold, and the given ones over them.

    Raises TrainingError: the initial weights do not fit.
    """
    network = networks.initial_network(
        *(task.network, task.modality_set, task.fold, task.seed, len(task.members), task.variable_columns),
        task.members,
        task.encoder.columns,
        len(task.label_names),
    )
    if task.initial_weights is not None:
        task.initial_weights.load_into(network, task.network.name)
    return network


class OneTraining:
    """The moving parts of one training.

    checkpoint: to go on from. volumes: names of those that batches hold, the set's among them. trained_s: its
    share of the time of all epochs so far, that of a company divided alike.
    Raises TrainingError: initial weights that do not fit. VariableError: variables that cannot be encoded.
    """

    def __init__(
        self, task: FoldTask, hardware: Hardware, checkpoint: Checkpoint | None, volumes: Sequence[str]
    ) -> None:
        self.task, self.hardware = task, hardware
        self.history: list[EpochMetrics] = []
        self.optimisation = Optimisation(first_network(task), task.training, hardware)
        if checkpoint is not None:
            restore(checkpoint, self.optimisation.network, self.optimisation.optimiser)
            self.history += checkpoint.history
        names = [spec.name for spec in task.members]
        self._channels = None if names == [*volumes] else [volumes.index(name) for name in names]
        self._training_variables, self._validation_variables = (
            task.encoded_variables(subjects).to(hardware.device)
            for subjects in (task.training_subjects, task.validation_subjects)
        )
        self._outcomes: list[Outcome] = []
        self._validated: list[Outcome] = []
        self._saved_at = time.monotonic()
        self._resumed, self.trained_s = checkpoint is not None, 0.0

    def learn(
        self, batch: Batch, augmented: torch.Tensor, progress: float, samples: Sequence[Sample]
    ) -> None:
        """Make a step. augmented: (B, C, X, Y, Z) float32, in the place of the batch's. progress: 0 to 1.
        samples: (B,), what volumes are withheld by.
        """
        self.optimisation.set_learning_rate(progress)
        variables = self._training_variables[batch.rows]
        shown = self._shown(self._own(augmented), samples)
        outcome = self.optimisation.step(shown, variables, batch.classes)
        self._outcomes.append((tuple(batch.subjects), *outcome))

    def validate(self, batch: Batch, volumes: torch.Tensor) -> None:
        """Answer for the held-out in the precision of the training. volumes: (B, C, X, Y, Z) float32."""
        logits = self.optimisation.logits(self._own(volumes), self._validation_variables[batch.rows])
        loss = torch.nn.functional.cross_entropy(logits, batch.classes)
        self._validated.append((tuple(batch.subjects), loss, logits))

    def end_epoch(self) -> None:
        """Add what was learned and validated to the history, and save the state where that is due.

        Raises TrainingError: a loss that is not finite. StoreError: the checkpoint cannot be written.
        """
        labels = [self.task.labels[s] for subjects, *_ in self._outcomes for s in subjects]
        epoch = len(self.history) + 1
        loss, said = self._collected(self._outcomes, epoch, "training")
        validation_loss, held_out = self._collected(self._validated, epoch, "validation")
        self._outcomes, self._validated = [], []
        names = self.task.label_names
        train_macro_f1 = macro_f1_of(labels, said, names)
        validation_macro_f1 = macro_f1_of(self._validation_labels, held_out, names)
        self.history.append(EpochMetrics(loss, train_macro_f1, validation_loss, validation_macro_f1))
        self._save()

    def keep(self, validation: SubjectBatches, wanted: Sequence[NDArray[np.int64]]) -> None:
        """Write the results; their hashes last, since they mark the fold as finished.

        Probabilities of the validation subjects are computed in float32, as every later prediction.
        Raises StoreError: they cannot be written.
        """
        task = self.task
        write_tensors(self.optimisation.network.state_dict(), task.folder / WEIGHTS)
        write_history(self.history, task.folder / HISTORY)
        for file, subset in task.prediction_files.items():
            self._predict(validation, wanted, subset, task.folder / file)
        write_json(task.folder / RECORD, task.record | self.hardware.record)
        seal(task.folder, (*task.results, RECORD))
        if not self._resumed:
            write_json(task.folder / SECONDS, {TRAINED_S: self.trained_s})
        CheckpointFiles(task.folder).remove()

    def _predict(
        self, validation: SubjectBatches, wanted: Sequence[NDArray[np.int64]], subset: str, path: Path
    ) -> None:
        """Write what the network says of the held-out who have these volumes of the set alone."""
        task, members = self.task, [spec.name for spec in self.task.members]
        present = np.array([name in subset.split("+") for name in members])
        parts = []
        for batch in validation(wanted):
            own = self._own(batch.volumes.float())
            shown = own if present.all() else withhold(own, present)
            variables = self._validation_variables[batch.rows]
            network, size = self.optimisation.network, task.training.batch_size
            parts.append(networks.predict_logits(network, shown, size, variables))
        said = networks.probabilities(torch.cat(parts)).numpy()
        held_out = task.validation_subjects, self._validation_labels
        write_held_out(*held_out, task.fold, said, task.label_names, path)

    def _shown(self, volumes: torch.Tensor, samples: Sequence[Sample]) -> torch.Tensor:
        """Training samples without the volumes that are withheld from them, drawn by sample alone."""
        task, probability = self.task, self.task.network.channel_dropout
        if not probability:
            return volumes
        generators = [generator_for("withheld volumes", task.seed, task.fold, *one) for one in samples]
        return withhold(volumes, draw_present(probability, len(task.members), generators))

    @property
    def _validation_labels(self) -> list[str]:
        return [self.task.labels[subject] for subject in self.task.validation_subjects]

    def _own(self, volumes: torch.Tensor) -> torch.Tensor:
        """The set's channels of all that a batch holds."""
        return volumes if self._channels is None else volumes[:, self._channels]

    def _save(self) -> None:
        epoch, settings = len(self.history), self.task.training
        due = epoch % settings.checkpoint_every_epochs == 0 and epoch < self.task.epochs
        # when a state is saved changes nothing in what is learned
        if due and time.monotonic() - self._saved_at >= settings.checkpoint_pause_s:
            arithmetic = Arithmetic(torch.get_num_threads(), self.hardware.bfloat16)
            state = capture(self.optimisation.network, self.optimisation.optimiser, self.history, arithmetic)
            CheckpointFiles(self.task.folder).write(state)
            self._saved_at = time.monotonic()

    def _collected(self, outcomes: Sequence[Outcome], epoch: int, part: str) -> Scores:
        """Mean over all samples, fetched from the device at once: it is not waited for batch by batch.

        Raises TrainingError: a loss that is not finite.
        """
        losses = torch.stack([loss for _, loss, _ in outcomes]).double().cpu().numpy()
        for value, (subjects, *_) in zip(losses, outcomes, strict=True):
            if not np.isfinite(value):
                raise TrainingError(
                    f"{self.task.identity}, epoch {epoch}: the {part} loss is {value} "
                    f"for subjects {', '.join(subjects)}. "
                    f"Lower training.learning_rate (now {self.task.training.learning_rate:g}) "
                    "or examine these subjects' volumes"
                )
        said = networks.probabilities(torch.cat([logits for *_, logits in outcomes]).cpu()).numpy()
        return float(np.average(losses, weights=[len(subjects) for subjects, *_ in outcomes])), said
