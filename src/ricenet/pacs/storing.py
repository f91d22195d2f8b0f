"""Storing DICOM files in a PACS by STOW-RS, one by one, so that a second try doubles nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ricenet.importing.dicom.datasets import Elements, read_file
from ricenet.pacs.connection import Pacs
from ricenet.runtime.errors import PacsError, SourceError

logger = logging.getLogger(__name__)

_IN_ONE_PIECE = 2**31
"""Bytes of an object that is sent with its length: a proxy refuses it at once, and it can be sent again."""

ALREADY_STORED = 0x0111
"""Failure reason of a PACS that has an object of this UID: it is where it should be."""

_REASONS: Mapping[int, str] = {
    0x0110: "could not process it",
    0x0122: "takes no objects of this kind (SOP class)",
    0x0124: "does not permit that to this user",
    0x0131: "lacks resources",
}
_CLASSES: Mapping[int, str] = {
    0xA7: "is out of resources, such as disk",
    0xA9: "finds that it does not fit its kind (SOP class)",
    0xC0: "cannot understand it",
    0xC1: "cannot understand it",
}
"""Of the reason's first byte. Source: PS3.4, table B.2-1; PS3.18, I.2."""


def store_files(pacs: Pacs, files: Sequence[Path]) -> int:
    """Store DICOM files in a PACS, in their order; returns how many. Those that it has already stay there.

    Raises PacsError: one is refused, or the PACS cannot be reached; the files before it are stored.
    """
    pacs.client.set_chunk_size(_IN_ONE_PIECE)
    for number, file in enumerate(files):
        try:
            _store(pacs, file)
        except (PacsError, SourceError) as error:
            status = error.status if isinstance(error, PacsError) else None
            raise PacsError(
                f"{file.name}: {error}. {number} of {len(files)} objects are stored, and all stay as files. "
                "Send them again: those that are stored are not doubled",
                status,
            ) from None
    return len(files)


def _store(pacs: Pacs, file: Path) -> None:
    dataset = read_file(file, pixels=True).dataset
    try:
        with pacs.answers():
            answer = Elements(pacs.client.store_instances([dataset]))
    except PacsError as error:
        # a refusal of all that was sent may only say that all of it is there
        reason = _reason_in(error.answer)
        if reason is None:
            raise
    else:
        failed = answer.items("FailedSOPSequence")
        reason = failed[0].whole_number("FailureReason") if failed else None
        if not failed:
            return
    if reason != ALREADY_STORED:
        raise PacsError(f"the PACS {pacs.address} {_words(reason)}. Ask its administrator what its log says")


def _reason_in(answer: bytes) -> int | None:
    """The failure reason of the one object that was sent, in DICOM JSON; None where there is none."""
    with suppress(ValueError, KeyError, IndexError, TypeError, RecursionError):
        content: Any = json.loads(answer)
        (item,) = content["00081198"]["Value"]
        return int(item["00081197"]["Value"][0])
    return None


def _words(reason: int | None) -> str:
    if reason is None:
        return "refuses it without a reason"
    words = _REASONS.get(reason) or _CLASSES.get(reason >> 8) or "refuses it"
    return f"{words} (failure reason {reason:04X})"
