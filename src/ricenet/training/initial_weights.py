"""A network that begins from the weights of another: what of a file fits is taken, the rest reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.config.params import PARAMS_FILE
from ricenet.runtime.errors import ParamsError, TrainingError
from ricenet.runtime.files import file_digest

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_LISTED = 5


@dataclass(frozen=True)
class InitialWeights:
    """A safetensors file, as it was when the training was planned."""

    path: Path
    digest: str

    @classmethod
    def of(cls, path: str | None) -> InitialWeights | None:
        """The file of `network.initial_weights`. Raises ParamsError: there is none."""
        if path is None:
            return None
        if not Path(path).is_file():
            raise ParamsError(PARAMS_FILE.name, [f"network.initial_weights: {path} not found"])
        return cls(Path(path).absolute(), file_digest(Path(path)))

    def load_into(self, network: torch.nn.Module, name: str) -> None:
        """Take over the tensors that the network has under the same names.

        name: of the network. A first layer for another number of channels is adapted (`for_channels`); a head
        of another size keeps its own values, and so does what the file lacks, which is logged.
        Raises TrainingError: the file changed, cannot be read, holds a tensor of another shape, or nothing of
        it fits.
        """
        wanted = network.state_dict()
        found = self._read(name)
        first, head = _first_layer(network), _head(network)
        taken = {}
        for key in wanted.keys() & found.keys():
            value = found[key]
            if key == first:
                value = for_channels(value, wanted[key].shape[1])
            if value.shape == wanted[key].shape:
                taken[key] = value
            elif not key.startswith(head):
                raise self._misfit(
                    name, f"{key} has the shape {tuple(value.shape)}, expected {tuple(wanted[key].shape)}"
                )
        if not {key for key in taken if not key.startswith(head)}:
            raise self._misfit(name, f"none of its {len(found)} tensors has the name of one of the network's")
        network.load_state_dict({**wanted, **taken})
        own = sorted(key for key in wanted.keys() - taken.keys() if wanted[key].is_floating_point())
        if own:
            listed = ", ".join(own[:_LISTED]) + (", ..." if len(own) > _LISTED else "")
            logger.warning("%s: %d tensors keep their random values: %s", self.path.name, len(own), listed)

    def _read(self, name: str) -> Mapping[str, torch.Tensor]:
        from ricenet.training.tensors_file import read_tensors

        try:
            tensors, _ = read_tensors(self.path)
        except ValueError as error:
            raise self._misfit(name, f"it cannot be read ({error})") from None
        if file_digest(self.path) != self.digest:
            raise self._misfit(name, "it changed since this training was planned; run `dvc repro` again")
        return {key.removeprefix("module."): value for key, value in tensors.items()}

    def _misfit(self, name: str, found: str) -> TrainingError:
        return TrainingError(f"network.initial_weights: {self.path.name} does not fit {name}: {found}")


def for_channels(kernel: torch.Tensor, channels: int) -> torch.Tensor:
    """The kernel (K, C, x, y, z) of a first layer for another number of input channels.

    Each new channel gets the mean over the old ones, rescaled so that equal channels give what they gave.
    """
    if kernel.ndim < 2 or kernel.shape[1] == channels:
        return kernel
    mean = kernel.mean(dim=1, keepdim=True) * (kernel.shape[1] / channels)
    return mean.repeat(1, channels, *[1] * (kernel.ndim - 2))


def _first_layer(network: torch.nn.Module) -> str:
    return next(name for name, parameter in network.named_parameters() if parameter.ndim == 5)


def _head(network: torch.nn.Module) -> str:
    """What the names of the last linear layer's parameters begin with."""
    import torch

    *_, last = (name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear))
    return f"{last}."
