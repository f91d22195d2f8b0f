"""Where HD-BET's network is computed, in which precision, and what that leaves behind."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from ricenet.preprocessing.brain.device import (
    choose_device,
    denormals_flushed,
    repeatable_on_gpus,
    use_bfloat16,
)
from ricenet.runtime.errors import RicenetError

TINY = np.float32(1e-39)


def flushed() -> bool:
    return bool((torch.tensor([1e-38]) * 0.1).item() == 0)


def machine(monkeypatch: pytest.MonkeyPatch, gpu: bool, gpu_bfloat16: bool = False, **cpu: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_bfloat16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)


@pytest.mark.parametrize(
    ("asked", "gpu", "chosen"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_gpu_is_used_where_there_is_one_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, asked: str, gpu: bool, chosen: str
) -> None:
    machine(monkeypatch, gpu)
    assert choose_device(asked) == chosen


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpu=False)
    with pytest.raises(RicenetError, match=r"brain.device is cuda, but torch .* sees no CUDA GPU: install"):
        choose_device("cuda")


@pytest.mark.parametrize("device", ["cpu", "cuda", "auto"])
def test_a_precision_that_is_asked_for_is_used_anywhere(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    machine(monkeypatch, gpu=False)
    assert use_bfloat16("bfloat16", device)
    machine(monkeypatch, gpu=True, gpu_bfloat16=True, avx512_bf16=True)
    assert not use_bfloat16("float32", device)


@pytest.mark.parametrize(
    ("cpu", "bfloat16"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, cpu: dict[str, bool], bfloat16: bool
) -> None:
    machine(monkeypatch, gpu=False, **cpu)
    assert use_bfloat16("auto") is use_bfloat16("auto", "cpu") is bfloat16


@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_gpu_is_asked_for_its_own_precision_not_the_cpus(
    monkeypatch: pytest.MonkeyPatch, bfloat16: bool
) -> None:
    machine(monkeypatch, gpu=True, gpu_bfloat16=bfloat16, avx512_bf16=not bfloat16)
    assert use_bfloat16("auto", "cuda") is use_bfloat16("auto") is bfloat16
    assert use_bfloat16("auto", "cpu") is not bfloat16


@pytest.mark.parametrize("before", [True, False])
def test_denormals_are_flushed_within_and_as_before_afterwards(before: bool) -> None:
    # where a CPU cannot flush them, there is nothing to undo
    if not torch.set_flush_denormal(before):
        pytest.skip("this CPU does not flush denormals")
    try:
        with denormals_flushed():
            assert flushed() and TINY * np.float32(0.5) == 0
        assert flushed() is before
        with pytest.raises(ZeroDivisionError), denormals_flushed():
            _ = 1 / 0
        assert flushed() is before
    finally:
        torch.set_flush_denormal(False)
    assert np.finfo(np.float32).smallest_subnormal > 0


def test_gpus_compute_float32_in_float32_and_the_same_each_time() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark)
    with repeatable_on_gpus():
        assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == (True, False, False)
    assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == before


def test_device_and_precision_are_known_without_loading_torch_as_torch_knows_them() -> None:
    # without a GPU that could be seen; with one, torch is asked
    script = """
import sys
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.step_keys import tool_versions
params = BrainParams(mode="fast", mirroring=False, precision="auto")
found = tool_versions(params)
from ricenet.runtime.machine import gpu_names
assert gpu_names() or "torch" not in sys.modules
import torch
assert tool_versions(params) == found, found
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
