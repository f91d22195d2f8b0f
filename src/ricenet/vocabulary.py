"""The vocabulary of the task: modalities, modality sets and labels.

Source: RICE-NET section 2 (three inputs, seven combinations, two classes).
"""

from __future__ import annotations

from typing import Literal, get_args

Modality = Literal["post_op", "event", "dose"]
Label = Literal["recurrence", "rice"]

MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""In the order in which they are stacked as channels and joined in a set's name."""

LABELS: tuple[Label, ...] = get_args(Label)
"""Class index = position; `rice` is the positive class of every probability (`p_rice`)."""

MODALITY_SETS: tuple[str, ...] = (
    "post_op",
    "event",
    "dose",
    "post_op+event",
    "post_op+dose",
    "event+dose",
    "post_op+event+dose",
)
"""All seven non-empty subsets, in the order of the paper's figure 2."""


def members(modality_set: str) -> tuple[Modality, ...]:
    """Modalities of a set, in channel order.

    >>> members("post_op+dose")
    ('post_op', 'dose')

    Raises ValueError: not one of the seven names.
    """
    if modality_set not in MODALITY_SETS:
        raise ValueError(f"unknown modality set {modality_set!r}; expected one of {', '.join(MODALITY_SETS)}")
    names = modality_set.split("+")
    return tuple(m for m in MODALITIES if m in names)


def channels(modality_set: str) -> list[int]:
    """Indices of a set's members in a volume stacked over all MODALITIES.

    >>> channels("post_op+dose")
    [0, 2]
    """
    return [MODALITIES.index(m) for m in members(modality_set)]
