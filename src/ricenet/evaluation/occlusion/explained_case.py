"""One explained prediction: what is kept of it in summary.json, and the volumes that its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config.inputs import InputName
from ricenet.evaluation.anatomy_figure import Anatomy, read_known_masks
from ricenet.evaluation.occlusion.map_summary import MapSummary
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.dose_cube import dose_source
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.records import Record
from ricenet.runtime.tables import require
from ricenet.volume import inverse, load_nifti

TOGETHER = "together"
"""Name of the map for which a cube hides all volumes at once; the others are named by their volume."""

Map = NDArray[np.float32]
"""(X, Y, Z): change of p_rice by hiding a voxel, positive where hiding lowers p_rice."""


class FoldVote(Record):
    """One network's probability; held_out: whether it did not train on the subject."""

    fold: int
    p_rice: float
    held_out: bool


class Explanation(Record):
    """A prediction and its maps in numbers.

    label: n/a where it is not known. p_rice: the mean of the networks that did not train on the subject;
    interval: 95 %, None where one network is no sample. calibrated: p_rice, recalibrated by held-out subjects
    of other folds; None: not known. sees: which part of the head. fused: whether a regression answers beside
    each network. maps: by TOGETHER and volume. synthetic: made by the
    phantom. provenance: lines of "what" and "value".
    """

    modality_set: str
    participant_id: str
    label: str
    predicted: str
    p_rice: float
    interval: tuple[float, float] | None
    calibrated: float | None = None
    sees: InputName = "head"
    fused: bool = False
    votes: tuple[FoldVote, ...]
    maps: dict[str, MapSummary]
    synthetic: bool
    provenance: dict[str, str]

    @property
    def wrong(self) -> bool:
        """Whether the label is known and another one is predicted."""
        return self.label not in ("n/a", self.predicted)

    @property
    def held_out(self) -> tuple[int, ...]:
        """Folds whose networks did not train on the subject."""
        return tuple(vote.fold for vote in self.votes if vote.held_out)


@dataclass(frozen=True)
class Case:
    """An explained prediction with its volumes.

    maps: by name; untrained: those of random weights. doses: in Gy, in the brain and each known mask; empty
    without a dose.
    """

    explanation: Explanation
    anatomy: Anatomy
    maps: Mapping[str, Map]
    untrained: Mapping[str, Map]
    doses: Mapping[str, StructureDose] = field(default_factory=dict)


def structure_doses(raw: RawSubject, folder: Path) -> dict[str, StructureDose]:
    """By structure: `brain`, as it was found, then the masks that a cohort's maker knows; empty without dose.

    folder: of the preprocessed subject. The dose is the whole course's, EQD2 where preprocessing made it so.
    Raises ResultError: a file of preprocessing is missing, or of another version.
    """
    measured, spec = Measurements.of_subject(folder), raw.volumes.dose
    if spec is None or measured.dose is None:
        return {}
    sidecar = read_dose_sidecar(raw.dose_sidecar)
    given = load_nifti(raw.scan(spec.name))
    source, factor = dose_source(given, sidecar, measured.dose.eqd2_alpha_beta_gy, raw.subject)
    dose_gy, from_dose = source.times(factor), inverse(measured.world_of(spec, raw.volumes))
    brain = load_nifti(require(folder / brain_mask_file(raw.subject), "preprocess"))
    structures = {"brain": brain, **read_known_masks(raw.cohort, raw.subject)}
    return {name: StructureDose.of(dose_gy, mask, from_dose) for name, mask in structures.items()}


def strongest_voxel(change: Map) -> tuple[int, int, int]:
    """Index of the largest absolute change; the one in the middle of several; the middle of an empty map."""
    size = np.abs(change)
    if not size.any():
        return change.shape[0] // 2, change.shape[1] // 2, change.shape[2] // 2
    # cubes that lie a stride apart leave blocks of voxels with the same change
    strongest = np.argwhere(size == size.max())
    from_middle = np.square(strongest - strongest.mean(axis=0)).sum(axis=1)
    x, y, z = (int(i) for i in strongest[np.argmin(from_middle)])
    return x, y, z
