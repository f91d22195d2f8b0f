"""Tensors as safetensors files, which hold no code: written at once and whole, read with what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import make_folder, put_in_place
from ricenet.runtime.full_disk import MAKE_ROOM, full_disk, is_full
from ricenet.runtime.temporary import partial_folder


def write_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, from whatever device, and rename the file to its place.

    Raises StoreError: the file cannot be written, for want of room above all.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        make_folder(path.parent)
        # a folder, since safetensors writes a file of its own naming beside the one that it is given
        with partial_folder(path.parent) as folder:
            written = folder / path.name
            save_file(content, written, metadata=None if metadata is None else dict(metadata))
            put_in_place(written, path)
    except (SafetensorError, OSError) as error:
        raise not_written(path, error, sum(value.nbytes for value in content.values())) from None


def not_written(path: Path, error: Exception, needed_bytes: int | None = None) -> StoreError:
    """What to say of a file or folder that could not be written."""
    found = full_disk(path, needed_bytes) if is_full(error) else str(error)
    remedy = MAKE_ROOM if is_full(error) else "Make room, or have the folder given to you; then run again"
    return StoreError(f"{path} cannot be written: {found}. {remedy}")


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name, and the metadata. Raises ValueError: missing, damaged, or another kind of file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as content:
            names = content.keys()
            return {name: content.get_tensor(name) for name in names}, dict(content.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None
