"""The subjects of a fold on their way to the network: volumes on its device, or read ahead of it.

Volumes are float16 all the way to the device, as they lie on disk; float32 there.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid
from ricenet.preprocessing.network_input import map_volume, read_volumes
from ricenet.training.task import FoldTask

Memory = Literal["auto", "device", "streamed"]
Positions = NDArray[np.int64]

_AHEAD = 2
"""Batches that are read while the network is busy with another."""

_SHARE_OF_GPU = 0.5
"""Of a GPU's free memory, that volumes may take; the rest is for activations."""

_SMALL_BYTES = 2**30
"""Up to here each process keeps a copy of its own; beyond, they share the system's cache of the files."""


class Batch(NamedTuple):
    """B subjects. rows: (B,) their places. volumes: (B, C, X, Y, Z) float16. classes: (B,), of the labels."""

    subjects: tuple[str, ...]
    rows: torch.Tensor
    volumes: torch.Tensor
    classes: torch.Tensor


class SubjectBatches:
    """Some subjects of a fold, batch by batch, on a device. names: of their volumes, in channel order. grid:
    of what is read.

    Raises ScanError: as `open_volumes`.
    """

    def __init__(
        self,
        task: FoldTask,
        subjects: Sequence[str],
        names: Sequence[str],
        device: torch.device,
        grid: InputGrid,
    ) -> None:
        self._subjects = tuple(subjects)
        files = VolumeFiles(task.preprocessed, self._subjects, tuple(names), grid)
        self.volumes = open_volumes(files, device, task.training.memory)
        classes = [task.label_names.index(task.labels[subject]) for subject in subjects]
        self._classes = torch.tensor(classes, dtype=torch.int64, device=device)

    def __call__(self, wanted: Sequence[Positions]) -> Iterator[Batch]:
        """For each array of positions its batch."""
        for positions, volumes in zip(wanted, self.volumes.batches(wanted), strict=True):
            rows = torch.from_numpy(positions).to(self._classes.device)
            subjects = tuple(self._subjects[position] for position in positions)
            yield Batch(subjects, rows, volumes, self._classes[rows])


@dataclass(frozen=True)
class VolumeFiles:
    """Files of N subjects. names: of C volumes, in channel order. preprocessed: has a folder a subject."""

    preprocessed: Path
    subjects: tuple[str, ...]
    names: tuple[str, ...]
    grid: InputGrid

    def shape(self, subjects: int) -> tuple[int, ...]:
        """(subjects, C, X, Y, Z)."""
        return (subjects, len(self.names), *self.grid.shape)

    @property
    def size_bytes(self) -> int:
        """Of all of them as float16."""
        return 2 * math.prod(self.shape(len(self.subjects)))

    def read(self, subject: str) -> NDArray[np.float16]:
        """(C, X, Y, Z). Raises ScanError: as `open_volumes`."""
        return read_volumes(self.preprocessed / subject, subject, self.names, self.grid)


def open_volumes(
    files: VolumeFiles, device: torch.device, memory: Memory
) -> ResidentVolumes | StreamedVolumes:
    """Volumes of several subjects. memory: "auto" keeps them on the device where they fit well.

    Raises ScanError: a missing, unreadable or misshapen file, or values that are not finite; of streamed
    volumes not before they are read.
    """
    if memory == "auto":
        memory = "device" if files.size_bytes <= _room_bytes(device) else "streamed"
    return ResidentVolumes(files, device) if memory == "device" else StreamedVolumes(files, device)


def _room_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return _SMALL_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return float(_SHARE_OF_GPU * free_bytes)


class ResidentVolumes:
    """All volumes on the device, read once. waited_s: how long the network had to wait for volumes."""

    waited_s = 0.0

    def __init__(self, files: VolumeFiles, device: torch.device) -> None:
        shape = files.shape(len(files.subjects))
        self._volumes = torch.empty(shape, dtype=torch.float16, device=device)
        for target, subject in zip(self._volumes, files.subjects, strict=True):
            target.copy_(torch.from_numpy(files.read(subject)))

    def batches(self, wanted: Sequence[Positions]) -> Iterator[torch.Tensor]:
        """For each array of positions its volumes (B, C, X, Y, Z) float16 on the device."""
        for positions in wanted:
            yield self._volumes[torch.from_numpy(positions).to(self._volumes.device)]


class StreamedVolumes:
    """Volumes mapped from their files; a thread reads the next batches while the network is busy."""

    def __init__(self, files: VolumeFiles, device: torch.device) -> None:
        self._files, self._device = files, device
        self._maps = [
            [map_volume(files.preprocessed / s, s, name, files.grid) for name in files.names]
            for s in files.subjects
        ]
        self._seen: set[int] = set()
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.waited_s = 0.0

    def batches(self, wanted: Sequence[Positions]) -> Iterator[torch.Tensor]:
        """For each array of positions its volumes (B, C, X, Y, Z) float16 on the device."""
        with ThreadPoolExecutor(1, thread_name_prefix="volumes") as reader:
            coming = deque[Future[torch.Tensor]]()
            remaining = iter(wanted)
            coming.extend(reader.submit(self._read, next(remaining)) for _ in wanted[:_AHEAD])
            while coming:
                start = time.monotonic()
                batch = coming.popleft().result()
                self.waited_s += time.monotonic() - start
                if (following := next(remaining, None)) is not None:
                    coming.append(reader.submit(self._read, following))
                yield self._arrived(batch)

    def _read(self, positions: Positions) -> torch.Tensor:
        shape = self._files.shape(len(positions))
        batch = torch.empty(shape, dtype=torch.float16, pin_memory=self._copying is not None)
        for target, position in zip(batch.numpy(), positions.tolist(), strict=True):
            if position in self._seen:
                for channel, volume in enumerate(self._maps[position]):
                    target[channel] = volume
            else:
                target[:] = self._files.read(self._files.subjects[position])
                self._seen.add(position)
        if self._copying is None:
            return batch
        with torch.cuda.stream(self._copying):
            return batch.to(self._device, non_blocking=True)

    def _arrived(self, batch: torch.Tensor) -> torch.Tensor:
        if self._copying is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._copying)
            # else its memory could be given away while this stream still uses it
            batch.record_stream(current)
        return batch
