"""Does a map depend on what the network learned? Compared with the map of an untrained network.

Source: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018 (model parameter randomisation test, all
layers at once; Spearman rank correlation of the absolute maps). Deviation: they state no limit; ours is
DIFFERS_BELOW.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.occlusion.estimate import Estimate, mean_over_subjects
from ricenet.runtime.randomness import seed_for

if TYPE_CHECKING:
    import torch

    from ricenet.training.ensemble import EnsembleRecord

DIFFERS_BELOW = 0.5
"""Rank correlation from which on a map is said to resemble the untrained network's: there, a quarter of the
ranks' variance is shared. Unrelated maps reach some tenths, since cubes smooth both over their size."""


@dataclass(frozen=True)
class SanityCheck:
    """rank_correlation: of the absolute maps within the brain; None where a map is constant there."""

    rank_correlation: float | None
    verdict: str

    @property
    def differs(self) -> bool:
        """Whether the comparison could be made and the maps differ."""
        return self.rank_correlation is not None and self.rank_correlation < DIFFERS_BELOW


def untrained_network(record: EnsembleRecord, fold: int, seed: int) -> torch.nn.Module:
    """A network like an ensemble's, ready to predict, with random weights that no training started from.

    record: the ensemble's. The same arguments give the same weights. Batch norm has its initial statistics,
    so it changes nothing.
    """
    from ricenet.training.networks import initial_network, preferred_device

    network = initial_network(
        record.network,
        record.modality_set,
        fold,
        # not the seed itself: a trained network still resembles the weights that it started from
        seed_for("occlusion sanity", seed),
        len(record.members),
    )
    return network.eval().to(preferred_device())


def weights_sanity(
    trained: NDArray[np.float32], untrained: NDArray[np.float32], brain: NDArray[np.bool_]
) -> SanityCheck:
    """Compare a map with that of an untrained network of the same subject.

    trained, untrained, brain: (X, Y, Z).
    """
    from scipy import stats

    maps = {"trained": np.abs(trained[brain]), "untrained": np.abs(untrained[brain])}
    constant = [name for name, values in maps.items() if np.ptp(values) == 0]
    if constant:
        whose = " and of the ".join(f"{name} network" for name in constant)
        verdict = f"cannot be said: the map of the {whose} is the same everywhere in the brain"
        return SanityCheck(None, verdict)
    correlation = float(stats.spearmanr(maps["trained"], maps["untrained"]).statistic)
    return SanityCheck(correlation, _verdict(correlation))


def sanity_of_subjects(checks: Sequence[SanityCheck], seed: int) -> Estimate | None:
    """Mean rank correlation over the subjects for which there is one."""
    known = [check.rank_correlation for check in checks if check.rank_correlation is not None]
    return mean_over_subjects(known, seed)


def _verdict(correlation: float) -> str:
    said = f"rank correlation {correlation:.2f}, limit {DIFFERS_BELOW:g}"
    if correlation < DIFFERS_BELOW:
        return f"differs from the map of an untrained network ({said})"
    return f"resembles the map of an untrained network: it may show the input, not what was learned ({said})"
