"""MR and CT series to volumes."""

from __future__ import annotations

import numpy as np

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, quietly
from ricenet.importing.dicom.frames import frames_of
from ricenet.importing.dicom.geometry import stack
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.variants import describe_repeats, require_one_volume
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

_LISTED_REASONS = 2


@quietly()
def read_image(series: Series) -> Volume:
    """The volume of an MR or CT series, rescaled (MR: scanner units; CT: HU), with its affine in RAS.

    Axes: along rows, down columns, along the slices' normal, whatever the files' order. Each slice is
    rescaled by its own slope and intercept; real-world value mappings are not used. Single-frame,
    enhanced and legacy converted enhanced objects; every compression that pydicom and GDCM decode.
    Raises SourceError: anything that keeps the slices from being one regular stack (`geometry.stack`),
    files of the series that cannot be used, several multi-frame files, stacks or contrasts
    (`variants.require_one_volume`), colour, missing tags, pixel data cut short or not decodable.
    """
    _check_series(series)
    frames = [frame for instance in series.instances for frame in frames_of(instance)]
    stacks = len({frame.stack_id for frame in frames})
    if stacks > 1:
        raise SourceError(f"{stacks} stacks in one series", "Choose a series that is one volume")
    variants = [frame.variants for frame in frames]
    require_one_volume(variants)
    order, grid = stack([frame.plane for frame in frames], repeats=describe_repeats(variants))
    # columns first: a slice is written in one piece
    data = np.empty(grid.shape, np.float32, order="F")
    for k, frame in enumerate(frames[i] for i in order):
        data[:, :, k] = frame.stored.T.astype(np.float64) * frame.slope + frame.intercept
    return Volume(data, grid)


def _check_series(series: Series) -> None:
    if series.kind not in ("MR", "CT"):
        raise SourceError("a series that is neither MR nor CT images", "Choose an MR or CT series")
    files = len(series.instances)
    if series.unusable:
        reasons = "; ".join(series.reasons[:_LISTED_REASONS])
        more = "; and for other reasons" if len(series.reasons) > _LISTED_REASONS else ""
        raise SourceError(
            f"{series.unusable} of {files + series.unusable} files of the series cannot be used: "
            f"{reasons}{more}",
            "Export the complete series again, or remove from its folder what is no part of it",
        )
    spaces = len({instance.frame_of_reference_uid for instance in series.instances})
    if spaces > 1:
        raise SourceError(f"slices in {spaces} frames of reference", EXPORT_AGAIN)
    many = sum(instance.frames > 1 for instance in series.instances)
    if many and files > 1:
        raise SourceError(
            f"{files} files in one series, {many} of them multi-frame",
            "Split the series, or choose one that holds a single volume",
        )
