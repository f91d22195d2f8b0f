"""Occlusion sensitivity of one subject's prediction.

Source: RICE-NET section 2 (a small cube masked at the same place in all volumes, change of the output
probability). The paper states neither cube nor stride nor fill; here they are parameters. Ours besides:
hiding one volume alone, and refining a coarse map where it is strong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.occlusion.hidden_cubes import Chosen, CubeGrid, filled

if TYPE_CHECKING:
    import torch

    from ricenet.config.params import ExplainParams
    from ricenet.evaluation.occlusion.answering import Answering

Progress = Callable[[int, int], None]
"""Called with how many cubes of how many are done."""
COARSE_STEP = 2
"""Strides between the cubes of the coarse map."""
ALIGNMENT_VOXELS = 32
"""The networks' strides together, with a stem of stride 2."""


@dataclass(frozen=True)
class OcclusionMap:
    """Change of p_rice (X, Y, Z), float32: positive where hiding a voxel lowers p_rice.

    cubes: how many were computed, of how many; the others change nothing, or were not asked for.
    """

    change: NDArray[np.float32]
    baseline_p_rice: float
    cubes: int
    of_cubes: int


def occlusion_maps(
    networks: Sequence[Any],
    volumes: NDArray[np.float32],
    brain: NDArray[np.bool_],
    hidden: Mapping[str, Sequence[int]],
    settings: ExplainParams,
    progress: Progress | None = None,
) -> dict[str, OcclusionMap]:
    """Mean change of p_rice over the cubes that cover each voxel, a map for each way of hiding.

    networks: of one modality set, in evaluation mode; their probabilities are averaged. volumes: (C, X, Y, Z)
    float32. brain: (X, Y, Z). hidden: by name, the channels that a cube hides together.
    A cube that already holds the fill changes nothing, and is not computed. With `within_brain` the map is 0
    outside the brain and complete inside. With `refine_above` it is complete where the coarse map is strong.
    """
    _, x, y, z = volumes.shape
    grid = CubeGrid((x, y, z), settings.cube_voxels, settings.stride_voxels)
    change = filled(volumes, brain, settings.fill, settings.cube_voxels) - volumes
    wanted = grid.touching(brain) if settings.within_brain else np.ones(grid.counts, bool)
    maps = [_Map.of(change, channels, grid, wanted) for channels in hidden.values()]
    subject = _Subject(networks, volumes, settings, grid, progress)
    if settings.refine_above is None:
        baseline = subject.occlude(maps, [wanted] * len(maps))
        found = [m.mean(wanted) for m in maps]
    else:
        coarse = grid.every(COARSE_STEP) & wanted
        baseline = subject.occlude(maps, [coarse] * len(maps))
        strong = [_strong(m.mean(coarse), settings.refine_above) for m in maps]
        fine = [grid.touching(voxels) & wanted for voxels in strong]
        subject.occlude(maps, [positions & ~coarse for positions in fine])
        found = [
            np.where(voxels, m.mean(positions), m.mean(coarse))
            for m, voxels, positions in zip(maps, strong, fine, strict=True)
        ]
    shown = brain if settings.within_brain else np.ones_like(brain)
    return {
        name: OcclusionMap(np.where(shown, mean, 0).astype(np.float32), baseline, m.cubes, wanted.size)
        for name, m, mean in zip(hidden, maps, found, strict=True)
    }


def _strong(change: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    size = np.abs(change)
    strong: NDArray[np.bool_] = (size >= share * size.max()) & (size > 0)
    return strong


@dataclass
class _Map:
    """A map under way.

    difference: (X, Y, Z, C), what hiding everything adds. changing: the positions whose cube changes the
    input. values: changes of p_rice, by position. cubes: how many were computed.
    """

    difference: NDArray[np.float32]
    grid: CubeGrid
    changing: Chosen
    values: NDArray[np.float64]
    cubes: int = 0

    @classmethod
    def of(cls, change: NDArray[np.float32], channels: Sequence[int], grid: CubeGrid, wanted: Chosen) -> Self:
        difference = np.zeros((*grid.shape, len(change)), np.float32)
        difference[..., channels] = np.moveaxis(change[channels], 0, -1)
        changing = grid.touching((difference != 0).any(axis=-1)) & wanted
        return cls(difference, grid, changing, np.zeros(grid.counts))

    def mean(self, positions: Chosen) -> NDArray[np.float64]:
        return self.grid.mean_of_cubes(self.values, positions)


@dataclass(frozen=True)
class _Subject:
    """What the maps of one subject have in common."""

    networks: Sequence[Any]
    volumes: NDArray[np.float32]
    settings: ExplainParams
    grid: CubeGrid
    progress: Progress | None

    def occlude(self, maps: Sequence[_Map], positions: Sequence[Chosen]) -> float:
        """Fill in the maps' values at some positions each; returns the baseline's p_rice."""
        import torch

        from ricenet.evaluation.occlusion.answering import known_input
        from ricenet.training.networks import full_precision

        chosen = [m.changing & p for m, p in zip(maps, positions, strict=True)]
        baselines = []
        done, of = 0, len(self.networks) * sum(int(c.sum()) for c in chosen)
        for network in self.networks:
            # one at a time, since the activations that are kept are large
            with torch.inference_mode(), full_precision():
                known = known_input(network, self.volumes, self.settings.precision)
                baselines.append(_p_rice(known.logits[None])[0])
                for m, c in zip(maps, chosen, strict=True):
                    for at, p_rice in self._occluded(known, m, c):
                        m.values[tuple(at.T)] += (baselines[-1] - p_rice) / len(self.networks)
                        done += len(at)
                        if self.progress is not None:
                            self.progress(done, of)
        for m, c in zip(maps, chosen, strict=True):
            m.cubes += int(c.sum())
        return float(np.mean(baselines))

    def _occluded(
        self, known: Answering, m: _Map, chosen: Chosen
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Positions (N, 3) in the grid, and p_rice with the cube there hidden; a batch at a time."""
        import torch

        from ricenet.evaluation.occlusion.receptive_field import Boxes, windows

        n = self.settings.cube_voxels
        at_once = max(1, int(self.settings.memory_mb * 1e6 / known.bytes_a_box(n)))
        difference = torch.from_numpy(m.difference).to(known.logits.device)
        positions, corners = np.argwhere(chosen), self.grid.corners(chosen)
        # neighbours on the networks' strides together, so that their boxes need no margin for each other
        order = np.lexsort((corners % ALIGNMENT_VOXELS).T)
        for first in range(0, len(order), at_once):
            batch = order[first : first + at_once]
            boxes = windows(difference, Boxes(corners[batch], (n, n, n), self.grid.shape), 0)
            yield positions[batch], _p_rice(known.logits_with(boxes, corners[batch]))


def _p_rice(logits: torch.Tensor) -> NDArray[np.float64]:
    from ricenet.training.networks import p_rice

    result: NDArray[np.float64] = p_rice(logits).cpu().numpy()
    return result
