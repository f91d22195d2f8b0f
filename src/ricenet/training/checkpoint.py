"""The state of an unfinished training in one file without pickle: tensors, and the rest as JSON."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ricenet.runtime.formats import KEY, TRAINED
from ricenet.runtime.temporary import clear, left_behind
from ricenet.training.history import EpochMetrics
from ricenet.training.task import CHECKPOINT, CHECKPOINT_BEFORE, TRAIN_AGAIN
from ricenet.training.tensors_file import read_tensors, write_tensors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """State after an epoch: names are `network/<parameter>` and `optimiser/<position>/<quantity>`.

    arithmetic: what decides how sums are rounded, so that the training goes on as it began.
    """

    epoch: int
    history: tuple[EpochMetrics, ...]
    tensors: Mapping[str, torch.Tensor]
    arithmetic: Arithmetic


@dataclass(frozen=True)
class Arithmetic:
    """Threads of the CPU, and whether networks are computed in bfloat16."""

    threads: int
    bfloat16: bool


def capture(
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    history: Sequence[EpochMetrics],
    arithmetic: Arithmetic,
) -> Checkpoint:
    """The state after the last epoch of `history`; tensors are shared, not copied."""
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    for position, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{position}/{quantity}": value for quantity, value in state.items()}
    return Checkpoint(len(history), tuple(history), tensors, arithmetic)


def restore(checkpoint: Checkpoint, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's state into a network and its Adam; the key of the fold says that they fit."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in checkpoint.tensors.items():
        whose, _, rest = name.partition("/")
        if whose == "network":
            weights[rest] = value
        else:
            position, quantity = rest.split("/")
            laid_out = _laid_out_as(parameters[int(position)], value)
            state.setdefault(int(position), {})[quantity] = laid_out
    network.load_state_dict(weights)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _laid_out_as(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A value in the order of its parameter's memory: fused Adam goes through both, strides unseen."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


class CheckpointFiles:
    """The last two states of a fold in its folder: where the last is damaged, the one before serves."""

    def __init__(self, folder: Path) -> None:
        self._last, self._before = folder / CHECKPOINT, folder / CHECKPOINT_BEFORE

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep a state; the last one becomes the one before. A kill at any moment leaves one of them."""
        if self._last.is_file():
            self._last.replace(self._before)
        _write(checkpoint, self._last)

    def read(self) -> Checkpoint | None:
        """The newest state that is whole; a warning names a damaged one. None where there is none.

        Raises FormatError: another version wrote it.
        """
        for path in (self._last, self._before):
            if not path.is_file():
                continue
            try:
                return _read(path)
            except ValueError as error:
                other = path == self._last and self._before.is_file()
                following = (
                    "the checkpoint before it is taken"
                    if other
                    else "this fold starts over from its first epoch"
                )
                logger.warning("%s is damaged (%s): %s", path, error, following)
        return None

    def remove(self) -> None:
        """Delete both states, and what a kill in the middle of a write has left."""
        for path in (self._last, self._before):
            path.unlink(missing_ok=True)
        for path in left_behind(self._last.parent):
            clear(path)


def _write(checkpoint: Checkpoint, path: Path) -> None:
    """Write a state atomically, with a checksum."""
    progress = {
        "epoch": checkpoint.epoch,
        "history": [asdict(metrics) for metrics in checkpoint.history],
        "arithmetic": asdict(checkpoint.arithmetic),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    text = json.dumps(progress, allow_nan=False)
    header = {KEY: str(TRAINED.number), "progress": text, "crc32": str(_crc32(text, tensors))}
    write_tensors(tensors, path, header)


def _read(path: Path) -> Checkpoint:
    """A state as it was written. Raises ValueError: what is wrong with the file."""
    tensors, header = read_tensors(path)
    TRAINED.require(int(header.get(KEY, 1)), str(path), TRAIN_AGAIN)
    if header.get("crc32") != str(_crc32(header.get("progress", ""), tensors)):
        raise ValueError("its checksum does not fit")
    progress = json.loads(header["progress"])
    history = tuple(EpochMetrics(**metrics) for metrics in progress["history"])
    return Checkpoint(progress["epoch"], history, tensors, Arithmetic(**progress["arithmetic"]))


def _crc32(progress: str, tensors: Mapping[str, torch.Tensor]) -> int:
    checksum = zlib.crc32(progress.encode())
    for name in sorted(tensors):
        # bytes of the tensor without a copy; numpy needs at least one dimension for the view
        values = tensors[name].reshape(-1).view(torch.uint8).numpy()
        checksum = zlib.crc32(values.data, zlib.crc32(name.encode(), checksum))
    return checksum
