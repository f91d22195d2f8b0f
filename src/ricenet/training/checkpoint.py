"""The state of an unfinished training in one file without pickle: tensors, and the rest as JSON."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ricenet.files import atomic_path
from ricenet.training.history import EpochMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """State after an epoch: names are `network/<parameter>` and `optimiser/<position>/<quantity>`."""

    epoch: int
    history: tuple[EpochMetrics, ...]
    tensors: Mapping[str, torch.Tensor]


def capture(
    network: torch.nn.Module, optimiser: torch.optim.Optimizer, history: Sequence[EpochMetrics]
) -> Checkpoint:
    """The state after the last epoch of `history`; tensors are shared, not copied."""
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    for position, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{position}/{quantity}": value for quantity, value in state.items()}
    return Checkpoint(len(history), tuple(history), tensors)


def restore(checkpoint: Checkpoint, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's state into a network and its Adam; the key of the fold says that they fit."""
    network.load_state_dict(
        {
            name.removeprefix("network/"): value
            for name, value in checkpoint.tensors.items()
            if name.startswith("network/")
        }
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in checkpoint.tensors.items():
        if name.startswith("optimiser/"):
            _, position, quantity = name.split("/")
            state.setdefault(int(position), {})[quantity] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Replace the checkpoint atomically; a checksum is kept with it."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    progress = {
        "epoch": checkpoint.epoch,
        "history": [asdict(metrics) for metrics in checkpoint.history],
        "crc32": _crc32(tensors),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"progress": json.dumps(progress, allow_nan=False)})


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The last state that was written; None, with a warning, where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as content:
            progress = json.loads((content.metadata() or {})["progress"])
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        damage = None if progress["crc32"] == _crc32(tensors) else "its checksum does not fit"
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        damage = str(error)
    if damage is not None:
        logger.warning("%s is damaged (%s): this fold starts over from its first epoch", path, damage)
        return None
    history = tuple(EpochMetrics(**metrics) for metrics in progress["history"])
    return Checkpoint(progress["epoch"], history, tensors)


def _crc32(tensors: Mapping[str, torch.Tensor]) -> int:
    checksum = 0
    for name in sorted(tensors):
        # bytes of the tensor without a copy; numpy needs at least one dimension for the view
        values = tensors[name].reshape(-1).view(torch.uint8).numpy()
        checksum = zlib.crc32(values.data, zlib.crc32(name.encode(), checksum))
    return checksum
