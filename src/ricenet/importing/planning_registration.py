"""Registering the planning CT to the post-operative scan, and telling whether it worked."""

from __future__ import annotations

import numpy as np

from ricenet.importing.planning_ct import SPACING_MM
from ricenet.preprocessing.registration.comparison import averaged, shared_information
from ricenet.preprocessing.registration.rigid_registration import RigidResult, register_rigid
from ricenet.runtime.errors import SourceError
from ricenet.runtime.randomness import seed_for
from ricenet.volume import Affine, Volume, inverse, resample

LEAST_SIMILARITY = 1.03
SIMILARITY_TOLERANCE = 0.01
MOST_TURNED_DEG = 60.0
"""Of the head between CT and scan. Both headers say where the patient's front, left and top are; where they
contradict each other, an axis may as well be mirrored, and the dose would land on the other side."""

LEAST_OVERLAP = 0.2
"""Of the head's voxels in the CT that the post-op scan has to show; of fewer, chance tells too much."""

OUTLIERS_PERCENT = 0.5
"""Of the scan's darkest and brightest voxels in the head, that would spread the histogram's bins."""


def register_to_post_op(head_ct: Volume, head: Volume, post_op: Volume, seed: int) -> RigidResult:
    """`register_head`, refused where it is not plausible.

    Raises SourceError: as `require_plausible`.
    """
    result = register_head(head_ct, head, post_op, seed)
    require_plausible(result)
    return result


def require_plausible(result: RigidResult) -> None:
    """Refuse what explains nothing, less than the headers alone did, or needs a turn that headers exclude.

    Raises SourceError.
    """
    after, before = result.similarity, result.similarity_before
    if after < max(LEAST_SIMILARITY, before - SIMILARITY_TOLERANCE):
        raise SourceError(
            "registration of the planning CT to the post-op scan failed (normalised mutual information "
            f"within the head {after:.3f}, {before:.3f} before it, expected at least {LEAST_SIMILARITY:.2f})",
            "Check that both are this patient's, whole heads, and not upside down.",
        )
    turned_deg = _turned_degrees(result.moving_from_fixed)
    if turned_deg > MOST_TURNED_DEG:
        raise SourceError(
            f"the CT's head lies over the post-op scan's only when turned by {turned_deg:.0f} degrees "
            f"(at most {MOST_TURNED_DEG:.0f} are expected): one of them states a wrong orientation, and may "
            "be mirrored as well",
            "Export both again with their original orientation.",
        )


def _turned_degrees(transform: Affine) -> float:
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def register_head(head_ct: Volume, head: Volume, post_op: Volume, seed: int) -> RigidResult:
    """The rigid transform from the post-op scan's space to the CT's, by mutual information.

    head_ct, head: as `planning_ct.prepared` and `planning_ct.head_of` make them. post_op: on any grid.
    The similarities of the result are those within the head (`similarity_within`).
    """
    fixed = averaged(post_op, SPACING_MM)
    registration_seed = seed_for("planning_ct", seed)
    ct_from_post_op = register_rigid(fixed, head_ct, "mattes", registration_seed).moving_from_fixed
    after, before = (similarity_within(head, head_ct, fixed, t) for t in (ct_from_post_op, np.eye(4)))
    return RigidResult(ct_from_post_op, similarity=after, similarity_before=before)


def similarity_within(head: Volume, head_ct: Volume, post_op: Volume, ct_from_post_op: Affine) -> float:
    """Normalised mutual information of CT and MRI over the CT's head, as far as the MRI shows it.

    Over the whole field of view the outline decides: there a ball of the head's size is as similar as
    the head. 1 where the MRI shows less than LEAST_OVERLAP of the head.
    Source: Studholme et al., Pattern Recognition 32 (1999) 71-86; deviation: within the head.
    """
    post_op_from_ct = inverse(ct_from_post_op)
    everywhere = Volume(np.ones(post_op.grid.shape, dtype=np.float32), post_op.grid)
    shown = np.logical_and(resample(everywhere, head.grid, post_op_from_ct).data > 0.5, head.data)
    if shown.sum() < LEAST_OVERLAP * head.data.sum():
        return 1.0
    mri = resample(post_op, head.grid, post_op_from_ct).data[shown]
    mri = np.clip(mri, *np.percentile(mri, (OUTLIERS_PERCENT, 100 - OUTLIERS_PERCENT)))
    return shared_information(mri, head_ct.data[shown])
