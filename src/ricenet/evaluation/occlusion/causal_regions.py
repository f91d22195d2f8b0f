"""Where a phantom's evidence lies: the region of each volume that holds the cause of its label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import GROUND_TRUTH, MECHANISM_FILE
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.explained_case import TOGETHER
from ricenet.evaluation.occlusion.map_summary import Map
from ricenet.phantom.contrasts import contrast_of
from ricenet.phantom.mechanism import MECHANISMS, Mechanism
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import Volumes, VolumeSpec

HIGH_DOSE, LESION, CAVITY, REMOTE = "high-dose region", "lesion", "cavity", "remote"
WALL, EVERY_CAUSE = "cavity and its wall", "every cause"

HIGH_DOSE_SHARE = 0.8
"""Of the plateau dose: this isodose follows the phantom's planning target volume."""
WALL_MM = 9.0
"""As thick as residual tumour becomes at a cavity's wall."""


def read_mechanism(cohort: Path) -> Mechanism:
    """By which mechanism a synthetic cohort's labels were drawn.

    Raises ResultError: its ground truth does not say so, or names one that is not known.
    """
    path = cohort / GROUND_TRUTH / MECHANISM_FILE
    stated = read_json(path) if path.is_file() else {}
    name = stated.get("mechanism") if isinstance(stated, dict) else None
    if not isinstance(name, str) or name not in MECHANISMS:
        found = repr(name) if path.is_file() else "no such file"
        raise ResultError(
            f"{GROUND_TRUTH}/{MECHANISM_FILE}: found {found}, "
            f"expected a mechanism, one of {', '.join(MECHANISMS)}. Write the cohort again (the demo: "
            "`dvc repro data.dvc`)"
        )
    return MECHANISMS[name]


def causal_regions(anatomy: Anatomy, modality_set: str, mechanism: Mechanism) -> dict[str, Map]:
    """The regions (X, Y, Z) in which evidence can lie, by name: the share of each voxel that is theirs.

    They overlap, since surgery and beam aim at one tumour. Of a set of several volumes, EVERY_CAUSE holds
    those that the mechanism makes causes, if any (docs/phantom.md).
    Raises ResultError: the ground truth has no mask of the cavity or the lesion.
    """
    for name in (CAVITY, LESION):
        if name not in anatomy.known_masks:
            raise ResultError(
                f"{anatomy.subject}: no mask of the {name} in the cohort's {GROUND_TRUTH}, expected cavity "
                "and lesion of every phantom subject. Write it again (the demo: `dvc repro data.dvc`)"
            )
    cavity, lesion = anatomy.known_masks[CAVITY], anatomy.known_masks[LESION]
    regions = {
        HIGH_DOSE: _high_dose(anatomy),
        LESION: lesion,
        CAVITY: cavity,
        WALL: _with_wall(cavity, anatomy.grid.spacing_mm),
    }
    if mechanism.remote:
        regions[REMOTE] = anatomy.known_masks.get(REMOTE, np.zeros_like(lesion))
    inputs = anatomy.declared.members(modality_set)
    causes = [_cause(spec, anatomy.declared, inputs, mechanism) for spec in inputs]
    known = [regions[cause] for cause in causes if cause is not None]
    return regions if len(inputs) == 1 or not known else {**regions, EVERY_CAUSE: np.maximum.reduce(known)}


def cause_of(map_name: str, modality_set: str, volumes: Volumes, mechanism: Mechanism) -> str | None:
    """Name of the region that a map has to point at, None where its volumes hold no cause.

    That of all at once is every cause of its volumes. What only event and dose together show is no cause
    for a network that sees one of them.

    >>> from ricenet.vocabulary import PAPER_VOLUMES
    >>> height = MECHANISMS["dose_height"]
    >>> [cause_of(name, "event+dose", PAPER_VOLUMES, height) for name in ("dose", "together")]
    ['high-dose region', 'every cause']
    >>> cause_of("dose", "dose", PAPER_VOLUMES, MECHANISMS["post_op_only"]) is None
    True
    """
    inputs = volumes.members(modality_set)
    if map_name != TOGETHER:
        return _cause(volumes[map_name], volumes, inputs, mechanism)
    causes = [_cause(spec, volumes, inputs, mechanism) for spec in inputs]
    if not any(causes):
        return None
    return EVERY_CAUSE if len(inputs) > 1 else causes[0]


def _cause(
    spec: VolumeSpec, volumes: Volumes, inputs: Sequence[VolumeSpec], mechanism: Mechanism
) -> str | None:
    """Where a volume shows its evidence, beside the other inputs of the network.

    The dose by its height, or at the lesion; MRIs of the last session by the lesion or a remote focus;
    earlier ones by residual tumour. FLAIR and maps show none of it.
    """
    last = volumes.last_session_reference.session
    event = any(
        s.session == last and s.kind == "mri" and contrast_of(s.suffix).shows_evidence for s in inputs
    )
    dose = volumes.dose in inputs
    product, place = (weight and event and dose for weight in (mechanism.product, mechanism.place))
    if spec.kind == "dose":
        return HIGH_DOSE if mechanism.dose or product else (LESION if place else None)
    if not contrast_of(spec.suffix).shows_evidence:
        return None
    if spec.session != last:
        return WALL if mechanism.post_op else None
    if mechanism.event or product or place:
        return LESION
    return REMOTE if mechanism.remote else None


def _high_dose(anatomy: Anatomy) -> Map:
    if anatomy.dose_gy is None:
        return np.zeros(anatomy.grid.shape, np.float32)
    region = (anatomy.dose_gy >= HIGH_DOSE_SHARE * anatomy.plateau_gy) & (anatomy.dose_gy > 0)
    return np.asarray(region & anatomy.brain, np.float32)


def _with_wall(cavity: Map, spacing_mm: tuple[float, float, float]) -> Map:
    from scipy import ndimage

    if not (cavity >= 0.5).any():
        return cavity
    # the surface lies half a voxel beyond the middle of the last voxel inside
    beyond_mm = ndimage.distance_transform_edt(cavity < 0.5, sampling=spacing_mm) - min(spacing_mm) / 2
    wall: Map = np.maximum(cavity, (beyond_mm <= WALL_MM).astype(np.float32))
    return wall
