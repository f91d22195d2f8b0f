"""The subjects' volumes on their way to the network: kept on its device, or read ahead of it.

float16 all the way to the device, as they lie on disk; float32 there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.preprocessing.network_input import map_volume, read_volumes, require_finite
from ricenet.vocabulary import members

Memory = Literal["auto", "device", "streamed"]
Positions = NDArray[np.int64]

_AHEAD = 2
"""Batches that are read while the network is busy with another."""

_SHARE_OF_CARD = 0.5
"""Of a card's free memory, that volumes may take; the rest is for activations."""

_SMALL_BYTES = 2**30
"""Up to here each process keeps a copy of its own; beyond, they share the system's cache of the files."""


class SubjectVolumes(Protocol):
    """Volumes of some subjects, in a fixed order."""

    waited_s: float
    """Time in which the network had to wait for volumes."""

    def batches(self, wanted: Sequence[Positions]) -> Iterator[torch.Tensor]:
        """For each batch of positions its volumes (B, C, X, Y, Z) float16 on the device."""


def open_volumes(
    preprocessed: Path,
    subjects: Sequence[str],
    modality_set: str,
    cube_voxels: int,
    device: torch.device,
    memory: Memory,
) -> SubjectVolumes:
    """The channels of a modality set of several subjects.

    preprocessed: the folder with a folder per subject. memory: "auto" keeps them on the device where
    they fit well.
    Raises ScanError: a missing, unreadable or misshapen file, or values that are not finite; of streamed
    volumes not before they are read.
    """
    if memory == "auto":
        wanted_bytes = 2 * len(subjects) * len(members(modality_set)) * cube_voxels**3
        memory = "device" if wanted_bytes <= _room_bytes(device) else "streamed"
    kind = ResidentVolumes if memory == "device" else StreamedVolumes
    return kind(preprocessed, subjects, modality_set, cube_voxels, device)


def _room_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return _SMALL_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return float(_SHARE_OF_CARD * free_bytes)


class ResidentVolumes:
    """All volumes on the device, read once."""

    waited_s = 0.0

    def __init__(
        self,
        preprocessed: Path,
        subjects: Sequence[str],
        modality_set: str,
        cube_voxels: int,
        device: torch.device,
    ) -> None:
        names = members(modality_set)
        shape = (len(subjects), len(names), *(cube_voxels,) * 3)
        self._volumes = torch.empty(shape, dtype=torch.float16, device=device)
        for target, subject in zip(self._volumes, subjects, strict=True):
            chosen = read_volumes(preprocessed / subject, subject, names, cube_voxels)
            target.copy_(torch.from_numpy(chosen))

    def batches(self, wanted: Sequence[Positions]) -> Iterator[torch.Tensor]:
        """For each batch of positions its volumes (B, C, X, Y, Z) float16 on the device."""
        for positions in wanted:
            yield self._volumes[torch.from_numpy(positions).to(self._volumes.device)]


class StreamedVolumes:
    """Volumes mapped from their files; a thread reads the next batches while the network is busy."""

    def __init__(
        self,
        preprocessed: Path,
        subjects: Sequence[str],
        modality_set: str,
        cube_voxels: int,
        device: torch.device,
    ) -> None:
        self._names = members(modality_set)
        self._subjects = tuple(subjects)
        self._maps = [
            [map_volume(preprocessed / s, s, name, cube_voxels) for name in self._names] for s in subjects
        ]
        self._seen: set[int] = set()
        self._device = device
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.waited_s = 0.0

    def batches(self, wanted: Sequence[Positions]) -> Iterator[torch.Tensor]:
        """For each batch of positions its volumes (B, C, X, Y, Z) float16 on the device."""
        with ThreadPoolExecutor(1, thread_name_prefix="volumes") as reader:
            coming: deque[Future[torch.Tensor]] = deque()
            remaining = iter(wanted)
            for positions in wanted[:_AHEAD]:
                coming.append(reader.submit(self._read, positions))
                next(remaining)
            while coming:
                start = time.monotonic()
                batch = coming.popleft().result()
                self.waited_s += time.monotonic() - start
                if (following := next(remaining, None)) is not None:
                    coming.append(reader.submit(self._read, following))
                yield self._arrived(batch)

    def _read(self, positions: Positions) -> torch.Tensor:
        shape = (len(positions), len(self._names), *self._maps[0][0].shape)
        batch = torch.empty(shape, dtype=torch.float16, pin_memory=self._copying is not None)
        values = batch.numpy()
        for target, position in zip(values, positions.tolist(), strict=True):
            for channel, name in enumerate(self._names):
                target[channel] = self._maps[position][channel]
                if position not in self._seen:
                    require_finite(target[channel], self._subjects[position], name)
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
