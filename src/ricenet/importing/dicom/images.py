"""MR and CT series to volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, quietly
from ricenet.importing.dicom.frames import Frame, frames_of
from ricenet.importing.dicom.geometry import LEAVE_OUT, stack, stack_varying
from ricenet.importing.dicom.instances import Instance, Series
from ricenet.importing.dicom.variants import describe_repeats, require_one_volume
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

_LISTED_REASONS = 2

LEAST_MAJORITY = 2 / 3
"""Of the images of a series, which have to share an orientation for the others to be localizers."""


@dataclass(frozen=True)
class ReadImage:
    """A volume, and what was decided in reading it: sentences, free of identifiers."""

    volume: Volume
    decisions: tuple[str, ...] = ()


def read_image(series: Series) -> Volume:
    """The volume of a series, as `read_series` gives it."""
    return read_series(series).volume


@quietly()
def read_series(series: Series, *, varying: bool = False) -> ReadImage:
    """The volume of an MR or CT series, rescaled (MR: scanner units; CT: HU), with its affine in RAS.

    Axes: along rows, down columns, along the slices' normal, whatever the files' order. Each slice is
    rescaled by its own slope and intercept; real-world value mappings are not used. Single-frame,
    enhanced and legacy converted enhanced objects; every compression that pydicom and GDCM decode. Copies of
    a slice with the same pixels count once. varying: slices whose spacing changes from run to run are
    resampled linearly to the finest, for images that only serve a registration.
    Raises SourceError: anything that keeps the slices from being one regular stack (`geometry.stack`),
    files of the series that cannot be used, localizers that the user does not leave out, several multi-frame
    files, stacks or contrasts (`variants.require_one_volume`), colour, missing tags, pixel data cut short or
    not decodable.
    """
    instances, left_out = _without_localizers(series)
    _check_series(series, instances)
    frames = [frame for instance in instances for frame in frames_of(instance)]
    if series.leaves_out_localizers and not left_out:
        frames, left_out = _of_one_orientation(frames)
    frames, dropped = _without_copies(frames)
    stacks = len({frame.stack_id for frame in frames})
    if stacks > 1:
        raise SourceError(f"{stacks} stacks in one series", "Choose a series that is one volume")
    variants = [frame.variants for frame in frames]
    require_one_volume(variants)
    planes, repeats = [frame.plane for frame in frames], describe_repeats(variants)
    if varying:
        order, grid, places = stack_varying(planes, repeats)
    else:
        order, grid = stack(planes, repeats=repeats)
        places = np.arange(len(planes), dtype=np.float64)
    # columns first: a slice is written in one piece
    data = np.empty((*grid.shape[:2], len(planes)), np.float32, order="F")
    for k, frame in enumerate(frames[i] for i in order):
        data[:, :, k] = frame.stored.T.astype(np.float64) * frame.slope + frame.intercept
    decisions = {
        f"{left_out} localizer(s) of the series are left out, as stated by the user.": left_out,
        f"{dropped} of {len(frames) + dropped} slices are copies of others, with the same pixels, and "
        "dropped.": dropped,
        f"Slices {np.diff(places).min() * grid.spacing_mm[2]:.2f} to "
        f"{np.diff(places).max() * grid.spacing_mm[2]:.2f} mm apart are resampled linearly to "
        f"{grid.spacing_mm[2]:.2f} mm.": len(planes) != grid.shape[2],
    }
    if len(planes) != grid.shape[2]:
        data = _evenly(data, places, grid.shape[2])
    return ReadImage(Volume(data, grid), tuple(text for text, applies in decisions.items() if applies))


def _check_series(series: Series, instances: Sequence[Instance]) -> None:
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
    localizers = sum(instance.localizer for instance in instances)
    if 0 < localizers < len(instances):
        raise SourceError(
            f"{localizers} of {files} images of the series are localizers (ImageType LOCALIZER)",
            f"To leave them out, {LEAVE_OUT}",
        )
    spaces = len({instance.frame_of_reference_uid for instance in instances})
    if spaces > 1:
        raise SourceError(f"slices in {spaces} frames of reference", EXPORT_AGAIN)
    many = sum(instance.frames > 1 for instance in instances)
    if many and files > 1:
        raise SourceError(
            f"{files} files in one series, {many} of them multi-frame",
            "Split the series, or choose one that holds a single volume",
        )


def _without_localizers(series: Series) -> tuple[Sequence[Instance], int]:
    """The images that are none by their tag, where the user leaves them out, and how many are left out."""
    images = [one for one in series.instances if not one.localizer]
    if not series.leaves_out_localizers or not images:
        return series.instances, 0
    return images, len(series.instances) - len(images)


def _of_one_orientation(frames: list[Frame]) -> tuple[list[Frame], int]:
    """The images of the orientation that most share, and how many others there are."""
    rounded = [tuple(np.round(frame.plane.orientation, 2) + 0.0) for frame in frames]
    ((usual, count),) = Counter(rounded).most_common(1)
    if count < LEAST_MAJORITY * len(frames):
        return frames, 0
    kept = [frame for frame, of in zip(frames, rounded, strict=True) if of == usual]
    return kept, len(frames) - len(kept)


def _without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], int]:
    """Images without further ones of the same pixels in the same place, and how many those are."""
    at: dict[object, list[Frame]] = {}
    dropped = 0
    for frame in frames:
        there = at.setdefault(frame.plane, [])
        if any(_same_pixels(frame, other) for other in there):
            dropped += 1
        else:
            there.append(frame)
    return [frame for there in at.values() for frame in there], dropped


def _same_pixels(one: Frame, other: Frame) -> bool:
    stated, others = ((of.slope, of.intercept, of.stack_id, of.variants) for of in (one, other))
    return stated == others and np.array_equal(one.stored, other.stored)


def _evenly(data: NDArray[np.float32], places: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """Slices at some places to `count` slices at 0, 1, 2, ..., linearly."""
    wanted = np.arange(count)
    upper = np.clip(np.searchsorted(places, wanted, side="left"), 1, len(places) - 1)
    weight = (wanted - places[upper - 1]) / (places[upper] - places[upper - 1])
    even = data[:, :, upper - 1] * (1 - weight) + data[:, :, upper] * weight
    return np.asfortranarray(even.astype(np.float32))
