"""Occlusion sensitivity of one subject's prediction.

Source: RICE-NET section 2 (a small cube masked at the same place in all volumes, change of the output
probability). The paper states neither cube nor stride nor fill; here they are parameters. Ours besides:
hiding one modality alone, and refining a coarse map where it is strong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.occlusion.fill import Fill, filled
from ricenet.evaluation.occlusion.positions import Chosen, CubeGrid

if TYPE_CHECKING:
    import torch

    from ricenet.config.params import ExplainParams
    from ricenet.evaluation.occlusion.regions import Starts

Progress = Callable[[int, int], None]
"""Told how many cubes of how many are done."""
Precision = Literal["float32", "bfloat16"]
COARSE_STEP = 2
"""Strides between the cubes of the coarse map."""
ALIGNMENT_VOXELS = 32
"""The networks' strides together, with a stem of stride 2."""


@dataclass(frozen=True)
class OcclusionSettings:
    """How to occlude; see the section `explain` of params.yaml.

    refine_above: a share of the coarse map's largest value, or None for the full map at once.
    memory_mb: of the boxes that are computed together, beside what is kept of the known input.
    """

    cube_voxels: int
    stride_voxels: int
    fill: Fill = "background"
    within_brain: bool = False
    refine_above: float | None = None
    precision: Precision = "float32"
    memory_mb: float = 256.0

    @classmethod
    def of(cls, params: ExplainParams) -> Self:
        """The settings that the parameters ask for."""
        return cls(**{field.name: getattr(params, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class OcclusionMap:
    """Change of p_rice (X, Y, Z), float32: positive where hiding a voxel lowers p_rice.

    cubes: how many were computed, of how many; the others change nothing, or were not asked for.
    """

    change: NDArray[np.float32]
    baseline_p_rice: float
    cubes: int
    of_cubes: int


class Answering(Protocol):
    """A network with an input that it knows: `KnownInput` or `WholeInput`."""

    @property
    def logits(self) -> torch.Tensor: ...  # noqa: D102
    def logits_with(self, differences: torch.Tensor, starts: Starts) -> torch.Tensor: ...  # noqa: D102
    def bytes_a_box(self, size: int) -> int: ...  # noqa: D102


def occlusion_maps(
    networks: Sequence[Any],
    volumes: NDArray[np.float32],
    brain: NDArray[np.bool_],
    hidden: Mapping[str, Sequence[int]],
    settings: OcclusionSettings,
    progress: Progress | None = None,
) -> dict[str, OcclusionMap]:
    """Mean change of p_rice over the cubes that cover each voxel, a map for each way of hiding.

    networks: of one modality set, in evaluation mode; their probabilities are averaged. volumes: (C, X, Y, Z)
    float32. brain: (X, Y, Z). hidden: by name, the channels that a cube hides together.
    A cube that already holds the fill changes nothing, and is not computed. With `within_brain` the map is 0
    outside the brain and complete inside. With `refine_above` it is complete where the coarse map is strong.
    """
    grid = CubeGrid(_shape(volumes), settings.cube_voxels, settings.stride_voxels)
    change = filled(volumes, brain, settings.fill, settings.cube_voxels) - volumes
    wanted = grid.touching(brain) if settings.within_brain else np.ones(grid.counts, bool)
    subject = _Subject(networks, volumes, settings, grid, progress)
    under_way = [_Map.of(name, change, channels, grid, wanted) for name, channels in hidden.items()]
    if settings.refine_above is None:
        baseline = subject.compute(under_way, [wanted] * len(under_way))
        return {m.name: m.result(m.mean(wanted), brain, settings, baseline) for m in under_way}
    coarse = grid.every(COARSE_STEP) & wanted
    baseline = subject.compute(under_way, [coarse] * len(under_way))
    strong = [_strong(m.mean(coarse), settings.refine_above) for m in under_way]
    fine = [grid.touching(voxels) & wanted for voxels in strong]
    subject.compute(under_way, [positions & ~coarse for positions in fine])
    return {
        m.name: m.result(np.where(voxels, m.mean(positions), m.mean(coarse)), brain, settings, baseline)
        for m, voxels, positions in zip(under_way, strong, fine, strict=True)
    }


def _strong(change: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    size = np.abs(change)
    strong: NDArray[np.bool_] = (size >= share * size.max()) & (size > 0)
    return strong


@dataclass
class _Map:
    """A map under way.

    difference: (C, X, Y, Z), what hiding everything adds. changing: the positions whose cube changes the
    input. values: changes of p_rice, by position. cubes: how many were computed.
    """

    name: str
    difference: NDArray[np.float32]
    grid: CubeGrid
    changing: Chosen
    values: NDArray[np.float64]
    cubes: int = 0

    @classmethod
    def of(
        cls, name: str, change: NDArray[np.float32], channels: Sequence[int], grid: CubeGrid, wanted: Chosen
    ) -> Self:
        difference = np.zeros_like(change)
        difference[channels] = change[channels]
        changing = grid.touching((difference != 0).any(axis=0)) & wanted
        return cls(name, difference, grid, changing, np.zeros(grid.counts))

    def mean(self, positions: Chosen) -> NDArray[np.float64]:
        return self.grid.mean_of_cubes(self.values, positions)

    def result(
        self,
        change: NDArray[np.float64],
        brain: NDArray[np.bool_],
        settings: OcclusionSettings,
        baseline_p_rice: float,
    ) -> OcclusionMap:
        if settings.within_brain:
            change = np.where(brain, change, 0)
        return OcclusionMap(change.astype(np.float32), baseline_p_rice, self.cubes, self.changing.size)


@dataclass(frozen=True)
class _Subject:
    """What the maps of one subject have in common."""

    networks: Sequence[Any]
    volumes: NDArray[np.float32]
    settings: OcclusionSettings
    grid: CubeGrid
    progress: Progress | None

    def compute(self, maps: Sequence[_Map], positions: Sequence[Chosen]) -> float:
        """Fill in the maps' values at some positions each; returns the baseline's p_rice."""
        import torch

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
                    for corners, p_rice in self._occluded(known, m, self.grid.corners(c)):
                        x, y, z = self.grid.indices(corners)
                        m.values[x, y, z] += (baselines[-1] - p_rice) / len(self.networks)
                        done += len(corners)
                        if self.progress is not None:
                            self.progress(done, of)
        for m, c in zip(maps, chosen, strict=True):
            m.cubes += int(c.sum())
        return float(np.mean(baselines))

    def _occluded(
        self, known: Answering, m: _Map, corners: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        import torch

        from ricenet.evaluation.occlusion.regions import Boxes, windows

        n = self.settings.cube_voxels
        at_once = max(1, int(self.settings.memory_mb * 1e6 / known.bytes_a_box(n)))
        last = np.moveaxis(m.difference, 0, -1)
        difference = torch.from_numpy(np.ascontiguousarray(last)).to(known.logits.device)
        # neighbours on the networks' strides together, so that their boxes need no margin for each other
        order = np.lexsort((corners % ALIGNMENT_VOXELS).T)
        for first in range(0, len(corners), at_once):
            batch = corners[order[first : first + at_once]]
            boxes = windows(difference, Boxes(batch, (n, n, n), self.grid.shape), 0)
            yield batch, _p_rice(known.logits_with(boxes, batch))


def known_input(network: Any, volumes: NDArray[np.float32], precision: Precision) -> Answering:
    """A network with an input; answers by its changed boxes alone where the network is of a kind for that."""
    import torch

    from ricenet.evaluation.occlusion.incremental import KnownInput, is_understood
    from ricenet.evaluation.occlusion.whole import WholeInput

    parameters = getattr(network, "parameters", list)
    device = next(iter(parameters()), torch.empty(0)).device
    image = torch.from_numpy(volumes).to(device)
    if not is_understood(network):
        return WholeInput(network, image)
    return KnownInput(network, image, getattr(torch, precision))


def _p_rice(logits: torch.Tensor) -> NDArray[np.float64]:
    from ricenet.training.networks import p_rice

    result: NDArray[np.float64] = p_rice(logits).cpu().numpy()
    return result


def _shape(volumes: NDArray[np.float32]) -> tuple[int, int, int]:
    return volumes.shape[1], volumes.shape[2], volumes.shape[3]
