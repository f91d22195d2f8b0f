"""What is known of one explained prediction, for its page and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.anatomy_figure import Anatomy

TOGETHER = "together"
"""Name of the map for which a cube hides all volumes at once; the others are named by their modality."""


@dataclass(frozen=True)
class FoldVote:
    """One network's probability; held_out: whether it did not train on the subject."""

    fold: int
    p_rice: float
    held_out: bool


@dataclass(frozen=True)
class Share:
    """How much of a map's absolute sum lies in a part of the brain, beside the part's volume."""

    name: str
    of_map: float
    of_volume: float


@dataclass(frozen=True)
class MapSummary:
    """A map in numbers. isodoses: shares by band; regions: by known region (cavity, lesion).

    Distances are of the absolute map's centre of mass, None where there is no isocentre or lesion.
    """

    isodoses: Sequence[Share]
    regions: Sequence[Share]
    to_isocentre_mm: float | None
    to_lesion_mm: float | None


@dataclass(frozen=True)
class Case:
    """One subject's explained prediction by one modality set.

    p_rice: of the networks that did not train on the subject (their mean); interval: 95 %, None where one
    network is no sample. predicted, and anatomy.label, are labels or n/a. maps: change of p_rice by hiding a
    voxel (X, Y, Z), by TOGETHER and modality; positive where hiding lowers p_rice. summaries: by map.
    synthetic: made by the phantom. provenance: lines of "what" and "value".
    """

    anatomy: Anatomy
    modality_set: str
    predicted: str
    p_rice: float
    interval: tuple[float, float] | None
    votes: Sequence[FoldVote]
    maps: Mapping[str, NDArray[np.float32]]
    summaries: Mapping[str, MapSummary]
    synthetic: bool
    provenance: Mapping[str, str]

    @property
    def wrong(self) -> bool:
        """Whether the label is known and another one is predicted."""
        return self.anatomy.label not in ("n/a", self.predicted)
