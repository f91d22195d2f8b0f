"""The planning CT's head, without couch, headrest and mask, and its registration to the reference MRI."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import averaged
from ricenet.preprocessing.registration.image_comparison import OUTLIERS_PERCENT, shared_information
from ricenet.preprocessing.registration.rigid_registration import RigidResult, register_rigid
from ricenet.runtime.errors import SourceError
from ricenet.runtime.randomness import seed_for
from ricenet.volume import Affine, Grid, Supersampling, Volume, inverse, resample, supersampling_for

SPACING_MM = 2.0
AIR_HU = -1000.0
BODY_HU = -300.0
"""Above it lies the body; below it air, and most of cushions."""

WINDOW_HU = (-200.0, 1000.0)
"""Beyond these, values are cut, so that soft tissue and bone get most of the histogram's bins."""

SHEET_MM = 6.0
"""What comes off the body where it is thinner than twice this: couch, headrest, mask."""

HEAD_MM = 220.0
"""From the vertex to below the chin; what lies further down is in no scan of the head."""

LEAST_HEAD_ML = 1500.0
"""Half of an adult's head, well below a child's; fixation devices are smaller."""

MARGIN_MM = 20.0
"""Air that is kept around the head, so that its outline counts in the registration."""

LEAST_SIMILARITY = 1.03
SIMILARITY_TOLERANCE = 0.01
MOST_TURNED_DEG = 60.0
"""Of the head between CT and scan. Both headers say where the patient's front, left and top are; where they
contradict each other, an axis may as well be mirrored, and the dose would land on the other side."""

LEAST_OVERLAP = 0.2
"""Of the head's voxels in the CT that the reference MRI has to show; of fewer, chance decides too much."""


def head_of(ct: Volume) -> Volume:
    """Where the head is: the largest body without thin sheets, down to HEAD_MM below its top.

    ct: (X, Y, Z) HU on any grid, world axes of the patient (RAS).
    Returns (X', Y', Z') bool, SPACING_MM along the world axes, with a margin.
    Raises SourceError: no body of a head's size.
    """
    grid = Grid.covering(ct.grid, SPACING_MM)
    body = _largest_body(_hu_on(ct, grid, supersampling=(1, 1, 1)) > BODY_HU)
    top = int(np.flatnonzero(body.any(axis=(0, 1)))[-1]) if body.any() else 0
    body[:, :, : max(0, top + 1 - round(HEAD_MM / SPACING_MM))] = False
    if body.sum() * grid.voxel_ml < LEAST_HEAD_ML:
        raise SourceError(
            f"the planning CT shows no head: its largest body is {body.sum() * grid.voxel_ml:.0f} ml, at "
            f"least {LEAST_HEAD_ML:.0f} ml is expected",
            "Choose the planning CT of the head in the map (planning_ct); for predict, leave other CTs out "
            "of the folder.",
        )
    return _cropped(Volume(body, grid))


def prepared(ct: Volume, head: Volume) -> Volume:
    """The head's CT on the grid of its mask, cut to WINDOW_HU; 0 is its lower end, and the surroundings."""
    low, high = WINDOW_HU
    values = np.clip(_hu_on(ct, head.grid, supersampling_for(ct.grid, head.grid)), low, high) - low
    return Volume(np.where(head.data, values, 0).astype(np.float32), head.grid)


def copy_for_people(ct: Volume, head: Volume, mri_from_ct: Affine) -> Volume:
    """The CT around the head in the reference MRI's space, SPACING_MM along that space's axes, in HU."""
    moved = Grid(head.grid.shape, mri_from_ct @ head.grid.affine)
    grid = Grid.covering(moved, SPACING_MM)
    there = Volume(ct.data, Grid(ct.grid.shape, mri_from_ct @ ct.grid.affine))
    return Volume(_hu_on(there, grid, supersampling_for(ct.grid, grid)), grid)


def register_to_mri(head_ct: Volume, head: Volume, mri: Volume, seed: int) -> RigidResult:
    """`register_head`, refused where it is not plausible.

    Raises SourceError: as `require_plausible`.
    """
    result = register_head(head_ct, head, mri, seed)
    require_plausible(result)
    return result


def require_plausible(result: RigidResult) -> None:
    """Refuse what explains nothing, less than the headers alone did, or needs a turn that headers exclude.

    Raises SourceError.
    """
    after, before = result.similarity, result.similarity_before
    if after < max(LEAST_SIMILARITY, before - SIMILARITY_TOLERANCE):
        raise SourceError(
            "registration of the planning CT to the reference MRI failed (normalised mutual information "
            f"within the head {after:.3f}, {before:.3f} before it, expected at least {LEAST_SIMILARITY:.2f})",
            "Check that both are this patient's, whole heads, and not upside down.",
        )
    turned_deg = turned_degrees(result.moving_from_fixed)
    if turned_deg > MOST_TURNED_DEG:
        raise SourceError(
            f"the CT's head lies over the reference MRI's only when turned by {turned_deg:.0f} degrees "
            f"(at most {MOST_TURNED_DEG:.0f} are expected): one of them states a wrong orientation, and may "
            "be mirrored as well",
            "Export both again with their original orientation.",
        )


def turned_degrees(transform: Affine) -> float:
    """By how many degrees a rigid transform turns."""
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def register_head(head_ct: Volume, head: Volume, mri: Volume, seed: int) -> RigidResult:
    """The rigid transform from the reference MRI's space to the CT's, by mutual information.

    head_ct, head: as `prepared` and `head_of` make them. mri: on any grid.
    The similarities of the result are those within the head (`similarity_within`).
    """
    fixed = averaged(mri, SPACING_MM)
    registration_seed = seed_for("planning_ct", seed)
    ct_from_mri = register_rigid(fixed, head_ct, "mattes", registration_seed).moving_from_fixed
    after, before = (similarity_within(head, head_ct, fixed, t) for t in (ct_from_mri, np.eye(4)))
    return RigidResult(ct_from_mri, similarity=after, similarity_before=before)


def similarity_within(head: Volume, head_ct: Volume, mri: Volume, ct_from_mri: Affine) -> float:
    """Normalised mutual information of CT and MRI over the CT's head, as far as the MRI shows it.

    Over the whole field of view the outline decides: there a ball of the head's size is as similar as
    the head. 1 where the MRI shows less than LEAST_OVERLAP of the head.
    Source: Studholme et al., Pattern Recognition 32 (1999) 71-86; deviation: within the head.
    """
    mri_from_ct = inverse(ct_from_mri)
    everywhere = Volume(np.ones(mri.grid.shape, dtype=np.float32), mri.grid)
    shown = np.logical_and(resample(everywhere, head.grid, mri_from_ct).data > 0.5, head.data)
    if shown.sum() < LEAST_OVERLAP * head.data.sum():
        return 1.0
    values = resample(mri, head.grid, mri_from_ct).data[shown]
    values = np.clip(values, *np.percentile(values, (OUTLIERS_PERCENT, 100 - OUTLIERS_PERCENT)))
    return shared_information(values, head_ct.data[shown])


def _hu_on(ct: Volume, grid: Grid, supersampling: Supersampling) -> NDArray[np.float32]:
    # air is 0 while resampling, which fills what lies outside the scan with 0
    above_air = Volume((ct.data - np.float32(AIR_HU)).astype(np.float32), ct.grid)
    hu = resample(above_air, grid, supersampling=supersampling).data + np.float32(AIR_HU)
    return hu.astype(np.float32)


def _largest_body(dense: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of what is left by a morphological opening; with its holes filled."""
    from scipy import ndimage

    # by distances, since opening by a ball of many voxels is slow
    core = ndimage.distance_transform_edt(np.pad(dense, 1), sampling=SPACING_MM)[1:-1, 1:-1, 1:-1] > SHEET_MM
    labels, count = ndimage.label(core)
    if not count:
        return np.zeros_like(dense)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    near = ndimage.distance_transform_edt(~largest, sampling=SPACING_MM) <= SHEET_MM
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(near & dense)
    return filled


def _cropped(mask: Volume) -> Volume:
    """The mask within its bounding box and a margin, which may reach beyond its grid."""
    inside = np.argwhere(mask.data)
    extra = round(MARGIN_MM / SPACING_MM)
    low, high = inside.min(axis=0) - extra, inside.max(axis=0) + extra + 1
    affine = mask.grid.affine.copy()
    affine[:3, 3] = mask.grid.world_mm(low.astype(np.float64))
    shape = tuple(int(n) for n in high - low)
    data = np.zeros(shape, dtype=np.bool_)
    start = inside - low
    data[tuple(start.T)] = True
    return Volume(data, Grid((shape[0], shape[1], shape[2]), affine))
