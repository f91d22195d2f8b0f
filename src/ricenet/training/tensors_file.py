"""Tensors as safetensors files, which hold no code: written at once and whole, read with what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import PARTIAL


def write_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, from whatever device, and rename the file to its place.

    Raises StoreError: the file cannot be written, for want of room above all.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # a folder, since safetensors writes a file of its own naming beside the one that it is given
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
        written = Path(folder) / path.name
        try:
            save_file(content, written, metadata=None if metadata is None else dict(metadata))
        except (SafetensorError, OSError) as error:
            raise StoreError(
                f"{path} cannot be written: {error}. Make room (`ricenet store gc` sweeps what is no longer "
                "used, while no stage runs), then run `dvc repro` again"
            ) from None
        written.chmod(0o644)
        written.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name, and the metadata. Raises ValueError: missing, damaged, or another kind of file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as content:
            names = content.keys()
            return {name: content.get_tensor(name) for name in names}, dict(content.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None
