"""What images of one series may differ in although they make no volume together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ricenet.importing.dicom.datasets import Elements
from ricenet.runtime.errors import SourceError

_ONE_VALUE = {
    "EchoTime": "echo times",
    "EffectiveEchoTime": "echo times",
    "DiffusionBValue": "b-values",
    "TemporalPositionIdentifier": "time points",
    "TemporalPositionIndex": "time points",
    "ComplexImageComponent": "image components (magnitude, phase and the like)",
    "ImageType": "image types (magnitude, phase and the like)",
    "FrameType": "image types (magnitude, phase and the like)",
}
"""What has one value throughout a volume, and what to call several of them."""

_ACQUISITION = "AcquisitionNumber"
"""May change within a volume that was taken in parts, but explains images at one place."""

VARIANT_KEYWORDS = (*_ONE_VALUE, _ACQUISITION)

_GROUPS = (
    "MREchoSequence",
    "MRDiffusionSequence",
    "FrameContentSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
)
"""Functional groups of enhanced images that say it."""

_MEASURED = frozenset({"EchoTime", "EffectiveEchoTime", "DiffusionBValue"})
_TOLERANCE, _LEAST_TOLERANCE = 0.01, 0.01
"""Between measured numbers, as a part of them and at least: scanners write actual values with their last
digits; echoes of one train are further apart."""


def variants_of(sources: Sequence[Elements]) -> dict[str, str]:
    """What an image states of `VARIANT_KEYWORDS`, by keyword.

    sources: the datasets that speak of the image, the most particular first. Of ImageType and FrameType
    the third and fourth value are taken, which tell components and contrasts apart.
    Source: DICOM PS3.3 C.7.6.1.1.2, C.8.3.1.1.1, C.8.13.3.1.
    """
    groups = [item for source in sources for group in _GROUPS for item in source.items(group)]
    stated: dict[str, str] = {}
    for keyword in VARIANT_KEYWORDS:
        for source in (*sources, *groups):
            if source.has(keyword):
                stated[keyword] = _comparable(keyword, source.text(keyword))
                break
    return stated


def _comparable(keyword: str, value: str) -> str:
    return "\\".join(value.upper().split("\\")[2:4]) if keyword.endswith("Type") else value


def require_one_volume(variants: Sequence[Mapping[str, str]]) -> None:
    """Refuse images of several echoes, components, time points or b-values, wherever they lie.

    variants: of each image. What an image does not state does not contradict the others.
    Raises SourceError.
    """
    several: dict[str, int] = {}
    for keyword, noun in _ONE_VALUE.items():
        found = _distinct(keyword, {stated[keyword] for stated in variants if stated.get(keyword)})
        if found > 1:
            several[noun] = max(found, several.get(noun, 0))
    if several:
        listed = " and ".join(f"{count} {noun}" for noun, count in several.items())
        raise SourceError(
            f"{len(variants)} slices of {listed} in one series",
            "Split the series, or choose one that holds a single volume",
        )


def _distinct(keyword: str, values: set[str]) -> int:
    numbers = sorted(_finite(values)) if keyword in _MEASURED else []
    if len(numbers) < len(values):
        # words, or numbers that cannot be read
        return len(values)
    count, start = 0, -math.inf
    for number in numbers:
        if number - start > max(_LEAST_TOLERANCE, _TOLERANCE * abs(number)):
            count, start = count + 1, number
    return count


def _finite(values: set[str]) -> Iterator[float]:
    for value in values:
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            yield number


def describe_repeats(variants: Sequence[Mapping[str, str]]) -> str:
    """What may explain images at one place, as `` (2 acquisitions)``; empty if nothing does."""
    acquisitions = {stated[_ACQUISITION] for stated in variants if _ACQUISITION in stated}
    return f" ({len(acquisitions)} acquisitions)" if len(acquisitions) > 1 else ""
