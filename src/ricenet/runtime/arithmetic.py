"""Which arithmetic a processor or a graphics card has."""

from __future__ import annotations


def has_bfloat16(device: str) -> bool:
    """Whether a device ("cpu" or "cuda") has instructions for bfloat16, not merely a way to emulate them."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
